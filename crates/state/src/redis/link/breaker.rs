//! A server's breaker: open from a timeout or a refused connection until a probe of the control
//! runtime has found the server well. While it is open nobody waits.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The pause before the first probe, on average.
const FIRST: Duration = Duration::from_millis(25);
/// Doublings of the pause at most: 1.6 s.
const MOST_DOUBLINGS: u32 = 6;
/// A breaker that has stayed closed for so long begins with the shortest pause again.
const FORGIVEN: Duration = Duration::from_secs(10);

/// Whether a server is asked.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    open: AtomicBool,
    /// Pauses doubled so far.
    doublings: AtomicU32,
    why: Mutex<Why>,
}

#[derive(Debug, Default)]
struct Why {
    what: Cow<'static, str>,
    closed: Option<Instant>,
}

impl Breaker {
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// Opens it; `true` when it was closed.
    pub(super) fn trip(&self, what: Cow<'static, str>) -> bool {
        let mut why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.what = what;
        if self.open.swap(true, Relaxed) {
            return false;
        }
        if why.closed.is_none_or(|closed| closed.elapsed() > FORGIVEN) {
            self.doublings.store(0, Relaxed);
        }
        true
    }

    /// Closes it: the server is well.
    pub(super) fn close(&self) {
        let mut why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.closed = Some(Instant::now());
        self.open.store(false, Relaxed);
    }

    /// What opened it last.
    pub(super) fn why(&self) -> Cow<'static, str> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).what.clone()
    }

    /// How long to wait before the next probe: doubled each time, and never the same for two
    /// gateways.
    pub(super) fn pause(&self) -> Duration {
        let doublings = self.doublings.load(Relaxed).min(MOST_DOUBLINGS);
        self.doublings.store(doublings + 1, Relaxed);
        let most = FIRST * (1 << doublings);
        most.mul_f64(0.5 + fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_it_has_been_well_for_a_while() {
        let breaker = Breaker::default();
        assert!(breaker.trip("is away".into()) && breaker.is_open());
        assert!(!breaker.trip("is still away".into()));
        assert_eq!(breaker.why(), "is still away");
        for doublings in 0..9 {
            let most = FIRST * (1 << doublings.min(MOST_DOUBLINGS));
            let pause = breaker.pause();
            assert!(pause >= most / 2 && pause <= most * 3 / 2, "{pause:?} of {most:?}");
        }
        breaker.close();
        assert!(!breaker.is_open());
        tokio::time::advance(FORGIVEN / 2).await;
        assert!(breaker.trip("is away".into()));
        assert!(breaker.pause() >= FIRST * (1 << MOST_DOUBLINGS) / 2);
        breaker.close();
        tokio::time::advance(FORGIVEN * 2).await;
        breaker.trip("is away".into());
        assert!(breaker.pause() <= FIRST * 2);
    }
}
