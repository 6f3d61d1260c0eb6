//! Time: one timer for a whole connection, set again only when it has rung, and the patience that
//! a body deserves.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Far enough to mean "no limit", near enough for the timer's arithmetic.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// `wait`, or no limit when it is zero.
pub(super) fn or_forever(wait: Duration) -> Duration {
    if wait.is_zero() { FOREVER } else { wait.min(FOREVER) }
}

/// A connection's timer. It rings for the earliest deadline it was ever polled with, and is set
/// on only then: a request that meets its deadlines costs no timer operation.
#[derive(Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once `deadline` has passed.
    pub(super) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline || Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

/// How patient to be with a peer over one body in one direction. Only time spent waiting for the
/// peer counts, so that our own backpressure is not held against it.
pub(super) struct Patience {
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
    pub(super) fn new(longest: Duration, min_rate: u64, grace: Duration) -> Self {
        let longest = or_forever(longest);
        Self { longest, min_rate, grace, moved: 0, waited: Duration::ZERO, since: None }
    }

    /// The peer moved; a wait, if there was one, is over.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.moved += bytes as u64;
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// The peer must be waited for.
    pub(super) fn wait(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// When the wait is over, if there is one.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let since = self.since?;
        let Some(earned) = self.moved.checked_div(self.min_rate) else {
            return Some(since + self.longest);
        };
        let earned = Duration::from_secs(earned).max(self.grace).min(FOREVER);
        Some(since + self.longest.min(earned.saturating_sub(self.waited)))
    }
}
