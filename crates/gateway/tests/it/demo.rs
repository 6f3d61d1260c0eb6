//! `lockgate demo`: the gateway and five small services, in one process.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use lockgate_testkit::{Answer, Dir, Wire, cli, needs, request, until};

use crate::support::{BINARY, cli_on};

static NEXT: AtomicU16 = AtomicU16::new(0);

struct Demo {
    child: Child,
    dir: Dir,
    base: u16,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The demo's ports, told by the base's: five services, the gateway, the admin listener.
fn ports(base: u16) -> Vec<u16> {
    let mut ports: Vec<u16> = (1..=5).map(|n| base + n).collect();
    ports.extend([base + 5080, base + 6901]);
    ports
}

impl Demo {
    async fn start() -> Self {
        let free =
            |base: &u16| ports(*base).iter().all(|port| TcpListener::bind(local(*port)).is_ok());
        let first = 10_000 + (std::process::id() % 1000) as u16 * 10;
        // Each place is looked at by one test only: what it finds free, nobody else will take.
        let bases = (0..100).map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed) * 10);
        let base = bases.into_iter().find(free).expect("seven free ports");
        let dir = Dir::new();
        let out = std::fs::File::create(dir.path().join("stdout")).unwrap();
        let child = Command::new(BINARY)
            .args(["demo", "--port-base", &base.to_string()])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let demo = Self { child, dir, base };
        until("the demo to be ready", async || Wire::try_connect(demo.gateway()).await.is_ok())
            .await;
        demo
    }

    fn gateway(&self) -> SocketAddr {
        local(self.base + 5080)
    }

    /// Asks as the demo's admin.
    async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut wire = Wire::connect(self.gateway()).await;
        let key = ("X-API-Key", "demo-admin-key");
        let headers = [("Host", "127.0.0.1"), ("Content-Type", "application/json"), key];
        wire.ask(request(method, path, &headers, body)).await
    }
}

#[tokio::test]
async fn five_services_are_behind_the_gateway() {
    let demo = Demo::start().await;
    for resource in ["/users", "/orders", "/products", "/stats"] {
        let answer = demo.ask("GET", resource, "").await;
        assert_eq!(answer.status, 200, "{resource}: {answer:?}");
        answer.json();
    }
    let mut served = std::collections::BTreeSet::new();
    for _ in 0..6 {
        let answer = demo.ask("GET", "/v1/users", "").await;
        let ports = [demo.base + 1, demo.base + 2].map(|port| port.to_string());
        let port = answer.headers.iter().find(|(_, value)| ports.contains(value));
        served.insert(port.unwrap_or_else(|| panic!("no port is named: {answer:?}")).1.clone());
    }
    assert_eq!(served.len(), 2, "both users services serve");
}

#[tokio::test]
async fn its_resources_can_be_worked_with() {
    let demo = Demo::start().await;
    let order =
        |quantity: u32| format!(r#"{{"user":1,"product":1,"quantity":{quantity},"status":"new"}}"#);
    let made = demo.ask("POST", "/orders", &order(7)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json()["id"].to_string().trim_matches('"').to_owned();
    let path = format!("/orders/{id}");
    let read = demo.ask("GET", &path, "").await;
    assert_eq!((read.status, read.json()["quantity"].as_u64()), (200, Some(7)), "{read:?}");
    let changed = demo.ask("PUT", &path, &order(8)).await;
    assert_eq!((changed.status, changed.json()["quantity"].as_u64()), (200, Some(8)));
    assert!(matches!(demo.ask("DELETE", &path, "").await.status, 200 | 204));
    assert_eq!(demo.ask("GET", &path, "").await.status, 404);
}

/// Runs the lines that the demo says one can try, as a reader would, in their order; where a line
/// below tells what will be seen, a status and a text, it is held to that.
#[tokio::test]
async fn the_lines_that_it_prints_work() {
    needs("curl");
    let demo = Demo::start().await;
    until("the end of what to try", async || demo.dir.read("stdout").contains("Ctrl-C")).await;
    let mut promised = Vec::new();
    let printed = demo.dir.read("stdout");
    let mut lines = printed.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        if !line.contains("curl ") {
            continue;
        }
        let line = line.replacen("curl ", "curl --max-time 10 -sS ", 1);
        let ran = cli("sh", demo.dir.path(), &["-c", &line]).await;
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        let is_promise = |next: &&str| next.starts_with(|first: char| first.is_ascii_digit());
        if let Some(promise) = lines.next_if(is_promise) {
            let (status, text) = promise.split_once(' ').unwrap_or((promise, ""));
            let seen = ran.stdout.to_ascii_lowercase();
            assert!(seen.starts_with(&format!("http/1.1 {status} ")), "{line}: {seen}");
            assert!(seen.contains(&text.to_ascii_lowercase()), "{line}: {seen}");
            promised.push(status.to_owned());
        }
    }
    for status in ["200", "201", "204", "401", "403", "404", "405", "429", "504"] {
        assert!(promised.iter().any(|one| one == status), "nothing shows {status}: {printed}");
    }
    assert!(printed.contains("Lockgate; hit"), "{printed}");
    assert!(printed.contains("everybody knows them"), "{printed}");
}

#[tokio::test]
async fn a_write_clears_the_list_and_what_is_below_it() {
    let demo = Demo::start().await;
    let status = async |path: &str| {
        let answer = demo.ask("GET", path, "").await;
        answer.header("cache-status").unwrap_or_default().to_owned()
    };
    for path in ["/users", "/users/1", "/users?limit=1"] {
        assert!(status(path).await.contains("fwd=uri-miss"), "{path}");
        assert!(status(path).await.contains("hit"), "{path}");
    }
    let user = r#"{"name":"erin","role":"guest","email":"erin@example.com"}"#;
    let made = demo.ask("POST", "/users", user).await;
    assert_eq!(made.status, 201, "{made:?}");
    for path in ["/users", "/users/1", "/users?limit=1"] {
        assert!(status(path).await.contains("fwd=uri-miss"), "{path}");
    }
    let listed = demo.ask("GET", "/users", "").await;
    assert!(listed.text().contains("erin"), "{listed:?}");
}

#[tokio::test]
async fn its_configuration_is_a_good_one() {
    let dir = Dir::new();
    let printed = cli(BINARY, dir.path(), &["demo", "--print-config"]).await;
    assert_eq!(printed.code, 0, "{printed:?}");
    dir.write("demo.yaml", &printed.stdout);
    let ran = cli(BINARY, dir.path(), &["check", "demo.yaml"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.text().contains("warning"), "{ran:?}");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/demo.yaml");
    assert_eq!(std::fs::read_to_string(example).unwrap().trim(), printed.stdout.trim());
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let demo = Demo::start().await;
    let base = demo.base.to_string();
    let ran = cli_on("", &["demo", "--port-base", &base]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let named = ports(demo.base).iter().any(|port| ran.stderr.contains(&port.to_string()));
    assert!(named, "{ran:?}");
}
