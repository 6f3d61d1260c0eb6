//! How a Redis is reached, in the store's own words.

use std::fmt;
use std::time::Duration;

/// A Redis, as the configuration says it. Two that are equal can share connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its servers.
    pub servers: Servers,
    /// Who the gateway is to it.
    pub login: Login,
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
}

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
