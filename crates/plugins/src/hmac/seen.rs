//! Nonces that one key has used, for as long as a signature with them could still be taken. Only
//! what a verified signature bears gets here, so that nobody else can fill it. When it is full
//! nothing more is taken: forgetting one would let its request be sent again.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// What became of a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    First,
    Again,
    Full,
}

/// The nonces of one key.
#[derive(Default)]
pub(super) struct Seen {
    most: AtomicUsize,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    known: HashSet<[u8; 32]>,
    /// By when each is over.
    order: BTreeSet<(i64, [u8; 32])>,
}

impl Seen {
    /// Sets how many are kept at most.
    pub(super) fn limit(&self, most: usize) {
        self.most.store(most, Relaxed);
    }

    /// Uses a nonce that could be used until then, times in seconds.
    pub(super) fn take(&self, nonce: &str, until: i64, now: i64) -> Use {
        let hash = *blake3::hash(nonce.as_bytes()).as_bytes();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((over, old)) = all.order.first().copied().filter(|(over, _)| *over < now) {
            all.order.remove(&(over, old));
            all.known.remove(&old);
        }
        if all.known.contains(&hash) {
            return Use::Again;
        }
        if all.known.len() >= self.most.load(Relaxed) {
            return Use::Full;
        }
        all.known.insert(hash);
        all.order.insert((until, hash));
        Use::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_used_once_in_its_time_and_a_flood_forgets_none() {
        let seen = Seen::default();
        seen.limit(3);
        assert_eq!(seen.take("a", 10, 0), Use::First);
        assert_eq!(seen.take("a", 99, 10), Use::Again);
        assert_eq!(seen.take("b", 20, 5), Use::First);
        assert_eq!(seen.take("c", 15, 5), Use::First);
        assert_eq!(seen.take("d", 20, 10), Use::Full);
        assert_eq!(seen.take("b", 20, 10), Use::Again);
        assert_eq!(seen.take("d", 20, 11), Use::First);
        assert_eq!(seen.take("c", 20, 15), Use::Again);
        assert_eq!(seen.take("c", 20, 16), Use::First);
        let all = seen.all.lock().unwrap();
        assert_eq!(all.known.len(), all.order.len());
    }
}
