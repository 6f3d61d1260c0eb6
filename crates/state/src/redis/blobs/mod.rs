//! Blobs on a Redis that several gateways share: two tiers, the memory of each gateway in front.
//!
//! What is in memory is given without a word to Redis. What is not is asked for there once for all
//! who want it, and kept in memory then. Purges go through a log in Redis ([`log`]): every gateway
//! hears of them as they are made ([`herald`]), and checks what it has in memory, and whatever
//! comes out of Redis, against what it has heard. A gateway that has not heard for a while asks
//! Redis for nothing, as it could not tell what is purged.

mod backlog;
mod fetches;
mod figures;
mod herald;
mod leads;
mod log;
mod packed;
mod porter;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lockgate_core::{
    Blob, BlobStats, Blobs, Maker, Purge, Purged, ReadHead, Step, StoreError, StoreFailure,
};
use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Arg, CACHE_WITHIN, RedisStore, Script, Use};
use crate::MemoryBlobs;
pub use figures::BlobFigures;

use backlog::Backlog;
use fetches::{Fetches, Got, Place};
use figures::Counts;
use leads::Leads;
use log::Log;
use porter::{Job, Porter, Put};

static GET: Script = Script::new(Use::Blobs, include_str!("get.lua"));
static PUT: Script = Script::new(Use::Blobs, include_str!("put.lua"));
static DROP: Script = Script::new(Use::Blobs, include_str!("drop.lua"));
static TURN: Script = Script::new(Use::Blobs, include_str!("turn.lua"));
static HOLD: Script = Script::new(Use::Blobs, include_str!("hold.lua"));
static PURGE: Script =
    Script::new(Use::Link, concat!(include_str!("last.lua"), include_str!("purge.lua")));
static LOG: Script =
    Script::new(Use::Link, concat!(include_str!("last.lua"), include_str!("log.lua")));

/// Nothing stays in the store longer, as the log of purges reaches back no further.
const LONGEST_KEEP: Duration = Duration::from_secs(24 * 3600);
/// How long it may be that nothing was heard of purges, before what is kept counts as doubtful.
const TRUSTED: Duration = Duration::from_secs(2);
/// How soon one asks again whose turn it is, on average.
const TURN_AGAIN: Duration = Duration::from_millis(10);
/// How often one looks at what there is instead of what is known, as none of it will do.
const MOST_TURNS: usize = 3;

/// Blobs on a Redis, with the memory of this gateway in front.
pub struct RedisBlobs {
    shared: Arc<Shared>,
    /// Dropped with the last who keeps blobs here: what runs for it ends.
    _there: watch::Sender<()>,
}

/// What requests and the control runtime share.
struct Shared {
    store: Arc<RedisStore>,
    memory: MemoryBlobs,
    log: Log,
    log_key: Vec<u8>,
    /// Where purges are told, by its name in Redis.
    channel: String,
    read: OnceLock<ReadHead>,
    fetches: Fetches,
    backlog: Arc<Backlog>,
    leads: Leads,
    porter: Porter,
    within: Duration,
    figures: Counts,
}

/// A blob as the store gives it.
struct There {
    id: u64,
    age: Duration,
    stays: Duration,
    /// Its head and body; none where each gateway keeps its own.
    whole: Option<(Vec<u8>, Vec<u8>)>,
}

impl RedisBlobs {
    /// Blobs on this store, with at most so many bytes in memory. What has to be done for it is
    /// done on `control`.
    pub fn start(store: &Arc<RedisStore>, max_bytes: u64, control: &Handle) -> Self {
        let there = watch::Sender::new(());
        let backlog = Arc::new(Backlog::default());
        let shared = Arc::new(Shared {
            memory: MemoryBlobs::new(max_bytes),
            log: Log::new(),
            log_key: store.key("purges", b"purges", b""),
            channel: store.channel("purges"),
            read: OnceLock::new(),
            fetches: Fetches::new(),
            backlog: Arc::clone(&backlog),
            leads: Leads::default(),
            porter: Porter::start(store, control),
            within: store.within(CACHE_WITHIN),
            figures: Counts::default(),
            store: Arc::clone(store),
        });
        let weak = Arc::downgrade(&shared);
        control.spawn(herald::listen(weak.clone(), store.listen("purges"), there.subscribe()));
        control.spawn(herald::hold(weak.clone(), there.subscribe()));
        control.spawn(herald::tell(weak, backlog, there.subscribe()));
        Self { shared, _there: there }
    }

    /// Changes how many bytes they may take in memory.
    pub fn resize(&self, max_bytes: u64) {
        self.shared.memory.resize(max_bytes);
    }

    /// What operators may see of it.
    pub fn figures(&self) -> BlobFigures {
        let shared = &self.shared;
        let (put, dropped) = shared.porter.figures();
        shared.figures.read(put, dropped, shared.backlog.len() as u64, shared.log.unheard())
    }
}

impl Shared {
    fn hears(&self) -> bool {
        self.log.unheard().is_some_and(|unheard| unheard < TRUSTED)
    }

