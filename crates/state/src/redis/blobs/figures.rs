//! What a shared cache counts of itself, for operators.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use lockgate_core::{Counter, Figure};

use super::fetches::Got;

/// Counts of one shared cache.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) hits: Counter,
    pub(super) misses: Counter,
    pub(super) failed: Counter,
    pub(super) apart: Counter,
    pub(super) unread: Counter,
    pub(super) purges: Counter,
    pub(super) heard: Counter,
    pub(super) caught_up: Counter,
    pub(super) gaps: Counter,
    pub(super) led: Counter,
    pub(super) waited: Counter,
    /// Microseconds of the last purge that was heard.
    lag: AtomicU64,
}

/// What operators may see of a shared cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlobFigures {
    /// What was not in memory and the store had.
    pub hits: u64,
    /// What neither had.
    pub misses: u64,
    /// What was not in memory while the store could not be asked, or did not answer.
    pub failed: u64,
    /// What the store had and was not understood, or cannot be right.
    pub unread: u64,
    /// Blobs put into the store.
    pub put: u64,
    /// Blobs that were not, as there was too much to do or the store failed.
    pub dropped: u64,
    /// Blobs that each gateway keeps for itself, as they are too large.
    pub apart: u64,
    /// Purges made here.
    pub purges: u64,
    /// Of these, those that the store has not been told of yet.
    pub untold: u64,
    /// Purges heard as they were made.
    pub heard: u64,
    /// How long the last one took to be heard.
    pub lag: Duration,
    /// Purges read in the log, as they had not been heard.
    pub caught_up: u64,
    /// Times that purges may have gone unheard.
    pub gaps: u64,
    /// For how long it has not been known that all purges are; none when it never was.
    pub unheard: Option<Duration>,
    /// Times that this gateway led all.
    pub led: u64,
    /// Times that it was told to wait for another.
    pub waited: u64,
}

impl Counts {
    pub(super) fn got(&self, got: &Got) {
        let counter = match got {
            Ok(Some(_)) => &self.hits,
            Ok(None) => &self.misses,
            Err(_) => &self.failed,
        };
        counter.add(0, 1);
    }

    pub(super) fn lag(&self, lag: Duration) {
        self.lag.store(u64::try_from(lag.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Purges made here, and heard or read.
    pub(super) fn all_purges(&self) -> u64 {
        self.purges.value() + self.heard.value() + self.caught_up.value()
    }

    pub(super) fn read(
        &self,
        put: u64,
        dropped: u64,
        untold: u64,
        unheard: Option<Duration>,
    ) -> BlobFigures {
        BlobFigures {
            hits: self.hits.value(),
            misses: self.misses.value(),
            failed: self.failed.value(),
            unread: self.unread.value(),
            put,
            dropped,
            apart: self.apart.value(),
            purges: self.purges.value(),
            untold,
            heard: self.heard.value(),
            lag: Duration::from_micros(self.lag.load(Relaxed)),
            caught_up: self.caught_up.value(),
            gaps: self.gaps.value(),
            unheard,
            led: self.led.value(),
            waited: self.waited.value(),
        }
    }
}
