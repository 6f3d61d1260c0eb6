//! Counters in memory: a table of cells, each with a lock of its own. There are so many cells that
//! two workers hardly ever meet at one, unless it is for the same key; and since all keys of a
//! decision are locked together, it is taken from all of them or from none. Atomics for each key
//! would spare a free lock's few nanoseconds and could not say that.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockgate_core::{
    Algorithm, Counters, Grant, Limit, LocalFuture, MOST_TAKES, Naming, StoreError, StoreFailure,
    Take,
};

use crate::board::{Board, Refused};
use crate::clock::{Clock, Now, nanos};
use crate::count::Count;
use crate::table::{Cell, Entry, Tag};
use crate::view::{Figures, Listed, Name};

/// How much may be kept.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most keys.
    pub keys: usize,
    /// Most bytes, the cells' own 64 for every 256 keys aside.
    pub bytes: usize,
}

impl Default for Bounds {
    /// A million keys, in at most 128 MiB.
    fn default() -> Self {
        Self { keys: 1_000_000, bytes: 128 << 20 }
    }
}

/// Keys of a cell, when the table is full: few enough that it grows in some microseconds.
const KEYS_OF_A_CELL: usize = 256;
/// How many cells nearby are asked for room, when a key's own has nothing to let go of.
const NEIGHBOURS: usize = 32;
/// How many entries are evicted for one decision at most.
const MOST_EVICTIONS: usize = 4;
/// A tick of an entry's clock is 2 to the power of this in nanoseconds: 67 ms.
const TICK: u32 = 26;

