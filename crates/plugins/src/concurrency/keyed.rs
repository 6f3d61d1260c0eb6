//! A limit for each value of a key. A value has one only while requests of it are under way, so
//! there are never more than requests.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::limiter::{Bound, Limiter};

/// So many shards: two workers seldom want the same one at once.
const SHARDS: usize = 32;

/// What is left of values without requests is cleared away when a shard has grown to this, and
/// then at each doubling.
const SWEEP_AT: usize = 64;

/// The limiters of one policy, by the key's value.
pub(super) struct Keyed {
    limit: u32,
    queue: usize,
    patience: Duration,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    limiters: HashMap<Box<[u8]>, Weak<Limiter>>,
    sweep_at: usize,
}

impl Keyed {
    pub(super) fn new(limit: u32, queue: usize, wait: Duration) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { limit, queue, patience: wait / 2, hasher: RandomState::new(), shards }
    }

    /// The limiter of a value. It lasts as long as somebody holds it or a permit of it.
    pub(super) fn limiter(&self, value: &[u8]) -> Arc<Limiter> {
        let place = self.hasher.hash_one(value) as usize % SHARDS;
        // There are as many shards as places.
        #[expect(clippy::indexing_slicing)]
        let mut shard = self.shards[place].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = shard.limiters.get(value).and_then(Weak::upgrade) {
            return there;
        }
        if shard.limiters.len() >= shard.sweep_at.max(SWEEP_AT) {
            shard.limiters.retain(|_, limiter| limiter.strong_count() > 0);
            shard.sweep_at = shard.limiters.len() * 2;
        }
        let new = Arc::new(Limiter::new(Bound::Fixed(self.limit), self.queue, self.patience));
        shard.limiters.insert(value.into(), Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
impl Keyed {
    /// How many values are remembered, those without requests included.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().limiters.len()).sum()
    }
}
