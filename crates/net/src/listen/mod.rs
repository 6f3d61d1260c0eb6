//! Listening: sockets, connection limits, the PROXY protocol, and which protocol is spoken.
//!
//! Each worker accepts on a socket of its own. A client over a limit is closed at once; one that
//! says nothing costs a task and no buffer.

mod accept;
mod connection;
mod limits;
mod proxy_protocol;
mod sniff;
mod socket;
#[cfg(test)]
mod tests;

pub use accept::accept;
pub use limits::{Counters, Gate};
pub use socket::bind;

use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use lockgate_config::model::{Http, Listener, ProxyProtocol};

use crate::tls::ServerTls;

/// What a reload may change of a listener. Open connections keep what they began with.
pub struct Settings {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Limits and timeouts.
    pub http: Http,
    /// Whose PROXY headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// TLS, when it is spoken.
    pub tls: Option<Arc<ServerTls>>,
}

impl Settings {
    /// The settings of one listener of a document.
    pub fn new(
        name: &str,
        listener: &Listener,
        http: &Http,
        trusted_proxies: &[IpNet],
        tls: Option<Arc<ServerTls>>,
    ) -> Self {
        Self {
            name: name.into(),
            http: http.clone(),
            trusted_proxies: trusted_proxies.to_vec(),
            proxy_protocol: listener.proxy_protocol,
            tls,
        }
    }

    fn trusts(&self, address: std::net::IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&address))
    }
}

/// A listener, shared by all workers.
pub struct ListenerState {
    settings: ArcSwap<Settings>,
    gate: Arc<Gate>,
}

impl ListenerState {
    /// A listener. All listeners of a process share one gate.
    pub fn new(settings: Settings, gate: Arc<Gate>) -> Arc<Self> {
        Arc::new(Self { settings: ArcSwap::from_pointee(settings), gate })
    }

    /// Changes what new connections get.
    pub fn replace(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// What new connections get.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }
}
