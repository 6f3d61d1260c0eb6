//! The sliding window: time is cut into sixtieths of the window, and the buckets of the last whole
//! window count together with the one that has begun. So never more than the limit passes in any
//! window, and what was taken is forgotten after one window at the earliest and a sixtieth of a
//! window later at the latest.

use std::time::Duration;

use lockgate_core::{Grant, Limit};

use super::ring::{BUCKETS, Ring, Taken};
use super::{Taking, until};
use crate::clock::{Now, nanos};

#[derive(Default)]
pub(crate) struct Sliding {
    ring: Ring,
    /// The newest bucket's number.
    head: u64,
}

/// A moment among the buckets of a limit.
#[derive(Clone, Copy)]
struct Place {
    /// A bucket's length: a sixtieth of the window, rounded up.
    length: u64,
    /// The bucket's number.
    bucket: u64,
    /// How many buckets have been forgotten since the newest that counts.
    gone: usize,
}

impl Place {
    /// When a bucket's count is forgotten.
    fn forgotten(self, bucket: u64) -> u64 {
        (bucket + BUCKETS as u64).saturating_mul(self.length)
    }
}

fn length(limit: &Limit) -> u64 {
    (nanos(limit.window).max(1) - 1) / (BUCKETS as u64 - 1) + 1
}

impl Sliding {
    fn place(&self, limit: &Limit, now: Now) -> Place {
        let length = length(limit);
        // Another thread may have seen a later moment already.
        let bucket = (now.mono / length).max(self.head);
        let gone = (bucket - self.head).min(BUCKETS as u64) as usize;
        Place { length, bucket, gone }
    }

    pub(super) fn look(&self, limit: &Limit, now: Now, cost: u64) -> Grant {
        let place = self.place(limit, now);
        let total = self.ring.total(self.head, place.gone);
        self.said(limit, now, place, cost, total)
    }

    /// What there is to say where so much counts.
    #[inline(never)]
    fn said(&self, limit: &Limit, now: Now, place: Place, cost: u64, total: u64) -> Grant {
        let remaining = limit.count.saturating_sub(total);
        let allowed = cost <= remaining;
        let reset = match total {
            0 => Duration::ZERO,
            _ => until(place.forgotten(self.head), now.mono),
        };
        let wait = if allowed {
            Duration::ZERO
        } else {
            match self.ring.frees(self.head, place.gone, cost - remaining) {
                Some(bucket) => until(place.forgotten(bucket), now.mono),
                // More than the limit is asked for: never.
                None => limit.window,
            }
        };
        Grant { allowed, remaining, reset, wait, at: 0 }
    }

    /// Takes what a look has allowed. When all of it is forgotten.
    pub(super) fn spend(&mut self, limit: &Limit, now: Now, cost: u64) -> u64 {
        let place = self.place(limit, now);
        self.ring.advance(self.head, place.gone);
        self.head = place.bucket;
        self.ring.add(place.bucket, cost);
        place.forgotten(place.bucket)
    }

    /// A look and, if it allows, a spending, in one go, where that is quick.
    #[inline(always)]
    pub(super) fn take(&mut self, limit: &Limit, now: Now, cost: u64) -> Taking {
        let place = self.place(limit, now);
        match self.ring.take_here(place.gone, cost, limit.count) {
            Taken::Here(remaining) => {
                self.head = place.bucket;
                Taking::Here(remaining, place.forgotten(place.bucket))
            }
            Taken::TooMuch(total) => Taking::Refused(self.said(limit, now, place, cost, total)),
            Taken::Elsewhere => Taking::Elsewhere,
        }
    }

    pub(super) fn copied(&self) -> Option<Self> {
        Some(Self { ring: self.ring.copied()?, head: self.head })
    }

    pub(super) fn give_back(&mut self, limit: &Limit, cost: u64, at: u64) {
        self.ring.subtract(self.head, at / length(limit), cost);
    }

    pub(super) fn heap(&self) -> usize {
        self.ring.heap()
    }
}
