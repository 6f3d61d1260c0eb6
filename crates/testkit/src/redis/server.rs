//! One redis-server as a process.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::reply::{Reply, ask, try_ask};
use crate::wait::until;
use crate::{Authority, Dir, Leaf, Port};

/// A running redis-server of a test's own. It keeps nothing on the disk unless told to; dropping it
/// kills it.
pub struct RedisServer {
    port: Port,
    /// Where it speaks TLS beside that.
    secure: Option<Port>,
    dir: Dir,
    arguments: Vec<String>,
    child: Option<Child>,
    /// User and password, or the password alone, of the test's own questions.
    login: Vec<String>,
    /// Whether the test itself can ask it.
    is_plain: bool,
}

/// A server that speaks TLS, and who vouches for it.
pub struct RedisTls {
    /// It cannot be asked by the test itself.
    pub server: RedisServer,
    /// Its authority.
    pub authority: Authority,
    /// A certificate that it accepts of its clients, and demands.
    pub client: Leaf,
}

impl RedisServer {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When there is no `redis-server`, or it does not start.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one that has these options too, such as `--maxmemory 1mb` in two words.
    ///
    /// # Panics
    /// When there is no `redis-server`, or it does not start.
    pub async fn start_with(options: &[&str]) -> Self {
        let mut server = Self::prepared(options);
        server.restart().await;
        server
    }

    /// One that demands this password of the default user.
    ///
    /// # Panics
    /// When there is no `redis-server`, or it does not start.
    pub async fn start_with_password(password: &str) -> Self {
        let mut server = Self::prepared(&["--requirepass", password]);
        server.login = vec![password.to_owned()];
        server.restart().await;
        server
    }

    /// One that speaks TLS alone, with a certificate for 127.0.0.1, and asks for one of its own
    /// authority's. With a user of ACLs too, who may use keys and channels of one prefix.
    ///
    /// # Panics
    /// When there is no `redis-server` with TLS, or it does not start.
    pub async fn start_with_tls(options: &[&str]) -> RedisTls {
        let authority = Authority::new("the store's authority");
        let (leaf, client) = (authority.server(&["127.0.0.1"]), authority.client("gateway"));
        let mut server = Self::prepared(options);
        let dir = &server.dir;
        dir.write("ca.pem", &authority.pem);
        dir.write("cert.pem", &leaf.cert);
        dir.write("key.pem", &leaf.key);
        // The port speaks TLS, and no other is open.
        let port = server.address().port().to_string();
        server.is_plain = false;
        let tls = ["--port", "0", "--tls-port", &port, "--tls-cert-file", "cert.pem"];
        let files = ["--tls-key-file", "key.pem", "--tls-ca-cert-file", "ca.pem"];
        server.arguments.extend(tls.into_iter().chain(files).map(str::to_owned));
        server.restart().await;
        RedisTls { server, authority, client }
    }

    /// One that speaks TLS too, on a port of its own, with those alone who show a certificate of
    /// this authority, as it does itself; so do its replicas, and a Cluster that it is of.
    ///
    /// # Panics
    /// When there is no `redis-server` with TLS, or it does not start.
    pub async fn start_secure(authority: &Authority, options: &[&str]) -> Self {
        let mut server = Self::prepared(options);
        let port = Port::reserve();
        let more = secure(&server.dir, authority, port.address());
        let more = more.into_iter().map(|(key, value)| [format!("--{key}"), value]);
        server.arguments.extend(more.flatten());
        server.secure = Some(port);
        server.restart().await;
        server
    }

    /// One that does not run yet: what connects to it is refused until [`RedisServer::restart`].
    pub fn prepared(options: &[&str]) -> Self {
        let arguments = options.iter().map(|&word| word.to_owned()).collect();
        let (port, dir) = (Port::reserve(), Dir::new());
        let (secure, child, login) = Default::default();
        Self { port, secure, dir, arguments, child, login, is_plain: true }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The address at which it speaks TLS, if it does; else the same.
    pub fn secure_address(&self) -> SocketAddr {
        self.secure.as_ref().unwrap_or(&self.port).address()
    }

    /// Its URL, without a password.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Its process's id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts it again on the same port, if it does not run, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.launch();
        let (address, login) = (self.address(), self.login.clone());
        let login: Vec<&str> = login.iter().map(String::as_str).collect();
        until("redis-server to answer", async || {
            let status = self.child.as_mut().map(Child::try_wait);
            assert!(
                matches!(status, Some(Ok(None))),
                "redis-server ended: {}",
                self.dir.read("log")
            );
            if !self.is_plain {
                return std::net::TcpStream::connect(address).is_ok();
            }
            let answer = try_ask(address, &login, &["PING"]).await;
            answer.is_ok_and(|answer| answer == Reply::Status("PONG".into()))
        })
        .await;
    }

    fn launch(&mut self) {
        if self.child.is_some() {
            return;
        }
        let open = || {
            let log = self.dir.path().join("log");
            std::fs::File::options().create(true).append(true).open(log).unwrap()
        };
        let port = self.address().port().to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(&self.arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("redis-server: {error}; `cargo xtask test` installs it")
            });
        self.child = Some(child);
    }

    /// Ends it politely, and waits until it has ended.
    pub fn stop(&mut self) {
        self.signal("TERM");
        self.reap();
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
        }
        self.reap();
    }

    /// Lets it hang: its sockets stay open, and nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// One command, on a connection of its own.
    ///
    /// # Panics
    /// When there is no answer in time.
    pub async fn ask(&self, words: &[&str]) -> Reply {
        let login: Vec<&str> = self.login.iter().map(String::as_str).collect();
        ask(self.address(), &login, words).await
    }

    /// Waits until a replica at least has all that was written to this master by now.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn replicated(&self) {
        let all = offset(&self.ask(&["INFO", "replication"]).await.text(), "master_repl_offset:");
        until("a replica to be in step", async || {
            let info = self.ask(&["INFO", "replication"]).await.text();
            let replicas = info.lines().filter(|line| line.starts_with("slave"));
            replicas.into_iter().any(|line| offset(line, "offset=") >= all)
        })
        .await;
    }

    /// All that it has written to its log.
    pub fn said(&self) -> String {
        self.dir.read("log")
    }

    fn signal(&self, name: &str) {
        if let Some(child) = &self.child {
            let kill = format!("kill -{name} {}", child.id());
            let status = Command::new("sh").args(["-c", &kill]).status();
            assert!(status.is_ok_and(|status| status.success()), "{kill}");
        }
    }

    fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }
}

/// Writes the files of one who speaks TLS at an address, and what its configuration says of them.
pub(super) fn secure(
    dir: &Dir,
    authority: &Authority,
    at: SocketAddr,
) -> [(&'static str, String); 7] {
    let (leaf, own) = (authority.server(&["127.0.0.1"]), authority.client("redis"));
    let file = |name: &str, pem: &str| {
        dir.write(name, pem);
        name.to_owned()
    };
    [
        ("tls-port", at.port().to_string()),
        ("tls-replication", "yes".to_owned()),
        ("tls-ca-cert-file", file("ca.pem", &authority.pem)),
        ("tls-cert-file", file("cert.pem", &leaf.cert)),
        ("tls-key-file", file("key.pem", &leaf.key)),
        ("tls-client-cert-file", file("own.pem", &own.cert)),
        ("tls-client-key-file", file("own-key.pem", &own.key)),
    ]
}

/// The number after a key, 0 without one.
fn offset(text: &str, key: &str) -> u64 {
    let rest = text.split_once(key).map_or("", |(_, rest)| rest);
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().unwrap_or(0)
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
