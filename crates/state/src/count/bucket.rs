//! The token bucket, as one moment (GCRA): when the bucket would be full again. In units of a
//! nanosecond divided by the limit's count, so that a token comes back after a whole number of
//! them, and nothing is ever rounded.

use std::time::Duration;

use lockgate_core::{Grant, Limit};

use crate::clock::{Now, nanos};

/// The moment, in two halves: an entry of the table is no larger for it.
#[derive(Default)]
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
fn time(units: u128, limit: &Limit) -> Duration {
    let nanos = units.div_ceil(u128::from(limit.count.max(1)));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Bucket {
    fn full(&self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    pub(super) fn look(&self, limit: &Limit, now: Now, cost: u64) -> Grant {
        let now = moment(limit, now);
        let owed = self.full().saturating_sub(now);
        let most = u128::from(limit.burst) * token(limit);
        let after = owed + u128::from(cost) * token(limit);
        let remaining = most.saturating_sub(owed) / token(limit).max(1);
        Grant {
            allowed: after <= most,
            remaining: u64::try_from(remaining).unwrap_or(u64::MAX),
            reset: time(owed, limit),
            wait: time(after.saturating_sub(most), limit),
            at: 0,
        }
    }

    pub(super) fn spend(&mut self, limit: &Limit, now: Now, cost: u64) -> Duration {
        let now = moment(limit, now);
        let full = self.full().max(now) + u128::from(cost) * token(limit);
        (self.high, self.low) = ((full >> 64) as u64, full as u64);
        time(full - now, limit)
    }
}
