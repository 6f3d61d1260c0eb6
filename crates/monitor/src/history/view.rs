//! What is shown of the history: plain values. Moments are milliseconds since 1970.

use std::sync::Arc;

use lockgate_core::Standing;
use lockgate_telemetry::Latency;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::line::{Span, Sums};

/// An upstream and its endpoints.
#[derive(Debug, Clone, Serialize)]
pub struct UpstreamUptime {
    /// The upstream's name.
    pub name: Arc<str>,
    /// How it was.
    #[serde(flatten)]
    pub past: Past,
    /// Its endpoints as they are now.
    pub endpoints: Vec<EndpointUptime>,
}

/// An endpoint.
#[derive(Debug, Clone, Serialize)]
pub struct EndpointUptime {
    /// As configured.
    pub name: Arc<str>,
    /// Its address.
    pub address: Arc<str>,
    /// How it was.
    #[serde(flatten)]
    pub past: Past,
}

/// How something was.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Past {
    /// How it is; `None` before it has been looked at.
    pub standing: Option<Standing>,
    /// Since when it is so.
    pub since: Option<u64>,
    /// Since when anything is known of it.
    #[serde(rename = "knownSince")]
    pub known_since: Option<u64>,
    /// Over 24 hours, 7, 30 and 90 days.
    pub windows: Vec<WindowPast>,
    /// The newest times of one standing each, the newest first.
    pub intervals: Vec<Span>,
    /// The share of each of the last 90 days (UTC) that it served, the oldest first.
    pub days: Vec<Option<f64>>,
}

/// How something was in one window of time.
#[derive(Debug, Clone, Serialize)]
pub struct WindowPast {
    /// `1h`, `24h`, `7d`, `30d` or `90d`.
    pub window: &'static str,
    /// The share of the time that it served, of the time in which it should have and was looked
    /// at; `None` when there is none.
    pub availability: Option<f64>,
    /// Seconds of each standing. What is left to the window's length is time in which nobody
    /// looked.
    pub seconds: Seconds,
    /// How long answers took: for an upstream from the last attempt's start to the head of its
    /// answer, for an endpoint its probes. Milliseconds.
    #[serde(serialize_with = "stats")]
    pub response: Latency,
}

/// As `/admin/metrics` tells latencies.
fn stats<S: Serializer>(of: &Latency, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(7))?;
    map.serialize_entry("count", &of.count)?;
    for (key, ms) in [
        ("min", of.min_ms),
        ("max", of.max_ms),
        ("avg", of.avg_ms),
        ("p50", of.p50_ms),
        ("p90", of.p90_ms),
        ("p99", of.p99_ms),
    ] {
        map.serialize_entry(key, &ms)?;
    }
    map.end()
}

/// Seconds of each standing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Seconds {
    /// It served.
    pub up: f64,
    /// It served, but not as it should.
    pub degraded: f64,
    /// It did not serve.
    pub down: f64,
    /// An operator had taken it out.
    pub out: f64,
    /// All of these.
    pub observed: f64,
}

impl From<Sums> for Seconds {
    fn from(sums: Sums) -> Self {
        let seconds = |ms: u64| ms as f64 / 1e3;
        Self {
            up: seconds(sums.up),
            degraded: seconds(sums.degraded),
            down: seconds(sums.down),
            out: seconds(sums.out),
            observed: seconds(sums.observed()),
        }
    }
}

/// Where the history is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "where", rename_all = "snake_case")]
pub enum KeptWhere {
    /// On disk, over restarts.
    Disk {
        /// The directory.
        directory: String,
    },
    /// In memory, for as long as this process lives.
    Memory {
        /// Why not on disk.
        why: String,
    },
}
