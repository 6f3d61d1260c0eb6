//! Patience with a peer: how long one wait may last, and how slow it may be on the whole.
//!
//! Only time spent waiting for the peer counts, never our own backpressure, so that a slow
//! upstream is not held against a client. Refuses by being ready; it closes nothing itself.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lockgate_config::model::Http;
use tokio::time::{Instant, Sleep, sleep_until};

/// Far enough to mean "no limit", near enough for the timer's arithmetic.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// `wait`, or no limit when it is zero.
pub(crate) fn or_forever(wait: Duration) -> Duration {
    if wait.is_zero() { FOREVER } else { wait.min(FOREVER) }
}

/// How patient to be with a peer over one body in one direction. Only time spent waiting for the
/// peer counts, so that our own backpressure is not held against it.
pub(crate) struct Patience {
    longest: Duration,
    min_rate: u64,
    grace: Duration,
    moved: u64,
    waited: Duration,
    since: Option<Instant>,
}

impl Patience {
    /// At most `longest` for one wait (zero: no limit), and `min_rate` bytes a second (0: no
    /// limit) once `grace` has been spent waiting.
    pub(crate) fn new(longest: Duration, min_rate: u64, grace: Duration) -> Self {
        let longest = or_forever(longest);
        Self { longest, min_rate, grace, moved: 0, waited: Duration::ZERO, since: None }
    }

    /// The peer moved; a wait, if there was one, is over.
    pub(crate) fn moved(&mut self, bytes: usize) {
        self.moved += bytes as u64;
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// The peer must be waited for.
    pub(crate) fn wait(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// When the wait is over, if there is one.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let since = self.since?;
        let Some(earned) = self.moved.checked_div(self.min_rate) else {
            return Some(since + self.longest);
        };
        let earned = Duration::from_secs(earned).max(self.grace).min(FOREVER);
        Some(since + self.longest.min(earned.saturating_sub(self.waited)))
    }
}

/// Patience with a timer of its own.
pub(crate) struct Pace {
    patience: Patience,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// For a body that a client sends.
    pub(crate) fn reading(limits: &Http) -> Self {
        Self::new(limits.body_timeout.0, limits.min_rate.0, limits.min_rate_grace.0)
    }

    /// For a body that a client takes.
    pub(crate) fn writing(limits: &Http) -> Self {
        Self::new(limits.write_timeout.0, limits.min_rate.0, limits.min_rate_grace.0)
    }

    /// For a peer whose silences alone are bounded (zero: no limit), not its speed.
    pub(crate) fn silence(longest: Duration) -> Self {
        Self::new(longest, 0, Duration::ZERO)
    }

    fn new(longest: Duration, min_rate: u64, grace: Duration) -> Self {
        Self { patience: Patience::new(longest, min_rate, grace), sleep: None }
    }

    /// The peer moved; a wait, if there was one, is over.
    pub(crate) fn moved(&mut self, bytes: usize) {
        self.patience.moved(bytes);
    }

    /// To be polled whenever the peer must be waited for: ready once it has been too slow.
    pub(crate) fn poll_spent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.patience.wait();
        let Some(deadline) = self.patience.deadline() else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        // A timer left over from an earlier wait fires too early; it is set again only then, so
        // that a lively peer costs no timer work.
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn pace(longest: u64, min_rate: u64, grace: u64) -> Pace {
        Pace::new(Duration::from_secs(longest), min_rate, Duration::from_secs(grace))
    }

    async fn spent(pace: &mut Pace) -> Duration {
        let start = Instant::now();
        poll_fn(|cx| pace.poll_spent(cx)).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn one_wait_has_a_longest() {
        let mut pace = pace(5, 0, 0);
        assert_eq!(spent(&mut pace).await.as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drip_is_cut_when_the_grace_is_spent() {
        let mut pace = pace(30, 100, 10);
        let mut waits = 0;
        for _ in 0..100 {
            let wait = tokio::time::timeout(Duration::from_secs(1), spent(&mut pace)).await;
            if wait.is_ok() {
                break;
            }
            pace.moved(1);
            waits += 1;
        }
        assert!((9..=10).contains(&waits), "ten seconds of grace, then out: {waits}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_the_rate_is_never_cut() {
        let mut pace = pace(30, 100, 10);
        for _ in 0..100 {
            let wait = tokio::time::timeout(Duration::from_secs(1), spent(&mut pace)).await;
            assert!(wait.is_err());
            pace.moved(200);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_pauses_do_not_count() {
        let mut pace = pace(5, 100, 2);
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            pace.moved(1);
        }
        assert_eq!(spent(&mut pace).await.as_secs(), 2);
    }
}
