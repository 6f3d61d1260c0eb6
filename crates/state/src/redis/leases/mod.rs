//! Leases on a Redis, for all gateways that share it: one script asks, one renews and one lets go.
//! Who asked first has it first, whichever gateway asks. A holder that has vanished is followed
//! after the lease's `ttl`, one who waited and has vanished is passed over.
//!
//! A number (the fence) is the last one and one more, or the server's time in microseconds if that
//! is larger. So it grows also where a failover has lost the last one, as far as the servers'
//! clocks agree. The lease itself may be lost in a failover: the number is what tells.

mod renew;
mod waiters;

use std::sync::Arc;
use std::time::Duration;

use lockgate_core::{
    Lease, LeaseKey, Leases, Over, Step, StoreError, StoreFailure, Term, Turn, Wanted,
};
use redis::Value;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Arg, RedisStore, Script, Use};
use waiters::{Waiters, pass_on};

/// How long a lease waits for its store, unless the configuration says it.
pub const LEASES_WITHIN: Duration = Duration::from_millis(250);

macro_rules! script {
    ($file:literal) => {
        Script::new(Use::Leases, concat!(include_str!("turn.lua"), include_str!($file)))
    };
}
static ACQUIRE: Script = script!("acquire.lua");
static RENEW: Script = script!("renew.lua");
static RELEASE: Script = script!("release.lua");

/// How often one who waits looks by itself.
const LOOK: Duration = Duration::from_secs(1);
/// How long one who waits counts as there after its last look.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long one who was given a lease has to take it.
const OFFER: Duration = Duration::from_secs(1);
/// When a question that nobody waited for is surely answered.
const SETTLED: Duration = Duration::from_secs(1);
/// Who looks when a lease should be over looks a little later than that.
const AFTER: Duration = Duration::from_millis(2);

/// Leases on one Redis.
pub struct RedisLeases {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<RedisStore>,
    control: Handle,
    waiters: Arc<Waiters>,
    /// What the channels of gateways begin with.
    channel: String,
}

impl RedisLeases {
    /// Leases on a store. They are renewed on `control`.
    pub fn new(store: &Arc<RedisStore>, control: &Handle) -> Self {
        let waiters = Arc::new(Waiters::default());
        let words = store.listen(&format!("lease.{}", store.gateway()));
        control.spawn(pass_on(Arc::downgrade(&waiters), words));
        let channel = store.inner.channel("lease.");
        let (store, control) = (Arc::clone(store), control.clone());
        Self { shared: Arc::new(Shared { store, control, waiters, channel }) }
    }
}

impl Leases for RedisLeases {
    fn acquire(&self, wanted: Wanted) -> Step<'_, Result<Turn, StoreError>> {
        Step::Later(Box::pin(acquire(Arc::clone(&self.shared), wanted)))
    }
}

async fn acquire(shared: Arc<Shared>, wanted: Wanted) -> Result<Turn, StoreError> {
    let until = Instant::now() + wanted.wait;
    let number = Waiters::number();
    let Some(waiter) = shared.waiters.join(number) else { return Ok(Turn::Full) };
    let mut claim = Claim::new(shared, &wanted.key, number);
    loop {
        let asked = Instant::now();
        let left = match claim.ask(&wanted).await? {
            Said::Held(fence) => {
                let begun = (asked, wanted.hold, wanted.ttl);
                return Ok(Turn::Held(claim.lease(fence, begun)));
            }
            Said::Full if wanted.wait.is_zero() => return Ok(Turn::Busy),
            Said::Full => return Ok(Turn::Full),
            Said::Waits(left) => left,
        };
        if Instant::now() >= until {
            return Ok(Turn::Busy);
        }
        let look = asked + LOOK.min(left + AFTER);
        let _ = timeout_at(look.min(until), waiter.word()).await;
    }
}

/// What Redis said to one who asked.
enum Said {
    Held(u64),
    /// Another holds it, for so long at most unless it is renewed.
    Waits(Duration),
    Full,
}

