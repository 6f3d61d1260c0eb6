//! The rest between two reloads: as long as the last one took, so that changes that come without
//! end take half of a core at most. What is asked for meanwhile is put in force together after it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The longest rest. What took longer did not work all of that time: it waited for names.
const MOST: Duration = Duration::from_millis(50);

/// Until when to rest.
#[derive(Default)]
pub(crate) struct Rest(Option<Instant>);

impl Rest {
    /// Begins one, after what was begun then.
    pub(crate) fn after(&mut self, begun: Instant) {
        let now = Instant::now();
        self.0 = Some(now + (now - begun).min(MOST));
    }

    /// Waits until it is over.
    pub(crate) async fn over(&self) {
        if let Some(end) = self.0 {
            sleep_until(end).await;
        }
    }
}
