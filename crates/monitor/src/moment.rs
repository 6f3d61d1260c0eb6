//! A moment by two clocks. The time of day is told to people and kept over restarts, and may be put
//! back or forward; how long something lasts is told by the other, which only goes on.

use std::time::Duration;

use lockgate_core::Clock;
use tokio::time::Instant;

/// A moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The time of day: milliseconds since 1970.
    pub(crate) at: u64,
    /// Milliseconds of this process, or before it: negative.
    pub(crate) steady: i64,
}

impl Moment {
    /// How long it is since one before.
    pub(crate) fn since(self, before: Self) -> Duration {
        let passed = self.steady.saturating_sub(before.steady);
        Duration::from_millis(u64::try_from(passed).unwrap_or_default())
    }

    /// A moment of which only the time of day was kept, seen from now.
    pub(crate) fn before(self, at: u64) -> Self {
        let age = i64::try_from(self.at.saturating_sub(at)).unwrap_or(i64::MAX);
        Self { at, steady: self.steady.saturating_sub(age) }
    }
}

/// Both clocks.
pub(crate) struct Clocks {
    day: Clock,
    begun: Instant,
}

impl Clocks {
    pub(crate) fn new(day: Clock) -> Self {
        Self { day, begun: Instant::now() }
    }

    /// The time of day.
    pub(crate) fn day(&self) -> std::time::SystemTime {
        self.day.now()
    }

    pub(crate) fn now(&self) -> Moment {
        let steady = i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        Moment { at: crate::millis(self.day.now()), steady }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_has_passed_is_told_by_the_clock_that_only_goes_on() {
        let hour = Duration::from_hours(1);
        let mut clocks = Clocks::new(Clock::set_to(UNIX_EPOCH + 10 * hour));
        let begin = clocks.now();
        tokio::time::advance(Duration::from_secs(30)).await;
        clocks.day = Clock::set_to(UNIX_EPOCH + 9 * hour);
        let now = clocks.now();
        assert_eq!(now.since(begin), Duration::from_secs(30));
        assert_eq!((begin.at, now.at), (36_000_000, 32_400_000));
        assert_eq!(now.since(now.before(32_000_000)), Duration::from_secs(400));
        // What was kept by a clock that was ahead has happened just now.
        assert_eq!(now.since(now.before(begin.at)), Duration::ZERO);
    }
}
