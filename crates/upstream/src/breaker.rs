//! The circuit breaker of one upstream: closed it counts, open it refuses, half open it lets a few
//! trials through. Closed, a call costs a few atomics; the lock is for the other two phases.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockgate_config::model;
use lockgate_core::{Fault, Resend, reasons};
use tokio::time::Instant;

use crate::window::Window;

/// What a breaker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Closed,
    Open,
    HalfOpen,
}

/// The circuit breaker of one upstream.
#[derive(Debug)]
pub struct Breaker {
    upstream: Arc<str>,
    settings: model::Breaker,
    /// The epoch (it grows with each change of phase) above, the phase in the lowest two bits.
    state: AtomicU64,
    window: Window,
    opened: AtomicU64,
    trials: Mutex<Trials>,
}

#[derive(Debug)]
struct Trials {
    open_until: Instant,
    running: u32,
    succeeded: u32,
}

/// Leave for one call. Dropped without [`Permit::done`] it counts for nothing, and a trial's place
/// is free again.
#[derive(Debug)]
pub struct Permit {
    breaker: Arc<Breaker>,
    epoch: u64,
    trial: bool,
    spent: bool,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(upstream: Arc<str>, settings: &model::Breaker) -> Self {
        Self {
            upstream,
            settings: settings.clone(),
            state: AtomicU64::new(0),
            window: Window::new(settings.of_last),
            opened: AtomicU64::new(0),
            trials: Mutex::new(Trials { open_until: Instant::now(), running: 0, succeeded: 0 }),
        }
    }

    /// What it was made from.
    pub fn settings(&self) -> &model::Breaker {
        &self.settings
    }

    /// What it is doing. An open one whose time is over still says open, until it is asked.
    pub fn phase(&self) -> Phase {
        phase(self.state.load(Acquire))
    }

    /// How often it has opened.
    pub fn opened(&self) -> u64 {
        self.opened.load(Relaxed)
    }

    /// How long it stays open, nothing when it is to be tried; `None`: closed.
    pub(crate) fn open_for(&self, now: Instant) -> Option<Duration> {
        let trials = self.trials();
        match self.phase() {
            Phase::Closed => None,
            Phase::Open => Some(trials.open_until.saturating_duration_since(now)),
            Phase::HalfOpen => Some(Duration::ZERO),
        }
    }

    /// Takes in what another process knew, in the same words.
    pub(crate) fn recall(&self, open_for: Option<Duration>, now: Instant) {
        let mut trials = self.trials();
        match open_for {
            Some(left) => {
                trials.open_until = now + left.min(self.settings.open_for.0);
                self.turn(Phase::Open);
            }
            None if self.phase() != Phase::Closed => {
                self.turn(Phase::Closed);
            }
            None => {}
        }
    }

    /// Asks to make one call.
    ///
    /// # Errors
    /// `breaker_open`, with the time to wait.
    pub fn admit(self: &Arc<Self>) -> Result<Permit, Fault> {
        let state = self.state.load(Acquire);
        if phase(state) == Phase::Closed {
            return Ok(self.permit(state >> 2, false));
        }
        let now = Instant::now();
        let mut trials = self.trials();
        let state = self.state.load(Acquire);
        match phase(state) {
            Phase::Closed => Ok(self.permit(state >> 2, false)),
            Phase::Open if now < trials.open_until => {
                Err(self.refusal(trials.open_until.saturating_duration_since(now)))
            }
            Phase::Open => {
                let epoch = self.turn(Phase::HalfOpen);
                (trials.running, trials.succeeded) = (1, 0);
                tracing::info!(upstream = %self.upstream, "breaker half open: letting trials through");
                Ok(self.permit(epoch, true))
            }
            Phase::HalfOpen if trials.running + trials.succeeded < self.settings.trials.max(1) => {
                trials.running += 1;
                Ok(self.permit(state >> 2, true))
            }
            Phase::HalfOpen => {
                let detail = format!("upstream `{}`: trials are under way", self.upstream);
                Err(refusal(Duration::from_secs(1)).detail(detail))
            }
        }
    }

