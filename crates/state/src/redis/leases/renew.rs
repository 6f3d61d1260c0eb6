//! Keeps a lease while it is held: says three times in its `ttl` that it still is. When that cannot
//! be said in time, the holder knows it before Redis gives the lease to another.

use std::sync::Arc;
use std::time::Duration;

use lockgate_core::{Over, Term};
use redis::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::{Arg, Claim, RENEW, Shared, micros, release};

/// For how much of its `ttl` a lease surely holds. The rest is for clocks that do not go equally
/// fast, and for what is done between a look at the clock and the deed.
const SURE: f64 = 0.9;
/// How many times in a `ttl` it is renewed.
const TIMES: u32 = 3;
/// How many times in a `ttl` it is tried again, when it could not be renewed.
const AGAIN: u32 = 20;

/// How long a lease surely holds from before it was asked for or renewed.
pub(super) fn sure(ttl: Duration) -> Duration {
    ttl.mul_f64(SURE)
}

/// Begins to renew, on the control runtime.
pub(super) fn start(claim: &Claim, term: &Arc<Term>, fence: u64, ttl: Duration) -> JoinHandle<()> {
    let held = Held {
        shared: Arc::clone(&claim.shared),
        name: claim.name.clone(),
        keys: claim.keys.clone(),
        term: Arc::clone(term),
        ttl,
    };
    claim.shared.control.spawn(async move { held.keep(fence).await })
}

struct Held {
    shared: Arc<Shared>,
    name: String,
    keys: Vec<Vec<u8>>,
    term: Arc<Term>,
    ttl: Duration,
}

impl Held {
    async fn keep(&self, fence: u64) {
        let mut pause = self.ttl / TIMES;
        loop {
            let wakes = (Instant::now() + pause).min(self.term.ends());
            sleep(wakes.saturating_duration_since(Instant::now())).await;
            if self.term.over().is_none() {
                pause = self.renew().await;
            }
            match self.term.over() {
                None => {}
                Some(Over::LetGo) => return,
                Some(how) => {
                    self.ended(how, fence);
                    return;
                }
            }
        }
    }

    /// Says that it is still held. How long to wait until it is said again.
    async fn renew(&self) -> Duration {
        let store = &self.shared.store;
        let sent = Instant::now();
        let args = [Arg::from(self.name.as_str()), micros(self.ttl)];
        match store.run(&RENEW, &self.keys, &args, self.ttl / TIMES).await {
            Ok(Value::Int(1)) => {
                self.term.renewed(sent + sure(self.ttl));
                self.ttl / TIMES
            }
            Ok(_) => {
                self.term.lose();
                Duration::ZERO
            }
            // There may be time to try it again.
            Err(_) => self.ttl / AGAIN,
        }
    }

    fn ended(&self, how: Over, fence: u64) {
        let store = self.shared.store.name();
        match how {
            Over::Expired => tracing::warn!(
                store,
                fence,
                "a request has held its lease for as long as it may: it is given to the next"
            ),
            _ => tracing::warn!(
                store,
                fence,
                "a lease was lost while its request was under way: another may hold it by now"
            ),
        }
        // Whoever is next need not wait until it is forgotten.
        release(&self.shared, &self.name, &self.keys);
    }
}
