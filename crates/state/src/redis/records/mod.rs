//! Records on a Redis: one hash for each, changed by scripts alone. Who runs requests says that it
//! lives, once a second and in one place for each 256th of the keys, so that a repeat can tell a
//! request that runs from one whose process is gone. What could not be said to the store is said
//! when it is back.

mod later;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockgate_core::{
    Begin, Begun, End, Fingerprint, LocalFuture, Owner, RecordStats, Records, Settled, Step,
    StoreError, StoreFailure,
};
use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Arg, RedisStore, Script, Use};
use later::{Later, Pending};

static BEGIN: Script = Script::new(Use::Records, include_str!("begin.lua"));
static SETTLE: Script = Script::new(Use::Records, include_str!("settle.lua"));
static BEAT: Script = Script::new(Use::Records, include_str!("beat.lua"));
static MEMORY: Script = Script::new(Use::Records, include_str!("memory.lua"));

/// How long a request waits for its record, unless the configuration says it.
pub const RECORDS_WITHIN: Duration = Duration::from_millis(250);
/// How long the background waits.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often those who run requests say that they live. Nothing counts as lost sooner than after
/// three of these.
const BEATS: Duration = Duration::from_secs(1);
/// How many beats until the store is asked again how it is set up.
const LOOKS: u32 = 60;
/// How often a repeat that waits looks for the end of a request of another gateway.
const POLLS: Duration = Duration::from_millis(50);

/// How long what could not be said is tried after the records are let go.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Records on one Redis.
pub struct RedisRecords {
    shared: Arc<Shared>,
    /// Dropped with it: what runs for it ends.
    _there: watch::Sender<()>,
}

struct Shared {
    store: Arc<RedisStore>,
    /// What runs in this process, and in which part of the keys.
    running: Mutex<HashMap<Owner, u8>>,
    later: Mutex<Later>,
    /// There is something to be said at once.
    wake: Notify,
    /// A request of this process has ended, by the part of its key.
    bells: Vec<Notify>,
    may_lose: AtomicBool,
}

/// Where a record and its signs of life are.
struct Place {
    part: u8,
    record: Vec<u8>,
}

impl RedisRecords {
    /// Records on this store, looked after on `control`.
    pub fn start(store: &Arc<RedisStore>, control: &Handle) -> Self {
        let (running, later, wake, may_lose) = Default::default();
        let bells = (0..=u8::MAX).map(|_| Notify::new()).collect();
        let store = Arc::clone(store);
        let shared = Arc::new(Shared { store, running, later, wake, bells, may_lose });
        let there = watch::Sender::new(());
        let (own, mut gone) = (Arc::clone(&shared), there.subscribe());
        control.spawn(async move {
            tokio::select! {
                () = own.look_after() => {}
                _ = gone.changed() => {}
            }
            // A reload may have changed the store's settings: what is left to be said still is.
            own.say_later(Instant::now() + LAST_WORDS).await;
        });
        Self { shared, _there: there }
    }

    /// Says what is still to be said, before the process ends.
    pub(crate) async fn flush(&self, within: Duration) {
        let _ = timeout(within, self.shared.say_later(Instant::now() + within)).await;
    }
}

impl Shared {
    fn place(&self, key: &[u8]) -> Place {
        let hash = blake3::hash(key);
        let part = hash.as_bytes().first().copied().unwrap_or(0);
        let rest = hash.to_hex();
        Place { part, record: self.store.key("record", &tag(part), rest.as_bytes()) }
    }

    /// What rings when a request of this process under such a key ends.
    fn bell(&self, key: &[u8]) -> Option<&Notify> {
        let part = blake3::hash(key).as_bytes().first().copied().unwrap_or(0);
        self.bells.get(usize::from(part))
    }