    /// An error when there is no use in asking the store.
    fn away(&self) -> Option<StoreError> {
        let what = match (self.store.is_open_for(Use::Blobs), self.hears()) {
            (true, true) => return None,
            (false, _) => "cannot be reached",
            (true, false) => "has not said for a while what was purged",
        };
        Some(StoreError::new(self.store.name(), StoreFailure::Away, what))
    }

    /// The keys of a blob, and of the lead over it. What a key is made of may be a secret.
    fn keys(&self, key: &[u8]) -> [Vec<u8>; 2] {
        let hash = blake3::hash(key).to_hex();
        let of =
            |rest: &[u8]| self.store.key("blob", hash.as_bytes().get(..40).unwrap_or(key), rest);
        [of(b""), of(b"lead")]
    }

    /// Asks the store, once for all who want the same.
    async fn fetch(&self, key: &[u8]) -> Got {
        let until = Instant::now() + self.within;
        loop {
            match self.fetches.join(key) {
                Place::Asks(asks) => {
                    let got = self.ask(key).await;
                    self.figures.got(&got);
                    asks.tell(&got);
                    return got;
                }
                Place::Waits(mut said) => {
                    match timeout_at(until, said.wait_for(Option::is_some)).await {
                        Ok(Ok(said)) => return said.clone().unwrap_or(Ok(None)),
                        // Whoever asked has gone.
                        Ok(Err(_)) => {}
                        Err(_) => {
                            let name = self.store.name();
                            let what = "did not answer in time";
                            return Err(StoreError::new(name, StoreFailure::Timeout, what));
                        }
                    }
                }
            }
        }
    }

    async fn ask(&self, key: &[u8]) -> Got {
        let [blob, _] = self.keys(key);
        match self.store.run(&GET, &[blob], &[], self.within).await? {
            Value::Nil => Ok(None),
            Value::Array(parts) => {
                let there = There::read(parts).ok_or_else(|| self.store.unexpected())?;
                Ok(self.take_in(key, there))
            }
            _ => Err(self.store.unexpected()),
        }
    }

    /// Keeps in memory what the store has, if it can be understood and nothing has purged it.
    fn take_in(&self, key: &[u8], there: There) -> Option<Arc<Blob>> {
        let (head, body) = there.whole?;
        let blob = packed::read(there.id, &head, body, there.age, *self.read.get()?);
        let number = |blob: &Blob| i64::try_from(log::number(blob.stamp)).unwrap_or(i64::MAX);
        let Some(blob) = blob.filter(|blob| self.log.may_have(number(blob))) else {
            self.figures.unread.add(0, 1);
            return None;
        };
        // What it was asked for after has happened, whether it has been heard of or not.
        self.memory.reach(blob.stamp);
        if self.memory.purged(&blob) {
            return None;
        }
        self.memory.put(key, Arc::clone(&blob), there.stays);
        Some(blob)
    }

    async fn turn(self: &Arc<Self>, key: &[u8], known: Option<u64>) -> Result<Maker, StoreError> {
        let keys = self.keys(key);
        let mut known = known;
        let life = u64::try_from(leads::LIFE.as_millis()).unwrap_or_default();
        for _ in 0..MOST_TURNS {
            let token = fastrand::u64(..);
            let (bytes, id) = (token.to_be_bytes(), known.map(u64::to_be_bytes));
            let id = id.as_ref().map_or(&[][..], |id| &id[..]);
            let args = [Arg::from(&bytes[..]), Arg::from(life), Arg::from(id)];
            let said = self.store.run(&TURN, &keys, &args, self.within).await?;
            let Value::Array(mut parts) = said else { return Err(self.store.unexpected()) };
            match parts.first() {
                Some(Value::Int(0)) => {
                    self.figures.led.add(0, 1);
                    let lead = self.leads.take_on(self, key, token);
                    return Ok(lead.map_or(Maker::Alone, |lead| Maker::Leads(Box::new(lead))));
                }
                Some(Value::Int(1)) => {
                    self.figures.waited.add(0, 1);
                    return Ok(Maker::Waits(TURN_AGAIN.mul_f64(0.5 + fastrand::f64())));
                }
                Some(Value::Int(2)) => {}
                _ => return Err(self.store.unexpected()),
            }
            parts.remove(0);
            let there = There::read(parts).ok_or_else(|| self.store.unexpected())?;
            if there.whole.is_none() {
                return Ok(Maker::Alone);
            }
            known = Some(there.id);
            if self.take_in(key, there).is_some() {
                return Ok(Maker::Made);
            }
        }
        Ok(Maker::Alone)
    }

    /// Holds on to a lead for so long, or gives it back.
    fn hold(&self, key: &[u8], token: u64, life: Duration) {
        let [_, lead] = self.keys(key);
        let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        let args = vec![Arg::from(token.to_be_bytes().to_vec()), Arg::from(life)];
        self.store.send(&HOLD, vec![lead], args);
    }

