//! The real binary as a process: started on ports of its own, reloaded, signalled, read, killed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::wait::until;
use crate::{Answer, Dir, Metrics, Port, Ran, Wire, run};

const FILE: &str = "lockgate.yaml";

/// A gateway about to be started.
///
/// In its configuration `$DIR` stands for its own directory, which is also the process's working
/// directory, and `$NAME` (capitals) for a reserved port of that name. Unless the text has them,
/// `listeners` is `web` on `$WEB`, `admin` is on `$ADMIN`, and `workers` is 1.
pub struct Launch {
    program: String,
    dir: Dir,
    ports: RefCell<BTreeMap<String, Port>>,
    env: Vec<(String, String)>,
    /// Where its configuration is, and further words.
    words: Vec<String>,
}

impl Launch {
    /// Of this binary.
    pub fn new(program: &str) -> Self {
        let (dir, ports) = (Dir::new(), RefCell::default());
        let env = vec![("XDG_STATE_HOME".to_owned(), dir.path().display().to_string())];
        Self { program: program.to_owned(), dir, ports, env, words: vec![FILE.to_owned()] }
    }

    /// Lets it read this in place of its file, and gives its `run` these further words. What it is
    /// started with then only says where it will listen.
    #[must_use]
    pub fn from(mut self, source: &str, words: &[&str]) -> Self {
        self.words = [source].iter().chain(words).map(|word| (*word).to_owned()).collect();
        self
    }

    /// A configuration with its placeholders filled in and what is missing added.
    pub fn text(&self, config: &str) -> String {
        let has = |key: &str| config.lines().any(|line| line.starts_with(&format!("{key}:")));
        let mut text = String::new();
        for (key, value) in [
            ("listeners", "{ web: \"127.0.0.1:$WEB\" }"),
            ("admin", "{ address: \"127.0.0.1:$ADMIN\" }"),
            ("workers", "1"),
        ] {
            if !has(key) {
                text.push_str(&format!("{key}: {value}\n"));
            }
        }
        text.push_str(config);
        self.fill(&text)
    }

    /// Puts a file into its directory.
    #[must_use]
    pub fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        self.dir.write(name, text);
        self
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it ends instead, or takes too long; with all that it said.
    pub async fn start(self, config: &str) -> Gateway {
        self.write(config);
        let mut gateway = Gateway { child: self.spawn(), successor: None, launch: self };
        gateway.ready().await;
        gateway
    }

    fn spawn(&self) -> Child {
        let open = |name| {
            let mut options = std::fs::OpenOptions::new();
            options.create(true).append(true).open(self.dir.path().join(name)).unwrap()
        };
        Command::new(&self.program)
            .args(["run", "-c"])
            .args(&self.words)
            .current_dir(self.dir.path())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(open("stdout"))
            .stderr(open("stderr"))
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program))
    }

    fn write(&self, config: &str) {
        self.dir.write(FILE, self.text(config));
    }

    /// Fills the placeholders in.
    fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            let end = after.find(|c: char| !c.is_ascii_uppercase()).unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            match name {
                "" => filled.push('$'),
                "DIR" => filled.push_str(&self.dir.path().display().to_string()),
                _ => filled.push_str(&self.port(name).port().to_string()),
            }
            rest = after;
        }
        filled + rest
    }

    fn port(&self, name: &str) -> SocketAddr {
        let mut ports = self.ports.borrow_mut();
        ports.entry(name.to_owned()).or_insert_with(Port::reserve).address()
    }
}

/// A running gateway; dropping it kills it.
pub struct Gateway {
    child: Child,
    /// The process that has taken its place, by an upgrade.
    successor: Option<u32>,
    launch: Launch,
}

impl Gateway {
    /// The address of a port by its placeholder's name.
    pub fn at(&self, name: &str) -> SocketAddr {
        self.launch.port(name)
    }

    /// The address of the listener `web`.
    pub fn web(&self) -> SocketAddr {
        self.at("WEB")
    }

    /// Its directory.
    pub fn dir(&self) -> &Dir {
        &self.launch.dir
    }

    /// Its process's id: of the newest, after an upgrade.
    pub fn pid(&self) -> u32 {
        self.successor.unwrap_or_else(|| self.child.id())
    }

    /// Upgrades it by `lockgate upgrade`, and follows the new process from then on.
    pub async fn upgrade(&mut self) -> Ran {
        let ran = self.cli(&["upgrade", "-c", FILE, "--json"]).await;
        if ran.code == 0 {
            let pid = ran.json()["pid"].as_u64().and_then(|pid| pid.try_into().ok());
            self.successor = Some(pid.expect("a process's id"));
        }
        ran
    }

    /// Follows the process that has taken its place.
    pub fn follow(&mut self, successor: u32) {
        self.successor = Some(successor);
    }

