//! A queue for what there is only so much of: places with an upstream's endpoints, connections to
//! one of them. Who waits is woken in turn, on whichever worker it is; who gives up passes the
//! turn on. Nothing is handed over: who is woken looks for itself, and may find another was
//! faster.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed, fence};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

/// What nobody announces is noticed after this long: an ejection that ends, a new endpoint.
const GLANCE: Duration = Duration::from_millis(250);

/// Those who wait for the same thing, all workers together.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    freed: Notify,
    waiting: AtomicUsize,
}

/// A place in a queue, until it is dropped.
pub(crate) struct Waiting<'q>(&'q Queue);

impl Queue {
    /// Joins, unless `most` wait already.
    pub(crate) fn join(&self, most: usize) -> Option<Waiting<'_>> {
        let more = |waiting| (waiting < most).then_some(waiting + 1);
        self.waiting.fetch_update(Relaxed, Relaxed, more).ok()?;
        let place = Waiting(self);
        // With the fence in `wake`: either we see what is freed, or we are seen waiting.
        fence(std::sync::atomic::Ordering::SeqCst);
        Some(place)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// To be called after something was freed: wakes the one that has waited longest.
    pub(crate) fn wake(&self) {
        fence(std::sync::atomic::Ordering::SeqCst);
        if self.waiting() > 0 {
            self.freed.notify_one();
        }
    }
}

impl Waiting<'_> {
    /// Looks until there is something: whenever the queue or `also` wakes it. Without a limit of
    /// its own.
    pub(crate) async fn until<T>(&self, also: &Notify, mut look: impl FnMut() -> Option<T>) -> T {
        let mut freed = pin!(self.0.freed.notified());
        let mut other = pin!(also.notified());
        loop {
            // In line before looking: what is freed from here on is not missed. A turn that comes
            // and is not used goes to the next when this is dropped.
            freed.as_mut().enable();
            other.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            tokio::select! {
                () = freed.as_mut() => freed.set(self.0.freed.notified()),
                () = other.as_mut() => other.set(also.notified()),
                () = sleep(GLANCE) => {}
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
