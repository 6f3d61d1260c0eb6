//! What is kept of one key, by each algorithm: looked at, spent from, given back to. A counter
//! that is not kept at all is the same as a fresh one.

mod bucket;
mod fixed;
mod log;
mod ring;
mod sliding;
#[cfg(test)]
mod tests;

use std::time::Duration;

use lockgate_core::{Algorithm, Grant, Limit};

use crate::clock::Now;

/// One key's counter.
pub(crate) enum Count {
    /// Buckets that slide.
    Sliding(sliding::Sliding),
    /// Each event's time.
    Log(log::Log),
    /// Tokens.
    Bucket(bucket::Bucket),
    /// One window.
    Fixed(fixed::Fixed),
}

impl Count {
    /// A counter that has counted nothing.
    pub(crate) fn fresh(limit: &Limit) -> Self {
        match limit.algorithm {
            Algorithm::SlidingWindow => Self::Sliding(Default::default()),
            Algorithm::SlidingLog => Self::Log(Default::default()),
            Algorithm::TokenBucket => Self::Bucket(Default::default()),
            Algorithm::FixedWindow | Algorithm::Calendar(_) => Self::Fixed(Default::default()),
        }
    }

    /// What taking `cost` would come to; nothing is taken.
    pub(crate) fn look(&self, limit: &Limit, now: Now, cost: u64) -> Grant {
        let mut grant = match self {
            Self::Sliding(sliding) => sliding.look(limit, now, cost),
            Self::Log(log) => log.look(limit, now, cost),
            Self::Bucket(bucket) => bucket.look(limit, now, cost),
            Self::Fixed(fixed) => fixed.look(limit, now, cost),
        };
        grant.at = now.mono;
        grant
    }

    /// Takes what a look has just allowed.
    pub(crate) fn spend(&mut self, limit: &Limit, now: Now, cost: u64, grant: &mut Grant) {
        grant.remaining = grant.remaining.saturating_sub(cost);
        grant.reset = match self {
            Self::Sliding(sliding) => sliding.spend(limit, now, cost),
            Self::Log(log) => log.spend(limit, now, cost),
            Self::Bucket(bucket) => bucket.spend(limit, now, cost),
            Self::Fixed(fixed) => fixed.spend(limit, now, cost),
        };
    }

    /// Gives back what was taken at `at`, as far as it still counts.
    pub(crate) fn give_back(&mut self, limit: &Limit, now: Now, cost: u64, at: u64) {
        match self {
            Self::Sliding(sliding) => sliding.give_back(limit, cost, at),
            Self::Log(log) => log.give_back(cost, at),
            Self::Bucket(_) => {}
            Self::Fixed(fixed) => fixed.give_back(now, cost, at),
        }
    }

    /// Bytes on the heap.
    pub(crate) fn heap(&self) -> usize {
        match self {
            Self::Sliding(sliding) => sliding.heap(),
            Self::Log(log) => log.heap(),
            Self::Bucket(_) | Self::Fixed(_) => 0,
        }
    }

    /// How much counts now, in a window of the calendar.
    pub(crate) fn counted(&self) -> u64 {
        match self {
            Self::Fixed(fixed) => fixed.counted(),
            _ => 0,
        }
    }
}

/// Until a moment of the monotonic clock.
fn until(moment: u64, now: u64) -> Duration {
    Duration::from_nanos(moment.saturating_sub(now))
}
