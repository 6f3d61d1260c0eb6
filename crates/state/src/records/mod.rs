//! Records in this process's memory, shared by all workers and bounded by number and bytes. What
//! has no room is refused; a record goes when its time is over, and never before.

mod shard;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockgate_core::{
    Begin, Begun, End, LocalFuture, Owner, RecordStats, Records, Settled, Step, StoreError,
};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use shard::{Shard, State};

/// How much may be kept.
#[derive(Debug, Clone, Copy)]
pub struct RecordBounds {
    /// Most records.
    pub entries: u64,
    /// Most bytes of them all.
    pub bytes: u64,
}

impl Default for RecordBounds {
    /// A quarter of a million records, in at most 128 MiB.
    fn default() -> Self {
        Self { entries: 250_000, bytes: 128 << 20 }
    }
}

const SHARDS: usize = 16;
/// About what a record takes beside its key and what is kept of an answer.
const OVERHEAD: u64 = 256;
/// So much of an answer has its room from the beginning: that it was given can always be kept.
const SMALL: u64 = 16;
/// How many that are over go in passing.
const MOST_SWEPT: usize = 4;

/// Records in memory.
pub struct MemoryRecords {
    shards: Box<[Place]>,
    hasher: RandomState,
    bounds: RecordBounds,
    entries: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Default)]
struct Place {
    shard: Mutex<Shard>,
    /// Rung whenever a request of the shard has ended.
    bell: Notify,
}

impl MemoryRecords {
    /// No records yet.
    pub fn new(bounds: RecordBounds) -> Self {
        let (entries, bytes) = Default::default();
        let shards = (0..SHARDS).map(|_| Place::default()).collect();
        Self { shards, hasher: RandomState::new(), bounds, entries, bytes }
    }

    fn place(&self, key: &[u8]) -> &Place {
        let number = self.hasher.hash_one(key) as usize % self.shards.len();
        // There is a shard for each remainder.
        #[expect(clippy::expect_used, reason = "there is at least one shard")]
        self.shards.get(number).or(self.shards.first()).expect("a shard")
    }

    fn begin_now(&self, begin: &Begin<'_>) -> Begun {
        let size = begin.key.len() as u64 + OVERHEAD;
        let place = self.place(begin.key);
        let now = Instant::now();
        let mut shard = lock(place);
        self.forget(&mut shard, now, MOST_SWEPT);
        self.forget_if_over(&mut shard, begin.key, now);
        if let Some(begun) = shard.find(begin, now) {
            return begun;
        }
        if !self.reserve(1, size) {
            drop(shard);
            self.sweep(now);
            if !self.reserve(1, size) {
                return Begun::Full;
            }
            shard = lock(place);
            // Another may have come meanwhile.
            if let Some(begun) = shard.find(begin, now) {
                self.release(1, size);
                return begun;
            }
        }
        shard.insert(begin, now);
        Begun::First
    }

    fn settle_now(&self, key: &[u8], owner: Owner, end: &End) -> Settled {
        let now = Instant::now();
        let place = self.place(key);
        let mut shard = lock(place);
        self.forget_if_over(&mut shard, key, now);
        let Some(state) = shard.owned(key, owner) else { return Settled::Lost };
        let settled = match (state, end) {
            (State::Done(_), End::Done { .. }) => return Settled::Yes,
            (State::Done(_), _) => return Settled::Lost,
            (_, End::Done { record, keep }) => {
                let size = more_than_small(record.len());
                if !self.reserve(0, size) {
                    // What is over in other parts takes room too; only one lock at a time is held.
                    drop(shard);
                    self.sweep(now);
                    if !self.reserve(0, size) {
                        return Settled::Full;
                    }
                    shard = lock(place);
                    if !matches!(shard.owned(key, owner), Some(State::Running | State::Unknown)) {
                        self.release(0, size);
                        return Settled::Lost;
                    }
                }
                shard.done(key, record, now, *keep);
                Settled::Yes
            }
            (_, End::Forgotten) => {
                let kept = shard.remove(key);
                self.release(1, key.len() as u64 + OVERHEAD + kept);
                Settled::Yes
            }
            (_, End::Unknown) => {
                shard.lose(key, now);
                Settled::Yes
            }
        };
        drop(shard);
        place.bell.notify_waiters();
        settled
    }

    /// Takes room, if there is so much.
    fn reserve(&self, entries: u64, bytes: u64) -> bool {
        let within = |most: u64, more: u64| {
            move |used: u64| used.checked_add(more).filter(|sum| *sum <= most)
        };
        let RecordBounds { entries: most, bytes: most_bytes } = self.bounds;
        if self.entries.fetch_update(Relaxed, Relaxed, within(most, entries)).is_err() {
            return false;
        }
        let fits = self.bytes.fetch_update(Relaxed, Relaxed, within(most_bytes, bytes)).is_ok();
        if !fits {
            self.entries.fetch_sub(entries, Relaxed);
        }
        fits
    }

    fn release(&self, entries: u64, bytes: u64) {
        self.entries.fetch_sub(entries, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    fn forget_if_over(&self, shard: &mut Shard, key: &[u8], now: Instant) {
        if let Some(size) = shard.remove_if_over(key, now) {
            self.release(1, size + OVERHEAD);
        }
    }

    /// Forgets what is over in one shard, up to so many records.
    fn forget(&self, shard: &mut Shard, now: Instant, most: usize) {
        for _ in 0..most {
            let Some(size) = shard.pop_over(now) else { break };
            self.release(1, size + OVERHEAD);
        }
    }

    /// Forgets all that is over.
    fn sweep(&self, now: Instant) {
        for place in &self.shards {
            self.forget(&mut lock(place), now, usize::MAX);
        }
    }
}

/// What a record of so many bytes takes beyond [`OVERHEAD`].
fn more_than_small(length: usize) -> u64 {
    (length as u64).saturating_sub(SMALL)
}

/// A panic in between leaves a shard as it was before or after one step.
fn lock(place: &Place) -> MutexGuard<'_, Shard> {
    place.shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Records for MemoryRecords {
    fn begin<'a>(&'a self, begin: &'a Begin<'a>) -> Step<'a, Result<Begun, StoreError>> {
        Step::Now(Ok(self.begin_now(begin)))
    }

    fn settle<'a>(
        &'a self,
        key: &'a [u8],
        owner: Owner,
        end: &'a End,
    ) -> Step<'a, Result<Settled, StoreError>> {
        Step::Now(Ok(self.settle_now(key, owner, end)))
    }

    fn settle_later(&self, key: &[u8], owner: Owner, end: End) {
        self.settle_now(key, owner, &end);
    }

    fn ended<'a>(&'a self, key: &'a [u8], within: Duration) -> LocalFuture<'a, ()> {
        Box::pin(async move {
            let place = self.place(key);
            let until = Instant::now() + within;
            loop {
                let mut bell = std::pin::pin!(place.bell.notified());
                // Before the look, so that an end in between is heard.
                bell.as_mut().enable();
                let runs = lock(place).runs(key);
                let left = until.saturating_duration_since(Instant::now());
                if !runs || timeout(left, bell).await.is_err() {
                    return;
                }
            }
        })
    }

    fn stats(&self) -> RecordStats {
        RecordStats { entries: self.entries.load(Relaxed), bytes: self.bytes.load(Relaxed) }
    }
}
