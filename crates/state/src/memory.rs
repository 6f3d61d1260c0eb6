//! Counters in memory: a table of cells, each with a lock of its own. There are so many cells that
//! two workers hardly ever meet at one, unless it is for the same key; and since all keys of a
//! decision are locked together, it is taken from all of them or from none. Atomics for each key
//! would spare a free lock's few nanoseconds and could not say that.

mod decide;
mod held;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockgate_core::{
    Algorithm, Counters, Grant, Limit, LocalFuture, MOST_TAKES, Naming, Stem, StoreError,
    StoreFailure, Take,
};

use crate::board::{Board, Refused};
use crate::clock::Clock;
use crate::table::Cell;
use crate::tag::{Tag, Tagger};
use crate::view::{Figures, Listed};

/// How much may be kept.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most keys.
    pub keys: usize,
    /// Most bytes, the cells' own 64 for every 512 keys aside.
    pub bytes: usize,
}

impl Default for Bounds {
    /// A million keys, in at most 128 MiB.
    fn default() -> Self {
        Self { keys: 1_000_000, bytes: 128 << 20 }
    }
}

/// Keys of a cell, when the table is full: so many that all cells and their marks stay near while
/// many keys are met, and so few that they are looked through, and a cell grows, at once.
const KEYS_OF_A_CELL: usize = 512;
/// How many cells nearby are asked for room, when a key's own has nothing to let go of.
const NEIGHBOURS: usize = 32;
/// How many entries are evicted for one decision at most.
const MOST_EVICTIONS: usize = 4;

/// Counters of one process.
pub struct Memory {
    cells: Box<[Locked]>,
    tagger: Tagger,
    clock: Clock,
    bounds: Bounds,
    keys: AtomicU64,
    bytes: AtomicU64,
    evicted: AtomicU64,
    board: Board,
}

/// A cell and its lock, in a line of the processor's cache that no other cell shares.
#[repr(align(64))]
#[derive(Default)]
struct Locked(Mutex<Cell>);

impl Locked {
    fn lock(&self) -> MutexGuard<'_, Cell> {
        // A panic in between may have lost a count, and no more.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// An empty one.
    pub fn new(bounds: Bounds) -> Self {
        Self::with(bounds, Clock::system())
    }

    /// An empty one whose calendar says `unix` (time since 1970) now, and goes on as tokio's clock
    /// does: for tests that let time pass.
    pub fn in_time(bounds: Bounds, unix: Duration) -> Self {
        Self::with(bounds, Clock::from(unix))
    }

    fn with(bounds: Bounds, clock: Clock) -> Self {
        let cells = bounds.keys.div_ceil(KEYS_OF_A_CELL).next_power_of_two();
        let (keys, bytes, evicted, board) = Default::default();
        let cells = (0..cells).map(|_| Locked::default()).collect();
        let tagger = Tagger::new();
        Self { cells, tagger, clock, bounds, keys, bytes, evicted, board }
    }

    /// How much is kept, and what had to go.
    pub fn figures(&self) -> Figures {
        Figures {
            keys: self.keys.load(Relaxed),
            max_keys: self.bounds.keys as u64,
            bytes: self.bytes.load(Relaxed),
            max_bytes: self.bounds.bytes as u64,
            evicted: self.evicted.load(Relaxed),
        }
    }

    /// Who is refused most.
    pub fn refused(&self) -> Vec<Refused> {
        self.board.all()
    }

    /// The counters that are listed, up to so many, by limit and key.
    pub fn listed(&self, most: usize) -> Vec<Listed> {
        let now = self.clock.now(false).mono;
        let mut all = Vec::new();
        for cell in &self.cells {
            let cell = cell.lock();
            let fixed = cell.entries().iter().filter_map(|entry| entry.count.fixed());
            all.extend(fixed.filter_map(|fixed| fixed.name.as_ref()?.listed(fixed.counted(), now)));
            if all.len() >= most {
                break;
            }
        }
        all.truncate(most);
        all.sort_by(|one, other| (&one.limit, &one.key).cmp(&(&other.limit, &other.key)));
        all
    }

