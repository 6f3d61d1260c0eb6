//! The line of one key: who holds it, and who waits, in the order of their coming.

use std::collections::VecDeque;
use std::time::Duration;

use lockgate_core::Lease;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Who holds a key and who waits for it.
pub(super) struct Line {
    holder: u64,
    ends: Instant,
    queue: VecDeque<Waiter>,
}

/// One who waits.
pub(super) struct Waiter {
    pub(super) id: u64,
    pub(super) hold: Duration,
    pub(super) wake: oneshot::Sender<Lease>,
}

impl Line {
    /// A line in which nobody waits.
    pub(super) fn held_by(holder: u64, ends: Instant) -> Self {
        Self { holder, ends, queue: VecDeque::new() }
    }

    /// Another holds it from now on.
    pub(super) fn hold(&mut self, holder: u64, ends: Instant) {
        (self.holder, self.ends) = (holder, ends);
    }

    pub(super) fn is_held_by(&self, holder: u64) -> bool {
        self.holder == holder
    }

    /// When the holder's time is over.
    pub(super) fn ends(&self) -> Instant {
        self.ends
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.ends <= now
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn join(&mut self, waiter: Waiter) {
        self.queue.push_back(waiter);
    }

    /// Who is next; no longer in the line then.
    pub(super) fn call(&mut self) -> Option<Waiter> {
        self.queue.pop_front()
    }

    /// Whether it was there.
    pub(super) fn leave(&mut self, id: u64) -> bool {
        let place = self.queue.iter().position(|waiter| waiter.id == id);
        place.is_some_and(|place| self.queue.remove(place).is_some())
    }
}
