//! Counters: how often something happened of late, with the decision whether it may once more.

use std::time::Duration;

use super::StoreError;
use crate::Step;

/// How a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Buckets that slide with the time; exact to within one bucket.
    SlidingWindow,
    /// Each event's own time; exact.
    SlidingLog,
    /// Tokens that come back evenly (GCRA), with a burst.
    TokenBucket,
    /// From one round time to the next.
    FixedWindow,
}

/// A limit: so many in such a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limit {
    /// How it counts.
    pub algorithm: Algorithm,
    /// Most in a window.
    pub count: u64,
    /// The window's length.
    pub window: Duration,
    /// Most at once, for a token bucket.
    pub burst: u64,
}

/// What is to be taken from one counter.
#[derive(Debug, Clone, Copy)]
pub struct Take<'a> {
    /// The counter's key, the limit's place included.
    pub key: &'a [u8],
    /// The limit that holds for it.
    pub limit: &'a Limit,
    /// How much; 0 only looks.
    pub cost: u64,
}

/// What came of one [`Take`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grant {
    /// Whether this limit would let it pass.
    pub allowed: bool,
    /// How much is left.
    pub remaining: u64,
    /// Until the whole limit is there again.
    pub reset: Duration,
    /// When refused: until so much may be taken.
    pub wait: Duration,
}

/// Counts, in one store.
pub trait Counters: Send + Sync {
    /// Takes from all the counters or from none: nothing is spent when one of them refuses. One
    /// grant for each take, in their order.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn take<'a>(
        &'a self,
        takes: &'a [Take<'a>],
        grants: &'a mut [Grant],
    ) -> Step<'a, Result<bool, StoreError>>;
}
