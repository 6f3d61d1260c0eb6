//! What a plugin may show of itself in the metrics: counters, and figures that are asked for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How a metric's values behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, until the process restarts or what it counts leaves the configuration.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets, with a sum and a count.
    Histogram,
    /// A sum and a count.
    Summary,
}

impl MetricKind {
    /// The word of the exposition format.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// The full name.
    pub name: &'static str,
    /// How its values behave.
    pub kind: MetricKind,
    /// The names of its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// For the operator: one sentence, without a full stop.
    pub help: &'static str,
}

/// A value that a scrape asks for, on the control runtime. Must not block.
pub trait Figure: Send + Sync {
    /// The value now.
    fn value(&self) -> u64;
}

impl<F: Fn() -> u64 + Send + Sync> Figure for F {
    fn value(&self) -> u64 {
        self()
    }
}

/// Cells of a counter: workers beyond that share them.
const CELLS: usize = 8;

/// A counter that every worker adds to in a cell of its own.
#[derive(Debug, Default)]
pub struct Counter([Cell; CELLS]);

/// One worker's part, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Cell(AtomicU64);

impl Counter {
    /// Adds to it; `worker` is the worker's index, 0 on the control runtime.
    pub fn add(&self, worker: usize, more: u64) {
        if let Some(cell) = self.0.get(worker % CELLS) {
            cell.0.fetch_add(more, Relaxed);
        }
    }
}

impl Figure for Counter {
    fn value(&self) -> u64 {
        self.0.iter().map(|cell| cell.0.load(Relaxed)).sum()
    }
}
