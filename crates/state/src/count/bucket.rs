//! The token bucket, as one moment (GCRA): when the bucket would be full again. In units of a
//! nanosecond divided by the limit's count, so that a token comes back after a whole number of
//! them, and nothing is ever rounded.

use std::time::Duration;

use lockgate_core::{Grant, Limit};

use super::Taking;
use crate::clock::{Now, nanos};

/// The moment, in two halves: an entry of the table is no larger for it.
#[derive(Default, Clone)]
pub(crate) struct Bucket {
    high: u64,
    low: u64,
}

/// A token's time.
fn token(limit: &Limit) -> u128 {
    u128::from(nanos(limit.window))
}

fn moment(limit: &Limit, now: Now) -> u128 {
    u128::from(now.mono) * u128::from(limit.count)
}

/// Rounded up.
fn time(units: u128, limit: &Limit) -> u64 {
    let count = limit.count.max(1);
    divided(units.saturating_add(u128::from(count - 1)), count)
}

/// How many tokens are there, with so many units owed.
fn tokens(limit: &Limit, owed: u128) -> u64 {
    divided(most(limit).saturating_sub(owed), nanos(limit.window).max(1))
}

/// What a full bucket owes nothing of.
fn most(limit: &Limit) -> u128 {
    u128::from(limit.burst) * token(limit)
}

/// Most often both are short, and then it takes a tenth of the time.
fn divided(units: u128, by: u64) -> u64 {
    match u64::try_from(units) {
        Ok(units) => units / by,
        Err(_) => u64::try_from(units / u128::from(by)).unwrap_or(u64::MAX),
    }
}

impl Bucket {
    fn full(&self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    fn fill_at(&mut self, full: u128) {
        (self.high, self.low) = ((full >> 64) as u64, full as u64);
    }

    pub(super) fn look(&self, limit: &Limit, now: Now, cost: u64) -> Grant {
        let owed = self.full().saturating_sub(moment(limit, now));
        said(limit, owed, u128::from(cost) * token(limit))
    }

    /// Takes what a look has allowed. When the bucket is full again.
    pub(super) fn spend(&mut self, limit: &Limit, now: Now, cost: u64) -> u64 {
        let moment = moment(limit, now);
        let full = self.full().max(moment) + u128::from(cost) * token(limit);
        self.fill_at(full);
        now.mono.saturating_add(time(full - moment, limit))
    }

    /// A look and, if it allows, a spending, in one go.
    #[inline(always)]
    pub(super) fn take(&mut self, limit: &Limit, now: Now, cost: u64) -> Taking {
        let (moment, price) = (moment(limit, now), u128::from(cost) * token(limit));
        let owed = self.full().saturating_sub(moment);
        let after = owed + price;
        if after > most(limit) {
            return Taking::Refused(said(limit, owed, price));
        }
        self.fill_at(moment + after);
        Taking::Here(tokens(limit, after), now.mono.saturating_add(time(after, limit)))
    }
}

/// What there is to say of a price where so much is owed.
fn said(limit: &Limit, owed: u128, price: u128) -> Grant {
    let over = (owed + price).saturating_sub(most(limit));
    Grant {
        allowed: over == 0,
        remaining: tokens(limit, owed),
        reset: Duration::from_nanos(time(owed, limit)),
        wait: Duration::from_nanos(time(over, limit)),
        at: 0,
    }
}
