//! What is looked at: handles to a running gateway, and how what they show is read as a standing.

use std::sync::Arc;

use lockgate_config::model::Document;
use lockgate_core::Standing;
use lockgate_telemetry::Totals;
use lockgate_upstream::{Endpoint, Health, Out, Phase, Upstream, Upstreams};
use tokio::time::Instant;

/// A view of a running gateway. What it answers is had without waiting.
pub trait Sight: Send + Sync {
    /// The configuration in force.
    fn document(&self) -> Arc<Document>;
    /// Its number.
    fn generation(&self) -> u64;
    /// Its upstreams.
    fn upstreams(&self) -> Arc<Upstreams>;
    /// All figures.
    fn totals(&self) -> Totals;
    /// Lines of the access log that were lost.
    fn lines_dropped(&self) -> u64;
    /// The certificates that listeners serve.
    fn certificates(&self) -> Vec<Served>;
    /// The stores that are elsewhere.
    fn stores(&self) -> Vec<StoreSeen>;
    /// Whether the process is about to end.
    fn draining(&self) -> bool;
}

/// A served certificate.
#[derive(Debug, Clone)]
pub struct Served {
    /// The file that it is read from.
    pub file: String,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
}

/// A store that is elsewhere.
#[derive(Debug, Clone)]
pub struct StoreSeen {
    /// Its name in the configuration.
    pub name: String,
    /// Whether a server of it is not asked now, as it is not well.
    pub failing: bool,
}

/// How an endpoint is.
pub(crate) fn endpoint(endpoint: &Endpoint, failures: u32, now: Instant) -> Standing {
    match endpoint.usable(now) {
        Ok(()) | Err(Out::AtLimit) if failures > 0 => Standing::Degraded,
        Ok(()) | Err(Out::AtLimit) => Standing::Up,
        Err(Out::Down { .. } | Out::Ejected { .. }) => Standing::Down,
        Err(Out::Overridden | Out::Draining | Out::NoWeight) => Standing::Out,
    }
}

/// How an upstream is, by its endpoints: those that are out by hand do not count.
pub(crate) fn upstream(upstream: &Upstream, endpoints: &[Standing]) -> Standing {
    let count = |wanted| endpoints.iter().filter(|standing| **standing == wanted).count();
    let (up, degraded, down) =
        (count(Standing::Up), count(Standing::Degraded), count(Standing::Down));
    let open = upstream.breaker().is_some_and(|breaker| breaker.phase() == Phase::Open);
    match (up + degraded, down) {
        (0, 0) if !endpoints.is_empty() => Standing::Out,
        (0, _) => Standing::Down,
        _ if open => Standing::Down,
        (_, 0) if degraded == 0 => Standing::Up,
        _ => Standing::Degraded,
    }
}

/// Whether anything is known of an upstream: one that is probed is not, before its first probes.
pub(crate) fn is_known(upstream: &Upstream, endpoint: &Endpoint) -> bool {
    upstream.settings().health.is_none() || endpoint.health() != Health::Unknown
}
