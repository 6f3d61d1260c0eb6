//! How services are and were, as the public may see it: names and history, and nothing else.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It serves.
    Up,
    /// It serves, but not as it should.
    Degraded,
    /// It does not serve.
    Down,
    /// An operator has taken it out: that is no failure.
    Out,
}

impl Standing {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Out => "out",
        }
    }
}

/// The windows over which a service's availability is told: their words and hours.
pub const WINDOWS: [(&str, u64); 4] = [("24h", 24), ("7d", 168), ("30d", 720), ("90d", 2160)];

/// One service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceStatus {
    /// The upstream's name.
    pub name: Arc<str>,
    /// How it is; `None` before it has been looked at.
    pub standing: Option<Standing>,
    /// Since when, in milliseconds since 1970.
    pub since: Option<u64>,
    /// The share of the time that it served, over each of [`WINDOWS`]; `None`: nobody looked.
    pub availability: [Option<f64>; 4],
    /// The same of each of the last 90 days, the oldest first, today last.
    pub days: Vec<Option<f64>>,
}

/// All services at one moment, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// When that was.
    pub at: SystemTime,
    /// The services.
    pub services: Vec<ServiceStatus>,
}

/// Knows how services are. Asked on a worker: it must not wait.
pub trait Board: Send + Sync {
    /// As it was a moment ago.
    fn status(&self) -> Arc<Status>;
}
