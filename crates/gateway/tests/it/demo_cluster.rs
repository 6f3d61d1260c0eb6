//! `lockgate demo cluster`: what its gateways share, what happens when one of them dies under load,
//! and that nothing of it outlives it.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use lockgate_testkit::{Answer, Dir, Load, Metrics, Wire, cli, request, until};

use crate::demo_bank::Running;

static NEXT: AtomicU16 = AtomicU16::new(0);

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The ports that a cluster of up to five gateways may use: services, Redis, gateways, admin.
fn ports(base: u16) -> Vec<u16> {
    let mut ports: Vec<u16> = (base - 5079..=base - 5075).collect();
    ports.push(base - 1690);
    ports.extend(base..=base + 5);
    ports.extend(base + 1830..=base + 1835);
    ports
}

struct Cluster {
    running: Running,
    base: u16,
}

impl Cluster {
    async fn start(top: &str) -> Self {
        let free =
            |base: &u16| ports(*base).iter().all(|port| TcpListener::bind(local(*port)).is_ok());
        let first = 24_000 + (std::process::id() % 100) as u16 * 40;
        let bases = (0..100).map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed) * 20);
        let base = bases.into_iter().find(free).expect("free ports");
        let number = base.to_string();
        let mut running = Running::start("cluster", &["--top", top, "--port-base", &number]);
        until("the cluster to be ready", async || {
            assert!(running.runs(), "{}", running.said());
            running.stdout().contains("Ctrl-C")
        })
        .await;
        let cluster = Self { running, base };
        // The one above may not know yet that all are well.
        until("every gateway to be asked", async || {
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..6 {
                let answer = cluster.get("/users/1").await;
                seen.extend(answer.header("x-gateway").map(str::to_owned));
            }
            seen.len() == 3
        })
        .await;
        cluster
    }

    fn top(&self) -> SocketAddr {
        local(self.base)
    }

    async fn get(&self, path: &str) -> Answer {
        let mut wire = Wire::connect(self.top()).await;
        wire.ask(request("GET", path, &[("Host", "127.0.0.1")], "")).await
    }

    /// The process id that was printed for a name.
    fn id(&self, name: &str) -> String {
        let said = self.running.stdout();
        let (_, rest) = said.split_once(&format!("{name} ")).expect("its name");
        rest.chars().take_while(char::is_ascii_digit).collect()
    }

    /// How many requests a gateway has answered on the way to `users`.
    async fn served(&self, number: u16) -> f64 {
        let mut wire = Wire::connect(local(self.base + 1830 + number)).await;
        let answer = wire.ask(request("GET", "/metrics", &[("Host", "127.0.0.1")], "")).await;
        Metrics(answer.text()).sum("lockgate_requests_total", &[("route", "/users/*")])
    }

    /// The printed lines that start one more gateway and tell the one above of it.
    fn added(&self) -> (String, String) {
        let said = self.running.stdout();
        let mut lines = said.lines().map(str::trim);
        let start = lines.find(|line| line.starts_with("cd ")).expect("how to start one");
        (start.to_owned(), lines.next().expect("how to tell of it").to_owned())
    }

    async fn end(mut self) {
        self.running.signal("INT");
        let ran = self.running.ended().await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains("processes have ended"), "{ran:?}");
        assert_eq!(self.running.processes(), 0);
        assert!(!self.running.folder().exists());
    }
}

/// Kills one gateway after the other under load; then adds one.
async fn no_request_fails(top: &str) {
    let cluster = Cluster::start(top).await;
    let get = "GET /users/1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    // nginx and HAProxy close idle connections when they reload, which a request may meet: that is
    // between them and their clients, which ask again on another.
    let start = match top {
        "lockgate" => Load::start,
        _ => Load::asking_again,
    };
    let load = start(cluster.top(), 8, get);
    load.more(200).await;
    for name in ["gateway-2", "gateway-1"] {
        let kill = format!("kill -9 {}", cluster.id(name));
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
        load.more(500).await;
    }
    let (command, tell) = cluster.added();
    // It ends with the test's shell, and that with the test.
    let log = Dir::new();
    let command = command.replace(" && ", " && exec env ");
    let mut added = Command::new("sh")
        .args(["-c", &command])
        .stdout(std::fs::File::create(log.path().join("log")).unwrap())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("the new gateway", async || Wire::try_connect(local(cluster.base + 4)).await.is_ok())
        .await;
    tells(&tell, &log).await;
    until("the new one to be asked", async || cluster.served(4).await > 0.0).await;
    let before = (cluster.served(3).await, cluster.served(4).await);
    load.more(600).await;
    let after = (cluster.served(3).await, cluster.served(4).await);
    let tally = load.stop().await;
    added.kill().unwrap();
    added.wait().unwrap();
    tally.flawless(1_600);
    let (old, new) = (after.0 - before.0, after.1 - before.1);
    assert!(new > 0.6 * old && new < 1.7 * old, "two are left, and share: {old} and {new}");
    cluster.end().await;
}

async fn tells(line: &str, dir: &Dir) {
    let told = cli("sh", dir.path(), &["-c", line]).await;
    assert_eq!(told.code, 0, "{line}: {told:?}");
}

#[tokio::test]
async fn no_request_fails_below_lockgate() {
    no_request_fails("lockgate").await;
}

#[tokio::test]
async fn no_request_fails_below_nginx() {
    no_request_fails("nginx").await;
}

#[tokio::test]
async fn no_request_fails_below_haproxy() {
    no_request_fails("haproxy").await;
}

#[tokio::test]
async fn limits_and_cache_are_shared() {
    let cluster = Cluster::start("lockgate").await;
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(cluster.get("/search").await.status);
    }
    let passed = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert_eq!((passed, refused), (10, 2), "{statuses:?}");

    let first = cluster.get("/products/1").await;
    assert!(first.header("cache-status").unwrap_or_default().contains("stored"), "{first:?}");
    // It is on its way to the store for a moment.
    until("every gateway to have it", async || {
        let mut hits = 0;
        for _ in 0..6 {
            let again = cluster.get("/products/1").await;
            hits += usize::from(again.header("cache-status").unwrap_or_default().contains("hit"));
        }
        hits == 6
    })
    .await;
    cluster.end().await;
}

#[tokio::test]
async fn nothing_outlives_a_demo_that_is_killed() {
    let mut cluster = Cluster::start("lockgate").await;
    assert!(cluster.running.processes() >= 6);
    cluster.running.signal("KILL");
    cluster.running.ended().await;
    until("its processes to end", async || cluster.running.processes() == 0).await;
    let _ = std::fs::remove_dir_all(cluster.running.folder());
}
