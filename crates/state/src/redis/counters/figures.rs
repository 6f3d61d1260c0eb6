//! What slices came to.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use lockgate_core::{Counter, Figure};

/// What operators may see of a store's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CounterFigures {
    /// Calls that decisions waited for.
    pub asked: u64,
    /// Calls for slices that nobody waited for.
    pub refilled: u64,
    /// Takes that were let pass out of a slice, without a call.
    pub granted_here: u64,
    /// Decisions refused without a call.
    pub refused_here: u64,
    /// What slices came to.
    pub sliced: u64,
    /// What was left of them, and was given back.
    pub returned: u64,
    /// What was left of them, and could not be given back.
    pub lost: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    asked: AtomicU64,
    refilled: AtomicU64,
    granted: Counter,
    refused: Counter,
    sliced: AtomicU64,
    returned: AtomicU64,
    lost: AtomicU64,
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// This thread's cell of the counters that every request adds to.
    static THREAD: usize = THREADS.fetch_add(1, Relaxed);
}

fn thread() -> usize {
    THREAD.with(|thread| *thread)
}

impl Counts {
    pub(super) fn asked(&self) {
        self.asked.fetch_add(1, Relaxed);
    }

    pub(super) fn refilled(&self) {
        self.refilled.fetch_add(1, Relaxed);
    }

    pub(super) fn granted(&self, takes: u64) {
        self.granted.add(thread(), takes);
    }

    pub(super) fn refused(&self) {
        self.refused.add(thread(), 1);
    }

    pub(super) fn sliced(&self, amount: u64) {
        self.sliced.fetch_add(amount, Relaxed);
    }

    pub(super) fn returned(&self, amount: u64) {
        self.returned.fetch_add(amount, Relaxed);
    }

    pub(super) fn lost(&self, amount: u64) {
        self.lost.fetch_add(amount, Relaxed);
    }

    pub(super) fn figures(&self) -> CounterFigures {
        CounterFigures {
            asked: self.asked.load(Relaxed),
            refilled: self.refilled.load(Relaxed),
            granted_here: self.granted.value(),
            refused_here: self.refused.value(),
            sliced: self.sliced.load(Relaxed),
            returned: self.returned.load(Relaxed),
            lost: self.lost.load(Relaxed),
        }
    }
}
