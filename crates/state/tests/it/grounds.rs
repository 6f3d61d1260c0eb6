//! The kinds of Redis on which the same must hold, and what each goes through in its life.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lockgate_state::redis::{Address, Login, RedisStore, Servers, Settings};
use lockgate_testkit::redis::{Cluster, MASTER, RedisServer, Sentinels};
use tokio::runtime::Handle;

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
            Self::Cluster(all) => Servers::Cluster(all.addresses().into_iter().map(address).collect()),
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

    /// A gateway's link to it.
    pub(crate) fn store(&self, gateway: &str) -> Arc<RedisStore> {
        let gateway = Arc::from(gateway);
        let control = Handle::current();
        Arc::new(RedisStore::start("shared", &self.settings(), &gateway, &control))
    }

    /// The worst that may happen without a loss: what is written by now is kept. One server loses
    /// its scripts and connections; a master dies; in a Cluster, the slot of a key moves, and then
    /// its new master dies.
    pub(crate) async fn shake(&mut self, key: &[u8]) {
        match self {
            Self::One(server) => {
                server.ask(&["SCRIPT", "FLUSH"]).await;
                server.ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
            }
            Self::Sentinels(all) => {
                all.fail_over().await;
            }
            Self::Cluster(all) => {
                let slot = slot(key);
                all.migrate_slot(slot).await;
                all.fail_over(slot).await;
            }
        }
    }
}

fn address(at: SocketAddr) -> Address {
    Address::new(&at.ip().to_string(), at.port())
}

/// As the specification says it: CRC-16/XMODEM of the tag.
fn slot(key: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(key);
    let tag = text.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let crc = tag.unwrap_or(&text).bytes().fold(0_u16, |mut crc, byte| {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 };
        }
        crc
    });
    crc % 16_384
}
