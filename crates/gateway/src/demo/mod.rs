//! The demo: five small services over real sockets, the configuration that puts the gateway in
//! front of them, and what to try. They are for trying things on: in memory, on the loopback
//! alone, and with a switch (`/_fault`) to be slow, to fail or to refuse connections.

pub(crate) mod accounts;
mod asking;
pub(crate) mod bank;
pub(crate) mod cluster;
mod fault;
mod message;
mod processes;
mod records;
mod rest;
mod service;
mod text;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use records::Records;
use service::{Instance, Panel};

pub(crate) use processes::become_child;
pub(crate) use text::{config, hints};

/// The services listen on the five ports after this one.
pub(crate) const DEFAULT_PORT_BASE: u16 = 3000;
const GATEWAY_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9901;

/// What is served: a name, which is the resource too, and its ports' distances from the base.
/// Two instances of one service share their records, as replicas over one database would.
const SERVICES: [(&str, &[u16]); 4] =
    [("users", &[1, 2]), ("orders", &[3]), ("products", &[4]), ("stats", &[5])];

/// Every port of the demo. A base other than 3000 moves all of them by the same distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    base: u16,
}

impl Ports {
    /// # Errors
    /// When a port would fall outside of 1 to 65535.
    pub(crate) fn new(base: u16) -> anyhow::Result<Self> {
        let most = u16::MAX - (ADMIN_PORT - DEFAULT_PORT_BASE);
        if base == 0 || base > most {
            bail!("--port-base {base}: expected a number from 1 to {most}");
        }
        Ok(Self { base })
    }

    /// Where a port of the default demo stands in this one.
    fn moved(self, port: u16) -> u16 {
        self.base.saturating_add(port.saturating_sub(DEFAULT_PORT_BASE))
    }
}

/// The running services. They stop when this is dropped.
pub(crate) struct Services {
    _tasks: JoinSet<()>,
}

impl Services {
    /// Starts all five on the ports after `port_base`. Call it on the control runtime.
    ///
    /// # Errors
    /// When a port is taken: which one, whose it should have been, and what to do.
    pub(crate) async fn start(at: IpAddr, port_base: u16) -> anyhow::Result<Self> {
        Ports::new(port_base)?;
        let mut places = Vec::new();
        for (name, distances) in SERVICES {
            let records = Arc::new(Records::seeded(name));
            for distance in distances {
                let port = port_base.saturating_add(*distance);
                let socket = bind(SocketAddr::new(at, port), name).await?;
                places.push((name, Arc::clone(&records), socket));
            }
        }
        Self::run(places)
    }

    fn run(places: Vec<(&'static str, Arc<Records>, TcpListener)>) -> anyhow::Result<Self> {
        let mut instances = Vec::new();
        let mut sockets = Vec::new();
        for (name, records, socket) in places {
            instances.push(Arc::new(Instance::new(name, socket.local_addr()?, records)));
            sockets.push(socket);
        }
        let panel: Panel = instances.iter().map(Arc::clone).collect();
        let mut tasks = JoinSet::new();
        for (instance, socket) in instances.into_iter().zip(sockets) {
            tasks.spawn(service::serve(instance, Arc::clone(&panel), socket));
        }
        Ok(Self { _tasks: tasks })
    }
}

async fn bind(address: SocketAddr, service: &str) -> anyhow::Result<TcpListener> {
    let port = address.port();
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "port {port}, for the demo's service `{service}`, cannot be listened on; end what \
             holds it (`ss -ltnp 'sport = :{port}'` shows it), or move the whole demo, say with \
             --port-base 13000"
        )
    })
}
