//! What is left of a limit, for the headers of the answer. Of several limits that a request met,
//! the least is told.

use std::cmp::Reverse;
use std::time::Duration;

use crate::Grant;

/// One limit's figures; the least of several is that of the limit that is nearest to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// Whether it let the request pass.
    pub passed: bool,
    /// How much may yet be taken.
    pub remaining: u64,
    /// Until all of it is there again, or, after a refusal, until the request would pass, if that
    /// is later. In seconds, rounded up.
    pub reset: Reverse<u64>,
    /// The whole of it.
    pub limit: u64,
}

impl Left {
    /// What a store has said of a limit.
    #[inline]
    pub fn of(limit: u64, grant: &Grant) -> Self {
        let reset = if grant.allowed { grant.reset } else { grant.reset.max(grant.wait) };
        // A refusal spends nothing: something may be left, if less than this request costs.
        let remaining = grant.remaining;
        Self { passed: grant.allowed, remaining, reset: Reverse(seconds(reset)), limit }
    }

    /// Takes the place of what is noted, if less is left.
    #[inline]
    pub fn note(self, noted: &mut Option<Self>) {
        *noted = Some(noted.map_or(self, |other| other.min(self)));
    }
}

fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_that_is_nearest_to_its_end_is_told() {
        let grant = |allowed, remaining, reset| {
            let (reset, wait) = (Duration::from_millis(reset), Duration::from_secs(9));
            Grant { allowed, remaining, reset, wait, at: 0 }
        };
        let mut noted = None;
        let wide = Left::of(100, &grant(true, 7, 1_001));
        assert_eq!((wide.remaining, wide.reset), (7, Reverse(2)));
        wide.note(&mut noted);
        Left::of(50, &grant(true, 8, 5_000)).note(&mut noted);
        assert_eq!(noted, Some(wide));
        let slower = Left::of(50, &grant(true, 7, 3_000));
        slower.note(&mut noted);
        assert_eq!(noted, Some(slower), "of two with as much left, the slower");
        let spent = Left::of(70, &grant(false, 3, 2_000));
        assert_eq!((spent.remaining, spent.reset), (3, Reverse(9)));
        spent.note(&mut noted);
        assert_eq!(noted, Some(spent));
    }
}
