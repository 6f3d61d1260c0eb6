//! The kinds of Redis on which the same must hold, and what each goes through in its life.

use std::net::SocketAddr;
use std::time::Duration;

use lockgate_state::redis::{Address, Login, Servers, Settings};
use lockgate_testkit::redis::{Cluster, MASTER, RedisServer, Reply, Sentinels, ask};

/// A Redis of some kind, with servers of its own.
pub(crate) enum Ground {
    /// One server.
    One(RedisServer),
    /// A master, its replicas and sentinels.
    Sentinels(Sentinels),
    /// A Cluster of six.
    Cluster(Cluster),
}

impl Ground {
    /// One of each kind, one after the other.
    pub(crate) async fn each(mut on: impl AsyncFnMut(Self)) {
        on(Self::One(RedisServer::start().await)).await;
        on(Self::Sentinels(Sentinels::start().await)).await;
        on(Self::Cluster(Cluster::start().await)).await;
    }

    /// How it is reached, with time enough for a busy machine.
    pub(crate) fn settings(&self) -> Settings {
        let servers = match self {
            Self::One(server) => Servers::One(address(server.address())),
            Self::Sentinels(all) => Servers::Sentinel {
                master: MASTER.into(),
                sentinels: all.sentinels().into_iter().map(address).collect(),
                login: Login::default(),
            },
            Self::Cluster(all) => {
                Servers::Cluster(all.addresses().into_iter().map(address).collect())
            }
        };
        Settings {
            servers,
            login: Login::default(),
            tls: None,
            database: 0,
            prefix: "test".into(),
            timeout: Some(Duration::from_secs(5)),
        }
    }

    /// The worst that may happen without a loss: what is written by now is kept. One server loses
    /// its scripts and connections; a master dies; in a Cluster, a slot that is in use moves, and
    /// then its new master dies.
    pub(crate) async fn shake(&mut self) {
        match self {
            Self::One(server) => {
                server.ask(&["SCRIPT", "FLUSH"]).await;
                server.ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
            }
            Self::Sentinels(all) => {
                all.fail_over().await;
            }
            Self::Cluster(all) => {
                let slot = in_use(all).await;
                all.migrate_slot(slot).await;
                all.fail_over(slot).await;
            }
        }
    }
}

/// The slot of a key that is not the gateways' own.
async fn in_use(all: &Cluster) -> u16 {
    for address in all.addresses() {
        let keys = ask(address, &[], &["KEYS", "test:*"]).await;
        let key = keys.list().iter().map(Reply::text).find(|key| !key.contains(":live:"));
        if let Some(key) = key {
            let slot = ask(address, &[], &["CLUSTER", "KEYSLOT", &key]).await.int();
            return u16::try_from(slot).unwrap();
        }
    }
    0
}

fn address(at: SocketAddr) -> Address {
    Address::new(&at.ip().to_string(), at.port())
}
