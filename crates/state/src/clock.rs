//! What time it is, for counters: a monotonic clock for everything that slides, the calendar for
//! what begins at a round time. A calendar that is set anew is heeded within a tick.

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The clock of one store.
pub(crate) struct Clock {
    start: Instant,
    /// The calendar when the clock started, in nanoseconds since 1970.
    calendar: AtomicU64,
    /// In which tick the system's calendar was looked at last; none is to be, if it is the last.
    looked: AtomicU64,
}

/// How long a tick takes is 2 to the power of this in nanoseconds: 67 ms.
pub(crate) const TICK: u32 = 26;

/// One moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Nanoseconds since the clock's start.
    pub(crate) mono: u64,
    /// Since 1970; zero unless asked for.
    pub(crate) unix: Duration,
}

impl Clock {
    /// With the system's calendar, as it is set at each moment.
    pub(crate) fn system() -> Self {
        Self {
            start: Instant::now(),
            calendar: AtomicU64::new(system()),
            looked: AtomicU64::new(0),
        }
    }

    /// With a calendar that says `unix` now, and goes on as the monotonic clock does.
    pub(crate) fn from(unix: Duration) -> Self {
        let (calendar, looked) = (AtomicU64::new(nanos(unix)), AtomicU64::new(u64::MAX));
        Self { start: Instant::now(), calendar, looked }
    }

    pub(crate) fn now(&self, calendar: bool) -> Now {
        self.at(None, calendar)
    }

    /// A moment that was read just now, or the next best.
    #[inline(always)]
    pub(crate) fn at(&self, moment: Option<Instant>, calendar: bool) -> Now {
        let moment = moment.unwrap_or_else(Instant::now);
        let elapsed = moment.saturating_duration_since(self.start);
        let mono = nanos(elapsed);
        let unix = if calendar { self.unix(mono) } else { Duration::ZERO };
        Now { mono, unix }
    }

    fn unix(&self, mono: u64) -> Duration {
        if self.looked.load(Acquire) < mono >> TICK {
            self.look(mono);
        }
        Duration::from_nanos(self.calendar.load(Relaxed).saturating_add(mono))
    }

    /// Looks at the system's calendar, as a later moment than that of the last look has come.
    #[cold]
    fn look(&self, moment: u64) {
        let mono = nanos(self.start.elapsed());
        self.calendar.store(system().saturating_sub(mono), Relaxed);
        self.looked.store(mono.max(moment) >> TICK, Release);
    }
}

/// The system's calendar; one set before 1970 is taken for 1970.
fn system() -> u64 {
    nanos(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// Nanoseconds, for 584 years.
pub(crate) fn nanos(time: Duration) -> u64 {
    let seconds = time.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(time.subsec_nanos().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_calendar_that_is_set_anew_is_heeded_within_a_tick() {
        let clock = Clock::system();
        let right = |clock: &Clock| clock.now(true).unix.abs_diff(Duration::from_nanos(system()));
        assert!(right(&clock) < Duration::from_secs(60));
        clock.calendar.store(0, Relaxed);
        tokio::time::advance(Duration::from_nanos(1 << TICK)).await;
        assert!(right(&clock) < Duration::from_secs(60));
        let told = Clock::from(Duration::from_secs(7));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(told.now(true).unix, Duration::from_secs(10));
        assert_eq!(told.now(false).unix, Duration::ZERO);
    }
}
