//! A Redis Cluster: three masters, each with a replica.

use std::net::SocketAddr;

use super::reply::{Reply, ask};
use super::server::RedisServer;
use crate::wait::until;
use crate::{Authority, Port};

/// Six servers of a test's own, on free ports.
pub struct Cluster {
    nodes: Vec<Node>,
}

struct Node {
    server: RedisServer,
    /// Where the servers talk among themselves.
    _bus: Port,
    id: String,
}

const SLOTS: u16 = 16_384;

impl Cluster {
    /// Starts it, and waits until all servers agree that it is whole.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn start() -> Self {
        Self::start_with(None, &[]).await
    }

    /// The same, of servers that have these options too, and speak TLS among themselves when there
    /// is an authority for that.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn start_with(authority: Option<&Authority>, more: &[&str]) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..6 {
            let bus = Port::reserve();
            let port = bus.address().port().to_string();
            let mut options = vec!["--cluster-enabled", "yes", "--cluster-port", &port];
            options.extend(["--cluster-node-timeout", "1000"]);
            options.extend(["--cluster-config-file", "nodes.conf"]);
            options.extend(["--repl-diskless-sync-delay", "0"]);
            options.extend(more);
            let server = match authority {
                None => RedisServer::start_with(&options).await,
                Some(authority) => {
                    options.extend(["--tls-cluster", "yes"]);
                    RedisServer::start_secure(authority, &options).await
                }
            };
            let id = server.ask(&["CLUSTER", "MYID"]).await.text();
            nodes.push(Node { server, _bus: bus, id });
        }
        let cluster = Self { nodes };
        cluster.join().await;
        cluster
    }

    async fn join(&self) {
        let first = self.nodes[0].server.address();
        for (number, node) in self.nodes.iter().enumerate() {
            // Different from the start, so that nobody has to give way.
            let epoch = (number + 1).to_string();
            node.server.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
            let (host, port) = (first.ip().to_string(), first.port().to_string());
            let bus = self.nodes[0]._bus.address().port().to_string();
            node.server.ask(&["CLUSTER", "MEET", &host, &port, &bus]).await;
        }
        for (number, node) in self.nodes.iter().take(3).enumerate() {
            let third = SLOTS / 3;
            let from = third * number as u16;
            let to = if number == 2 { SLOTS - 1 } else { from + third - 1 };
            let (from, to) = (from.to_string(), to.to_string());
            let reply = node.server.ask(&["CLUSTER", "ADDSLOTSRANGE", &from, &to]).await;
            assert_eq!(reply.text(), "OK");
        }
        for number in 3..6 {
            let (replica, master) = (&self.nodes[number], &self.nodes[number - 3]);
            until("a replica to know its master", async || {
                let asked = ["CLUSTER", "REPLICATE", &master.id];
                replica.server.ask(&asked).await.text() == "OK"
            })
            .await;
        }
        self.whole().await;
    }

    /// Waits until every server that runs says that the Cluster serves all its slots, and every
    /// replica is in step.
    async fn whole(&self) {
        for node in self.nodes.iter().filter(|node| node.server.pid().is_some()) {
            until("the cluster to be whole", async || {
                let info = node.server.ask(&["CLUSTER", "INFO"]).await.text();
                let known = node.server.ask(&["CLUSTER", "NODES"]).await.text();
                let replication = node.server.ask(&["INFO", "replication"]).await.text();
                let in_step = replication.contains("role:master")
                    || replication.contains("master_link_status:up");
                info.contains("cluster_state:ok") && known.lines().count() == 6 && in_step
            })
            .await;
        }
    }

    /// The servers that run.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let running = self.nodes.iter().filter(|node| node.server.pid().is_some());
        running.map(|node| node.server.address()).collect()
    }

    /// Where these speak TLS, if they do.
    pub fn secure_addresses(&self) -> Vec<SocketAddr> {
        let running = self.nodes.iter().filter(|node| node.server.pid().is_some());
        running.map(|node| node.server.secure_address()).collect()
    }

    /// Takes a slot from the one who has it, so that nobody does; the others are still served.
    ///
    /// # Panics
    /// When a server does not do its part.
    pub async fn lose_slot(&self, slot: u16) {
        let slot = slot.to_string();
        for address in self.addresses() {
            let asked = ["CONFIG", "SET", "cluster-require-full-coverage", "no"];
            assert_eq!(ask(address, &[], &asked).await.text(), "OK");
        }
        for address in self.addresses() {
            let reply = ask(address, &[], &["CLUSTER", "DELSLOTS", &slot]).await;
            assert_eq!(reply.text(), "OK");
        }
    }

    /// Who has a slot, as the others say.
    pub async fn master_of(&self, slot: u16) -> SocketAddr {
        let rows = ask(self.addresses()[0], &[], &["CLUSTER", "SLOTS"]).await;
        let found = rows.list().iter().find(|row| {
            let parts = row.list();
            (parts[0].int()..=parts[1].int()).contains(&slot.into())
        });
        let master = found.map(|row| row.list()[2].list()).expect("somebody has every slot");
        format!("{}:{}", master[0].text(), master[1].text()).parse().expect("an address")
    }

    /// Kills the master of a slot once its replica has all that it has, and waits until that one
    /// has taken over.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn fail_over(&mut self, slot: u16) -> SocketAddr {
        let before = self.master_of(slot).await;
        let dead = self.server(before);
        dead.replicated().await;
        dead.kill();
        let mut now = before;
        until("a replica to take over", async || {
            now = self.master_of(slot).await;
            now != before
        })
        .await;
        until("the cluster to serve again", async || {
            for address in self.addresses() {
                let info = ask(address, &[], &["CLUSTER", "INFO"]).await.text();
                if !info.contains("cluster_state:ok") {
                    return false;
                }
            }
            true
        })
        .await;
        now
    }

    /// Begins to move a slot to another master; [`Moving::finish`] ends it. In between, keys that
    /// are not there any more, or not yet, are answered with `ASK`.
    pub async fn begin_to_move(&self, slot: u16) -> Moving {
        let from = self.master_of(slot).await;
        let masters = self.masters().await;
        let to = *masters.iter().find(|at| **at != from).expect("another master");
        let (here, there) = (self.id(from), self.id(to));
        let number = slot.to_string();
        let importing = ["CLUSTER", "SETSLOT", &number, "IMPORTING", &here];
        assert_eq!(ask(to, &[], &importing).await.text(), "OK");
        let migrating = ["CLUSTER", "SETSLOT", &number, "MIGRATING", &there];
        assert_eq!(ask(from, &[], &migrating).await.text(), "OK");
        Moving { slot, from, to, id: there, masters }
    }

    /// Moves a slot to another master.
    pub async fn migrate_slot(&self, slot: u16) -> SocketAddr {
        let moving = self.begin_to_move(slot).await;
        moving.move_keys().await;
        let to = moving.to;
        moving.finish().await;
        to
    }

    /// A server by its address.
    pub fn server(&mut self, address: SocketAddr) -> &mut RedisServer {
        let found = self.nodes.iter_mut().find(|node| node.server.address() == address);
        &mut found.expect("a server of the test").server
    }

    async fn masters(&self) -> Vec<SocketAddr> {
        let mut masters = Vec::new();
        for address in self.addresses() {
            if ask(address, &[], &["ROLE"]).await.text().starts_with("master") {
                masters.push(address);
            }
        }
        masters
    }

    fn id(&self, address: SocketAddr) -> String {
        let found = self.nodes.iter().find(|node| node.server.address() == address);
        found.expect("a server of the test").id.clone()
    }
}