    fn place(&self, tag: Tag) -> usize {
        // The number of cells is a power of two.
        tag.0 as usize & (self.cells.len() - 1)
    }

    fn lock(&self, place: usize) -> Option<(usize, MutexGuard<'_, Cell>)> {
        Some((place, self.cells.get(place)?.lock()))
    }

    /// Evicts one entry if the table is full: of the key's own cell, or of one nearby.
    fn make_room(&self, cell: &mut Cell, more: usize, keep: &[Tag], place: usize) {
        let more = more as u64;
        let full = cell.is_full()
            || self.keys.load(Relaxed) >= self.bounds.keys as u64
            || more > 0 && self.bytes.load(Relaxed) + more > self.bounds.bytes as u64;
        if !full {
            return;
        }
        let _ = self.evict(cell, keep, place);
    }

    /// Evicts an entry of a cell, or of one nearby when it has none to spare.
    fn evict(&self, cell: &mut Cell, keep: &[Tag], place: usize) -> bool {
        if cell.evict(keep) {
            self.forgot_one();
            return true;
        }
        for step in 1..=NEIGHBOURS.min(self.cells.len() - 1) {
            let place = (place + step) & (self.cells.len() - 1);
            // Whoever waited here for a second lock could wait for somebody who waits for ours.
            let other = self.cells.get(place).map(|other| other.0.try_lock());
            let Some(Ok(mut other)) = other else { continue };
            let before = other.bytes();
            if other.evict(keep) {
                self.forgot_one();
                self.resized(before, other.bytes());
                return true;
            }
        }
        false
    }

    /// Counts what a cell has grown or shrunk by, and evicts what is too much.
    fn settle(&self, cell: &mut Cell, mut before: usize, keep: &[Tag], place: usize) {
        for _ in 0..=MOST_EVICTIONS {
            self.resized(before, cell.bytes());
            before = cell.bytes();
            let within = self.bytes.load(Relaxed) <= self.bounds.bytes as u64;
            if within || !self.evict(cell, keep, place) {
                break;
            }
        }
        self.resized(before, cell.bytes());
    }

    fn forgot_one(&self) {
        self.keys.fetch_sub(1, Relaxed);
        self.evicted.fetch_add(1, Relaxed);
    }

    fn resized(&self, before: usize, after: usize) {
        // Two workers that count at once slow each other down: not for nothing.
        if after > before {
            self.bytes.fetch_add((after - before) as u64, Relaxed);
        } else if after < before {
            self.bytes.fetch_sub((before - after) as u64, Relaxed);
        }
    }
}

impl Counters for Memory {
    fn take_now(
        &self,
        takes: &[Take<'_>],
        grants: &mut [Grant],
        naming: &Naming<'_>,
    ) -> Option<Result<bool, StoreError>> {
        if takes.len() > MOST_TAKES || grants.len() < takes.len() {
            let what = format!("decides at most {MOST_TAKES} takes together");
            return Some(Err(StoreError::new("memory", StoreFailure::Answer, what)));
        }
        Some(Ok(self.decide(takes, grants, naming)))
    }

    fn take<'a>(
        &'a self,
        takes: &'a [Take<'a>],
        grants: &'a mut [Grant],
        naming: &'a Naming<'a>,
    ) -> LocalFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { self.take_now(takes, grants, naming).unwrap_or(Ok(false)) })
    }

    fn stem(&self, place: &[u8], limit: &Limit) -> Option<Stem> {
        Some(self.tagger.stem(place, limit))
    }

    fn give_back(&self, taken: &Take<'_>, grant: &Grant) {
        let now = self.clock.now(is_of_calendar(taken.limit));
        let tag = self.tagger.tag(taken);
        let Some((_, mut cell)) = self.lock(self.place(tag)) else { return };
        let Some(found) = cell.find(tag) else { return };
        // Never smaller for it: a ring stays as wide as it was.
        found.with(|entry, near| {
            entry.count.give_back(near, taken.limit, now, taken.cost, grant.at);
        });
    }
}

fn is_of_calendar(limit: &Limit) -> bool {
    matches!(limit.algorithm, Algorithm::FixedWindow | Algorithm::Calendar(_))
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
