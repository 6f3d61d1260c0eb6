//! Leases: one holder at a time for each key, for a while, with a token that only grows. A lease
//! says when it is over by the holder's own clock, before any other can have it by the store's.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::StoreError;
use crate::Step;

/// What a lease is on: a digest of what nobody else may hold meanwhile.
pub type LeaseKey = [u8; 32];

/// What is asked of [`Leases`].
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// What it is on.
    pub key: LeaseKey,
    /// How long to wait for it.
    pub wait: Duration,
    /// How long it is held at most.
    pub hold: Duration,
    /// How soon others may have it when the holder has vanished: a holder further away than
    /// memory renews it well within that time.
    pub ttl: Duration,
    /// How many may wait for it, this one included.
    pub queue: usize,
}

/// What came of asking for a lease.
#[derive(Debug)]
pub enum Turn {
    /// It is held from now on.
    Held(Lease),
    /// Others held it for as long as was waited.
    Busy,
    /// Too many wait already.
    Full,
}

/// Grants leases, in one store. Who asked first has it first, whichever gateway asks; different
/// keys never wait for each other. Dropped while it waits, a request for one leaves the queue.
pub trait Leases: Send + Sync {
    /// A lease on a key, once nobody else holds it.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn acquire(&self, wanted: Wanted) -> Step<'_, Result<Turn, StoreError>>;
}

/// A lease that is held; let go when dropped.
pub struct Lease {
    fence: u64,
    term: Arc<Term>,
    release: Option<Box<dyn FnOnce() + Send>>,
}

impl Lease {
    /// A lease with its token, for as long as its term says. `release` is called when it is let
    /// go, whether it still holds or not; it must not wait.
    pub fn new(fence: u64, term: Arc<Term>, release: impl FnOnce() + Send + 'static) -> Self {
        Self { fence, term, release: Some(Box::new(release)) }
    }

    /// Larger than that of every lease on the key before it.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Whether and how it is over, by a look at the clock.
    pub fn over(&self) -> Option<Over> {
        self.term.over()
    }

    /// Ready once it is over; never, when it is let go before. Each poll looks at the clock, so
    /// that a process that stood still sees it before it does anything else.
    pub fn until_over(&self) -> UntilOver {
        UntilOver { term: Arc::clone(&self.term), alarm: None }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.term.end(Over::LetGo);
        if let Some(release) = self.release.take() {
            release();
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("fence", &self.fence).field("over", &self.over()).finish()
    }
}

/// Why a lease is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It could not be renewed in time, or the store no longer knew it: others may hold it now.
    Lost,
    /// It was held for as long as it may be.
    Expired,
    /// The holder has let it go.
    LetGo,
}

/// How long a lease holds: what its holder and whoever renews it share. What is over stays over.
#[derive(Debug)]
pub struct Term {
    begun: Instant,
    /// Nanoseconds from the beginning until which it surely holds.
    sure: AtomicU64,
    /// Nanoseconds from the beginning until it has been held for long enough.
    hold: u64,
    over: AtomicU8,
    watcher: Mutex<Option<Waker>>,
}

impl Term {
    /// A term that ends by itself at the end of `hold` only.
    pub fn held(hold: Duration) -> Self {
        Self::renewable(Instant::now(), Duration::MAX, hold)
    }

    /// A term from `begun` on, which is lost after `sure` unless it is renewed by then.
    pub fn renewable(begun: Instant, sure: Duration, hold: Duration) -> Self {
        Self {
            begun,
            sure: AtomicU64::new(nanos(sure)),
            hold: nanos(hold),
            over: AtomicU8::new(0),
            watcher: Mutex::new(None),
        }
    }

    /// It holds until then at least; too late when it is over.
    pub fn renewed(&self, until: Instant) {
        if self.over().is_none() {
            let since = until.saturating_duration_since(self.begun);
            self.sure.fetch_max(nanos(since), SeqCst);
        }
    }

    /// The store says that another may hold it.
    pub fn lose(&self) {
        self.end(Over::Lost);
    }

    /// Whether and how it is over.
    pub fn over(&self) -> Option<Over> {
        if let Some(over) = self.ended() {
            return Some(over);
        }
        let (now, sure) = (nanos(self.begun.elapsed()), self.sure.load(SeqCst));
        if now < sure.min(self.hold) {
            return None;
        }
        self.end(if sure < self.hold { Over::Lost } else { Over::Expired });
        self.ended()
    }

    /// When it is over unless it is renewed.
    pub fn ends(&self) -> Instant {
        let left = Duration::from_nanos(self.sure.load(SeqCst).min(self.hold));
        self.begun + left
    }

    fn ended(&self) -> Option<Over> {
        match self.over.load(SeqCst) {
            0 => None,
            1 => Some(Over::Lost),
            2 => Some(Over::Expired),
            _ => Some(Over::LetGo),
        }
    }

