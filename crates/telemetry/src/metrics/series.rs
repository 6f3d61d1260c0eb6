//! The handles that a configuration's load hands out and that workers add to: by route, upstream,
//! policy and worker. They know no names; the registry that made them does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::cell::{Count, Histogram, Reasons, Shards, Spread, Statuses, nanos};
use super::exemplar::{Examples, Exemplar, Exemplars};

/// What one finished request adds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// The status that the client got, or would have got.
    pub status: u16,
    /// The reason's code, when the gateway refused or failed, or the answer broke off.
    pub reason: Option<&'static str>,
    /// From the head's arrival to the answer's last byte.
    pub total: Duration,
    /// From the last attempt's start to the head of its answer.
    pub upstream_first_byte: Option<Duration>,
    /// Bytes of body from the client.
    pub received: u64,
    /// Bytes of body to the client.
    pub sent: u64,
    /// How often an endpoint was asked.
    pub attempts: u32,
    /// By which spans an example of such a request is found, when they are told.
    pub exemplar: Option<Exemplar>,
}

/// The series of one route, going to one upstream (or to none).
pub struct RouteSeries {
    pub(super) route: Arc<RouteShards>,
    pub(super) upstream: Option<Arc<UpstreamShards>>,
}

pub(super) type RouteShards = Shards<RouteCell>;
pub(super) type UpstreamShards = Shards<UpstreamCell>;

impl RouteSeries {
    /// Counts one finished request. Only the worker's own thread may pass its index; an index
    /// that does not exist counts nothing.
    pub fn observe(&self, worker: usize, sample: &Sample) {
        let Some(cell) = self.route.of(worker) else { return };
        cell.statuses.add(sample.status);
        cell.seconds.add(sample.total);
        if let Some(exemplar) = &sample.exemplar {
            cell.exemplars.put(sample.total, exemplar);
        }
        cell.received.add(sample.received);
        cell.sent.add(sample.sent);
        if let Some(reason) = sample.reason {
            cell.faults.add(reason);
        }
        if sample.attempts == 0 {
            return;
        }
        let Some(cell) = self.upstream.as_ref().and_then(|shards| shards.of(worker)) else {
            return;
        };
        cell.requests.add(1);
        cell.attempts.add(u64::from(sample.attempts));
        if let Some(took) = sample.upstream_first_byte {
            cell.seconds.add(took);
        }
    }
}

#[derive(Default)]
pub(super) struct RouteCell {
    seconds: Histogram,
    received: Count,
    sent: Count,
    statuses: Statuses,
    faults: Reasons,
    exemplars: Exemplars,
}

#[derive(Default)]
pub(super) struct UpstreamCell {
    requests: Count,
    attempts: Count,
    seconds: Histogram,
}

/// A route's cells, or several routes, added up.
#[derive(Debug, Clone, Default)]
pub(super) struct RouteSum {
    /// Status 0 is whatever is no status or did not fit.
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) seconds: Spread,
    pub(super) received: u64,
    pub(super) sent: u64,
    /// The newest of each bucket.
    pub(super) exemplars: Examples,
}

impl RouteSum {
    pub(super) fn of(shards: &RouteShards) -> Self {
        let mut sum = Self::default();
        for cell in shards.used() {
            cell.statuses.each(|status, n| *sum.statuses.entry(status).or_default() += n);
            cell.faults.each(|reason, n| *sum.faults.entry(reason).or_default() += n);
            cell.seconds.add_to(&mut sum.seconds);
            cell.exemplars.add_to(&mut sum.exemplars);
            sum.received += cell.received.get();
            sum.sent += cell.sent.get();
        }
        sum
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (status, n) in &other.statuses {
            *self.statuses.entry(*status).or_default() += n;
        }
        for (reason, n) in &other.faults {
            *self.faults.entry(reason).or_default() += n;
        }
        self.seconds.add(&other.seconds);
        self.received += other.received;
        self.sent += other.sent;
    }

    pub(super) fn requests(&self) -> u64 {
        self.statuses.values().sum()
    }
}

/// An upstream's cells added up.
#[derive(Debug, Clone, Default)]
pub(super) struct UpstreamSum {
    pub(super) requests: u64,
    pub(super) attempts: u64,
    pub(super) seconds: Spread,
}

impl UpstreamSum {
    pub(super) fn of(shards: &UpstreamShards) -> Self {
        let mut sum = Self::default();
        for cell in shards.used() {
            sum.requests += cell.requests.get();
            sum.attempts += cell.attempts.get();
            cell.seconds.add_to(&mut sum.seconds);
        }
        sum
    }

