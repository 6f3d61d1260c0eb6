//! The stores by their names: made when something first asks, and kept across reloads for as long
//! as what the configuration says of them is the same.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use lockgate_core::{Blobs, Counters, Leases, Records};
use tokio::runtime::Handle;

use crate::redis::{RedisBlobs, RedisCounters, RedisLeases, RedisRecords, RedisStore, Settings};
use crate::{Bounds, LeaseBounds, Memory, MemoryBlobs, MemoryLeases, MemoryRecords, RecordBounds};

/// What a configuration says of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreSettings {
    /// It is the process's memory, under another name.
    Memory,
    /// It is a Redis.
    Redis(Box<Settings>),
}

/// All stores of a process.
pub struct Depot {
    control: Handle,
    gateway: Arc<str>,
    memory: OnceLock<Arc<Memory>>,
    blobs: OnceLock<Arc<MemoryBlobs>>,
    leases: OnceLock<Arc<MemoryLeases>>,
    records: OnceLock<Arc<MemoryRecords>>,
    redis: Mutex<HashMap<String, Weak<Shared>>>,
}

/// The stores of one configuration, by name. `memory` is always there.
#[derive(Clone)]
pub struct Stores {
    depot: Arc<Depot>,
    /// Bytes for blobs in memory.
    max_size: u64,
    named: HashMap<String, Named>,
}

#[derive(Clone)]
enum Named {
    Memory,
    Redis(Arc<Shared>),
}

/// How long each Redis is told of what is left when the process ends.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// A Redis, and what is kept on it: one object each for all who ask, across reloads too.
struct Shared {
    settings: Settings,
    store: Arc<RedisStore>,
    control: Handle,
    counters: OnceLock<Arc<RedisCounters>>,
    leases: OnceLock<Arc<RedisLeases>>,
    records: OnceLock<Arc<RedisRecords>>,
    blobs: OnceLock<Arc<RedisBlobs>>,
}

impl Shared {
    fn counters(&self) -> &Arc<RedisCounters> {
        let new = || Arc::new(RedisCounters::start(Arc::clone(&self.store), &self.control));
        self.counters.get_or_init(new)
    }
}

impl Depot {
    /// Must be called on the control runtime, where stores are looked after.
    pub fn new() -> Arc<Self> {
        let (memory, blobs, leases, records, redis) = Default::default();
        let (control, gateway) = (Handle::current(), identity().into());
        Arc::new(Self { control, gateway, memory, blobs, leases, records, redis })
    }

    /// The stores of a configuration. `max_size`: bytes for blobs in memory. One that is there
    /// already with the same settings is the same.
    pub fn stores(
        self: &Arc<Self>,
        settings: impl IntoIterator<Item = (String, StoreSettings)>,
        max_size: u64,
    ) -> Stores {
        let named = settings.into_iter().map(|(name, settings)| {
            let store = match settings {
                StoreSettings::Memory => Named::Memory,
                StoreSettings::Redis(settings) => Named::Redis(self.redis(&name, *settings)),
            };
            (name, store)
        });
        Stores { depot: Arc::clone(self), max_size, named: named.collect() }
    }

    fn redis(&self, name: &str, settings: Settings) -> Arc<Shared> {
        let mut known = self.redis.lock().unwrap_or_else(PoisonError::into_inner);
        let there = known.get(name).and_then(Weak::upgrade);
        if let Some(there) = there.filter(|there| there.settings == settings) {
            return there;
        }
        known.retain(|_, store| store.strong_count() > 0);
        let store = RedisStore::start(name, &settings, &self.gateway, &self.control);
        let (store, control) = (Arc::new(store), self.control.clone());
        let (counters, leases, records, blobs) = Default::default();
        let new = Arc::new(Shared { settings, store, control, counters, leases, records, blobs });
        known.insert(name.to_owned(), Arc::downgrade(&new));
        new
    }

    /// The counters in memory, if anything counts there.
    pub fn memory(&self) -> Option<&Arc<Memory>> {
        self.memory.get()
    }

    /// The blobs in memory, if anything is kept there.
    pub fn memory_blobs(&self) -> Option<&Arc<MemoryBlobs>> {
        self.blobs.get()
    }
}

impl Stores {
    /// The counters of a store; `None` when no store has the name, or it keeps none.
    pub fn counters(&self, name: &str) -> Option<Arc<dyn Counters>> {
        match self.named(name)? {
            Named::Memory => {
                let new = || Arc::new(Memory::new(Bounds::default()));
                Some(Arc::clone(self.depot.memory.get_or_init(new)) as Arc<dyn Counters>)
            }
            Named::Redis(shared) => Some(Arc::clone(shared.counters()) as Arc<dyn Counters>),
        }
    }

