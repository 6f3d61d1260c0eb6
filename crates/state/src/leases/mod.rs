//! Leases in this process's memory, shared by all workers: for a gateway that stands alone. Who
//! asked first has it first. Refuses to let more wait, or hold more keys, than there is room for.

mod line;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use lockgate_core::{Lease, LeaseKey, Leases, Step, StoreError, Term, Turn, Wanted};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use line::{Line, Waiter};

/// So many shards: two workers seldom want the same one at once.
const SHARDS: usize = 32;

/// How much room leases in memory have.
#[derive(Debug, Clone, Copy)]
pub struct LeaseBounds {
    /// Most keys that are held at once.
    pub keys: usize,
    /// Most that wait at once, for all keys.
    pub waiting: usize,
}

impl Default for LeaseBounds {
    fn default() -> Self {
        Self { keys: 100_000, waiting: 20_000 }
    }
}

/// Leases in memory.
pub struct MemoryLeases(Arc<Table>);

struct Table {
    /// The keys that are held.
    shards: [Mutex<HashMap<LeaseKey, Line>>; SHARDS],
    hasher: RandomState,
    bounds: LeaseBounds,
    keys: AtomicUsize,
    waiting: AtomicUsize,
    /// Tells holders and those who wait apart.
    next: AtomicU64,
    /// The largest token so far.
    fence: AtomicU64,
}

impl MemoryLeases {
    /// Leases with so much room.
    pub fn new(bounds: LeaseBounds) -> Self {
        let (keys, waiting, next, fence) = Default::default();
        let shards = std::array::from_fn(|_| Mutex::default());
        let hasher = RandomState::new();
        Self(Arc::new(Table { shards, hasher, bounds, keys, waiting, next, fence }))
    }

    /// How many keys are held.
    pub fn keys(&self) -> usize {
        self.0.keys.load(SeqCst)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(SeqCst)
    }
}

impl Leases for MemoryLeases {
    fn acquire(&self, wanted: Wanted) -> Step<'_, Result<Turn, StoreError>> {
        match self.0.enter(&wanted) {
            Entered::Now(turn) => Step::Now(Ok(turn)),
            Entered::Waits(place) => Step::Later(Box::pin(async move { Ok(place.turn().await) })),
        }
    }
}

/// What came of entering.
enum Entered {
    Now(Turn),
    Waits(Place),
}

impl Table {
    fn enter(self: &Arc<Self>, wanted: &Wanted) -> Entered {
        let key = wanted.key;
        let mut shard = self.shard(&key);
        let Some(line) = shard.get_mut(&key) else {
            if self.keys.load(SeqCst) >= self.bounds.keys {
                return Entered::Now(Turn::Full);
            }
            self.keys.fetch_add(1, SeqCst);
            let key: LeaseKey = wanted.key;
            let (id, lease) = self.lease(&key, wanted.hold);
            shard.insert(key, Line::held_by(id, Instant::now() + wanted.hold));
            return Entered::Now(Turn::Held(lease));
        };
        if line.len() == 0 && line.is_over(Instant::now()) {
            let (id, lease) = self.lease(&key, wanted.hold);
            line.hold(id, Instant::now() + wanted.hold);
            return Entered::Now(Turn::Held(lease));
        }
        if line.len() >= wanted.queue || self.waiting.load(SeqCst) >= self.bounds.waiting {
            return Entered::Now(if wanted.wait.is_zero() { Turn::Busy } else { Turn::Full });
        }
        let (wake, woken) = oneshot::channel();
        let id = self.next.fetch_add(1, SeqCst);
        line.join(Waiter { id, hold: wanted.hold, wake });
        self.waiting.fetch_add(1, SeqCst);
        let until = Instant::now() + wanted.wait;
        let place = Place { table: Arc::clone(self), key, id, until, woken };
        drop(shard);
        Entered::Waits(place)
    }

    /// A new lease on a key, and the number by which its line knows it.
    fn lease(self: &Arc<Self>, key: &LeaseKey, hold: Duration) -> (u64, Lease) {
        let id = self.next.fetch_add(1, SeqCst);
        let (table, key) = (Arc::clone(self), *key);
        let term = Arc::new(Term::held(hold));
        (id, Lease::new(self.fence(), term, move || table.release(&key, id)))
    }

    /// Larger than any before, also than those of a process before this one, as far as the time
    /// of day goes forward.
    fn fence(&self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_micros()).unwrap_or(0);
        let next = |last: u64| Some(now.max(last + 1));
        self.fence.fetch_update(SeqCst, SeqCst, next).map_or(now, |last| now.max(last + 1))
    }

    /// The holder lets go, if it is still the one.
    fn release(self: &Arc<Self>, key: &LeaseKey, id: u64) {
        self.hand_on(key, |line| line.is_held_by(id));
    }

    /// Gives a key to whoever is next, when its holder has had it for long enough. When the next
    /// one's time is over, if anybody holds it.
    fn expire(self: &Arc<Self>, key: &LeaseKey) -> Option<Instant> {
        self.hand_on(key, |line| line.is_over(Instant::now()));
        self.shard(key).get(key).map(Line::ends)
    }

    /// Gives a key to whoever is next, if its line is free by then.
    fn hand_on(self: &Arc<Self>, key: &LeaseKey, is_free: impl Fn(&Line) -> bool) {
        let (wake, lease) = {
            let mut shard = self.shard(key);
            let Some(line) = shard.get_mut(key).filter(|line| is_free(line)) else { return };
            let Some(Waiter { hold, wake, .. }) = line.call() else {
                shard.remove(key);
                self.keys.fetch_sub(1, SeqCst);
                return;
            };
            self.waiting.fetch_sub(1, SeqCst);
            let (id, lease) = self.lease(key, hold);
            line.hold(id, Instant::now() + hold);
            (wake, lease)
        };
        // Whoever has gone in this moment lets it go again, by its drop.
        drop(wake.send(lease));
    }

    fn shard(&self, key: &LeaseKey) -> MutexGuard<'_, HashMap<LeaseKey, Line>> {
        let place = self.hasher.hash_one(key) as usize % SHARDS;
        // There are as many shards as places.
        #[expect(clippy::indexing_slicing)]
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a key's line; left when dropped.
struct Place {
    table: Arc<Table>,
    key: LeaseKey,
    id: u64,
    until: Instant,
    woken: oneshot::Receiver<Lease>,
}

impl Place {
    async fn turn(mut self) -> Turn {
        loop {
            // The holder may have vanished without a word.
            let ends = self.table.expire(&self.key);
            let look = ends.map_or(self.until, |ends| ends.min(self.until));
            if let Ok(Ok(lease)) = timeout_at(look, &mut self.woken).await {
                return Turn::Held(lease);
            }
            if Instant::now() >= self.until {
                // It may have come in this very moment.
                return self.woken.try_recv().map_or(Turn::Busy, Turn::Held);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shard = self.table.shard(&self.key);
        if shard.get_mut(&self.key).is_some_and(|line| line.leave(self.id)) {
            self.table.waiting.fetch_sub(1, SeqCst);
        }
        // What is in the channel is let go by its own drop, after this.
        drop(shard);
    }
}
