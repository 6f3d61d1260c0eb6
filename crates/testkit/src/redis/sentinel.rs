//! A master with two replicas, and three sentinels that watch them.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::Reply;
use super::reply::{ask, try_ask};
use super::server::{RedisServer, secure};
use crate::wait::until;
use crate::{Authority, Dir, Port};

/// What the master is called.
pub const MASTER: &str = "main";

/// Six processes of a test's own, on free ports.
pub struct Sentinels {
    servers: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
}

struct Sentinel {
    port: Port,
    secure: Option<Port>,
    _dir: Dir,
    child: Child,
}

impl Sentinels {
    /// Starts them, and waits until the sentinels know each other and both replicas.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn start() -> Self {
        Self::start_with(None, &[], "").await
    }

    /// The same, of servers that have these options too, and sentinels with these lines in their
    /// configuration; all of them speak TLS when there is an authority for that.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn start_with(authority: Option<&Authority>, more: &[&str], lines: &str) -> Self {
        let start = async |own: &[&str]| {
            let options: Vec<&str> = own.iter().chain(&QUICK).chain(more).copied().collect();
            match authority {
                None => RedisServer::start_with(&options).await,
                Some(authority) => RedisServer::start_secure(authority, &options).await,
            }
        };
        let master = start(&[]).await;
        let port = master.secure_address().port().to_string();
        let mut servers = vec![master];
        for _ in 0..2 {
            servers.push(start(&["--replicaof", "127.0.0.1", &port]).await);
        }
        let sentinels = (0..3).map(|_| Sentinel::start(&port, authority, lines)).collect();
        let all = Self { servers, sentinels };
        all.agree().await;
        all
    }

    /// Waits until every sentinel sees the two others and two replicas that are in step.
    async fn agree(&self) {
        for sentinel in &self.sentinels {
            until("the sentinels to agree", async || {
                let words = sentinel.of_master().await;
                let is = |key, value| word(&words, key) == Some(value);
                is("num-other-sentinels", "2") && is("num-slaves", "2") && is("flags", "master")
            })
            .await;
        }
        for replica in &self.servers[1..] {
            until("the replicas to be in step", async || {
                let info = replica.ask(&["INFO", "replication"]).await.text();
                info.contains("master_link_status:up")
            })
            .await;
        }
    }

    /// The sentinels' addresses.
    pub fn sentinels(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(|sentinel| sentinel.port.address()).collect()
    }

    /// Where they speak TLS, if they do.
    pub fn secure_sentinels(&self) -> Vec<SocketAddr> {
        let port =
            |sentinel: &Sentinel| sentinel.secure.as_ref().unwrap_or(&sentinel.port).address();
        self.sentinels.iter().map(port).collect()
    }

    /// Who the sentinels say is the master: where it speaks TLS, if it does.
    pub async fn master(&self) -> SocketAddr {
        let asked = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER];
        let reply = ask(self.sentinels()[0], &[], &asked).await;
        let [host, port] = reply.list() else { panic!("no master: {reply:?}") };
        format!("{}:{}", host.text(), port.text()).parse().expect("an address")
    }

    /// Kills the master once a replica has all that it has, and waits until another server is it.
    /// The one killed stays away.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn fail_over(&mut self) -> SocketAddr {
        let before = self.settled().await;
        let dead = self.server(before);
        dead.replicated().await;
        dead.kill();
        // An election that fails is tried anew after twice the failover timeout only.
        for _ in 0..600 {
            let now = self.master().await;
            if now != before && self.is_master(now).await {
                return self.settled().await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("no other master after a minute");
    }

    /// Waits until all sentinels name one master and find it well, as after a failover it takes
    /// them a while to: who that is.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn settled(&self) -> SocketAddr {
        for _ in 0..600 {
            let mut named = Vec::new();
            for sentinel in &self.sentinels {
                let words = sentinel.of_master().await;
                if word(&words, "flags") == Some("master") {
                    named.extend(word(&words, "port").map(str::to_owned));
                }
            }
            let master = self.master().await;
            let port = master.port().to_string();
            if named.len() == self.sentinels.len() && named.iter().all(|one| *one == port) {
                return master;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("the sentinels do not agree on a master within a minute");
    }

    /// Brings back a server that was killed, as a replica of the present master. The sentinels
    /// would see to that themselves, in their own time.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn rejoin(&mut self, address: SocketAddr) {
        let master = self.master().await.port().to_string();
        let server = self.server(address);
        server.restart().await;
        server.ask(&["REPLICAOF", "127.0.0.1", &master]).await;
        until("it to be in step", async || {
            let info = server.ask(&["INFO", "replication"]).await.text();
            info.contains("master_link_status:up")
        })
        .await;
    }

    /// Makes another server the master while the present one goes on, as a replica.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn switch(&mut self) -> SocketAddr {
        let before = self.master().await;
        until("the sentinels to switch", async || {
            let reply = ask(self.sentinels()[0], &[], &["SENTINEL", "FAILOVER", MASTER]).await;
            reply.text() == "OK"
        })
        .await;
        let mut now = before;
        until("another master", async || {
            now = self.master().await;
            now != before && self.is_master(now).await
        })
        .await;
        now
    }

    async fn is_master(&self, address: SocketAddr) -> bool {
        let server = self.servers.iter().find(|server| server.secure_address() == address);
        let server = server.expect("a server of the test");
        server.ask(&["ROLE"]).await.text().starts_with("master")
    }

    /// A server by its address, as the sentinels know it.
    pub fn server(&mut self, address: SocketAddr) -> &mut RedisServer {
        let found = self.servers.iter_mut().find(|server| server.secure_address() == address);
        found.expect("a server of the test")
    }
}

/// Replicas are in step at once.
const QUICK: [&str; 4] = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];

impl Sentinel {
    fn start(master: &str, authority: Option<&Authority>, lines: &str) -> Self {
        let (port, dir) = (Port::reserve(), Dir::new());
        let mut config = format!(
            "port {}\nbind 127.0.0.1\nsentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {MASTER} 500\n\
             sentinel failover-timeout {MASTER} 3000\n\
             sentinel parallel-syncs {MASTER} 2\n",
            port.address().port()
        );
        config.insert_str(0, lines);
        let at = authority.map(|_| Port::reserve());
        if let (Some(authority), Some(at)) = (authority, &at) {
            for (key, value) in secure(&dir, authority, at.address()) {
                config.insert_str(0, &format!("{key} {value}\n"));
            }
        }
        let file = dir.write("sentinel.conf", config);
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new("redis-server")
            .arg(file)
            .arg("--sentinel")
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("redis-server: {error}; `cargo xtask test` installs it")
            });
        Self { port, secure: at, _dir: dir, child }
    }
}

impl Sentinel {
    /// What it knows of the master, as words: keys and their values in turn.
    async fn of_master(&self) -> Vec<String> {
        let reply = try_ask(self.port.address(), &[], &["SENTINEL", "MASTER", MASTER]).await;
        reply.map(|reply| reply.list().iter().map(Reply::text).collect()).unwrap_or_default()
    }
}

/// The value of a key.
fn word<'w>(words: &'w [String], key: &str) -> Option<&'w str> {
    words.chunks(2).find(|pair| pair[0] == key).and_then(|pair| pair.get(1)).map(String::as_str)
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
