//! What operators may see of the memory: figures, metrics, and the counters that are listed.

use std::sync::Arc;
use std::time::Duration;

use lockgate_core::{CounterName, Figure, Metric, MetricKind};
use serde::Serialize;

use crate::memory::Memory;

/// How much is kept, and what had to go.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Figures {
    /// Counters kept.
    pub keys: u64,
    /// Most that may be.
    pub max_keys: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Most that they may.
    pub max_bytes: u64,
    /// Counters let go of although they still counted, for want of room.
    pub evicted: u64,
}

/// A counter with a name.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// The limit.
    pub limit: String,
    /// Whose counter it is.
    pub key: String,
    /// How much has been taken.
    pub used: u64,
    /// Of how much.
    pub of: u64,
    /// Until it begins anew.
    pub resets_in_seconds: u64,
}

/// What an entry of the table remembers for [`Listed`].
pub(crate) struct Name {
    pub(crate) name: CounterName,
    pub(crate) of: u64,
    /// The end of the window, by the store's clock.
    pub(crate) end: u64,
}

impl Name {
    pub(crate) fn heap(&self) -> usize {
        size_of::<Self>() + self.name.limit.capacity() + self.name.key.capacity()
    }

    pub(crate) fn listed(&self, used: u64, now: u64) -> Option<Listed> {
        let left = self.end.checked_sub(now).filter(|left| *left > 0)?;
        Some(Listed {
            limit: self.name.limit.clone(),
            key: self.name.key.clone(),
            used,
            of: self.of,
            resets_in_seconds: Duration::from_nanos(left).as_secs(),
        })
    }
}

static KEYS: Metric = Metric {
    name: "lockgate_counter_keys",
    kind: MetricKind::Gauge,
    labels: &[],
    help: "Keys that limits and quotas count in memory",
};
static BYTES: Metric = Metric {
    name: "lockgate_counter_bytes",
    kind: MetricKind::Gauge,
    labels: &[],
    help: "Bytes that those keys take",
};
static EVICTED: Metric = Metric {
    name: "lockgate_counter_evictions_total",
    kind: MetricKind::Counter,
    labels: &[],
    help: "Keys forgotten although they still counted, for want of room",
};

/// The metrics of the memory, and how each is read.
pub const METRICS: [(&Metric, fn(&Memory) -> u64); 3] = [
    (&KEYS, |memory| memory.figures().keys),
    (&BYTES, |memory| memory.figures().bytes),
    (&EVICTED, |memory| memory.figures().evicted),
];

impl Memory {
    /// One of [`METRICS`], to be asked for at each scrape.
    pub fn figure(self: &Arc<Self>, read: fn(&Self) -> u64) -> Arc<dyn Figure> {
        let memory = Arc::clone(self);
        Arc::new(move || read(&memory))
    }
}