/// What one gateway's request has, or may have, in Redis. Taken back when dropped.
struct Claim {
    shared: Arc<Shared>,
    name: String,
    keys: Vec<Vec<u8>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Redis knows nothing of it.
    Unknown,
    /// It was asked, and has not answered.
    Asked,
    /// It waits there, or holds the lease.
    Known,
}

impl Claim {
    fn new(shared: Arc<Shared>, key: &LeaseKey, number: u64) -> Self {
        let name = format!("{}/{number}", shared.store.gateway());
        let keys = [&b""[..], b"queue", b"alive"].map(|rest| shared.store.key("lease", key, rest));
        Self { shared, name, keys: keys.into(), state: State::Unknown }
    }

    async fn ask(&mut self, wanted: &Wanted) -> Result<Said, StoreError> {
        // Who does not wait is not put in the queue.
        let most = if wanted.wait.is_zero() { 0 } else { wanted.queue };
        let store = Arc::clone(&self.shared.store);
        let args = [
            Arg::from(self.name.as_str()),
            micros(wanted.ttl),
            micros(PATIENCE),
            Arg::from(most as u64),
            micros(OFFER),
            Arg::from(self.shared.channel.as_str()),
        ];
        let before = std::mem::replace(&mut self.state, State::Asked);
        let within = store.within(LEASES_WITHIN);
        let answer = store.run(&ACQUIRE, &self.keys, &args, within).await;
        match answer {
            Err(error) => {
                if error.failure == StoreFailure::Away {
                    self.state = before;
                }
                Err(error)
            }
            Ok(answer) => {
                let said = said(&answer).ok_or_else(|| store.unexpected())?;
                self.state = if matches!(said, Said::Full) { State::Unknown } else { State::Known };
                Ok(said)
            }
        }
    }

    /// The lease, which takes the claim back when it is let go.
    fn lease(self, fence: u64, begun: (Instant, Duration, Duration)) -> Lease {
        let (asked, hold, ttl) = begun;
        let term = Arc::new(Term::renewable(asked, renew::sure(ttl), hold));
        let renewing = renew::start(&self, &term, fence, ttl);
        let ended = Arc::clone(&term);
        Lease::new(fence, term, move || {
            // What was over before has a word to say in the log.
            if ended.over() == Some(Over::LetGo) {
                renewing.abort();
            }
            drop(self);
        })
    }

    fn release(&self) {
        release(&self.shared, &self.name, &self.keys);
    }
}

fn release(shared: &Shared, name: &str, keys: &[Vec<u8>]) {
    let channel = shared.channel.clone().into_bytes();
    let args = vec![Arg::from(name.as_bytes().to_vec()), micros(OFFER), Arg::from(channel)];
    shared.store.send(&RELEASE, keys.to_vec(), args);
}

impl Drop for Claim {
    fn drop(&mut self) {
        match self.state {
            State::Unknown => {}
            State::Known => self.release(),
            State::Asked => {
                self.release();
                // The question may still be on its way, and come after that.
                let (shared, name) = (Arc::clone(&self.shared), std::mem::take(&mut self.name));
                let keys = std::mem::take(&mut self.keys);
                let control = shared.control.clone();
                control.spawn(async move {
                    sleep(SETTLED).await;
                    release(&shared, &name, &keys);
                });
            }
        }
    }
}

/// Reads anything as an answer.
pub(super) fn fuzz(answer: &Value) {
    let _ = said(answer);
}

fn said(answer: &Value) -> Option<Said> {
    let Value::Array(parts) = answer else { return None };
    match parts.as_slice() {
        [Value::Int(1), Value::Int(fence)] => u64::try_from(*fence).ok().map(Said::Held),
        [Value::Int(0), Value::Int(left)] => {
            Some(Said::Waits(Duration::from_micros(u64::try_from(*left).unwrap_or(0))))
        }
        [Value::Int(2)] => Some(Said::Full),
        _ => None,
    }
}

fn micros(time: Duration) -> Arg<'static> {
    Arg::from(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}
