//! Tokens that have been verified, so that the next request with one costs no signature. A token is
//! found by the whole of its text. Each worker has a table of its own, whose lock nobody else ever
//! waits for, and whose consumers nobody else counts.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_core::Consumer;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::claims::Window;

/// Tables; workers beyond that share them.
const TABLES: usize = 64;
/// Places that one token may stand in.
const WAYS: usize = 4;

/// What is kept of verified tokens.
pub(super) struct Cache {
    /// Sets of places in each table; 0 keeps nothing.
    sets: u64,
    /// Nobody outside knows which tokens share a set.
    seed: u64,
    tables: Box<[Table]>,
}

/// One worker's, on a cache line of its own; made when the first token is kept.
#[derive(Default)]
#[repr(align(64))]
struct Table(Mutex<Vec<Option<Box<Entry>>>>);

struct Entry {
    hash: u64,
    token: Box<str>,
    kept: Kept,
    /// Found since the set was last full.
    used: bool,
}

/// A verified token.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) consumer: Arc<Consumer>,
    pub(super) window: Window,
    /// The issuer that it is of, by its place, and the generation of the keys that verified it.
    pub(super) issuer: usize,
    pub(super) generation: u64,
}

impl Cache {
    /// Keeps at most `tokens` on each worker.
    pub(super) fn new(tokens: usize) -> Self {
        let sets = tokens.div_ceil(WAYS) as u64;
        let tables = if sets == 0 { 0 } else { TABLES };
        Self {
            sets,
            seed: RandomState::new().build_hasher().finish(),
            tables: (0..tables).map(|_| Table::default()).collect(),
        }
    }

    /// The consumer of a token, if it still holds: its time is now, and its issuer's keys are the
    /// same as when it was verified.
    pub(super) fn get(
        &self,
        worker: usize,
        token: &[u8],
        now: i64,
        generation: impl Fn(usize) -> u64,
    ) -> Option<Arc<Consumer>> {
        let hash = xxh3_64_with_seed(token, self.seed);
        let mut table = self.table(worker)?;
        let place = self.set(&mut table, hash)?.iter_mut().find(|place| {
            place
                .as_ref()
                .is_some_and(|entry| entry.hash == hash && entry.token.as_bytes() == token)
        })?;
        let entry = place.as_mut()?;
        let kept = &entry.kept;
        if kept.window.holds(now) && kept.generation == generation(kept.issuer) {
            entry.used = true;
            return Some(Arc::clone(&kept.consumer));
        }
        *place = None;
        None
    }

    /// Keeps a token, in the place of one that is over or was not asked for lately.
    pub(super) fn put(&self, worker: usize, token: &str, now: i64, kept: Kept) {
        let hash = xxh3_64_with_seed(token.as_bytes(), self.seed);
        let Some(mut table) = self.table(worker) else { return };
        if table.is_empty() {
            let places = usize::try_from(self.sets).unwrap_or(0) * WAYS;
            table.resize_with(places, || None);
        }
        let Some(set) = self.set(&mut table, hash) else { return };
        let entry = Box::new(Entry { hash, token: token.into(), kept, used: false });
        let free = set.iter().position(|place| match place {
            None => true,
            Some(old) => !old.kept.window.holds(now) || (old.hash == hash && *old.token == *token),
        });
        let unused = || set.iter().position(|place| place.as_ref().is_some_and(|old| !old.used));
        let place = free.or_else(unused).unwrap_or_else(|| {
            set.iter_mut().flatten().for_each(|old| old.used = false);
            usize::try_from(hash % WAYS as u64).unwrap_or(0)
        });
        if let Some(place) = set.get_mut(place) {
            *place = Some(entry);
        }
    }

    fn table(&self, worker: usize) -> Option<MutexGuard<'_, Vec<Option<Box<Entry>>>>> {
        let table = self.tables.get(worker % TABLES)?;
        Some(table.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The places that a hash may stand in; `None` in a table that was not made yet.
    fn set<'t>(
        &self,
        table: &'t mut [Option<Box<Entry>>],
        hash: u64,
    ) -> Option<&'t mut [Option<Box<Entry>>]> {
        let set = (u128::from(hash) * u128::from(self.sets)) >> 64;
        let first = usize::try_from(set).ok()? * WAYS;
        table.get_mut(first..first + WAYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str, window: (i64, i64), generation: u64) -> Kept {
        let consumer = Arc::new(Consumer { name: name.into(), ..Consumer::default() });
        let (from, until) = window;
        Kept { consumer, window: Window { from, until }, issuer: 0, generation }
    }

    fn name(cache: &Cache, token: &str, now: i64, generation: u64) -> Option<String> {
        cache
            .get(0, token.as_bytes(), now, |_| generation)
            .map(|consumer| consumer.name.to_string())
    }

    #[test]
    fn a_token_is_found_by_the_whole_of_its_text() {
        let cache = Cache::new(8);
        cache.put(0, "a.b.c", 5, kept("alice", (0, 10), 0));
        assert_eq!(name(&cache, "a.b.c", 5, 0).as_deref(), Some("alice"));
        for other in ["a.b.", "a.b.cc", "a.b", "", "A.b.c", "a.b.d", "a.b.c "] {
            assert_eq!(name(&cache, other, 5, 0), None, "{other}");
        }
        assert!(cache.get(1, b"a.b.c", 5, |_| 0).is_none(), "each worker keeps its own");
    }

    /// Even if two texts hashed alike, each would find its own consumer alone.
    #[test]
    fn the_text_decides_and_not_its_hash() {
        let cache = Cache::new(4);
        cache.put(0, "one", 5, kept("alice", (0, 10), 0));
        let hash = xxh3_64_with_seed(b"two", cache.seed);
        cache.table(0).unwrap().iter_mut().flatten().for_each(|entry| entry.hash = hash);
        assert_eq!(name(&cache, "two", 5, 0), None);
    }

    #[test]
    fn time_and_keys_are_looked_at_with_each_use() {
        let cache = Cache::new(8);
        for (now, generation) in [(10, 0), (-1, 0), (5, 1)] {
            cache.put(0, "t", 5, kept("alice", (0, 10), 0));
            assert!(name(&cache, "t", 9, 0).is_some());
            assert_eq!(name(&cache, "t", now, generation), None);
            assert_eq!(name(&cache, "t", 5, 0), None, "what is over is forgotten");
        }
    }

    #[test]
    fn there_are_never_more_than_said_and_what_is_used_stays() {
        let cache = Cache::new(64);
        for number in 0..10_000 {
            cache.put(0, &format!("token {number}"), 5, kept("bob", (0, 10), 0));
            if number >= 10 {
                assert!(name(&cache, &format!("token {number}"), 5, 0).is_some());
            }
        }
        assert_eq!(cache.table(0).unwrap().len(), 64);
        let cache = Cache::new(4);
        cache.put(0, "hot", 5, kept("alice", (0, 10), 0));
        for number in 0..3 {
            cache.put(0, &format!("token {number}"), 5, kept("bob", (0, 10), 0));
        }
        assert!(name(&cache, "hot", 5, 0).is_some());
        cache.put(0, "new", 5, kept("bob", (0, 10), 0));
        assert!(name(&cache, "hot", 5, 0).is_some());
    }

    #[test]
    fn nothing_is_kept_when_it_is_off() {
        let cache = Cache::new(0);
        cache.put(0, "t", 5, kept("alice", (0, 10), 0));
        assert_eq!(name(&cache, "t", 5, 0), None);
    }
}