    fn permit(self: &Arc<Self>, epoch: u64, trial: bool) -> Permit {
        Permit { breaker: Arc::clone(self), epoch, trial, spent: false }
    }

    /// Takes in the outcome of a call that was let through while closed.
    fn record(&self, epoch: u64, failed: bool, slow: bool) {
        if self.state.load(Acquire) != epoch << 2 {
            return;
        }
        let sums = self.window.record(failed, slow);
        if sums.filled < self.window.length() {
            return;
        }
        let broken = sums.reaches(sums.failed, self.settings.failures.0);
        let sluggish = sums.reaches(sums.slow, self.settings.slow_calls.0);
        if !broken && !sluggish {
            return;
        }
        let mut trials = self.trials();
        if self.state.load(Acquire) != epoch << 2 {
            return;
        }
        self.open(&mut trials);
        tracing::error!(
            upstream = %self.upstream, failed = sums.failed, slow = sums.slow, of = sums.filled,
            "breaker opened"
        );
    }

    fn record_trial(&self, epoch: u64, good: bool) {
        let mut trials = self.trials();
        if self.state.load(Acquire) >> 2 != epoch {
            return;
        }
        trials.running = trials.running.saturating_sub(1);
        if !good {
            self.open(&mut trials);
            tracing::error!(upstream = %self.upstream, "breaker opened again: a trial failed");
            return;
        }
        trials.succeeded += 1;
        if trials.succeeded >= self.settings.trials.max(1) {
            self.window.clear();
            self.turn(Phase::Closed);
            tracing::info!(upstream = %self.upstream, "breaker closed");
        }
    }

    fn refusal(&self, wait: Duration) -> Fault {
        let sums = self.window.sums();
        let slow = match sums.slow {
            0 => String::new(),
            slow => format!(", {slow} were slow"),
        };
        refusal(wait).detail(format!(
            "upstream `{}`: {} of the last {} calls failed{slow}; it is tried again in {:.1}s",
            self.upstream,
            sums.failed,
            sums.filled,
            wait.as_secs_f64()
        ))
    }

    fn open(&self, trials: &mut Trials) {
        trials.open_until = Instant::now() + self.settings.open_for.0;
        self.opened.fetch_add(1, Relaxed);
        self.turn(Phase::Open);
    }

    /// Changes the phase; the lock is held. Returns the new epoch.
    fn turn(&self, to: Phase) -> u64 {
        let epoch = (self.state.load(Relaxed) >> 2) + 1;
        let word = match to {
            Phase::Closed => 0,
            Phase::Open => 1,
            Phase::HalfOpen => 2,
        };
        self.state.store((epoch << 2) | word, Release);
        epoch
    }

    fn trials(&self) -> MutexGuard<'_, Trials> {
        self.trials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Says how the call went, to the head of its answer.
    pub fn done(mut self, failed: bool, latency: Duration) {
        self.spent = true;
        let slow = self.breaker.settings.slow.is_some_and(|limit| latency > limit.0);
        if self.trial {
            self.breaker.record_trial(self.epoch, !failed && !slow);
        } else {
            self.breaker.record(self.epoch, failed, slow);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.trial || self.spent {
            return;
        }
        let mut trials = self.breaker.trials();
        if self.breaker.state.load(Acquire) >> 2 == self.epoch {
            trials.running = trials.running.saturating_sub(1);
        }
    }
}

fn phase(state: u64) -> Phase {
    match state & 3 {
        0 => Phase::Closed,
        1 => Phase::Open,
        _ => Phase::HalfOpen,
    }
}

fn refusal(wait: Duration) -> Fault {
    Fault::upstream(&reasons::BREAKER_OPEN).resend(Resend::No).retry_after(wait)
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
