//! How long a request waits for the cache's store: all that it asks has one time together, and a
//! store that has once not answered is asked nothing more. Who has waited for another's answer, as
//! it may, begins anew.

use std::time::Duration;

use lockgate_core::{Step, StoreError};
use tokio::time::{Instant, timeout_at};

pub(super) struct Patience {
    most: Duration,
    /// When it is over; not known before the first question.
    until: Option<Instant>,
    failed: bool,
}

impl Patience {
    pub(super) fn new(most: Duration) -> Self {
        Self { most, until: None, failed: false }
    }

    /// Whether the store could not say.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(super) fn fails(&mut self) {
        self.failed = true;
    }

    /// The request has waited for something else.
    pub(super) fn rested(&mut self) {
        self.until = None;
    }

    /// What the store says; `None` when it cannot, or could not before.
    pub(super) async fn hear<T>(&mut self, said: Step<'_, Result<T, StoreError>>) -> Option<T> {
        let said = match said {
            Step::Now(said) => said,
            Step::Later(_) if self.failed => return None,
            Step::Later(said) => match self.until {
                // The store has its own end of that, and learns by it when it is not well.
                None => {
                    self.until = Instant::now().checked_add(self.most);
                    said.await
                }
                Some(until) => match timeout_at(until, said).await {
                    Ok(said) => said,
                    Err(_) => {
                        self.failed = true;
                        return None;
                    }
                },
            },
        };
        self.failed |= said.is_err();
        said.ok()
    }
}

#[cfg(test)]
mod tests {
    use lockgate_core::StoreFailure;
    use tokio::time::sleep;

    use super::*;

    const MOST: Duration = Duration::from_millis(50);

    fn after(time: Duration) -> Step<'static, Result<u8, StoreError>> {
        Step::Later(Box::pin(async move {
            sleep(time).await;
            Ok(7)
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn all_questions_have_one_time_together() {
        let mut patience = Patience::new(MOST);
        let began = Instant::now();
        assert_eq!(patience.hear(after(MOST / 5 * 3)).await, Some(7));
        assert_eq!(patience.hear(after(MOST / 5 * 3)).await, None, "it is over by then");
        assert_eq!(began.elapsed(), MOST);
        assert!(patience.has_failed());
        patience.rested();
        assert_eq!(patience.hear(after(Duration::ZERO)).await, None, "it is not asked again");
        assert_eq!(patience.hear(Step::Now(Ok(7))).await, Some(7), "what is at hand is taken");
        assert_eq!(began.elapsed(), MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_for_another_begins_anew() {
        let mut patience = Patience::new(MOST);
        for _ in 0..3 {
            assert_eq!(patience.hear(after(MOST / 5 * 3)).await, Some(7));
            patience.rested();
        }
        let away = StoreError::new("s", StoreFailure::Away, "is away");
        assert_eq!(patience.hear::<u8>(Step::Now(Err(away))).await, None);
        assert!(patience.has_failed());
        let mut endless = Patience::new(Duration::MAX);
        assert_eq!(endless.hear(after(MOST * 1000)).await, Some(7));
    }
}
