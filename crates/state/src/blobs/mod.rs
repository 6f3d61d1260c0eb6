//! Blobs in this process's memory, shared by all workers and bounded by bytes. What is asked for
//! once in a long scan does not push out what is asked for again and again (quick_cache's
//! CLOCK-Pro). Refuses what would take too large a part of it.

mod marks;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use lockgate_core::{Blob, BlobStats, Blobs, Purge, Purged, Step, StoreError};
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};
use tokio::time::Instant;

use marks::Marks;

/// The smallest part of the memory that is bounded by itself: two of the largest blobs have room.
const SMALLEST_SHARD: u64 = 16 << 20;
/// Most parts: each has a lock of its own.
const MOST_SHARDS: u64 = 16;
/// What the cache takes for each blob beside the blob itself.
const OVERHEAD: u64 = 160;
/// A guess at a blob's size, for the room that is made for their index.
const USUAL_SIZE: u64 = 8 << 10;

/// Blobs in memory.
pub struct MemoryBlobs {
    cache: Cache<Box<[u8]>, Arc<Item>, Weigh, DefaultHashBuilder, Evictions>,
    marks: Marks,
    evictions: Arc<AtomicU64>,
    max_bytes: AtomicU64,
}

struct Item {
    blob: Arc<Blob>,
    until: Instant,
    weight: u64,
    /// The count of purges at which it was last found unpurged.
    seen: AtomicU64,
}

impl MemoryBlobs {
    /// Blobs that take at most so many bytes.
    pub fn new(max_bytes: u64) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let shards = (max_bytes / SMALLEST_SHARD).clamp(1, MOST_SHARDS);
        let items = usize::try_from(max_bytes / USUAL_SIZE).unwrap_or(usize::MAX).max(64);
        let options = OptionsBuilder::new()
            .shards(usize::try_from(shards).unwrap_or(1))
            .estimated_items_capacity(items)
            .weight_capacity(max_bytes)
            .build();
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), Evictions(evictions.clone()));
        let cache = match options {
            Ok(options) => Cache::with_options(options, Weigh, hasher, lifecycle),
            // Only a size that was left out is an error.
            Err(_) => Cache::with(items, max_bytes, Weigh, hasher, lifecycle),
        };
        let max_bytes = AtomicU64::new(max_bytes);
        Self { cache, marks: Marks::default(), evictions, max_bytes }
    }

    /// Changes how many bytes they may take. What is too much goes as room is needed.
    pub fn resize(&self, max_bytes: u64) {
        if self.max_bytes.swap(max_bytes, Relaxed) != max_bytes {
            self.cache.set_capacity(max_bytes);
        }
    }

    /// Takes away what was asked for before a purge that was made elsewhere, of this number.
    pub(crate) fn heard(&self, what: &Purge, number: u64) {
        self.marks.heard(what, number);
    }

    /// A number of purges that has been seen elsewhere: stamps from now on are no less.
    pub(crate) fn reach(&self, number: u64) {
        self.marks.reach(number);
    }

    /// Whether something has purged a blob since its stamp, as far as has been heard.
    pub(crate) fn purged(&self, blob: &Blob) -> bool {
        self.marks.purged(blob)
    }

    fn is_alive(&self, item: &Item) -> bool {
        let now = self.marks.now();
        if item.seen.load(Relaxed) == now {
            return true;
        }
        let alive = !self.marks.purged(&item.blob);
        if alive {
            item.seen.store(now, Relaxed);
        }
        alive
    }
}

impl Blobs for MemoryBlobs {
    fn get<'a>(&'a self, key: &'a [u8]) -> Step<'a, Result<Option<Arc<Blob>>, StoreError>> {
        let Some(item) = self.cache.get(key) else { return Step::Now(Ok(None)) };
        if item.until > Instant::now() && self.is_alive(&item) {
            return Step::Now(Ok(Some(Arc::clone(&item.blob))));
        }
        // Unless another has come in its place by now.
        self.cache.remove_if(key, |there| Arc::ptr_eq(there, &item));
        Step::Now(Ok(None))
    }

    fn put(&self, key: &[u8], blob: Arc<Blob>, keep: Duration) -> bool {
        let weight = blob.size() as u64 + key.len() as u64 + OVERHEAD;
        if weight > self.cache.shard_capacity() / 4 * 3 || self.marks.purged(&blob) {
            return false;
        }
        let now = Instant::now();
        let until = now.checked_add(keep).unwrap_or(now + Duration::from_secs(365 * 86_400));
        let seen = AtomicU64::new(blob.stamp);
        self.cache.insert(key.into(), Arc::new(Item { blob, until, weight, seen }));
        true
    }

    fn remove(&self, key: &[u8]) {
        self.cache.remove(key);
    }

    fn stamp(&self) -> u64 {
        self.marks.now()
    }

    fn purge(&self, what: &Purge) -> Purged {
        self.marks.purge(what);
        Purged::Now(Ok(()))
    }

    fn sweep(&self) -> u64 {
        let (now, gone) = (Instant::now(), Cell::new(0));
        self.cache.retain(|_, item| {
            let stays = item.until > now && self.is_alive(item);
            gone.set(gone.get() + u64::from(!stays));
            stays
        });
        gone.get()
    }

    fn stats(&self) -> BlobStats {
        BlobStats {
            entries: self.cache.len() as u64,
            bytes: self.cache.weight(),
            max_bytes: self.max_bytes.load(Relaxed),
            evictions: self.evictions.load(Relaxed),
            purges: self.marks.now(),
        }
    }

    fn each(&self, see: &mut dyn FnMut(&Blob, Duration)) {
        let now = Instant::now();
        for (_, item) in self.cache.iter() {
            if item.until > now && self.is_alive(&item) {
                see(&item.blob, item.until - now);
            }
        }
    }
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Box<[u8]>, Arc<Item>> for Weigh {
    fn weight(&self, _: &Box<[u8]>, item: &Arc<Item>) -> u64 {
        item.weight
    }
}

/// Counts what has to go.
#[derive(Clone)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Box<[u8]>, Arc<Item>> for Evictions {
    /// What is dropped once the lock is gone.
    type RequestState = Vec<Arc<Item>>;

    fn on_evict(&self, state: &mut Self::RequestState, _: Box<[u8]>, item: Arc<Item>) {
        self.0.fetch_add(1, Relaxed);
        state.push(item);
    }
}
