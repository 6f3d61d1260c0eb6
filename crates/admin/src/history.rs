//! The last hour, for charts: a sample every five seconds, in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockgate_telemetry::Totals;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::Handles;
use crate::rates::{Now, Point, Rates};

/// Between two samples.
pub(crate) const EVERY: Duration = Duration::from_secs(5);
/// An hour of them.
pub(crate) const MOST: usize = 720;

/// What five seconds were like.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    /// Seconds since 1970 at its end.
    pub(crate) at: u64,
    /// Requests that had ended since the start.
    pub(crate) total: u64,
    /// Requests that ended, a second.
    pub(crate) requests: f64,
    /// Those of them with a status of 400 to 499, a second.
    pub(crate) refused: f64,
    /// Those of them with a status of 500 or above, a second.
    pub(crate) errors: f64,
    /// Of the requests that ended.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) in_flight: u64,
    pub(crate) connections: u64,
}

/// Samples, the oldest first, and the rates of what they are made up of.
#[derive(Default)]
pub struct History {
    samples: Mutex<VecDeque<Sample>>,
    rates: Rates,
}

impl History {
    /// All there are.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// The newest.
    pub(crate) fn last(&self) -> Sample {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.back().copied().unwrap_or_default()
    }

    /// What routes, upstreams and workers did in the last five seconds.
    pub(crate) fn now(&self) -> Arc<Now> {
        self.rates.now()
    }

    /// A route's hour, if it is among those that have one.
    pub(crate) fn line(&self, route: &str) -> Option<Vec<Point>> {
        self.rates.line(route)
    }

    fn add(&self, sample: Sample) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == MOST {
            samples.pop_front();
        }
        samples.push_back(sample);
    }
}

/// Takes samples until it is dropped.
pub(crate) async fn sample(handles: Arc<Handles>) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut since) = (handles.shared.metrics.snapshot(), Instant::now());
    loop {
        tick.tick().await;
        let (now, at) = (handles.shared.metrics.snapshot(), Instant::now());
        let took = at.duration_since(since).as_secs_f64();
        if took > 0.5 {
            handles.history.add(between(&before, &now, took));
            handles.history.rates.add(&before, &now, took);
            (before, since) = (now, at);
        }
    }
}

fn between(before: &Totals, now: &Totals, seconds: f64) -> Sample {
    let latency = now.latency_since(before);
    let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Sample {
        at,
        total: now.requests,
        requests: rate(now.requests, before.requests),
        refused: rate(refused(&now.by_status), refused(&before.by_status)),
        errors: rate(errors(now), errors(before)),
        p50_ms: latency.p50_ms,
        p99_ms: latency.p99_ms,
        in_flight: now.in_flight,
        connections: now.connections,
    }
}

/// Answers that tell of an error on this side: 500 and above.
pub(crate) fn errors(totals: &Totals) -> u64 {
    failed(&totals.by_status)
}

/// Of these statuses, how many are 500 and above.
pub(crate) fn failed(by_status: &BTreeMap<String, u64>) -> u64 {
    of(by_status, |status| status >= 500)
}

/// Of these statuses, how many are 400 to 499.
pub(crate) fn refused(by_status: &BTreeMap<String, u64>) -> u64 {
    of(by_status, |status| (400..500).contains(&status))
}

fn of(by_status: &BTreeMap<String, u64>, wanted: impl Fn(u16) -> bool) -> u64 {
    let wanted = |status: &String| status.parse().is_ok_and(&wanted);
    by_status.iter().filter(|(status, _)| wanted(status)).map(|(_, count)| count).sum()
}
