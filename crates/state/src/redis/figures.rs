//! What a store's calls came to.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use lockgate_core::{Counter, Figure};

use super::link::Fail;
use super::script::Use;

/// Upper bounds of the buckets, in seconds; one more is for what took longer.
pub const BUCKETS: [f64; 9] = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1];

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    Timeout,
    Away,
    Cut,
    Error,
}

const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Answered, "answered"),
    (Outcome::Timeout, "timeout"),
    (Outcome::Away, "away"),
    (Outcome::Cut, "cut"),
    (Outcome::Error, "error"),
];

/// Counts the calls of a store.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    by_use: [[Counter; OUTCOMES.len()]; Use::ALL.len()],
    buckets: [Counter; BUCKETS.len() + 1],
    nanos: Counter,
    connections: Counter,
    dropped: Counter,
}

/// What operators may see of a store.
#[derive(Debug, Clone)]
pub struct StoreFigures {
    /// Calls by use and how they ended, those that there were.
    pub calls: Vec<(&'static str, &'static str, u64)>,
    /// Calls that were sent, by the time that they took: see [`BUCKETS`]. Not summed up.
    pub buckets: [u64; BUCKETS.len() + 1],
    /// The time of all of these.
    pub took: Duration,
    /// Connections opened.
    pub connections: u64,
    /// Things to be done in the background that were not.
    pub dropped: u64,
    /// Servers of the store.
    pub servers: u64,
    /// Those among them that are not asked for anything now.
    pub breakers_open: u64,
    /// Those that are asked for everything but blobs.
    pub open_for_blobs: u64,
    /// Gateways that are alive.
    pub live: u64,
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// This thread's cell of the counters.
    static THREAD: usize = THREADS.fetch_add(1, Relaxed);
}

impl Calls {
    pub(crate) fn note<T>(&self, of: Use, result: &Result<T, Fail>, took: Duration) {
        let outcome = match result {
            Ok(_) => Outcome::Answered,
            Err(Fail::Timeout) => Outcome::Timeout,
            Err(Fail::Away(_)) => Outcome::Away,
            Err(Fail::Cut) => Outcome::Cut,
            Err(Fail::Said(_)) => Outcome::Error,
        };
        let thread = THREAD.with(|thread| *thread);
        if let Some(counter) =
            self.by_use.get(of as usize).and_then(|outcomes| outcomes.get(outcome as usize))
        {
            counter.add(thread, 1);
        }
        if outcome == Outcome::Away {
            return;
        }
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        if let Some(counter) = self.buckets.get(bucket) {
            counter.add(thread, 1);
        }
        self.nanos.add(thread, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn opened(&self) {
        self.connections.add(THREAD.with(|thread| *thread), 1);
    }

    pub(crate) fn dropped(&self) {
        self.dropped.add(THREAD.with(|thread| *thread), 1);
    }

    /// All of it; the last four are for others to say.
    pub(crate) fn figures(&self) -> StoreFigures {
        let mut calls = Vec::new();
        for (of, outcomes) in Use::ALL.iter().zip(&self.by_use) {
            for ((_, word), counter) in OUTCOMES.iter().zip(outcomes) {
                if counter.value() > 0 {
                    calls.push((of.word(), *word, counter.value()));
                }
            }
        }
        StoreFigures {
            calls,
            buckets: self.buckets.each_ref().map(|counter| counter.value()),
            took: Duration::from_nanos(self.nanos.value()),
            connections: self.connections.value(),
            dropped: self.dropped.value(),
            servers: 0,
            breakers_open: 0,
            open_for_blobs: 0,
            live: 1,
        }
    }
}
