//! Which series exist: one table a kind, by name, under a common cap. Touched at a
//! configuration's load and by a scrape, never by a request.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cell::Shards;

/// The series of one kind by name. A name keeps its series as long as any handle is held.
pub(super) struct Registry<K, C> {
    inner: Mutex<Inner<K, C>>,
    workers: usize,
    cap: usize,
}

struct Inner<K, C> {
    by_name: HashMap<K, Arc<Shards<C>>>,
    /// What names beyond the cap share.
    overflow: Option<Arc<Shards<C>>>,
    refused: u64,
    /// At this size the table is swept before it grows.
    sweep_at: usize,
}

const FIRST_SWEEP: usize = 1_024;

impl<K: Hash + Ord + Clone, C: Default> Registry<K, C> {
    pub(super) fn new(workers: usize, cap: usize) -> Self {
        let inner = Inner {
            by_name: HashMap::new(),
            overflow: None,
            refused: 0,
            sweep_at: FIRST_SWEEP.min(cap),
        };
        Self { inner: Mutex::new(inner), workers, cap }
    }

    /// The series of that name, made when there is none. Beyond the cap, all new names share one.
    /// `retire` sees what is swept out to make room.
    pub(super) fn get(&self, name: K, mut retire: impl FnMut(&Shards<C>)) -> Arc<Shards<C>> {
        let mut inner = self.lock();
        if let Some(series) = inner.by_name.get(&name) {
            return Arc::clone(series);
        }
        // A full table is not swept for every name that it refuses.
        let full = inner.by_name.len() >= self.cap;
        let due = !full || inner.refused.is_multiple_of(FIRST_SWEEP as u64);
        if due && inner.by_name.len() >= inner.sweep_at {
            inner.sweep(&mut retire);
            inner.sweep_at = (inner.by_name.len() * 2).max(FIRST_SWEEP).min(self.cap);
        }
        if inner.by_name.len() >= self.cap {
            inner.refused += 1;
            let workers = self.workers;
            return Arc::clone(
                inner.overflow.get_or_insert_with(|| Arc::new(Shards::new(workers))),
            );
        }
        let series = Arc::new(Shards::new(self.workers));
        inner.by_name.insert(name, Arc::clone(&series));
        series
    }

    /// Lets go of what no handle is held for, and lists the rest, sorted by name.
    pub(super) fn live(&self, mut retire: impl FnMut(&Shards<C>)) -> Vec<(K, Arc<Shards<C>>)> {
        let mut inner = self.lock();
        inner.sweep(&mut retire);
        let named = inner.by_name.iter().map(|(name, s)| (name.clone(), Arc::clone(s)));
        let mut all: Vec<_> = named.collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// What the names beyond the cap share, when there are such.
    pub(super) fn overflow(&self) -> Option<Arc<Shards<C>>> {
        self.lock().overflow.clone()
    }

    /// How many names were refused a series of their own.
    pub(super) fn refused(&self) -> u64 {
        self.lock().refused
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K, C>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, C> Inner<K, C> {
    fn sweep(&mut self, retire: &mut impl FnMut(&Shards<C>)) {
        // Handles are cloned from handles or made under this lock, so a count of one is final.
        self.by_name.retain(|_, series| {
            let held = Arc::strong_count(series) > 1;
            if !held {
                retire(series);
            }
            held
        });
    }
}
