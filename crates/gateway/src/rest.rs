//! The rest between two reloads: as long as the last one worked, so that changes that come without
//! end take half of a core at most. What is asked for meanwhile is put in force together after it.

use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

/// The longest rest: what is asked for after a reload of seconds does not wait for as long.
const MOST: Duration = Duration::from_secs(1);

/// What work there was, and until when to rest from it.
#[derive(Default)]
pub(crate) struct Rest {
    begun: Option<Instant>,
    /// What of the time since then was no work.
    waited: Duration,
    end: Option<Instant>,
}

impl Rest {
    /// Work begins.
    pub(crate) fn work_begins(&mut self) {
        (self.begun, self.waited) = (Some(Instant::now()), Duration::ZERO);
    }

    /// For so long, what has begun waited for something.
    pub(crate) fn has_waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// Lets whoever else is due go first, once: what has begun is long.
    pub(crate) async fn let_others(&mut self) {
        let begun = Instant::now();
        yield_now().await;
        self.has_waited(begun.elapsed());
    }

    /// Work ends, and the rest from it begins.
    pub(crate) fn work_ends(&mut self) {
        let Some(begun) = self.begun.take() else { return };
        let now = Instant::now();
        self.end = Some(now + rest(now - begun, self.waited));
    }

    /// Waits until it is over.
    pub(crate) async fn over(&self) {
        if let Some(end) = self.end {
            sleep_until(end).await;
        }
    }
}

/// How long to rest from what took so long, and waited for some of that.
fn rest(took: Duration, waited: Duration) -> Duration {
    took.saturating_sub(waited).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_as_long_as_the_work() {
        let (work, names) = (Duration::from_millis(300), Duration::from_millis(200));
        assert_eq!(rest(work, Duration::ZERO), work);
        assert_eq!(rest(work + names, names), work);
        assert_eq!(rest(MOST * 5, names), MOST);
        assert_eq!(rest(work, work * 2), Duration::ZERO);
    }
}