/// A slot on its way.
pub struct Moving {
    slot: u16,
    from: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    id: String,
    masters: Vec<SocketAddr>,
}

impl Moving {
    /// Moves all keys of the slot.
    pub async fn move_keys(&self) {
        let slot = self.slot.to_string();
        loop {
            let keys = ask(self.from, &[], &["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await;
            let keys: Vec<String> = keys.list().iter().map(Reply::text).collect();
            if keys.is_empty() {
                return;
            }
            let (host, port) = (self.to.ip().to_string(), self.to.port().to_string());
            let mut words = vec!["MIGRATE", &host, &port, "", "0", "5000", "KEYS"];
            words.extend(keys.iter().map(String::as_str));
            let reply = ask(self.from, &[], &words).await;
            assert!(["OK", "NOKEY"].contains(&&*reply.text()), "{reply:?}");
        }
    }

    /// The slot is the other's now.
    pub async fn finish(self) {
        let slot = self.slot.to_string();
        // The new owner first, so that there always is one.
        let mut told = vec![self.to, self.from];
        told.extend(self.masters.iter().filter(|at| **at != self.to && **at != self.from));
        for address in told {
            let reply = ask(address, &[], &["CLUSTER", "SETSLOT", &slot, "NODE", &self.id]).await;
            assert_eq!(reply.text(), "OK");
        }
    }
}
