//! The figures as plain numbers, for the admin API: totals, by status, by route, by upstream, and
//! how long requests took. Made for a page, not for a scrape.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cell::{BOUNDS, Spread};
use super::series::{RouteSum, UpstreamSum};

/// All figures at one moment. Those of routes that have left the configuration stay in the sums.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Requests that have ended.
    pub requests: u64,
    /// Requests in flight now.
    pub in_flight: u64,
    /// Client connections open now.
    pub connections: u64,
    /// Requests that the gateway refused, failed or saw broken off.
    pub faults: u64,
    /// Bugs met.
    pub panics: u64,
    /// Bytes of body from clients.
    pub received_bytes: u64,
    /// Bytes of body to clients.
    pub sent_bytes: u64,
    /// Status → requests; what is no status is `other`.
    pub by_status: BTreeMap<String, u64>,
    /// Reason code → requests.
    pub by_reason: BTreeMap<String, u64>,
    /// How long requests took.
    pub latency: Latency,
    /// The routes that have had requests. A route named "" stands for what no route matched.
    pub routes: Vec<RouteTotals>,
    /// The upstreams that have been asked.
    pub upstreams: Vec<UpstreamTotals>,
    /// Each worker thread.
    pub workers: Vec<WorkerTotals>,
    /// Whether the last configuration that was read was taken.
    pub config_taken: bool,
    /// The same, in buckets.
    pub seconds: Spread,
}

/// One route's figures.
#[derive(Debug, Clone)]
pub struct RouteTotals {
    /// The route's pattern.
    pub route: String,
    /// Requests that have ended.
    pub requests: u64,
    /// Status → requests.
    pub by_status: BTreeMap<String, u64>,
    /// Reason code → requests.
    pub by_reason: BTreeMap<String, u64>,
    /// Bytes of body from clients.
    pub received_bytes: u64,
    /// Bytes of body to clients.
    pub sent_bytes: u64,
    /// How long requests took.
    pub latency: Latency,
    /// The same, in buckets.
    pub seconds: Spread,
}

/// One upstream's figures.
#[derive(Debug, Clone)]
pub struct UpstreamTotals {
    /// The upstream's name.
    pub upstream: String,
    /// Requests for which an endpoint was asked.
    pub requests: u64,
    /// Times that an endpoint was asked.
    pub attempts: u64,
    /// Attempts after each request's first.
    pub retries: u64,
    /// From the last attempt's start to the head of its answer.
    pub latency: Latency,
    /// The same, in buckets.
    pub seconds: Spread,
}

/// One policy's figures in one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyTotals {
    /// The policy's name.
    pub policy: &'static str,
    /// The route's pattern.
    pub route: String,
    /// Requests that it let pass.
    pub passed: u64,
    /// Requests that it answered itself.
    pub answered: u64,
    /// Requests that it refused.
    pub refused: u64,
}

/// One worker's figures.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerTotals {
    /// From 0.
    pub worker: usize,
    /// Requests begun.
    pub requests: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Connections open.
    pub connections: u64,
}

/// How long things took, in milliseconds. Percentiles are read off a histogram, so they are right
/// to within a bucket; the rest is exact. All zero when there was nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latency {
    /// How many there were.
    pub count: u64,
    /// The shortest.
    pub min_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// The mean.
    pub avg_ms: f64,
    /// Half were no longer.
    pub p50_ms: f64,
    /// Nine of ten were no longer.
    pub p90_ms: f64,
    /// 99 of 100 were no longer.
    pub p99_ms: f64,
}

impl Totals {
    pub(super) fn add_sums(&mut self, sum: &RouteSum) {
        self.requests = sum.requests();
        self.faults = sum.faults.values().sum();
        self.received_bytes = sum.received;
        self.sent_bytes = sum.sent;
        self.by_status = by_status(sum);
        self.by_reason = by_reason(sum);
        self.latency = Latency::of(&sum.seconds);
        self.seconds = sum.seconds.clone();
    }

    /// How long the requests took that have ended since then. The shortest and the longest are
    /// only known to within a bucket.
    pub fn latency_since(&self, then: &Self) -> Latency {
        self.seconds.since(&then.seconds).latency()
    }
}

impl RouteTotals {
    pub(super) fn of(route: String, sum: &RouteSum) -> Self {
        Self {
            route,
            requests: sum.requests(),
            by_status: by_status(sum),
            by_reason: by_reason(sum),
            received_bytes: sum.received,
            sent_bytes: sum.sent,
            latency: Latency::of(&sum.seconds),
            seconds: sum.seconds.clone(),
        }
    }
}

impl UpstreamTotals {
    pub(super) fn of(upstream: String, sum: &UpstreamSum) -> Self {
        Self {
            upstream,
            requests: sum.requests,
            attempts: sum.attempts,
            retries: sum.retries(),
            latency: Latency::of(&sum.seconds),
            seconds: sum.seconds.clone(),
        }
    }
}

impl Latency {
    pub(super) fn of(spread: &Spread) -> Self {
        let count = spread.count();
        if count == 0 {
            return Self::default();
        }
        let ms = |nanos: u64| nanos as f64 / 1e6;
        Self {
            count,
            min_ms: ms(spread.least),
            max_ms: ms(spread.most),
            avg_ms: ms(spread.nanos) / count as f64,
            p50_ms: percentile(spread, count, 0.50),
            p90_ms: percentile(spread, count, 0.90),
            p99_ms: percentile(spread, count, 0.99),
        }
    }
}

/// The value below which a share of all lies, taken as spread evenly inside its bucket, and never
/// outside of what was really seen.
fn percentile(spread: &Spread, count: u64, share: f64) -> f64 {
    let (least, most) = (spread.least as f64 / 1e6, spread.most as f64 / 1e6);
    let wanted = share * count as f64;
    let mut below = 0.0;
    let mut low = 0.0;
    let bounds = BOUNDS.iter().map(|seconds| seconds * 1e3).chain([most]);
    for (high, in_bucket) in bounds.zip(spread.buckets) {
        let in_bucket = in_bucket as f64;
        if in_bucket > 0.0 && below + in_bucket >= wanted {
            let (from, to) = (f64::max(low, least), f64::max(f64::min(high, most), least));
            let value = from + (to - from) * (wanted - below) / in_bucket;
            return value.clamp(least, f64::max(most, least));
        }
        below += in_bucket;
        low = high;
    }
    most
}

pub(super) fn status_label(status: u16) -> String {
    if status == 0 { super::cell::OTHER.to_owned() } else { status.to_string() }
}

fn by_status(sum: &RouteSum) -> BTreeMap<String, u64> {
    sum.statuses.iter().map(|(status, n)| (status_label(*status), *n)).collect()
}

fn by_reason(sum: &RouteSum) -> BTreeMap<String, u64> {
    sum.faults.iter().map(|(reason, n)| ((*reason).to_owned(), *n)).collect()
}
