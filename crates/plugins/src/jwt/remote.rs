//! An issuer's keys, fetched in the background and kept across reloads. Requests read them without
//! waiting. They wait only for the first keys, or for a round that a key nobody knows has asked
//! for, and never long; however many ask, one round runs at a time, and unknown keys start no more
//! than one in [`GAP`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use lockgate_core::{Counter, Figure, Task};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::fetch::{Fetch, Fetched};
use super::keys::KeySet;

/// Longest that a request waits for a round.
pub(super) const WAIT: Duration = Duration::from_secs(3);
/// Shortest time between the starts of two rounds, if a token's key asked for the second.
pub(super) const GAP: Duration = Duration::from_secs(10);
/// The wait after a first failure, and after many.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// An issuer's keys. The background work ends with it.
pub(super) struct Remote {
    shared: Arc<Shared>,
    _work: Task,
}

/// What requests and the background work share.
pub(super) struct Shared {
    keys: ArcSwapOption<KeySet>,
    generation: AtomicU64,
    round: watch::Sender<Round>,
    wake: Notify,
    /// Why the last round failed.
    trouble: Mutex<Option<Arc<str>>>,
    counts: Counts,
}

/// Rounds by what they brought.
pub(super) struct Counts {
    pub(super) changed: Arc<Counter>,
    pub(super) same: Arc<Counter>,
    pub(super) failed: Arc<Counter>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Round {
    done: u64,
    /// When the last one began, and whether it still runs.
    began: Option<Instant>,
    running: bool,
}

impl Remote {
    /// Begins: `spawn` starts the work that it is given.
    pub(super) fn new(
        fetch: Fetch,
        counts: Counts,
        spawn: impl FnOnce(lockgate_core::SendFuture<()>) -> Task,
    ) -> Self {
        let shared = Arc::new(Shared {
            keys: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            round: watch::Sender::default(),
            wake: Notify::new(),
            trouble: Mutex::default(),
            counts,
        });
        let work = spawn(Box::pin(refresh(Arc::clone(&shared), fetch)));
        Self { shared, _work: work }
    }

    /// The keys; `None` before the first are there.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        self.shared.keys.load_full()
    }

    /// Changes with the keys.
    pub(super) fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Waits for what a round brings that runs, or that may start now; not at all when none may.
    pub(super) async fn next(&self) {
        let mut round = self.shared.round.subscribe();
        let now = *round.borrow_and_update();
        // Before the first keys, failures decide when the next round is; a token's key never does.
        let may_ask = self.shared.keys.load().is_some()
            && now.began.is_none_or(|began| began.elapsed() >= GAP);
        if !now.running && now.done > 0 {
            if !may_ask {
                return;
            }
            self.shared.wake.notify_one();
        }
        let over = round.wait_for(|round| round.done > now.done);
        // Late or over: either way the keys that are there now decide.
        let _ = timeout(WAIT, over).await;
    }

    /// Why there are no keys, for the operator.
    pub(super) fn trouble(&self) -> String {
        let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_deref().unwrap_or("the issuer has not answered yet").to_owned()
    }

    /// How many keys there are.
    pub(super) fn count(self: &Arc<Self>) -> Arc<dyn Figure> {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || shared.keys.load().as_ref().map_or(0, |set| set.keys.len() as u64))
    }
}

/// Fetches now and again, for as long as anybody holds the keys.
async fn refresh(shared: Arc<Shared>, mut fetch: Fetch) {
    let mut failures = 0_u32;
    loop {
        let began = Instant::now();
        shared.round.send_modify(|round| {
            (round.began, round.running) = (Some(began), true);
        });
        let brought = fetch.round().await;
        let wait = match &brought {
            Ok(fetched) => jitter(fetched.fresh, 0.9),
            Err(_) => jitter(backoff(failures), 0.5),
        };
        failures = if brought.is_ok() { 0 } else { failures.saturating_add(1) };
        shared.take(brought, wait);
        shared.round.send_modify(|round| {
            (round.done, round.running) = (round.done + 1, false);
        });
        shared.rest(began, Instant::now() + wait).await;
    }
}

impl Shared {
    fn take(&self, brought: Result<Fetched, String>, wait: Duration) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match brought {
            Ok(Fetched { keys: None, .. }) => {
                self.counts.same.add(0, 1);
                *trouble = None;
            }
            Ok(Fetched { keys: Some((keys, others)), .. }) => {
                self.counts.changed.add(0, 1);
                *trouble = None;
                if keys.is_empty() {
                    // What the issuer says holds: it may have taken all of them back.
                    tracing::warn!(unusable = ?others, "an issuer has no key that can be used");
                } else {
                    tracing::info!(keys = keys.len(), unusable = ?others, "an issuer's keys are new");
                }
                let generation = self.generation.load(Ordering::Acquire) + 1;
                self.keys.store(Some(Arc::new(KeySet { generation, keys })));
                self.generation.store(generation, Ordering::Release);
            }
            Err(why) => {
                self.counts.failed.add(0, 1);
                let kept = self.keys.load().is_some();
                tracing::warn!(%why, kept, again_in = ?wait, "an issuer's keys cannot be fetched");
                *trouble = Some(why.into());
            }
        }
    }

    /// Until it is time, or a token's key asks and enough time has passed.
    async fn rest(&self, began: Instant, until: Instant) {
        loop {
            tokio::select! {
                () = sleep_until(until) => return,
                () = self.wake.notified() => {
                    if began.elapsed() >= GAP {
                        return;
                    }
                }
            }
        }
    }
}

/// Doubles with each failure.
fn backoff(failures: u32) -> Duration {
    let [first, most] = RETRY;
    first.saturating_mul(1 << failures.min(16)).min(most)
}

/// A part of the time from `least` of it to the whole, so that nodes do not ask all at once.
fn jitter(time: Duration, least: f64) -> Duration {
    time.mul_f64(least + (1.0 - least) * fastrand::f64())
}
