//! One redis-server as a process.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::reply::{Reply, ask, try_ask};
use crate::wait::until;
use crate::{Dir, Port};

/// A running redis-server of a test's own. It keeps nothing on the disk unless told to; dropping it
/// kills it.
pub struct RedisServer {
    port: Port,
    dir: Dir,
    arguments: Vec<String>,
    child: Option<Child>,
    /// User and password, or the password alone, of the test's own questions.
    login: Vec<String>,
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

    /// One that does not run yet: what connects to it is refused until [`RedisServer::restart`].
    pub fn prepared(options: &[&str]) -> Self {
        let arguments = options.iter().map(|&word| word.to_owned()).collect();
        let (port, dir) = (Port::reserve(), Dir::new());
        Self { port, dir, arguments, child: None, login: Vec::new() }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
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

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
