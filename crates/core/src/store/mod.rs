//! Where state is kept that outlives a request: narrow traits, each for one kind of it. A
//! store of the configuration (`memory`, a Redis) implements them.

use std::borrow::Cow;
use std::sync::Arc;

mod asked;
mod blobs;
mod calendar;
mod counters;
mod glob;
mod leases;
mod records;
mod tag;
mod write;

pub use asked::AskedBlobs;
pub use blobs::{Blob, BlobHead, BlobStats, Blobs, Maker, Purge, Purged, ReadHead};
pub use calendar::{Calendar, CalendarUnit};
pub use counters::{
    Algorithm, CounterName, Counters, Grant, Limit, MOST_TAKES, Naming, Stem, Take,
};
pub use glob::Glob;
pub use leases::{Lease, LeaseKey, Leases, Over, Term, Turn, UntilOver, Wanted};
pub use records::{Begin, Begun, End, Fingerprint, Owner, RecordStats, Records, Settled};
pub use tag::Tag;
pub use write::{UnderWay, Write, purge_all};

/// Why a store could not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store `{store}` {what}")]
pub struct StoreError {
    /// The store's name.
    pub store: Arc<str>,
    /// What kind of failure it was.
    pub failure: StoreFailure,
    /// What happened: `did not answer within 10ms`.
    pub what: Cow<'static, str>,
}

/// What may be told apart of a store's failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreFailure {
    /// It did not answer in time. What was asked of it may have been done, or may yet be.
    Timeout,
    /// It cannot be reached, and nothing was asked of it.
    Away,
    /// The connection broke off before the answer: what was asked of it may have been done.
    Cut,
    /// It answered with an error, or with something else than was expected. A script that failed
    /// may have done a part of its work.
    Answer,
}

impl StoreError {
    /// An error of a store.
    pub fn new(
        store: impl Into<Arc<str>>,
        failure: StoreFailure,
        what: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { store: store.into(), failure, what: what.into() }
    }

    /// Whether what was asked of the store has certainly not been done.
    pub fn is_undone(&self) -> bool {
        self.failure == StoreFailure::Away
    }
}
