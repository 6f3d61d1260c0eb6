//! `listeners` and `admin`: where the gateway can be reached.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decode::forms;

/// One listening address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    /// `":8080"` listens on all addresses of both families.
    #[serde(deserialize_with = "forms::listen")]
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// TLS, when it is spoken here.
    #[serde(default)]
    pub tls: Option<ListenerTls>,
    /// Whether connections begin with a PROXY protocol header (only from `trusted_proxies`).
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    /// What is spoken.
    #[serde(default)]
    pub protocol: Protocol,
    /// For `tcp` and `udp`: the upstream's name.
    #[serde(default)]
    pub to: Option<String>,
    /// Answer every plain request with a redirect to https on this port instead of routing it.
    #[serde(default, deserialize_with = "forms::https_port")]
    pub redirect_https: Option<u16>,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    #[default]
    Http,
    Tcp,
    Udp,
}

/// Whether a PROXY protocol header is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    #[default]
    Off,
    Accept,
    Require,
}

/// A listener's TLS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "WrittenTls")]
pub struct ListenerTls {
    /// Certificates, chosen by SNI; the first answers clients that send none that fits.
    pub certificates: Vec<KeyPair>,
    /// PEM file with the authorities that client certificates must come from.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// Whether clients are asked for a certificate.
    pub client_auth: ClientAuth,
}

/// A certificate chain and its key, both PEM files. They are watched, and read again on change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyPair {
    /// The certificate and its chain, PEM.
    #[serde(deserialize_with = "forms::path")]
    pub cert: PathBuf,
    /// The private key, PEM.
    #[serde(deserialize_with = "forms::path")]
    pub key: PathBuf,
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    Off,
    Request,
    Require,
}

/// The admin listener.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Admin {
    /// 127.0.0.1:9901 unless told. `None`: `admin: off`.
    #[serde(deserialize_with = "forms::maybe_listen")]
    #[schemars(with = "Option<String>")]
    pub address: Option<SocketAddr>,
    /// Bearer token for what is not public; never printed. `None`: whoever reaches the loopback.
    #[serde(skip_serializing)]
    pub token: Option<String>,
    /// Paths that need no token to be looked at (GET, HEAD): `/health`, `/metrics`, `/admin/live`
    /// and `/admin/ready` unless told. With `also_on` they are answered twenty times a second for
    /// one client address.
    #[serde(deserialize_with = "forms::words")]
    pub public: Vec<String>,
    /// Not ready (`/admin/ready`) before each endpoint with a health check has been probed once.
    pub wait_for_health: bool,
    /// The directory where what outlives the process is kept: changes made here, their history,
    /// uptime. Unless told, the one that systemd gives (`StateDirectory=`); else nothing is kept.
    #[serde(deserialize_with = "forms::maybe_path")]
    #[schemars(with = "Option<String>")]
    pub state_dir: Option<PathBuf>,
    /// The HTTP listener that shows the same paths too, always behind `auth`, but for those that
    /// are `public`.
    pub also_on: Option<String>,
    /// Who may use it there: a route's `auth`, with the role `admin`.
    #[serde(deserialize_with = "forms::as_written")]
    pub auth: serde_json::Value,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("address", &self.address)
            .field("token", &self.token.as_ref().map(|_| "hidden"))
            .field("public", &self.public)
            .field("wait_for_health", &self.wait_for_health)
            .field("state_dir", &self.state_dir)
            .field("also_on", &self.also_on)
            .field("auth", &self.auth)
            .finish()
    }
}

/// What tells nothing but numbers, and whoever asks for it has no token as a rule.
const PUBLIC: [&str; 4] = ["/health", "/metrics", "/admin/live", "/admin/ready"];

impl Default for Admin {
    fn default() -> Self {
        Self {
            address: Some((std::net::Ipv4Addr::LOCALHOST, 9901).into()),
            token: None,
            public: PUBLIC.map(Into::into).to_vec(),
            wait_for_health: false,
            state_dir: None,
            also_on: None,
            auth: serde_json::Value::Null,
        }
    }
}

/// A listener's TLS as it may be written.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct WrittenTls {
    /// Certificates, chosen by SNI; the first answers clients that send none that fits.
    #[serde(default, deserialize_with = "forms::key_pairs")]
    certificates: Vec<KeyPair>,
    /// Instead of `certificates`: one certificate and its chain, PEM.
    #[serde(default, deserialize_with = "forms::maybe_path")]
    cert: Option<PathBuf>,
    /// The key of `cert`, PEM.
    #[serde(default, deserialize_with = "forms::maybe_path")]
    key: Option<PathBuf>,
    /// PEM file with the authorities that client certificates must come from.
    #[serde(default, deserialize_with = "forms::maybe_path")]
    client_ca: Option<PathBuf>,
    /// Whether clients are asked for a certificate; `require` when there is a `client_ca`.
    #[serde(default, deserialize_with = "forms::some")]
    client_auth: Option<ClientAuth>,
}

impl TryFrom<WrittenTls> for ListenerTls {
    type Error = &'static str;

    fn try_from(written: WrittenTls) -> Result<Self, Self::Error> {
        let mut certificates = written.certificates;
        match (written.cert, written.key) {
            (Some(cert), Some(key)) => certificates.insert(0, KeyPair { cert, key }),
            (None, None) => {}
            (Some(_), None) => return Err("`cert` needs its `key`"),
            (None, Some(_)) => return Err("`key` needs its `cert`"),
        }
        if certificates.is_empty() {
            return Err("TLS needs a certificate: `certificates: [{ cert, key }]`");
        }
        let asked = if written.client_ca.is_some() { ClientAuth::Require } else { ClientAuth::Off };
        let client_auth = written.client_auth.unwrap_or(asked);
        if client_auth != ClientAuth::Off && written.client_ca.is_none() {
            return Err("`client_auth` needs a `client_ca` to check certificates against");
        }
        Ok(Self { certificates, client_ca: written.client_ca, client_auth })
    }
}
