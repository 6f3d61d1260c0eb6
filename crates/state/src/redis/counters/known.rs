//! What this gateway knows of one counter: slices of the limit that it may still spend by itself,
//! until when the counter is known to be over, and how fast it is asked for. Plain values and a
//! clock's reading: nothing here waits, and nothing here asks the store.
//!
//! A slice is spent before its life ends, by a clock that was read before the slice was asked for;
//! see `docs/decisions/0008-slices-of-allowance.md` for why no window can then exceed its limit.

use std::time::Duration;

use crate::clock::nanos;

/// A part of a limit that is counted already, and may be spent here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) left: u64,
    /// The last moment at which it may not be spent any more.
    pub(super) until: u64,
    /// What the store counts it under.
    pub(super) stamp: u64,
}

/// Tokens that were taken out of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spent {
    /// The slice's end, which tells it from the other.
    pub(super) until: u64,
    pub(super) stamp: u64,
    /// Whether it is time to ask for the next slice.
    pub(super) refill: bool,
}

/// What the store answered.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Told {
    pub(super) allowed: bool,
    pub(super) remaining: u64,
    pub(super) reset: Duration,
    pub(super) wait: Duration,
    pub(super) stamp: u64,
    pub(super) slice: u64,
    pub(super) life: Duration,
}

/// What is known of one counter. Times are nanoseconds of this process's clock.
#[derive(Debug, Default)]
pub(super) struct Known {
    slices: [Slice; 2],
    /// Until when so much, or more, is refused.
    over: u64,
    over_from: u64,
    /// What remained in the store when it last answered, and until when it counts.
    pub(super) remaining: u64,
    pub(super) reset: u64,
    pace: Pace,
}

/// How fast a counter is asked for.
#[derive(Debug, Default)]
struct Pace {
    /// When the store was last asked; 0: never.
    since: u64,
    spent: u64,
    /// The next slice is asked for when no more than this is left, or from then on.
    low: u64,
    refill: u64,
}

/// A gateway's clock and the store's may differ in speed by one part in so many.
const DRIFT: u64 = 128;
/// Largest slice that is asked for.
pub(super) const MOST: u64 = 50_000;

impl Known {
    /// Takes so much out of a slice, the older one first.
    pub(super) fn spend(&mut self, now: u64, cost: u64) -> Option<Spent> {
        let able = self.slices.iter_mut().filter(|slice| slice.until > now && slice.left >= cost);
        let slice = able.min_by_key(|slice| slice.until)?;
        slice.left -= cost;
        let (until, stamp) = (slice.until, slice.stamp);
        self.pace.spent = self.pace.spent.saturating_add(cost);
        let refill = self.left(now) <= self.pace.low || now >= self.pace.refill;
        if refill {
            (self.pace.low, self.pace.refill) = (0, u64::MAX);
        }
        Some(Spent { until, stamp, refill })
    }

    /// What the slices have left.
    pub(super) fn left(&self, now: u64) -> u64 {
        self.slices.iter().filter(|slice| slice.until > now).map(|slice| slice.left).sum()
    }

    /// Puts back what was taken out a moment ago, unless that slice's life is over.
    pub(super) fn unspend(&mut self, now: u64, cost: u64, spent: Spent) {
        self.pace.spent = self.pace.spent.saturating_sub(cost);
        let alive = |slice: &&mut Slice| slice.until == spent.until && slice.until > now;
        if let Some(slice) = self.slices.iter_mut().find(alive) {
            slice.left = slice.left.saturating_add(cost);
        }
    }

    /// Puts back what was counted under a stamp, if a slice of that stamp may still be spent.
    pub(super) fn put_back(&mut self, now: u64, cost: u64, stamp: u64) -> bool {
        let alive = |slice: &&mut Slice| slice.stamp == stamp && slice.until > now;
        let Some(slice) = self.slices.iter_mut().find(alive) else { return false };
        slice.left = slice.left.saturating_add(cost);
        true
    }

    /// For how much longer so much is known to be refused.
    pub(super) fn is_over(&self, now: u64, cost: u64) -> Option<Duration> {
        let left = self.over.checked_sub(now).filter(|left| *left > 0)?;
        (cost >= self.over_from).then(|| Duration::from_nanos(left))
    }

    /// How much to ask for beside what is needed now, for so long a life: what was spent of late,
    /// at the pace at which it was, and at most twice of it, so that it grows from nothing.
    pub(super) fn want(&mut self, now: u64, life: Duration, waiting: u64) -> u64 {
        let pace = &mut self.pace;
        let mut want = 0;
        if pace.since > 0 {
            let passed = u128::from(now.saturating_sub(pace.since).max(1));
            let steady = u128::from(pace.spent) * life.as_nanos() / passed;
            want = u64::try_from(steady).unwrap_or(MOST).min(pace.spent.saturating_mul(2));
        }
        (pace.since, pace.spent) = (now.max(1), 0);
        want.saturating_add(waiting).min(MOST)
    }

    /// What is left of a slice whose life is over, and its stamp; it is not left any more then.
    pub(super) fn unspent(&mut self, now: u64) -> Option<(u64, u64)> {
        let dead = |slice: &&mut Slice| slice.until <= now && slice.left > 0;
        let slice = self.slices.iter_mut().find(dead)?;
        Some((std::mem::take(&mut slice.left), slice.stamp))
    }

    /// Takes in an answer to what was asked at `asked` for `cost`. What has to be let go of for
    /// want of room is returned.
    pub(super) fn told(&mut self, asked: u64, cost: u64, told: &Told) -> u64 {
        self.remaining = told.remaining;
        self.reset = asked.saturating_add(nanos(told.reset));
        if !told.allowed {
            self.over = asked.saturating_add(nanos(told.wait));
            self.over_from = cost;
            return 0;
        }
        self.pace.spent = self.pace.spent.saturating_add(cost);
        if self.over_from <= cost {
            self.over = 0;
        }
        if told.slice == 0 {
            (self.pace.low, self.pace.refill) = (0, u64::MAX);
            return 0;
        }
        let life = nanos(told.life);
        let life = life - life / DRIFT;
        let until = asked.saturating_add(life);
        (self.pace.low, self.pace.refill) = (told.slice / 2, asked.saturating_add(life / 4 * 3));
        self.add(Slice { left: told.slice, until, stamp: told.stamp })
    }

    fn add(&mut self, new: Slice) -> u64 {
        let [one, other] = &mut self.slices;
        // The one that is of less use makes room.
        let place =
            if (one.left == 0, other.until) > (other.left == 0, one.until) { one } else { other };
        let lost = place.left;
        *place = new;
        lost
    }

    /// What was taken has been given back: it may not be over any more.
    pub(super) fn not_over(&mut self) {
        self.over = 0;
    }

    /// What all slices have left, whether it may be spent or not.
    pub(super) fn whole(&self) -> u64 {
        self.slices.iter().map(|slice| slice.left).sum()
    }

    /// What could still be spent: what a protocol gives back that does not close slices.
    #[cfg(test)]
    pub(super) fn spendable(&self, now: u64) -> (u64, u64) {
        let alive = self.slices.iter().find(|slice| slice.until > now && slice.left > 0);
        alive.map_or((0, 0), |slice| (slice.left, slice.stamp))
    }

    /// Until when any of this is worth keeping.
    pub(super) fn matters(&self) -> u64 {
        let slices = self.slices.iter().filter(|slice| slice.left > 0).map(|slice| slice.until);
        slices.max().unwrap_or_default().max(self.over).max(self.pace.since)
    }
}
