//! The cells that one worker writes and a scrape reads: counters, a histogram, small tables.
//!
//! Each cell has a single writer, so adding is a plain load and store, without a locked
//! instruction. Nothing here grows: a table that is full counts under "other".

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the latency buckets, in seconds; a last one without bound follows.
pub(super) const BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

pub(super) const BOUNDS_NANOS: [u64; 14] = {
    const MICROS: [u64; 14] = [
        500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
        2_500_000, 10_000_000, 60_000_000,
    ];
    let mut nanos = MICROS;
    let mut i = 0;
    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
    while i < nanos.len() {
        nanos[i] = MICROS[i] * 1_000;
        i += 1;
    }
    nanos
};

/// How many buckets there are.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// A counter with one writer.
#[derive(Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
}

/// How long things took.
#[derive(Default)]
pub(super) struct Histogram {
    buckets: [Count; BUCKETS],
    nanos: Count,
    /// The shortest, at least 1; 0 is none yet.
    least: AtomicU64,
    most: AtomicU64,
}

/// What a histogram held when it was read; several may be added up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spread {
    /// How many took no longer than each bound, and longer than the one before; the last bucket
    /// has no bound.
    pub buckets: [u64; BUCKETS],
    /// The time of all of them, in nanoseconds.
    pub nanos: u64,
    /// The shortest; 0 when there is none.
    pub least: u64,
    /// The longest.
    pub most: u64,
}

impl Histogram {
    pub(super) fn add(&self, took: Duration) {
        let nanos = nanos(took);
        if let Some(bucket) = self.buckets.get(bucket(nanos)) {
            bucket.add(1);
        }
        self.nanos.add(nanos);
        let least = self.least.load(Relaxed);
        if least == 0 || nanos < least {
            self.least.store(nanos.max(1), Relaxed);
        }
        if nanos > self.most.load(Relaxed) {
            self.most.store(nanos, Relaxed);
        }
    }

    pub(super) fn add_to(&self, spread: &mut Spread) {
        for (sum, bucket) in spread.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.get();
        }
        spread.nanos = spread.nanos.wrapping_add(self.nanos.get());
        spread.include(self.least.load(Relaxed), self.most.load(Relaxed));
    }
}

impl Spread {
    /// Adds what another one holds.
    pub fn add(&mut self, other: &Self) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += bucket;
        }
        self.nanos = self.nanos.wrapping_add(other.nanos);
        self.include(other.least, other.most);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(super) fn include(&mut self, least: u64, most: u64) {
        if least != 0 && (self.least == 0 || least < self.least) {
            self.least = least;
        }
        self.most = self.most.max(most);
    }
}

/// The bucket of so many nanoseconds.
pub(super) fn bucket(nanos: u64) -> usize {
    BOUNDS_NANOS.partition_point(|bound| *bound < nanos)
}

/// Nanoseconds, up to five centuries.
pub(crate) fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(time.subsec_nanos()))
}

const STATUSES: usize = 24;

/// Answers by status: the first 24 different ones that were seen, and the rest.
#[derive(Default)]
pub(super) struct Statuses {
    codes: [AtomicU16; STATUSES],
    counts: [Count; STATUSES],
    other: Count,
}

impl Statuses {
    pub(super) fn add(&self, status: u16) {
        if !(100..=599).contains(&status) {
            return self.other.add(1);
        }
        for (code, count) in self.codes.iter().zip(&self.counts) {
            let there = code.load(Relaxed);
            if there == status {
                return count.add(1);
            }
            if there == 0 {
                count.add(1);
                return code.store(status, Relaxed);
            }
        }
        self.other.add(1);
    }

    /// Each status and its count; status 0 is the rest.
    pub(super) fn each(&self, mut see: impl FnMut(u16, u64)) {
        for (code, count) in self.codes.iter().zip(&self.counts) {
            match code.load(Relaxed) {
                0 => break,
                status => see(status, count.get()),
            }
        }
        if self.other.get() > 0 {
            see(0, self.other.get());
        }
    }
}

const REASONS: usize = 48;

/// The name that reasons share once a table is full.
pub(super) const OTHER: &str = "other";

/// Refusals by reason: made when the first one happens.
#[derive(Default)]
pub(super) struct Reasons(OnceLock<Box<ReasonTable>>);

struct ReasonTable {
    slots: [(OnceLock<&'static str>, Count); REASONS],
    other: Count,
}

impl Reasons {
    pub(super) fn add(&self, reason: &'static str) {
        let table = self.0.get_or_init(|| {
            Box::new(ReasonTable {
                slots: std::array::from_fn(|_| Default::default()),
                other: Count::default(),
            })
        });
        for (name, count) in &table.slots {
            match name.get() {
                Some(there) if *there == reason => return count.add(1),
                Some(_) => {}
                None => {
                    count.add(1);
                    // Cannot be set already: this worker alone writes here.
                    let _ = name.set(reason);
                    return;
                }
            }
        }
        table.other.add(1);
    }

    pub(super) fn each(&self, mut see: impl FnMut(&'static str, u64)) {
        let Some(table) = self.0.get() else { return };
        for (name, count) in &table.slots {
            match name.get() {
                Some(name) => see(name, count.get()),
                None => break,
            }
        }
        if table.other.get() > 0 {
            see(OTHER, table.other.get());
        }
    }
}

/// One cell for each worker, each on cache lines of its own, made when its worker first writes:
/// what is never used costs a few words.
pub(super) struct Shards<C> {
    cells: OnceLock<Box<[Slot<C>]>>,
    workers: u16,
}

type Slot<C> = OnceLock<Box<Padded<C>>>;

#[derive(Default)]
#[repr(align(64))]
pub(super) struct Padded<C>(C);

impl<C: Default> Shards<C> {
    pub(super) fn new(workers: usize) -> Self {
        Self { cells: OnceLock::new(), workers: u16::try_from(workers).unwrap_or(u16::MAX) }
    }

    /// The cell that `worker` alone writes; `None` when there is no such worker.
    pub(super) fn of(&self, worker: usize) -> Option<&C> {
        let cells = self.cells.get_or_init(|| (0..self.workers).map(|_| OnceLock::new()).collect());
        Some(&cells.get(worker)?.get_or_init(Default::default).0)
    }

    /// The cells that have been written to.
    pub(super) fn used(&self) -> impl Iterator<Item = &C> {
        let cells = self.cells.get().map_or(&[][..], |cells| cells);
        cells.iter().filter_map(OnceLock::get).map(|cell| &cell.0)
    }
}
