//! The sliding log: the time of each event of the last window. Exact, at eight bytes an event.

use std::collections::VecDeque;
use std::time::Duration;

use lockgate_core::{Grant, Limit};

use super::until;
use crate::clock::{Now, nanos};

#[derive(Default)]
#[expect(clippy::box_collection, reason = "a table's entry is to be no larger for it")]
pub(crate) struct Log(Option<Box<VecDeque<u64>>>);

impl Log {
    /// How many of the oldest have been forgotten.
    fn gone(&self, limit: &Limit, now: Now) -> usize {
        let window = nanos(limit.window);
        let forgotten = |at: &u64| now.mono.saturating_sub(*at) >= window;
        let Some(times) = &self.0 else { return 0 };
        // Most often it is none: no need to look about in all of them.
        if times.front().is_some_and(forgotten) { times.partition_point(forgotten) } else { 0 }
    }

    pub(super) fn look(&self, limit: &Limit, now: Now, cost: u64) -> Grant {
        let Some(times) = &self.0 else {
            let allowed = cost <= limit.count;
            return Grant { allowed, remaining: limit.count, ..Grant::default() };
        };
        let gone = self.gone(limit, now);
        let total = (times.len() - gone) as u64;
        let remaining = limit.count.saturating_sub(total);
        let allowed = cost <= remaining;
        let leaves =
            |place: usize| times.get(place).map(|at| at.saturating_add(nanos(limit.window)));
        let newest = times.len().checked_sub(1).filter(|_| total > 0).and_then(leaves);
        let reset = newest.map_or(Duration::ZERO, |at| until(at, now.mono));
        let mut wait = Duration::ZERO;
        if !allowed {
            let missing = usize::try_from(cost - remaining).unwrap_or(usize::MAX);
            let last = leaves(gone.saturating_add(missing - 1));
            wait = last.map_or(limit.window, |at| until(at, now.mono));
        }
        Grant { allowed, remaining, reset, wait, at: 0 }
    }

    pub(super) fn spend(&mut self, limit: &Limit, now: Now, cost: u64) -> Duration {
        let gone = self.gone(limit, now);
        let times = self.0.get_or_insert_default();
        times.drain(..gone);
        // Another thread may have seen a later moment already.
        let at = times.back().map_or(now.mono, |last| now.mono.max(*last));
        times.extend((0..cost).map(|_| at));
        until(at.saturating_add(nanos(limit.window)), now.mono)
    }

    pub(super) fn give_back(&mut self, cost: u64, at: u64) {
        let Some(times) = &mut self.0 else { return };
        // Where it was kept under a later moment, that is the nearest one.
        let from = times.partition_point(|time| *time < at);
        let Some(time) = times.get(from).copied() else { return };
        let same = times.iter().skip(from).take_while(|other| **other == time).count();
        let cost = usize::try_from(cost).unwrap_or(usize::MAX).min(same);
        times.drain(from..from + cost);
    }

    pub(super) fn heap(&self) -> usize {
        let times = self.0.as_ref();
        times.map_or(0, |times| size_of_val(&**times) + times.capacity() * size_of::<u64>())
    }
}