    /// A connection to the listener `web`.
    pub async fn wire(&self) -> Wire {
        Wire::connect(self.web()).await
    }

    /// One GET on a connection of its own.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// One request on a connection of its own, for the host `example.test` unless told.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut wire = self.wire().await;
        wire.send(request(method, path, headers, body)).await;
        let answer = wire.answer_to(method).await;
        answer.unwrap_or_else(|fail| panic!("no answer to {method} {path}: {fail}"))
    }

    /// One request to the admin listener.
    pub async fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut wire = Wire::connect(self.at("ADMIN")).await;
        wire.ask(request(method, path, &[("Host", "127.0.0.1")], body)).await
    }

    /// A scrape of its metrics.
    pub async fn metrics(&self) -> Metrics {
        let answer = self.admin("GET", "/metrics", "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Metrics(answer.text())
    }

    /// Replaces the configuration file at once; the gateway will see it by itself.
    pub fn rewrite(&self, config: &str) {
        self.launch.write(config);
    }

    /// A configuration with its placeholders filled in and what is missing added.
    pub fn text(&self, config: &str) -> String {
        self.launch.text(config)
    }

    /// Sends a signal by its short name: `HUP`, `TERM`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.is_ok_and(|status| status.success()) || name == "KILL", "{kill}");
    }

    /// Kills it (SIGKILL) and waits until it is gone. Its ports stay reserved.
    pub fn kill(&mut self) {
        if let Some(successor) = self.successor {
            self.signal("KILL");
            // It is no child of this process. Until it is gone it has its listeners.
            for _ in 0..1000 {
                if is_gone(successor) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Kills it if it still runs, and starts it anew with the same file, on the same ports.
    pub async fn restart(&mut self) {
        self.kill();
        self.successor = None;
        self.child = self.launch.spawn();
        self.ready().await;
    }

    /// Runs the same binary with other arguments, in the gateway's directory.
    pub async fn cli(&self, arguments: &[&str]) -> Ran {
        let arguments: Vec<String> = arguments.iter().map(|text| self.launch.fill(text)).collect();
        run(&self.launch.program, self.launch.dir.path(), &arguments).await
    }

    /// All that it has written to stdout and stderr.
    pub fn said(&self) -> String {
        self.launch.dir.read("stdout") + &self.launch.dir.read("stderr")
    }

    /// The lines of a log file (`stdout` unless it logs elsewhere) that are access-log entries.
    pub fn log(&self, file: &str) -> Vec<Value> {
        let text = self.launch.dir.read(file);
        let whole = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        whole.filter(|line| line.get("status").is_some()).collect()
    }

    /// Waits for the first access-log entry that fits, on stdout.
    pub async fn logged(&self, fits: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        until("a line in the access log", async || {
            found = self.log("stdout").into_iter().find(&fits);
            found.is_some()
        })
        .await;
        found.unwrap_or_default()
    }

    /// Waits until it has ended by itself, and says with which code (-1: by a signal).
    pub async fn ended(&mut self) -> i32 {
        let mut code = None;
        until("the gateway to end", async || {
            let status = self.child.try_wait().ok().flatten();
            code = status.map(|status| status.code().unwrap_or(-1));
            code.is_some()
        })
        .await;
        code.unwrap_or(-1)
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    async fn ready(&mut self) {
        let config = self.launch.dir.read(FILE);
        let addresses: Vec<SocketAddr> = {
            let ports = self.launch.ports.borrow();
            let listening = ports.values().map(Port::address);
            listening.filter(|address| listens(&config, *address)).collect()
        };
        for address in addresses {
            until("the gateway to be ready", async || {
                assert!(self.runs(), "the gateway ended: {}", self.said());
                Wire::try_connect(address).await.is_ok()
            })
            .await;
        }
    }
}

/// Whether a process has ended with all of its threads, though nobody may have asked how.
fn is_gone(pid: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let has_ended = text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']));
    has_ended && threads <= 1
}

/// Whether the configuration's `listeners` or `admin` section has this TCP address.
fn listens(config: &str, address: SocketAddr) -> bool {
    let mut inside = false;
    config.lines().any(|line| {
        if !line.starts_with([' ', '}', '#']) {
            inside = line.starts_with("listeners:") || line.starts_with("admin:");
        }
        inside && line.contains(&address.to_string())
    })
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- what the gateway said\n{}---", self.said());
        }
    }
}

/// A request as text. `Host` and `Content-Length` are added where they are missing and due.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let has = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !has("host") {
        text.push_str("Host: example.test\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !has("content-length") && !has("transfer-encoding") && (!body.is_empty() || method == "POST")
    {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text + "\r\n" + body
}

/// Runs the binary in a directory.
pub async fn cli(program: &str, dir: &Path, arguments: &[&str]) -> Ran {
    run(program, dir, arguments).await
}
