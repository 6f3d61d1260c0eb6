//! `listeners` and `admin`: where the gateway can be reached.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

/// One listening address.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listener {
    /// `":8080"` listens on all addresses of both families.
    pub address: SocketAddr,
    /// TLS, when it is spoken here.
    pub tls: Option<ListenerTls>,
    /// Whether connections begin with a PROXY protocol header (only from `trusted_proxies`).
    pub proxy_protocol: ProxyProtocol,
    /// What is spoken.
    pub protocol: Protocol,
    /// For `tcp` and `udp`: the upstream's name.
    pub to: Option<String>,
    /// Answer every plain request with a redirect to https on this port instead of routing it.
    pub redirect_https: Option<u16>,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Http,
    Tcp,
    Udp,
}

/// Whether a PROXY protocol header is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    Off,
    Accept,
    Require,
}

/// A listener's TLS.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListenerTls {
    /// Certificates, chosen by SNI; the first answers clients that send none that fits.
    pub certificates: Vec<KeyPair>,
    /// PEM file with the authorities that client certificates must come from.
    pub client_ca: Option<PathBuf>,
    /// Whether clients are asked for a certificate.
    pub client_auth: ClientAuth,
}

/// A certificate chain and its key, both PEM files. They are watched, and read again on change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyPair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    Off,
    Request,
    Require,
}

/// The admin listener.
#[derive(Clone, PartialEq, Serialize)]
pub struct Admin {
    /// 127.0.0.1:9901 unless told. `None`: `admin: off`.
    pub address: Option<SocketAddr>,
    /// Bearer token for what is not public; never printed. `None`: whoever reaches the loopback.
    #[serde(skip)]
    pub token: Option<String>,
    /// Paths that need no token: `/health` and `/metrics` unless told.
    pub public: Vec<String>,
    /// The HTTP listener that shows it too, under `/admin`. Read, not yet used.
    pub also_on: Option<String>,
    /// Who may use it there, as written. Read, not yet used.
    pub auth: serde_json::Value,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("address", &self.address)
            .field("token", &self.token.as_ref().map(|_| "hidden"))
            .field("public", &self.public)
            .field("also_on", &self.also_on)
            .field("auth", &self.auth)
            .finish()
    }
}
