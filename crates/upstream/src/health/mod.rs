//! Active health: one monitor for each endpoint asks it at intervals, spread in time, and what it
//! answers takes it out or brings it back. An operator's orders are not touched.

mod grpc;
mod http;
mod probe;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lockgate_config::model;
use tokio::time::{Instant, sleep_until};

pub(crate) use probe::Prober;

use crate::endpoint::{Endpoint, Health};

/// Why a probe failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFailure {
    /// For the log: what was met, in one line.
    pub error: String,
    /// What that says of the endpoint.
    pub says: Says,
}

/// What a failed probe says of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// It answered badly, or not in time.
    Unhealthy,
    /// Not even a connection could be made.
    Unreachable,
    /// Nothing: this machine had no file descriptor or port left to ask with.
    Nothing,
}

/// The interval between the first probes of an endpoint that has never been well: it has perhaps
/// been started together with the gateway, and its first probe took it out already.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// So many of them.
const FIRST_PROBES: u32 = 30;

/// Probes one endpoint for as long as it runs. No probe begins sooner than nine tenths of an
/// interval after the last one, whoever made that: a monitor before a reload, or an operator.
pub(crate) async fn monitor(endpoint: Arc<Endpoint>, prober: Arc<Prober>) {
    let usual = prober.settings().interval.0.max(Duration::from_millis(10));
    let first = usual.min(FIRST_INTERVAL).mul_f64(fastrand::f64());
    let mut next = Instant::now() + first;
    loop {
        let interval = pace(&endpoint, usual);
        let checked_at = endpoint.probe().checked_at;
        if let Some(soonest) = checked_at.map(|at| at + interval.mul_f64(0.9)) {
            next = next.max(soonest);
        }
        if next > Instant::now() {
            sleep_until(next).await;
            // Somebody else may have asked meanwhile.
            if endpoint.probe().checked_at != checked_at {
                next = Instant::now();
                continue;
            }
        }
        let begun = Instant::now();
        check(&endpoint, &prober).await;
        next = begun + pace(&endpoint, usual).mul_f64(0.9 + 0.2 * fastrand::f64());
    }
}

/// How far apart its probes are.
fn pace(endpoint: &Endpoint, usual: Duration) -> Duration {
    let is_new = !endpoint.is_proven() && endpoint.probe().failures < FIRST_PROBES;
    if is_new && endpoint.health() != Health::Unknown { usual.min(FIRST_INTERVAL) } else { usual }
}

/// Probes once, and takes in the result.
pub(crate) async fn check(endpoint: &Endpoint, prober: &Prober) {
    let began = Instant::now();
    endpoint.probe().checked_at = Some(began);
    let result = prober.probe(endpoint).await;
    take_in(endpoint, prober.settings(), result.map(|()| began.elapsed()));
}

/// Takes in the result of a probe, and logs what it changed. A probe that could not be made leaves
/// all as it was.
fn take_in(endpoint: &Endpoint, settings: &model::Health, result: Result<Duration, ProbeFailure>) {
    if let Err(ProbeFailure { error, says: Says::Nothing }) = &result {
        let (upstream, label) = (endpoint.upstream(), endpoint.label());
        tracing::warn!(%upstream, endpoint = %label, error, "the health check could not be made");
        return;
    }
    let mut record = endpoint.probe();
    let now = SystemTime::now();
    record.last_checked = Some(now);
    match result {
        Ok(took) => {
            record.response_time = Some(took);
            record.error = None;
            record.failures = 0;
            record.successes = record.successes.saturating_add(1);
            let successes = record.successes;
            drop(record);
            came_well(endpoint, settings, successes);
        }
        Err(failure) => {
            record.last_failure = Some(now);
            record.error = Some(failure.error.as_str().into());
            record.successes = 0;
            record.failures = record.failures.saturating_add(1);
            let failures = record.failures;
            drop(record);
            came_ill(endpoint, settings, failures, &failure);
        }
    }
}

fn came_well(endpoint: &Endpoint, settings: &model::Health, successes: u32) {
    match endpoint.health() {
        Health::Healthy => {}
        Health::Unknown => endpoint.set_health(Health::Healthy),
        Health::Unhealthy | Health::Unreachable if successes >= settings.healthy_after => {
            endpoint.set_health(Health::Healthy);
            tracing::info!(
                upstream = %endpoint.upstream(), endpoint = %endpoint.label(), successes,
                "endpoint is healthy again"
            );
        }
        Health::Unhealthy | Health::Unreachable => {}
    }
}

fn came_ill(endpoint: &Endpoint, settings: &model::Health, failures: u32, failure: &ProbeFailure) {
    let (upstream, label, error) = (endpoint.upstream(), endpoint.label(), &failure.error);
    let found = match failure.says {
        Says::Unreachable => Health::Unreachable,
        _ => Health::Unhealthy,
    };
    match endpoint.health() {
        Health::Unhealthy | Health::Unreachable => {
            endpoint.set_health(found);
            tracing::debug!(%upstream, endpoint = %label, failures, error, "health check failed");
        }
        // What an endpoint is that nothing is known of, its first probe decides.
        Health::Healthy if failures < settings.unhealthy_after => {
            tracing::warn!(%upstream, endpoint = %label, failures, error, "health check failed");
        }
        Health::Unknown | Health::Healthy => {
            endpoint.set_health(found);
            tracing::error!(
                %upstream, endpoint = %label, failures, error, "endpoint is unhealthy: taken out"
            );
        }
    }
}

#[cfg(test)]
mod tests;
