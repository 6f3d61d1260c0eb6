//! What admin, metrics and `explain` are shown of an upstream: plain values, taken at one moment.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockgate_config::model::Balance;
use serde::Serialize;
use tokio::time::Instant;

use crate::breaker::Phase;
use crate::endpoint::{Endpoint, Health, Override};
use crate::upstream::Upstream;

/// An upstream at one moment.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamView {
    pub name: String,
    pub balance: Balance,
    /// Endpoints that take requests now.
    pub usable: usize,
    pub endpoints: Vec<EndpointView>,
    pub breaker: Option<BreakerView>,
    /// Requests and retries of the last ten seconds.
    pub requests: u64,
    pub retries: u64,
}

/// A breaker at one moment.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerView {
    pub phase: Phase,
    /// How often it has opened.
    pub opened: u64,
}

/// An endpoint at one moment. Times of day are milliseconds since 1970.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// As configured.
    pub name: String,
    pub address: String,
    pub weight: u32,
    pub zone: Option<String>,
    pub priority: u32,
    /// Whether it takes requests now.
    pub usable: bool,
    /// Why not, in words.
    pub reason: Option<String>,
    pub health: Health,
    /// Whether it counts as healthy: not yet probed does.
    pub healthy: bool,
    #[serde(rename = "override")]
    pub ordered: Override,
    pub in_flight: u32,
    pub connections: u32,
    /// The peak-sensitive average of its latency.
    pub latency_ms: Option<f64>,
    /// Failures in a row: of probes, and of requests.
    pub consecutive_failures: u32,
    pub consecutive_request_failures: u32,
    pub ejected_for_ms: Option<u64>,
    pub ejections: u64,
    pub last_checked_ms: Option<u64>,
    pub last_failure_ms: Option<u64>,
    /// Of the last probe that was answered.
    pub response_time_ms: Option<f64>,
    pub last_error: Option<String>,
}

/// What probes have found of an endpoint, in numbers alone.
#[derive(Debug, Clone, Copy)]
pub struct Probed {
    /// Failures in a row.
    pub failures: u32,
    /// When the last one was made, in milliseconds since 1970.
    pub checked_ms: Option<u64>,
    /// How long it took, if it was answered.
    pub took: Option<Duration>,
}

impl Upstream {
    /// Its state now.
    pub fn view(&self) -> UpstreamView {
        let now = Instant::now();
        let set = self.set();
        let endpoints: Vec<_> = set.endpoints().iter().map(|e| e.view(now)).collect();
        let (requests, retries) = self.budget().spent();
        UpstreamView {
            name: self.name().to_string(),
            balance: self.settings().balance.clone(),
            usable: endpoints.iter().filter(|e| e.usable).count(),
            endpoints,
            breaker: self
                .breaker()
                .map(|breaker| BreakerView { phase: breaker.phase(), opened: breaker.opened() }),
            requests,
            retries,
        }
    }
}

impl Endpoint {
    /// What probes have found of it.
    pub fn probed(&self) -> Probed {
        let probe = self.probe();
        Probed {
            failures: probe.failures,
            checked_ms: probe.last_checked.map(epoch_ms),
            took: probe.response_time.filter(|_| probe.failures == 0),
        }
    }

    /// Its state now.
    pub fn view(&self, now: Instant) -> EndpointView {
        let out = self.usable(now).err();
        let reason = out.map(|out| self.why(out));
        let probe = self.probe().clone();
        let health = self.health();
        EndpointView {
            name: self.name().to_string(),
            address: self.label().to_string(),
            weight: self.weight(),
            zone: probe.zone.map(Into::into),
            priority: self.priority(),
            usable: out.is_none(),
            reason,
            health,
            healthy: matches!(health, Health::Unknown | Health::Healthy),
            ordered: self.ordered(),
            in_flight: self.in_flight(),
            connections: self.connections().load(Relaxed),
            latency_ms: self.latency.read(self.clock(now)).map(|l| l.as_secs_f64() * 1e3),
            consecutive_failures: probe.failures,
            consecutive_request_failures: self.passive.consecutive.load(Relaxed),
            ejected_for_ms: self
                .ejected_until(now)
                .map(|until| until.saturating_duration_since(now).as_millis() as u64),
            ejections: self.passive.total.load(Relaxed),
            last_checked_ms: probe.last_checked.map(epoch_ms),
            last_failure_ms: probe.last_failure.map(epoch_ms),
            response_time_ms: probe.response_time.map(|time| time.as_secs_f64() * 1e3),
            last_error: probe.error.map(Into::into),
        }
    }
}

pub(crate) fn epoch_ms(time: SystemTime) -> u64 {
    let age = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(age).unwrap_or(u64::MAX)
}