    fn beats(&self, part: u8) -> Vec<u8> {
        self.store.key("runs", &tag(part), b"")
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Owner, u8>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn later(&self) -> MutexGuard<'_, Later> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin(&self, begin: &Begin<'_>) -> Result<Begun, StoreError> {
        let Place { part, record } = self.place(begin.key);
        let owner = text(begin.owner);
        let args = [
            Arg::from(&*owner),
            Arg::from(&begin.fingerprint[..]),
            Arg::from(self.store.gateway()),
            Arg::Int(millis(begin.keep)),
            Arg::Int(millis(begin.lost_after)),
            Arg::Int(begin.again.into()),
        ];
        let keys = [record, self.beats(part)];
        let within = self.store.within(RECORDS_WITHIN);
        self.say_first(begin.key, within).await;
        let answer = match self.store.run(&BEGIN, &keys, &args, within).await {
            Ok(answer) => answer,
            Err(error) if is_full(&error) => return Ok(Begun::Full),
            Err(error) => return Err(error),
        };
        let begun = read(answer).ok_or_else(|| self.store.unexpected())?;
        if begun == Begun::First {
            self.running().insert(begin.owner, part);
        }
        Ok(begun)
    }

    async fn settle(
        &self,
        key: &[u8],
        owner: Owner,
        end: &End,
        within: Duration,
    ) -> Result<Settled, StoreError> {
        let owner_text = text(owner);
        let nothing = (0, &[][..]);
        let (word, (keep, kept)) = match end {
            End::Done { record, keep } => ("done", (millis(*keep), &record[..])),
            End::Forgotten => ("forgotten", nothing),
            End::Unknown => ("unknown", nothing),
        };
        let args = [Arg::from(&*owner_text), Arg::from(word), Arg::Int(keep), Arg::from(kept)];
        let keys = [self.place(key).record];
        let settled = match self.store.run(&SETTLE, &keys, &args, within).await {
            Ok(Value::Int(1)) => Settled::Yes,
            Ok(Value::Int(0)) => Settled::Lost,
            Ok(_) => return Err(self.store.unexpected()),
            Err(error) if is_full(&error) => return Ok(Settled::Full),
            Err(error) => return Err(error),
        };
        self.running().remove(&owner);
        if let Some(bell) = self.bell(key) {
            bell.notify_waiters();
        }
        Ok(settled)
    }

    /// Runs for as long as the records are there. Signs of life do not wait for what is to be said.
    async fn look_after(&self) {
        let living = async {
            let mut next = Instant::now();
            for round in 0_u32.. {
                if round % LOOKS == 0 {
                    self.look().await;
                }
                self.beat();
                next = (next + BEATS).max(Instant::now());
                self.rest(next).await;
            }
        };
        let saying = async {
            loop {
                self.say_later(Instant::now() + LAST_WORDS).await;
                // Soon, while there is something: a store that is known to be away says so at once.
                let pause = if self.later().len() == 0 { BEATS } else { BEATS / 10 };
                let _ = timeout(pause, self.wake.notified()).await;
            }
        };
        tokio::select! {
            () = living => {}
            () = saying => {}
        }
    }

    /// Until then; no longer than until a store that was away is back, as it has heard nothing.
    async fn rest(&self, until: Instant) {
        while !self.store.is_open() {
            let now = Instant::now();
            if now >= until {
                return;
            }
            sleep_until(until.min(now + BEATS / 20)).await;
            if self.store.is_open() {
                return;
            }
        }
        sleep_until(until).await;
    }

    /// Says that this gateway lives, wherever it runs something.
    fn beat(&self) {
        let parts: HashSet<u8> = self.running().values().copied().collect();
        for part in parts {
            let gateway = Arg::from(self.store.gateway().as_bytes().to_vec());
            self.store.send(&BEAT, vec![self.beats(part)], vec![gateway]);
        }
    }

    /// Says what could not be said before, as far as the store answers.
    async fn say_later(&self, until: Instant) {
        let count = self.later().len();
        for _ in 0..count {
            if Instant::now() >= until {
                return;
            }
            let Some(pending) = self.later().next() else { return };
            if !pending.is_due() {
                self.later().again(pending);
            } else if !self.say(pending, PATIENCE).await {
                return;
            }
        }
    }

    /// Says how the request under a key ended before anything is asked of it, if that is still to
    /// be said: a repeat that comes to this gateway is told nothing else.
    async fn say_first(&self, key: &[u8], within: Duration) {
        if !self.store.is_open() {
            return;
        }
        // Not in the condition: the lock would be held for as long as it is said.
        let pending = self.later().take(key);
        if let Some(pending) = pending {
            self.say(pending, within).await;
        }
    }

