//! What time it is, for counters: a monotonic clock for everything that slides, the calendar for
//! what begins at a round time.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The clock of one store.
pub(crate) struct Clock {
    start: Instant,
    /// The calendar when the clock started, if it is to go with the monotonic clock from then on.
    calendar: Option<Duration>,
}

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
        Self { start: Instant::now(), calendar: None }
    }

    /// With a calendar that says `unix` now, and goes on as the monotonic clock does.
    pub(crate) fn from(unix: Duration) -> Self {
        Self { start: Instant::now(), calendar: Some(unix) }
    }

    pub(crate) fn now(&self, calendar: bool) -> Now {
        self.at(None, calendar)
    }

    /// A moment that was read just now, or the next best.
    #[inline]
    pub(crate) fn at(&self, moment: Option<Instant>, calendar: bool) -> Now {
        let moment = moment.unwrap_or_else(Instant::now);
        let elapsed = moment.saturating_duration_since(self.start);
        let unix = if calendar { self.unix(elapsed) } else { Duration::ZERO };
        Now { mono: nanos(elapsed), unix }
    }

    fn unix(&self, elapsed: Duration) -> Duration {
        match self.calendar {
            Some(start) => start + elapsed,
            // A clock set before 1970 is taken for 1970.
            None => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
        }
    }
}

/// Nanoseconds, for 584 years.
pub(crate) fn nanos(time: Duration) -> u64 {
    let seconds = time.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(time.subsec_nanos().into())
}
