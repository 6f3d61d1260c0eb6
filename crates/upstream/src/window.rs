//! The outcomes of the last N calls, without a lock: a ring of small flags and their running sums.

use std::sync::atomic::{AtomicI32, AtomicU8, AtomicUsize, Ordering::Relaxed};

const FILLED: u8 = 1;
const FAILED: u8 = 2;
const SLOW: u8 = 4;

/// No window is longer, whatever the configuration says.
const LONGEST: u32 = 10_000;

/// A ring of the last outcomes. Concurrent writers may see each other's sums a moment late, but
/// every flag that is written is taken out again exactly once, so the sums never drift.
#[derive(Debug)]
pub(crate) struct Window {
    slots: Box<[AtomicU8]>,
    next: AtomicUsize,
    filled: AtomicI32,
    failed: AtomicI32,
    slow: AtomicI32,
}

/// The sums of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Outcomes seen, at most the window's length.
    pub(crate) filled: u32,
    pub(crate) failed: u32,
    pub(crate) slow: u32,
}

impl Window {
    /// A window over the last `length` outcomes, at least one.
    pub(crate) fn new(length: u32) -> Self {
        let length = length.clamp(1, LONGEST);
        Self {
            slots: (0..length).map(|_| AtomicU8::new(0)).collect(),
            next: AtomicUsize::new(0),
            filled: AtomicI32::new(0),
            failed: AtomicI32::new(0),
            slow: AtomicI32::new(0),
        }
    }

    /// How many outcomes it can hold.
    pub(crate) fn length(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(LONGEST)
    }

    /// Adds an outcome, which drops the oldest, and returns the sums after it.
    pub(crate) fn record(&self, failed: bool, slow: bool) -> Sums {
        let place = self.next.fetch_add(1, Relaxed) % self.slots.len();
        let fresh = FILLED | if failed { FAILED } else { 0 } | if slow { SLOW } else { 0 };
        if let Some(slot) = self.slots.get(place) {
            self.count(slot.swap(fresh, Relaxed), fresh);
        }
        self.sums()
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        for slot in &self.slots {
            self.count(slot.swap(0, Relaxed), 0);
        }
    }

    pub(crate) fn sums(&self) -> Sums {
        let read = |sum: &AtomicI32| u32::try_from(sum.load(Relaxed)).unwrap_or(0);
        Sums { filled: read(&self.filled), failed: read(&self.failed), slow: read(&self.slow) }
    }

    fn count(&self, old: u8, fresh: u8) {
        for (flag, sum) in [(FILLED, &self.filled), (FAILED, &self.failed), (SLOW, &self.slow)] {
            let delta = i32::from(fresh & flag != 0) - i32::from(old & flag != 0);
            if delta != 0 {
                sum.fetch_add(delta, Relaxed);
            }
        }
    }
}

impl Sums {
    /// Whether `part` of all outcomes is at least `share`, and more than none.
    pub(crate) fn reaches(self, part: u32, share: f64) -> bool {
        part > 0 && f64::from(part) >= share * f64::from(self.filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_outcome_leaves_as_the_newest_comes() {
        let window = Window::new(3);
        window.record(true, false);
        window.record(true, true);
        assert_eq!(window.record(false, false), Sums { filled: 3, failed: 2, slow: 1 });
        assert_eq!(window.record(false, false), Sums { filled: 3, failed: 1, slow: 1 });
        assert_eq!(window.record(false, false), Sums { filled: 3, failed: 0, slow: 0 });
        window.clear();
        assert_eq!(window.record(true, false), Sums { filled: 1, failed: 1, slow: 0 });
    }

    #[test]
    fn many_writers_leave_exact_sums() {
        let window = Window::new(7);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let window = &window;
                scope.spawn(move || {
                    for call in 0..5_000 {
                        window.record((call + writer) % 3 == 0, call % 2 == 0);
                    }
                });
            }
        });
        for _ in 0..7 {
            window.record(true, false);
        }
        assert_eq!(window.sums(), Sums { filled: 7, failed: 7, slow: 0 });
    }
}
