//! The sliding window: time is cut into sixtieths of the window, and the buckets of the last whole
//! window count together with the one that has begun. So never more than the limit passes in any
//! window, and what was taken is forgotten after one window at the earliest and a sixtieth of a
//! window later at the latest.

use std::time::Duration;

use lockgate_core::{Grant, Limit};

use super::ring::{BUCKETS, Ring};
use super::until;
use crate::clock::{Now, nanos};

#[derive(Default)]
pub(crate) struct Sliding {
    ring: Ring,
    /// The newest bucket's number.
    head: u64,
}

/// A bucket's length: a sixtieth of the window, rounded up.
fn length(limit: &Limit) -> u64 {
    nanos(limit.window).div_ceil(BUCKETS as u64 - 1).max(1)
}

impl Sliding {
    /// The bucket of a moment; another thread may have seen a later one already.
    fn bucket(&self, limit: &Limit, now: Now) -> u64 {
        (now.mono / length(limit)).max(self.head)
    }

    fn gone(&self, bucket: u64) -> usize {
        usize::try_from(bucket - self.head).unwrap_or(BUCKETS).min(BUCKETS)
    }

    /// When a bucket's count is forgotten.
    fn forgotten(bucket: u64, limit: &Limit) -> u64 {
        (bucket + BUCKETS as u64).saturating_mul(length(limit))
    }

    pub(super) fn look(&self, limit: &Limit, now: Now, cost: u64) -> Grant {
        let gone = self.gone(self.bucket(limit, now));
        let total = self.ring.total(self.head, gone);
        let remaining = limit.count.saturating_sub(total);
        let allowed = cost <= remaining;
        let reset = match total {
            0 => Duration::ZERO,
            _ => until(Self::forgotten(self.head, limit), now.mono),
        };
        let wait =
            if allowed { Duration::ZERO } else { self.wait(limit, now, gone, cost - remaining) };
        Grant { allowed, remaining, reset, wait, at: 0 }
    }

    /// Until so much has been forgotten.
    fn wait(&self, limit: &Limit, now: Now, gone: usize, missing: u64) -> Duration {
        match self.ring.frees(self.head, gone, missing) {
            Some(bucket) => until(Self::forgotten(bucket, limit), now.mono),
            // More than the limit is asked for: never.
            None => limit.window,
        }
    }

    pub(super) fn spend(&mut self, limit: &Limit, now: Now, cost: u64) -> Duration {
        let bucket = self.bucket(limit, now);
        let gone = self.gone(bucket);
        self.ring.advance(self.head, gone);
        self.head = bucket;
        self.ring.add(bucket, cost);
        until(Self::forgotten(bucket, limit), now.mono)
    }

    pub(super) fn give_back(&mut self, limit: &Limit, cost: u64, at: u64) {
        self.ring.subtract(self.head, at / length(limit), cost);
    }

    pub(super) fn heap(&self) -> usize {
        self.ring.heap()
    }
}
