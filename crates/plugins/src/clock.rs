//! The wall clock that a token's times are held against, in whole seconds since 1970.

#[cfg(not(test))]
pub(crate) use real::at;
#[cfg(test)]
use tokio::time::Instant;

/// Now. A clock that cannot be right makes every token expired.
#[cfg(not(test))]
pub(crate) fn now() -> i64 {
    real::seconds(real::time())
}

#[cfg(not(test))]
mod real {
    use std::cell::Cell;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use tokio::time::Instant;

    /// How long what the clocks said together is gone by: whoever sets one is heard after that.
    const AGE: Duration = Duration::from_millis(500);

    thread_local! {
        /// What both clocks said at the same time.
        static CLOCKS: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    }

    /// The time at a moment not far away, mostly without another look at a clock.
    pub(crate) fn at(moment: Instant) -> i64 {
        if let Some((then, time)) = CLOCKS.get()
            && let Some(since) = moment.checked_duration_since(then)
            && since < AGE
        {
            return seconds(Some(time + since));
        }
        let time = time();
        CLOCKS.set(time.map(|time| (Instant::now(), time)));
        seconds(time)
    }

    pub(super) fn time() -> Option<Duration> {
        SystemTime::now().duration_since(UNIX_EPOCH).ok()
    }

    pub(super) fn seconds(time: Option<Duration>) -> i64 {
        time.map_or(i64::MAX, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
    }
}

/// In tests it begins in 2030 and goes with tokio's clock, which they pause and advance.
#[cfg(test)]
pub(crate) fn now() -> i64 {
    at(Instant::now())
}

#[cfg(test)]
pub(crate) fn at(moment: Instant) -> i64 {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let began = *BEGAN.get_or_init(Instant::now);
    1_893_456_000 + i64::try_from(moment.saturating_duration_since(began).as_secs()).unwrap()
}