/// Counters of one process.
pub struct Memory {
    cells: Box<[Locked]>,
    hasher: RandomState,
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

/// The cells of one decision, locked in their order, so that no two decisions wait for each other.
type Held<'a> = [Option<(usize, MutexGuard<'a, Cell>)>; MOST_TAKES];

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
        let (hasher, keys, bytes, evicted, board) = Default::default();
        let cells = (0..cells).map(|_| Locked::default()).collect();
        Self { cells, hasher, clock, bounds, keys, bytes, evicted, board }
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
            let named = cell.entries().iter().filter_map(|entry| {
                entry.name.as_ref().and_then(|name| name.listed(entry.count.counted(), now))
            });
            all.extend(named);
            if all.len() >= most {
                break;
            }
        }
        all.truncate(most);
        all.sort_by(|one, other| (&one.limit, &one.key).cmp(&(&other.limit, &other.key)));
        all
    }

    fn tag(&self, take: &Take<'_>) -> Tag {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(take.key);
        Tag(hasher.finish() ^ kind(take.limit))
    }

    fn place(&self, tag: Tag) -> usize {
        // The number of cells is a power of two.
        tag.0 as usize & (self.cells.len() - 1)
    }

    fn lock(&self, place: usize) -> Option<(usize, MutexGuard<'_, Cell>)> {
        Some((place, self.cells.get(place)?.lock()))
    }

    fn hold(&self, tags: &[Tag]) -> Held<'_> {
        let mut held = Held::default();
        if let [tag] = tags {
            held[0] = self.lock(self.place(*tag));
            return held;
        }
        let mut places = [usize::MAX; MOST_TAKES];
        for (place, tag) in places.iter_mut().zip(tags) {
            *place = self.place(*tag);
        }
        places.sort_unstable();
        let mut last = usize::MAX;
        for (held, place) in held.iter_mut().zip(places) {
            if place != last && place != usize::MAX {
                *held = self.lock(place);
            }
            last = place;
        }
        held
    }

    fn decide(&self, takes: &[Take<'_>], grants: &mut [Grant], naming: &Naming<'_>) -> bool {
        let calendar = takes.iter().any(|take| is_of_calendar(take.limit));
        let now = self.clock.at(takes.first().and_then(|take| take.at), calendar);
        if let ([take], [grant, ..]) = (takes, &mut *grants)
            && self.grants_known(take, now, grant)
        {
            return true;
        }
        let mut tags = [Tag::default(); MOST_TAKES];
        let tags = tags.get_mut(..takes.len()).unwrap_or_default();
        for (tag, take) in tags.iter_mut().zip(takes) {
            *tag = self.tag(take);
        }
        let mut held = self.hold(tags);
        let mut all = true;
        for ((take, tag), grant) in takes.iter().zip(&*tags).zip(&mut *grants) {
            let Some(cell) = cell_of(&mut held, self.place(*tag)) else { continue };
            *grant = match cell.find(*tag) {
                Some(entry) => {
                    entry.meet(tick(now));
                    entry.count.look(take.limit, now, take.cost)
                }
                None => Count::fresh(take.limit).look(take.limit, now, take.cost),
            };
            all &= grant.allowed || take.dry;
        }
        if all {
            for (place, (take, grant)) in takes.iter().zip(&mut *grants).enumerate() {
                if grant.allowed && take.cost > 0 {
                    self.spend(&mut held, tags, place, take, now, grant, naming);
                }
            }
        }
        drop(held);
        for (place, (tag, grant)) in tags.iter().zip(&*grants).enumerate() {
            if !grant.allowed {
                self.board.note(*tag, || naming(place));
            }
        }
        all
    }

    /// Takes from a counter alone that is kept already and has enough: the usual case. False:
    /// nothing has been taken.
    fn grants_known(&self, take: &Take<'_>, now: Now, grant: &mut Grant) -> bool {
        let tag = self.tag(take);
        let place = self.place(tag);
        let Some((_, mut cell)) = self.lock(place) else { return false };
        let before = cell.bytes();
        let Some(entry) = cell.find(tag) else { return false };
        entry.meet(tick(now));
        *grant = entry.count.look(take.limit, now, take.cost);
        if !grant.allowed {
            return false;
        }
        if take.cost > 0 {
            let (was, is) = spend_from(entry, take, now, grant);
            if was != is {
                cell.resized(was, is);
                self.settle(&mut cell, before, &[tag], place);
            }
        }
        true
    }

    #[expect(clippy::too_many_arguments, reason = "one step of `decide`")]
    fn spend(
        &self,
        held: &mut Held<'_>,
        tags: &[Tag],
        number: usize,
        take: &Take<'_>,
        now: Now,
        grant: &mut Grant,
        naming: &Naming<'_>,
    ) {
        let Some(tag) = tags.get(number).copied() else { return };
        let Some(cell) = cell_of(held, self.place(tag)) else { return };
        let before = cell.bytes();
        if let Some(entry) = cell.find(tag) {
            let (was, is) = spend_from(entry, take, now, grant);
            if was != is {
                cell.resized(was, is);
                self.settle(cell, before, tags, self.place(tag));
            }
            return;
        }
        let mut count = Count::fresh(take.limit);
        count.spend(take.limit, now, take.cost, grant);
        let name = take.listed.then(|| {
            let (of, end) = (take.limit.count, now.mono + nanos(grant.reset));
            Box::new(Name { name: naming(number), of, end })
        });
        let until = second_after(now, grant.reset);
        let entry = Entry { tag, count, name, until, met: tick(now), warmth: 0 };
        let forgotten = cell.forget(second(now)) as u64;
        self.keys.fetch_sub(forgotten, Relaxed);
        self.make_room(cell, tags, self.place(tag));
        if cell.push(entry) {
            self.keys.fetch_add(1, Relaxed);
        }
        self.settle(cell, before, tags, self.place(tag));
    }

    /// Evicts one entry if the table is full: of the key's own cell, or of one nearby.
    fn make_room(&self, cell: &mut Cell, keep: &[Tag], place: usize) {
        let more = cell.more() as u64;
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
        if after >= before {
            self.bytes.fetch_add((after - before) as u64, Relaxed);
        } else {
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

    fn give_back(&self, taken: &Take<'_>, grant: &Grant) {
        let now = self.clock.now(is_of_calendar(taken.limit));
        let tag = self.tag(taken);
        let Some((_, mut cell)) = self.lock(self.place(tag)) else { return };
        let Some(entry) = cell.find(tag) else { return };
        // Never smaller for it: a ring stays as wide as it was.
        entry.count.give_back(taken.limit, now, taken.cost, grant.at);
    }
}

/// Takes from an entry what a look has just allowed: what it had on the heap before, and after.
fn spend_from(entry: &mut Entry, take: &Take<'_>, now: Now, grant: &mut Grant) -> (usize, usize) {
    let was = entry.count.heap();
    entry.count.spend(take.limit, now, take.cost, grant);
    entry.until = second_after(now, grant.reset);
    if let Some(name) = &mut entry.name {
        (name.of, name.end) = (take.limit.count, now.mono + nanos(grant.reset));
    }
    (was, entry.count.heap())
}

fn cell_of<'h>(held: &'h mut Held<'_>, place: usize) -> Option<&'h mut Cell> {
    let mut found = held.iter_mut().flatten();
    found.find(|(held, _)| *held == place).map(|(_, cell)| &mut **cell)
}

/// What tells the counters of one key apart, where it is counted in several ways. No secret: all
/// of it stands in the configuration.
pub(crate) fn kind(limit: &Limit) -> u64 {
    let (algorithm, more) = match limit.algorithm {
        Algorithm::SlidingWindow => (1, 0),
        Algorithm::SlidingLog => (2, 0),
        // A bucket's moments are in units of its count: with another count it is another.
        Algorithm::TokenBucket => (3, limit.count),
        Algorithm::FixedWindow => (4, 0),
        Algorithm::Calendar(calendar) => {
            let unit = calendar.unit as u64;
            return mixed(5 + unit, calendar.offset_seconds.unsigned_abs().into());
        }
    };
    mixed(algorithm, nanos(limit.window).wrapping_add(more.rotate_right(24)))
}

fn mixed(one: u64, other: u64) -> u64 {
    let mixed = one.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ other.wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 29
}

fn is_of_calendar(limit: &Limit) -> bool {
    matches!(limit.algorithm, Algorithm::FixedWindow | Algorithm::Calendar(_))
}

fn tick(now: Now) -> u32 {
    (now.mono >> TICK) as u32
}

fn second(now: Now) -> u32 {
    u32::try_from(Duration::from_nanos(now.mono).as_secs()).unwrap_or(u32::MAX)
}

/// The first whole second after so much time.
fn second_after(now: Now, time: Duration) -> u32 {
    let after = Duration::from_nanos(now.mono) + time;
    u32::try_from(after.as_secs() + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
