//! What is known of an upstream, as plain values for the next process: how its endpoints are and
//! were, and whether its breaker is open. That process takes what is newer than its own findings;
//! it refuses nothing, as whatever it does not understand is learned again.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockgate_config::model::Outlier;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::endpoint::{Endpoint, Health};
use crate::outlier::longest;
use crate::upstream::Upstream;
use crate::view::epoch_ms;

/// Most characters of what a probe met.
const MOST_ERROR: usize = 256;

/// What is known of an upstream. Times are milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    pub upstream: String,
    /// How long its breaker stays open; 0 when it is to be tried. `None`: closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker_open_ms: Option<u64>,
    endpoints: Vec<KnownEndpoint>,
}

/// What is known of an endpoint. `_ago` are ages; others of the day are since 1970.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct KnownEndpoint {
    name: String,
    address: String,
    health: Health,
    /// Whether it was healthy once.
    proven: bool,
    successes: u32,
    failures: u32,
    checked_ms_ago: Option<u64>,
    last_checked_ms: Option<u64>,
    last_failure_ms: Option<u64>,
    response_time_ms: Option<u64>,
    error: Option<String>,
    ejected_for_ms: Option<u64>,
    /// How often it was ejected of late.
    ejections: u32,
    failures_in_a_row: u32,
}

impl Known {
    /// How many endpoints it tells of.
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether it tells of none.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }
}

impl Upstream {
    /// What is known of it now.
    pub fn known(&self) -> Known {
        let now = Instant::now();
        let outlier = self.settings().outlier.as_ref();
        let all = self.set();
        Known {
            upstream: self.name().to_string(),
            breaker_open_ms: self.breaker().and_then(|breaker| breaker.open_for(now)).map(millis),
            endpoints: all.endpoints().iter().map(|one| one.known(now, outlier)).collect(),
        }
    }

    /// Takes in what another process knew, where nothing newer is known.
    pub fn recall(&self, known: &Known) {
        let now = Instant::now();
        if let Some(breaker) = self.breaker() {
            breaker.recall(known.breaker_open_ms.map(Duration::from_millis), now);
        }
        let by_place: HashMap<(&str, &str), &KnownEndpoint> = known
            .endpoints
            .iter()
            .map(|one| ((one.name.as_str(), one.address.as_str()), one))
            .collect();
        for endpoint in self.set().endpoints() {
            let Some(known) = by_place.get(&(&**endpoint.name(), &**endpoint.label())) else {
                continue;
            };
            if self.settings().health.is_some() {
                endpoint.recall_probes(known, now);
            }
            if let Some(outlier) = &self.settings().outlier {
                endpoint.recall_ejection(known, outlier, now);
            }
        }
    }
}

impl Endpoint {
    fn known(&self, now: Instant, outlier: Option<&Outlier>) -> KnownEndpoint {
        let probe = self.probe().clone();
        KnownEndpoint {
            name: self.name().to_string(),
            address: self.label().to_string(),
            health: self.health(),
            proven: self.is_proven(),
            successes: probe.successes,
            failures: probe.failures,
            checked_ms_ago: probe.checked_at.map(|at| millis(now.saturating_duration_since(at))),
            last_checked_ms: probe.last_checked.map(epoch_ms),
            last_failure_ms: probe.last_failure.map(epoch_ms),
            response_time_ms: probe.response_time.map(millis),
            error: probe.error.map(|error| error.chars().take(MOST_ERROR).collect()),
            ejected_for_ms: self
                .ejected_until(now)
                .map(|until| millis(until.saturating_duration_since(now))),
            ejections: outlier.map_or(0, |outlier| self.passive.times(outlier, self.clock(now))),
            failures_in_a_row: self.passive.consecutive.load(Relaxed),
        }
    }

    fn recall_probes(&self, known: &KnownEndpoint, now: Instant) {
        let Some(ago) = known.checked_ms_ago.filter(|_| known.health != Health::Unknown) else {
            return;
        };
        let checked_at = now.checked_sub(Duration::from_millis(ago)).unwrap_or(now);
        let mut record = self.probe();
        // One of its own that is under way has found nothing yet.
        if self.health() != Health::Unknown && record.checked_at > Some(checked_at) {
            return;
        }
        record.checked_at = record.checked_at.max(Some(checked_at));
        record.last_checked = known.last_checked_ms.and_then(time);
        record.last_failure = known.last_failure_ms.and_then(time);
        record.response_time = known.response_time_ms.map(Duration::from_millis);
        record.error = known.error.as_deref().map(Into::into);
        (record.successes, record.failures) = (known.successes, known.failures);
        drop(record);
        if known.proven {
            self.prove();
        }
        self.set_health(known.health);
    }

    fn recall_ejection(&self, known: &KnownEndpoint, settings: &Outlier, now: Instant) {
        let left = known.ejected_for_ms.map(Duration::from_millis);
        let left = left.map(|left| left.min(longest(settings)));
        self.passive.recall(
            known.ejections,
            known.failures_in_a_row,
            self.clock(now + left.unwrap_or_default()),
        );
        if let Some(left) = left {
            self.eject(now, left);
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn time(epoch_ms: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(epoch_ms))
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