    /// The first word on how it ended holds.
    fn end(&self, how: Over) {
        let word = match how {
            Over::Lost => 1,
            Over::Expired => 2,
            Over::LetGo => 3,
        };
        if self.over.compare_exchange(0, word, SeqCst, SeqCst).is_ok() {
            let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
            watcher.into_iter().for_each(Waker::wake);
        }
    }
}

/// Nanoseconds; a year stands for all that is longer, which a clock can still count to.
fn nanos(time: Duration) -> u64 {
    const YEAR: Duration = Duration::from_secs(366 * 86_400);
    u64::try_from(time.min(YEAR).as_nanos()).unwrap_or(u64::MAX)
}

/// The end of a lease; see [`Lease::until_over`]. One of them at a time is woken.
#[derive(Debug)]
pub struct UntilOver {
    term: Arc<Term>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Future for UntilOver {
    type Output = Over;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Over> {
        let this = &mut *self;
        {
            // Before the look, so that what ends it just after finds whom to wake.
            let mut watcher = this.term.watcher.lock().unwrap_or_else(PoisonError::into_inner);
            if !watcher.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *watcher = Some(cx.waker().clone());
            }
        }
        match this.term.over() {
            // Nothing of the holder's is cut short by what it did itself.
            Some(Over::LetGo) => return Poll::Pending,
            Some(over) => return Poll::Ready(over),
            None => {}
        }
        let ends = this.term.ends();
        let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep_until(ends)));
        if alarm.deadline() != ends {
            alarm.as_mut().reset(ends);
        }
        while alarm.as_mut().poll(cx).is_ready() {
            match this.term.over() {
                Some(Over::LetGo) => return Poll::Pending,
                Some(over) => return Poll::Ready(over),
                // It was renewed meanwhile, or the timer was early.
                None => {
                    let next = this.term.ends().max(Instant::now() + Duration::from_millis(1));
                    alarm.as_mut().reset(next);
                }
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::{advance, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lease(term: &Arc<Term>) -> (Lease, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let released = Arc::clone(&count);
        let add = move || {
            released.fetch_add(1, Ordering::SeqCst);
        };
        (Lease::new(7, Arc::clone(term), add), count)
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_over_at_the_end_of_its_hold() {
        let (lease, released) = lease(&Arc::new(Term::held(5 * SECOND)));
        let begun = Instant::now();
        assert_eq!((lease.fence(), lease.over()), (7, None));
        assert_eq!(lease.until_over().await, Over::Expired);
        assert_eq!(begun.elapsed().as_secs(), 5);
        assert_eq!(lease.over(), Some(Over::Expired));
        drop(lease);
        assert_eq!(released.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_not_renewed_is_lost() {
        let term = Arc::new(Term::renewable(Instant::now(), 2 * SECOND, 60 * SECOND));
        let (lease, _) = lease(&term);
        let watched = tokio::spawn(lease.until_over());
        for _ in 0..5 {
            advance(SECOND).await;
            term.renewed(Instant::now() + 2 * SECOND);
        }
        assert!(!watched.is_finished());
        assert_eq!(watched.await.unwrap(), Over::Lost);
        // A renewal that comes late does not bring it back.
        term.renewed(Instant::now() + 2 * SECOND);
        assert_eq!(lease.over(), Some(Over::Lost));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_goes_no_further_than_the_hold() {
        let term = Arc::new(Term::renewable(Instant::now(), 2 * SECOND, 3 * SECOND));
        term.renewed(Instant::now() + 60 * SECOND);
        let (lease, _) = lease(&term);
        let begun = Instant::now();
        assert_eq!(lease.until_over().await, Over::Expired);
        assert_eq!(begun.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_store_says_is_heard_at_once() {
        let term = Arc::new(Term::renewable(Instant::now(), 2 * SECOND, 3 * SECOND));
        let (lease, _) = lease(&term);
        let watched = tokio::spawn(lease.until_over());
        tokio::task::yield_now().await;
        term.lose();
        let begun = Instant::now();
        assert_eq!(watched.await.unwrap(), Over::Lost);
        assert!(begun.elapsed().is_zero());
    }

    /// As after a process stood still: the timer has not had its turn yet.
    #[tokio::test(start_paused = true)]
    async fn each_poll_looks_at_the_clock() {
        let (lease, _) = lease(&Arc::new(Term::held(SECOND)));
        let mut over = lease.until_over();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut over).poll(&mut cx).is_pending());
        advance(2 * SECOND).await;
        assert!(Pin::new(&mut over).poll(&mut cx).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn letting_go_cuts_nothing_short() {
        let (lease, released) = lease(&Arc::new(Term::held(SECOND)));
        let over = lease.until_over();
        drop(lease);
        assert_eq!(released.load(Ordering::SeqCst), 1);
        assert!(timeout(10 * SECOND, over).await.is_err());
    }
}
