//! The time of day, for what is dated: one clock for the whole process, and in tests one that
//! goes with the runtime's time.

use std::time::SystemTime;

use tokio::time::Instant;

/// Tells the time of day.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Option<(Instant, SystemTime)>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that shows this time now, and goes on as the runtime's time does.
    pub fn set_to(time: SystemTime) -> Self {
        Self(Some((Instant::now(), time)))
    }

    /// The time of day.
    pub fn now(&self) -> SystemTime {
        match self.0 {
            None => SystemTime::now(),
            Some((since, time)) => time + since.elapsed(),
        }
    }
}