    /// Attempts after each request's first. A scrape between two stores must not wrap.
    pub(super) fn retries(&self) -> u64 {
        self.attempts.saturating_sub(self.requests)
    }
}

/// What a policy decided of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// It went on.
    Pass,
    /// It was answered by the policy.
    Answer,
    /// It was refused, for the reason of this code.
    Refuse(&'static str),
}

/// How long a run of a policy took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Took {
    /// Not timed, as it did not wait: the next one that is timed stands for it too.
    Unknown,
    /// Timed, for itself and those before it that were not.
    Timed(Duration),
    /// It waited, and is counted as it was.
    Waited(Duration),
}

/// One run in so many that do not wait is timed, about: a look at the clock costs as much as some
/// policies do.
const TIMED: u32 = 16;

/// The series of one policy in one route.
pub struct PolicySeries(Arc<PolicyShards>);

pub(super) type PolicyShards = Shards<PolicyCell>;

impl PolicySeries {
    pub(super) fn new(shards: Arc<PolicyShards>) -> Self {
        Self(shards)
    }

    /// Whether a run is to be timed that begins now: the first one, and then by chance.
    pub fn is_due(&self, worker: usize) -> bool {
        let fresh = || self.0.of(worker).is_some_and(|cell| cell.is_fresh());
        fastrand::u32(..).is_multiple_of(TIMED) || fresh()
    }

    /// Counts one run of the policy and the time it took. Only the worker's own thread may pass
    /// its index.
    pub fn observe(&self, worker: usize, decided: Decided, took: Took) {
        let Some(cell) = self.0.of(worker) else { return };
        match decided {
            Decided::Pass => cell.passed.add(1),
            Decided::Answer => cell.answered.add(1),
            Decided::Refuse(reason) => cell.refuse(reason),
        }
        match took {
            Took::Unknown => cell.untimed.add(1),
            Took::Timed(time) => {
                let runs = cell.untimed.get() + 1;
                cell.untimed.set(0);
                cell.nanos.add(nanos(time).saturating_mul(runs));
            }
            Took::Waited(time) => cell.nanos.add(nanos(time)),
        }
    }
}

#[derive(Default)]
pub(super) struct PolicyCell {
    passed: Count,
    answered: Count,
    refusals: Count,
    nanos: Count,
    /// Runs since the last one that was timed.
    untimed: Count,
    refused: Reasons,
}

impl PolicyCell {
    fn is_fresh(&self) -> bool {
        self.runs() == 0
    }

    fn runs(&self) -> u64 {
        self.passed.get() + self.answered.get() + self.refusals.get()
    }

    fn refuse(&self, reason: &'static str) {
        self.refusals.add(1);
        self.refused.add(reason);
    }
}

/// A policy's cells added up.
#[derive(Debug, Default)]
pub(super) struct PolicySum {
    pub(super) passed: u64,
    pub(super) answered: u64,
    pub(super) refused: BTreeMap<&'static str, u64>,
    pub(super) runs: u64,
    pub(super) nanos: u64,
}

impl PolicySum {
    pub(super) fn of(shards: &PolicyShards) -> Self {
        let mut sum = Self::default();
        for cell in shards.used() {
            sum.passed += cell.passed.get();
            sum.answered += cell.answered.get();
            cell.refused.each(|reason, n| *sum.refused.entry(reason).or_default() += n);
            sum.runs += cell.runs();
            sum.nanos = sum.nanos.wrapping_add(cell.nanos.get());
        }
        sum
    }
}

/// The load of one worker. Only its own thread writes.
#[derive(Default)]
#[repr(align(64))]
pub struct WorkerSeries {
    begun: Count,
    done: Count,
    open: AtomicU64,
}

impl WorkerSeries {
    /// A request has begun; it is in flight until the guard is dropped, however it ends.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.begun.add(1);
        InFlight(Arc::clone(self))
    }

    /// So many client connections are open now. The worker says so a few times a second.
    pub fn set_connections(&self, open: usize) {
        self.open.store(open as u64, Relaxed);
    }

    /// Requests begun so far.
    pub fn requests(&self) -> u64 {
        self.begun.get()
    }

    /// Requests in flight now.
    pub fn in_flight(&self) -> u64 {
        let done = self.done.get();
        self.begun.get().saturating_sub(done)
    }

    /// Connections open, as last said.
    pub fn connections(&self) -> u64 {
        self.open.load(Relaxed)
    }
}

/// A request in flight. Must be dropped on its own worker.
pub struct InFlight(Arc<WorkerSeries>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.done.add(1);
    }
}

/// A counter that any thread may add to: for what is rare.
#[derive(Default)]
pub(super) struct SharedCount(AtomicU64);

impl SharedCount {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
