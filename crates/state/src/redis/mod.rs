//! A Redis as a store: what the counters, blobs, leases and records on it stand on. It runs
//! scripts, keeps keys apart, carries messages between gateways and counts those that are alive.
//! Time is Redis' own; what is asked for costs nobody more than its time once, and nothing while
//! the store is known not to answer.

mod background;
mod blobs;
mod counters;
mod figures;
mod find;
mod inner;
mod keeper;
mod key;
mod leases;
mod link;
mod listen;
mod map;
mod records;
mod script;
mod settings;
mod texts;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lockgate_core::{StoreError, StoreFailure};
use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

pub use blobs::{BlobFigures, RedisBlobs};
pub use counters::{CounterFigures, RedisCounters};
pub use figures::{BUCKETS, StoreFigures};
pub use leases::{LEASES_WITHIN, RedisLeases};
pub use listen::Heard;
pub use records::{RECORDS_WITHIN, RedisRecords};
pub use script::{Arg, Script, Use};
pub use settings::{Address, Login, Secure, Servers, Settings, Stream, Tls};
pub use texts::{NoTexts, Texts, Wanted};

use background::Background;
use inner::Inner;
use link::{Fail, Lane, said};
use listen::Ears;

/// What only fuzz targets need: all that reads what a Redis says, which others may have written.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let said = redis::parse_redis_value(bytes).ok();
    blobs::fuzz(bytes, said.as_ref());
    if let Some(said) = said {
        counters::fuzz(&said);
        find::fuzz(&said);
        leases::fuzz(&said);
        records::fuzz(said);
    }
}

/// How long a limit waits for its store, unless the configuration says it.
pub const LIMITS_WITHIN: Duration = Duration::from_millis(10);
/// How long the cache waits for its store, unless the configuration says it.
pub const CACHE_WITHIN: Duration = Duration::from_millis(50);

/// One configured Redis. Shared by all workers, and kept across reloads while its section is
/// unchanged. What runs for it on the control runtime ends when it is dropped.
pub struct RedisStore {
    inner: Arc<Inner>,
    background: Background,
    ears: Ears,
    /// Dropped with the store: what runs for it ends.
    _there: watch::Sender<()>,
}

impl RedisStore {
    /// A store of this name, looked after on `control`. It connects by itself, and is there at
    /// once whether Redis is or not. `gateway` is this process's identity.
    pub fn start(name: &str, settings: &Settings, gateway: &Arc<str>, control: &Handle) -> Self {
        let inner = Arc::new(Inner::new(name, settings, Arc::clone(gateway)));
        let there = watch::Sender::new(());
        control.spawn(keeper::keep(Arc::clone(&inner), there.subscribe()));
        let background = Background::start(Arc::clone(&inner), control);
        let ears = Ears::new(Arc::clone(&inner), control.clone(), there.subscribe());
        Self { inner, background, ears, _there: there }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// How long a call may take: as the configuration says, or this.
    pub fn within(&self, otherwise: Duration) -> Duration {
        self.inner.timeout.unwrap_or(otherwise)
    }

    /// Runs a script on this thread's own connection, pipelined with others. On a Cluster all keys
    /// share a slot: made by [`RedisStore::key`] with the same tag. To be called on a runtime.
    ///
    /// # Errors
    /// When it is not over within this time, and at once while the store is known not to answer.
    pub async fn run(
        &self,
        script: &'static Script,
        keys: &[Vec<u8>],
        args: &[Arg<'_>],
        within: Duration,
    ) -> Result<Value, StoreError> {
        let begun = Instant::now();
        let result = self.inner.run(script, keys, args, begun + within).await;
        result.map_err(|fail| self.error(fail, begun.elapsed()))
    }

    /// The same in the background: nobody waits, and nobody learns what became of it. What is too
    /// much for the queue, or is sent while the store does not answer, is dropped and counted.
    /// Nothing says in which order two of these are done.
    pub fn send(&self, script: &'static Script, keys: Vec<Vec<u8>>, args: Vec<Arg<'static>>) {
        self.background.send(script, keys, args);
    }

    /// `PREFIX:KIND:{TAG}:REST`. The tag decides the slot. Long parts are hashed.
    pub fn key(&self, kind: &str, tag: &[u8], rest: &[u8]) -> Vec<u8> {
        key::key(&self.inner.prefix, kind, tag, rest)
    }

    /// A channel's name in Redis, for scripts that say something there.
    pub fn channel(&self, channel: &str) -> String {
        self.inner.channel(channel)
    }

    /// The messages of a channel, with a mark whenever some may have been missed. Listening begins
    /// soon, and its beginning is marked too ([`Heard::Gap`]).
    pub fn listen(&self, channel: &str) -> broadcast::Receiver<Heard> {
        self.ears.listen(channel)
    }

    /// Says something to all who listen to a channel, this gateway included.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn tell(&self, channel: &str, message: &[u8]) -> Result<(), StoreError> {
        let begun = Instant::now();
        let result = self.inner.publish(channel, message, begun + CACHE_WITHIN).await;
        result.map_err(|fail| self.error(fail, begun.elapsed()))
    }

    /// The same in the background, as [`RedisStore::send`].
    pub fn tell_later(&self, channel: &str, message: impl Into<Bytes>) {
        self.background.tell(channel, message.into());
    }

    /// How many gateways are alive, by their heartbeats in the store; this one included. The last
    /// known while it does not answer; at least 1.
    pub fn live(&self) -> u32 {
        self.inner.live()
    }

    /// This gateway's identity in the store: unique for each start of a process.
    pub fn gateway(&self) -> &str {
        &self.inner.gateway
    }

    /// Whether calls are let through now, to one of its servers at least; also while these are
    /// looked for the first time.
    pub fn is_open(&self) -> bool {
        self.inner.lets(Lane::Small)
    }

    /// The same for one use: kept answers may take so long that they are not asked for, while all
    /// else is.
    pub fn is_open_for(&self, of: Use) -> bool {
        self.inner.lets(Lane::of(of))
    }

    /// What its calls came to.
    pub fn figures(&self) -> StoreFigures {
        self.inner.figures()
    }

    /// Says good-bye: this gateway is not counted any more. For the end of the process.
    pub async fn leave(&self) {
        self.inner.leave().await;
    }

    /// An error of this store, for an answer that is not what a script gives.
    pub fn unexpected(&self) -> StoreError {
        let what = "has an answer that does not belong to the question";
        StoreError::new(Arc::clone(&self.inner.name), StoreFailure::Answer, what)
    }

    fn error(&self, fail: Fail, took: Duration) -> StoreError {
        let name = Arc::clone(&self.inner.name);
        match fail {
            Fail::Timeout => {
                let what = format!("did not answer within {}ms", took.as_millis());
                StoreError::new(name, StoreFailure::Timeout, what)
            }
            Fail::Away(what) => StoreError::new(name, StoreFailure::Away, what),
            Fail::Cut => {
                let what = "closed the connection before its answer";
                StoreError::new(name, StoreFailure::Cut, what)
            }
            Fail::Said(error) => {
                let what = format!("answered: {}", said(&error));
                StoreError::new(name, StoreFailure::Answer, what)
            }
        }
    }
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedisStore({})", self.inner.name)
    }
}
