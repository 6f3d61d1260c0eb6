//! How a Redis is reached, in the store's own words.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lockgate_core::SendFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A Redis, as the configuration says it. Two that are equal can share connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its servers.
    pub servers: Servers,
    /// Who the gateway is to it.
    pub login: Login,
    /// TLS, when it is spoken.
    pub tls: Option<Tls>,
    /// The database; Clusters have but the first.
    pub database: u16,
    /// What every key begins with.
    pub prefix: String,
    /// How long a call may take, where the configuration says it for all of them.
    pub timeout: Option<Duration>,
}

/// What a store consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Servers {
    /// One server.
    One(Address),
    /// A Cluster, by some of its servers.
    Cluster(Vec<Address>),
    /// The master of this name, and the sentinels that know it.
    Sentinel {
        /// The master's name.
        master: String,
        /// The sentinels.
        sentinels: Vec<Address>,
        /// Who the gateway is to the sentinels.
        login: Login,
    },
}

/// TLS, done by who may: this room knows nothing of it.
#[derive(Clone)]
pub struct Tls {
    /// Stands for all that is set of it, the content of its files included.
    pub mark: u64,
    /// What does it.
    pub secure: Arc<dyn Secure>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.mark == other.mark
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// Makes a connection secret, and certain of whom it is with.
pub trait Secure: Send + Sync {
    /// Does the handshake with a host, whose certificate is verified.
    ///
    /// # Errors
    /// Why the host cannot be trusted.
    fn secure(&self, stream: TcpStream, host: &str) -> SendFuture<io::Result<Box<dyn Stream>>>;
}

/// A stream of bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Its name or IP address.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
}

impl Address {
    /// An address.
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A user and a password; both are kept out of every text.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// The user; without one, the server's default.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.password.is_some() { "Login(***)" } else { "Login(none)" })
    }
}