    /// The blobs of a store; `None` when no store has the name, or it keeps none.
    pub fn blobs(&self, name: &str) -> Option<Arc<dyn Blobs>> {
        match self.named(name)? {
            Named::Memory => {
                let new = || Arc::new(MemoryBlobs::new(self.max_size));
                Some(Arc::clone(self.depot.blobs.get_or_init(new)) as Arc<dyn Blobs>)
            }
            Named::Redis(shared) => {
                let control = &self.depot.control;
                let new = || Arc::new(RedisBlobs::start(&shared.store, self.max_size, control));
                Some(Arc::clone(shared.blobs.get_or_init(new)) as Arc<dyn Blobs>)
            }
        }
    }

    /// The leases of a store; `None` when no store has the name.
    pub fn leases(&self, name: &str) -> Option<Arc<dyn Leases>> {
        match self.named(name)? {
            Named::Memory => {
                let new = || Arc::new(MemoryLeases::new(LeaseBounds::default()));
                Some(Arc::clone(self.depot.leases.get_or_init(new)) as Arc<dyn Leases>)
            }
            Named::Redis(shared) => {
                let new = || Arc::new(RedisLeases::new(&shared.store, &self.depot.control));
                Some(Arc::clone(shared.leases.get_or_init(new)) as Arc<dyn Leases>)
            }
        }
    }

    /// The records of a store; `None` when no store has the name.
    pub fn records(&self, name: &str) -> Option<Arc<dyn Records>> {
        match self.named(name)? {
            Named::Memory => {
                let new = || Arc::new(MemoryRecords::new(RecordBounds::default()));
                Some(Arc::clone(self.depot.records.get_or_init(new)) as Arc<dyn Records>)
            }
            Named::Redis(shared) => {
                let control = &self.depot.control;
                let new = || Arc::new(RedisRecords::start(&shared.store, control));
                Some(Arc::clone(shared.records.get_or_init(new)) as Arc<dyn Records>)
            }
        }
    }

    /// The Redis of a name.
    pub fn redis(&self, name: &str) -> Option<&Arc<RedisStore>> {
        match self.named.get(name)? {
            Named::Memory => None,
            Named::Redis(shared) => Some(&shared.store),
        }
    }

    /// Every Redis.
    pub fn each_redis(&self) -> impl Iterator<Item = &Arc<RedisStore>> {
        self.named.values().filter_map(|store| match store {
            Named::Memory => None,
            Named::Redis(shared) => Some(&shared.store),
        })
    }

    /// Whether every Redis is the one that `before` has under its name, so that whoever asked there
    /// need not ask anew.
    pub fn go_on(&self, before: &Self) -> bool {
        self.named.iter().all(|(name, store)| match (store, before.named.get(name)) {
            (Named::Memory, _) => true,
            (Named::Redis(own), Some(Named::Redis(known))) => Arc::ptr_eq(own, known),
            (Named::Redis(_), _) => false,
        })
    }

    /// Every Redis on which blobs are kept.
    pub fn each_redis_blobs(&self) -> impl Iterator<Item = &Arc<RedisBlobs>> {
        self.named.values().filter_map(|store| match store {
            Named::Memory => None,
            Named::Redis(shared) => shared.blobs.get(),
        })
    }

    /// Gives what is in memory the room that this configuration says.
    pub fn resize(&self) {
        if let Some(blobs) = self.depot.memory_blobs() {
            blobs.resize(self.max_size);
        }
        self.each_redis_blobs().for_each(|blobs| blobs.resize(self.max_size));
    }

    /// The counters of every Redis that counts anything.
    pub fn each_redis_counters(&self) -> impl Iterator<Item = &Arc<RedisCounters>> {
        self.named.values().filter_map(|store| match store {
            Named::Memory => None,
            Named::Redis(shared) => shared.counters.get(),
        })
    }

    /// Says good-bye to every Redis, all at once.
    pub async fn leave(&self) {
        for store in self.named.values() {
            if let Named::Redis(shared) = store
                && let Some(records) = shared.records.get()
            {
                records.flush(LAST_WORDS).await;
            }
        }
        let leaving: Vec<_> = self
            .each_redis()
            .cloned()
            .map(|store| tokio::spawn(async move { store.leave().await }))
            .collect();
        for left in leaving {
            let _ = left.await;
        }
    }

    fn named(&self, name: &str) -> Option<&Named> {
        self.named.get(name).or_else(|| (name == "memory").then_some(&Named::Memory))
    }
}

/// A name that no other start of a process has, here or elsewhere.
fn identity() -> String {
    // The hasher's keys are random, and made with the help of the system.
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}
