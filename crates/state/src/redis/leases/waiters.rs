//! Who waits in this gateway, so that a word from Redis finds them. A word may be lost: whoever
//! waits looks by itself too, now and then.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::redis::Heard;

/// Most who may wait in one gateway, for all keys of a store.
const MOST: usize = 20_000;

/// The next number, of the whole process: a reload may make a store's leases anew, on the same
/// Redis and under the same gateway's name, while those before are still held.
static NEXT: AtomicU64 = AtomicU64::new(0);

#[derive(Default)]
pub(super) struct Waiters {
    waiting: Mutex<HashMap<u64, Arc<Notify>>>,
}

/// One who waits; no longer among them when dropped.
pub(super) struct Waiter {
    all: Arc<Waiters>,
    number: u64,
    word: Arc<Notify>,
}

impl Waiters {
    /// A number that no other of this gateway has, or has had.
    pub(super) fn number() -> u64 {
        NEXT.fetch_add(1, Relaxed)
    }

    /// Begins to wait; `None` when too many do.
    pub(super) fn join(self: &Arc<Self>, number: u64) -> Option<Waiter> {
        let word = Arc::new(Notify::new());
        let mut waiting = self.lock();
        if waiting.len() >= MOST {
            return None;
        }
        waiting.insert(number, Arc::clone(&word));
        Some(Waiter { all: Arc::clone(self), number, word })
    }

    /// Wakes the one whose name ends in its number.
    fn wake(&self, name: &[u8]) {
        let number = name.rsplit(|byte| *byte == b'/').next();
        let number = number.and_then(|number| str::from_utf8(number).ok()?.parse().ok());
        if let Some(word) = number.and_then(|number: u64| self.lock().get(&number).cloned()) {
            word.notify_one();
        }
    }

    fn wake_all(&self) {
        self.lock().values().for_each(|word| word.notify_one());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// A word came, or may have been missed.
    pub(super) async fn word(&self) {
        self.word.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.all.lock().remove(&self.number);
    }
}

/// Passes words on for as long as anybody may wait.
pub(super) async fn pass_on(waiters: Weak<Waiters>, mut words: Receiver<Heard>) {
    loop {
        let heard = words.recv().await;
        let Some(waiters) = waiters.upgrade() else { return };
        match heard {
            Ok(Heard::Message(name)) => waiters.wake(&name),
            Ok(Heard::Gap) | Err(RecvError::Lagged(_)) => waiters.wake_all(),
            Err(RecvError::Closed) => return,
        }
    }
}
