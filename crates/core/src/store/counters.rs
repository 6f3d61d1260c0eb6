//! Counters: how often something happened of late, with the decision whether it may once more.

use std::time::Duration;

use tokio::time::Instant;

use super::{Calendar, StoreError};
use crate::LocalFuture;

/// How a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Buckets that slide with the time: never more than the limit in any window; what was taken
    /// is forgotten at most a sixtieth of the window late.
    SlidingWindow,
    /// Each event's own time; exact.
    SlidingLog,
    /// Tokens that come back evenly (GCRA), with a burst; exact.
    TokenBucket,
    /// From one round time to the next: multiples of the window since 1970.
    FixedWindow,
    /// From one day or month to the next.
    Calendar(Calendar),
}

/// A limit: so many in such a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limit {
    /// How it counts.
    pub algorithm: Algorithm,
    /// Most in a window; at least one.
    pub count: u64,
    /// The window's length; more than zero. Not looked at where the calendar says it.
    pub window: Duration,
    /// Most at once, for a token bucket; at least one.
    pub burst: u64,
}

/// What is to be taken from one counter.
#[derive(Debug, Clone, Copy)]
pub struct Take<'a> {
    /// The counter's key, the limit's place included. The same key with another algorithm or
    /// window is another counter.
    pub key: &'a [u8],
    /// The limit that holds for it.
    pub limit: &'a Limit,
    /// How much; 0 only looks.
    pub cost: u64,
    /// Whether it only counts as if it were in force: it never keeps the others from being taken.
    pub dry: bool,
    /// Whether operators may ask for a list of these counters, by name.
    pub listed: bool,
    /// Whether a part of the limit may be taken ahead, and be spent without asking again. Only a
    /// store that several gateways share does so.
    pub leased: bool,
    /// Whether it may be given back: then a counter that is over may soon not be.
    pub returnable: bool,
    /// When it is taken, where the clock has been read a moment ago: spares a store in memory to
    /// read it again.
    pub at: Option<Instant>,
    /// What the store has made of the key's begin and of the limit. A counter that is taken from
    /// with its stem is another than that without.
    pub stem: Option<Stem>,
}

/// What all keys of one limit begin with, as one store has hashed it once and for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stem {
    /// Its length.
    pub len: usize,
    /// What the store needs of it.
    pub hash: u64,
}

impl<'a> Take<'a> {
    /// So much of a counter, in force, and nothing more to be said of it.
    pub fn new(key: &'a [u8], limit: &'a Limit, cost: u64) -> Self {
        let (dry, listed, leased, returnable) = (false, false, false, false);
        Self { key, limit, cost, dry, listed, leased, returnable, at: None, stem: None }
    }
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
    /// When that was, by the store's own clock: for giving back.
    pub at: u64,
}

/// What a counter is called, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterName {
    /// The limit.
    pub limit: String,
    /// Whose counter it is, in a form that may be shown.
    pub key: String,
}

/// Tells what the counter of a take is called, by the take's place. Asked for rarely.
pub type Naming<'a> = dyn Fn(usize) -> CounterName + 'a;

/// Most takes that are decided together.
pub const MOST_TAKES: usize = 8;

/// Counts, in one store. Several takes are one decision, and one round trip where there is one.
pub trait Counters: Send + Sync {
    /// Takes from all the counters or from none: nothing is spent when one of them refuses that
    /// is not dry. One grant for each take, in their order; no key twice. `None` when this cannot
    /// be decided without waiting; then nothing has been taken.
    ///
    /// # Errors
    /// When the store cannot answer, or there are more than [`MOST_TAKES`].
    fn take_now(
        &self,
        takes: &[Take<'_>],
        grants: &mut [Grant],
        naming: &Naming<'_>,
    ) -> Option<Result<bool, StoreError>>;

    /// The same, waiting for the store if need be.
    ///
    /// # Errors
    /// When the store does not answer in its time.
    fn take<'a>(
        &'a self,
        takes: &'a [Take<'a>],
        grants: &'a mut [Grant],
        naming: &'a Naming<'a>,
    ) -> LocalFuture<'a, Result<bool, StoreError>>;

    /// Gives back what was taken and does not count after all, as far as it still counts: windows
    /// only, as nobody can tell which of a bucket's tokens have come back meanwhile. Does not
    /// wait; a store that cannot be reached keeps it.
    fn give_back(&self, taken: &Take<'_>, grant: &Grant);

    /// What may be hashed beforehand of all keys of a limit that begin with `place`, for takes from
    /// this store alone; none where that would spare nothing.
    fn stem(&self, place: &[u8], limit: &Limit) -> Option<Stem> {
        let _ = (place, limit);
        None
    }

    /// How many gateways count here together, as far as is known; at least 1.
    fn gateways(&self) -> u32 {
        1
    }
}