    /// Says how a request ended. Whether the store answers; if not, it is said again.
    async fn say(&self, pending: Pending, within: Duration) -> bool {
        // Whoever is stopped in the middle puts it back.
        let mut taken = Taken { shared: self, pending: Some(pending) };
        let Some(Pending { key, owner, end, .. }) = &taken.pending else { return true };
        let settled = self.settle(key, *owner, end, within).await;
        // What is to be forgotten may be made yet, by a call that is under way still.
        let forgets = matches!(end, End::Forgotten);
        match settled {
            Ok(Settled::Lost) if !forgets => taken.pending = None,
            Ok(Settled::Yes) => taken.pending = None,
            Ok(Settled::Lost | Settled::Full) => {
                if let Some(pending) = taken.pending.take() {
                    self.later().once_more(pending);
                }
            }
            Err(_) => return false,
        }
        true
    }

    /// Looks whether the store may evict records.
    async fn look(&self) {
        let answer = self.store.run(&MEMORY, &[self.beats(0)], &[], PATIENCE).await;
        let Ok(Value::Int(may)) = answer else { return };
        if self.may_lose.swap(may == 1, Relaxed) != (may == 1) && may == 1 {
            tracing::warn!(
                store = self.store.name(),
                "this Redis may evict the records of requests before their time, and then a \
                 repeat runs again: set its maxmemory-policy to noeviction"
            );
        }
    }
}

/// What is being said. It goes back among the rest unless it is done with.
struct Taken<'s> {
    shared: &'s Shared,
    pending: Option<Pending>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.shared.later().again(pending);
        }
    }
}

impl Records for RedisRecords {
    fn begin<'a>(&'a self, begin: &'a Begin<'a>) -> Step<'a, Result<Begun, StoreError>> {
        Step::Later(Box::pin(self.shared.begin(begin)))
    }

    fn settle<'a>(
        &'a self,
        key: &'a [u8],
        owner: Owner,
        end: &'a End,
    ) -> Step<'a, Result<Settled, StoreError>> {
        let within = self.shared.store.within(RECORDS_WITHIN);
        Step::Later(Box::pin(self.shared.settle(key, owner, end, within)))
    }

    fn settle_later(&self, key: &[u8], owner: Owner, end: End) {
        self.shared.later().add(Pending::new(key, owner, end));
        self.shared.running().remove(&owner);
        self.shared.wake.notify_one();
    }

    fn ended<'a>(&'a self, key: &'a [u8], within: Duration) -> LocalFuture<'a, ()> {
        Box::pin(async move {
            let pause = POLLS.mul_f64(0.5 + fastrand::f64()).min(within);
            let Some(bell) = self.shared.bell(key) else { return sleep(pause).await };
            let _ = timeout(pause, bell.notified()).await;
        })
    }

    fn may_lose(&self) -> bool {
        self.shared.may_lose.load(Relaxed)
    }

    fn stats(&self) -> RecordStats {
        let later = self.shared.later();
        let entries = (self.shared.running().len() + later.len()) as u64;
        RecordStats { entries, bytes: later.bytes() as u64 }
    }
}

/// Reads anything as an answer.
pub(super) fn fuzz(answer: Value) {
    let _ = read(answer);
}

/// What the script that begins has answered.
fn read(answer: Value) -> Option<Begun> {
    let Value::Array(parts) = answer else { return None };
    let mut parts = parts.into_iter();
    let Some(Value::Int(what)) = parts.next() else { return None };
    if what == 1 {
        return Some(Begun::First);
    }
    let Some(Value::Int(age)) = parts.next() else { return None };
    let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
    let Some(Value::BulkString(fingerprint)) = parts.next() else { return None };
    let fingerprint = Fingerprint::try_from(fingerprint).ok()?;
    match (what, parts.next()) {
        (2, None) => Some(Begun::Running { age, fingerprint }),
        (3, Some(Value::BulkString(record))) => {
            Some(Begun::Done { record: record.into(), fingerprint })
        }
        (4, None) => Some(Begun::Unknown { age, fingerprint }),
        _ => None,
    }
}

/// Whether Redis has no memory left for it, and may evict nothing.
fn is_full(error: &StoreError) -> bool {
    error.failure == StoreFailure::Answer && error.what.contains("OOM")
}

fn tag(part: u8) -> [u8; 3] {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).map_or(b'0', |digit| digit as u8);
    [b'r', digit(part >> 4), digit(part & 15)]
}

fn text(owner: Owner) -> String {
    format!("{:032x}", owner.0)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
