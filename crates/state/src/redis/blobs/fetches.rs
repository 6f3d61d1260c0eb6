//! One question to the store for all that ask for the same key at a time.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_core::{Blob, StoreError};
use tokio::sync::watch;

/// What the store said.
pub(super) type Got = Result<Option<Arc<Blob>>, StoreError>;

type Asked = HashMap<Box<[u8]>, watch::Receiver<Option<Got>>>;

const SHARDS: usize = 16;

/// Questions under way, by key.
pub(super) struct Fetches {
    shards: [Mutex<Asked>; SHARDS],
    hasher: RandomState,
}

/// A place at a question.
pub(super) enum Place<'a> {
    /// There is none: this one asks.
    Asks(Asks<'a>),
    /// Another asks; it has gone when the sender has.
    Waits(watch::Receiver<Option<Got>>),
}

impl Fetches {
    pub(super) fn new() -> Self {
        Self { shards: Default::default(), hasher: RandomState::new() }
    }

    pub(super) fn join(&self, key: &[u8]) -> Place<'_> {
        let mut asked = self.shard(key);
        if let Some(there) = asked.get(key) {
            return Place::Waits(there.clone());
        }
        let (tell, got) = watch::channel(None);
        asked.insert(key.into(), got);
        Place::Asks(Asks { fetches: self, key: key.into(), tell })
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Asked> {
        let [first, rest @ ..] = &self.shards;
        let number = self.hasher.hash_one(key) as usize % SHARDS;
        let shard = number.checked_sub(1).and_then(|number| rest.get(number)).unwrap_or(first);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for all. Dropped without a word, one of the others does.
pub(super) struct Asks<'a> {
    fetches: &'a Fetches,
    key: Box<[u8]>,
    tell: watch::Sender<Option<Got>>,
}

impl Asks<'_> {
    pub(super) fn tell(self, got: &Got) {
        self.tell.send_replace(Some(got.clone()));
    }
}

impl Drop for Asks<'_> {
    fn drop(&mut self) {
        self.fetches.shard(&self.key).remove(&self.key);
    }
}