    /// `line`: a key, behind whose blobs this one comes.
    fn put(
        &self,
        line: &[u8],
        key: &[u8],
        blob: Arc<Blob>,
        (keep, apart): (Duration, bool),
    ) -> bool {
        let token = self.leads.end(key);
        if !self.memory.put(key, Arc::clone(&blob), keep) {
            if let Some(token) = token {
                self.hold(key, token, Duration::ZERO);
            }
            return false;
        }
        if apart {
            self.figures.apart.add(0, 1);
        }
        let put = Put { blob, keep, token, apart };
        self.porter.carry(line, Job { keys: self.keys(key).into(), put: Some(put) });
        true
    }
}

impl There {
    /// Reads an id, an age, how long it stays, and the whole.
    fn read(parts: Vec<Value>) -> Option<Self> {
        let [id, age, stays, head, body] = <[Value; 5]>::try_from(parts).ok()?;
        let (Value::BulkString(id), Value::BulkString(age)) = (id, age) else { return None };
        let Value::Int(stays) = stays else { return None };
        let age = std::str::from_utf8(&age).ok()?.parse().ok()?;
        let whole = match (head, body) {
            (Value::BulkString(head), Value::BulkString(body)) => Some((head, body)),
            _ => None,
        };
        Some(Self {
            id: u64::from_be_bytes(id.try_into().ok()?),
            age: Duration::from_micros(age),
            stays: Duration::from_millis(u64::try_from(stays).unwrap_or(0)),
            whole,
        })
    }
}

/// Reads anything as a message, or as what a script gives.
pub(super) fn fuzz(bytes: &[u8], said: Option<&Value>) {
    if let Some((before, own, purge)) = log::message(bytes) {
        assert!(before >= 0 && own > before, "numbers grow");
        assert_eq!(log::purge(&log::member(&purge)), purge, "it is read as another");
    }
    packed::fuzz(bytes);
    let Some(said) = said else { return };
    let _ = herald::read(said.clone());
    if let Value::Array(parts) = said {
        let _ = There::read(parts.clone());
    }
}

impl Blobs for RedisBlobs {
    fn name(&self) -> &str {
        self.shared.store.name()
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> Step<'a, Result<Option<Arc<Blob>>, StoreError>> {
        match self.shared.memory.get(key) {
            Step::Now(Ok(None)) => {}
            there => return there,
        }
        match self.shared.away() {
            Some(away) => {
                self.shared.figures.failed.add(0, 1);
                Step::Now(Err(away))
            }
            None => Step::Later(Box::pin(self.shared.fetch(key))),
        }
    }

    fn put(&self, key: &[u8], blob: Arc<Blob>, keep: Duration) -> bool {
        self.shared.put(key, key, blob, (keep, false))
    }

    fn put_after(&self, first: &[u8], key: &[u8], blob: Arc<Blob>, keep: Duration) -> bool {
        self.shared.put(first, key, blob, (keep, false))
    }

    fn put_here(&self, key: &[u8], blob: Arc<Blob>, keep: Duration) -> bool {
        self.shared.memory.put(key, blob, keep)
    }

    fn put_apart(&self, key: &[u8], blob: Arc<Blob>, keep: Duration) -> bool {
        self.shared.put(key, key, blob, (keep, true))
    }

    fn reads(&self, read: ReadHead) {
        // The first to say it is as good as those after: blobs have one owner.
        let _ = self.shared.read.set(read);
    }

    fn turn<'a>(
        &'a self,
        key: &'a [u8],
        known: Option<&'a Blob>,
    ) -> Step<'a, Result<Maker, StoreError>> {
        if let Some(away) = self.shared.away() {
            return Step::Now(Err(away));
        }
        let known = known.map(|known| known.id);
        Step::Later(Box::pin(self.shared.turn(key, known)))
    }

    fn hears(&self) -> bool {
        self.shared.hears()
    }

    fn remove(&self, key: &[u8]) {
        self.shared.memory.remove(key);
        self.shared.porter.carry(key, Job { keys: self.shared.keys(key).into(), put: None });
    }

    fn patience(&self) -> Duration {
        self.shared.within
    }

    fn stamp(&self) -> u64 {
        self.shared.memory.stamp()
    }

    fn purge(&self, what: &Purge) -> Purged {
        let shared = &self.shared;
        // Here at once, whatever becomes of the store.
        drop(shared.memory.purge(what));
        shared.figures.purges.add(0, 1);
        let away = (!shared.store.is_open()).then(|| shared.away()).flatten();
        let told = shared.backlog.add(what, away.is_none());
        if let Some(away) = away {
            return Purged::Now(Err(away));
        }
        let (within, name): (Duration, Arc<str>) = (shared.within, shared.store.name().into());
        Purged::Later(Box::pin(async move {
            match timeout(within, async { told?.await.ok() }).await {
                Ok(Some(told)) => told,
                _ => Err(StoreError::new(name, StoreFailure::Timeout, "did not answer in time")),
            }
        }))
    }

    fn sweep(&self) -> u64 {
        self.shared.memory.sweep()
    }

    fn stats(&self) -> BlobStats {
        BlobStats { purges: self.shared.figures.all_purges(), ..self.shared.memory.stats() }
    }

    fn each(&self, see: &mut dyn FnMut(&Blob, Duration)) {
        self.shared.memory.each(see);
    }
}
