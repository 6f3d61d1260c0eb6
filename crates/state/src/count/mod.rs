//! What is kept of one key, by each algorithm: looked at, spent from, given back to. A counter
//! that is not kept at all is the same as a fresh one.

mod bucket;
mod few;
mod fixed;
mod log;
mod near;
mod nibbles;
mod ring;
mod sliding;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use lockgate_core::{Algorithm, Grant, Limit};

pub(crate) use self::near::Near;
use crate::clock::Now;

/// What came of taking at once, without a look before.
pub(crate) enum Took {
    /// It is taken, and nothing but the entry has changed. When it will be as if it had never
    /// been, by the store's clock.
    Here(u64),
    /// It is refused.
    Refused,
    /// It is not decided: more than the entry would change, or have to be looked at.
    Elsewhere,
}

/// The same of one algorithm: what remains, and when the counter is over; or what a refusal says.
enum Taking {
    Here(u64, u64),
    Refused(Grant),
    Elsewhere,
}

/// One key's counter. A log has a line beside it, which is told to all that may look at it; others
/// leave that alone.
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
    pub(crate) fn look(&self, near: &Near, limit: &Limit, now: Now, cost: u64) -> Grant {
        let mut grant = match self {
            Self::Sliding(sliding) => sliding.look(limit, now, cost),
            Self::Log(log) => log.look(near, limit, now, cost),
            Self::Bucket(bucket) => bucket.look(limit, now, cost),
            Self::Fixed(fixed) => fixed.look(limit, now, cost),
        };
        grant.at = now.mono;
        grant
    }

    /// Takes what a look has just allowed. When the counter will be as if it had never been, by
    /// the store's clock.
    pub(crate) fn spend(
        &mut self,
        near: &mut Near,
        limit: &Limit,
        now: Now,
        cost: u64,
        grant: &mut Grant,
    ) -> u64 {
        let over = match self {
            Self::Sliding(sliding) => sliding.spend(limit, now, cost),
            Self::Log(log) => log.spend(near, limit, now, cost),
            Self::Bucket(bucket) => bucket.spend(limit, now, cost),
            Self::Fixed(fixed) => fixed.spend(limit, now, cost),
        };
        grant.remaining = grant.remaining.saturating_sub(cost);
        grant.reset = until(over, now.mono);
        over
    }

    /// A look, and then a spending if it allows, where the entry alone does not decide. When the
    /// counter will be as if it had never been, if something was taken.
    pub(crate) fn take_at_length(
        &mut self,
        near: &mut Near,
        limit: &Limit,
        now: Now,
        cost: u64,
        grant: &mut Grant,
    ) -> Option<u64> {
        let taking = match self {
            Self::Log(log) if cost > 0 => log.take(near, limit, now, cost),
            Self::Fixed(fixed) if cost > 0 => fixed.take(limit, now, cost),
            _ => Taking::Elsewhere,
        };
        match taking.told(now, grant) {
            Took::Here(over) => Some(over),
            Took::Refused => None,
            Took::Elsewhere => {
                *grant = self.look(near, limit, now, cost);
                (grant.allowed && cost > 0).then(|| self.spend(near, limit, now, cost, grant))
            }
        }
    }

    /// The same with less work, where the entry alone decides: the usual case.
    #[inline(always)]
    pub(crate) fn take_here(
        &mut self,
        limit: &Limit,
        now: Now,
        cost: u64,
        grant: &mut Grant,
    ) -> Took {
        let taking = match self {
            _ if cost == 0 => Taking::Elsewhere,
            Self::Sliding(sliding) => sliding.take(limit, now, cost),
            Self::Bucket(bucket) => bucket.take(limit, now, cost),
            // Its name has a say in when it is over.
            Self::Fixed(fixed) if fixed.name.is_none() => fixed.take(limit, now, cost),
            Self::Fixed(_) | Self::Log(_) => Taking::Elsewhere,
        };
        taking.told(now, grant)
    }

    /// The same in a place of its own: for several counters together.
    #[inline(never)]
    pub(crate) fn take_here_of_several(
        &mut self,
        limit: &Limit,
        now: Now,
        cost: u64,
        grant: &mut Grant,
    ) -> Took {
        self.take_here(limit, now, cost, grant)
    }

    /// The counter once more, if it is one that [`Self::take_here`] knows.
    #[inline]
    pub(crate) fn copied(&self) -> Option<Self> {
        match self {
            Self::Sliding(sliding) => sliding.copied().map(Self::Sliding),
            Self::Bucket(bucket) => Some(Self::Bucket(bucket.clone())),
            Self::Fixed(fixed) => fixed.copied().map(Self::Fixed),
            Self::Log(_) => None,
        }
    }

    /// Gives back what was taken at `at`, as far as it still counts.
    pub(crate) fn give_back(
        &mut self,
        near: &mut Near,
        limit: &Limit,
        now: Now,
        cost: u64,
        at: u64,
    ) {
        match self {
            Self::Sliding(sliding) => sliding.give_back(limit, cost, at),
            Self::Log(log) => log.give_back(near, limit, cost, at),
            Self::Bucket(_) => {}
            Self::Fixed(fixed) => fixed.give_back(now, cost, at),
        }
    }

    /// Whether it has a line beside it.
    pub(crate) fn is_log(&self) -> bool {
        matches!(self, Self::Log(_))
    }

    /// Bytes on the heap.
    pub(crate) fn heap(&self) -> usize {
        match self {
            Self::Sliding(sliding) => sliding.heap(),
            Self::Log(log) => log.heap(),
            Self::Bucket(_) => 0,
            Self::Fixed(fixed) => fixed.heap(),
        }
    }

    /// The counter if it is one of those that may bear a name: of a round time.
    pub(crate) fn fixed(&self) -> Option<&fixed::Fixed> {
        match self {
            Self::Fixed(fixed) => Some(fixed),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn fixed_mut(&mut self) -> Option<&mut fixed::Fixed> {
        match self {
            Self::Fixed(fixed) => Some(fixed),
            _ => None,
        }
    }
}

impl Taking {
    /// Says what is left, and when all of it is there again.
    #[inline(always)]
    fn told(self, now: Now, grant: &mut Grant) -> Took {
        match self {
            Self::Here(remaining, over) => {
                let (reset, wait) = (until(over, now.mono), Duration::ZERO);
                *grant = Grant { allowed: true, remaining, reset, wait, at: now.mono };
                Took::Here(over)
            }
            Self::Refused(refusal) => {
                *grant = Grant { at: now.mono, ..refusal };
                Took::Refused
            }
            Self::Elsewhere => Took::Elsewhere,
        }
    }
}

/// Until a moment of the monotonic clock.
fn until(moment: u64, now: u64) -> Duration {
    Duration::from_nanos(moment.saturating_sub(now))
}
