//! Passive health: what real requests saw of an endpoint ejects it for a while. It refuses to
//! eject more than `max_ejected` of an upstream's endpoints, and never the last usable one: with
//! nowhere else to go, a bad endpoint is better than none.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use lockgate_config::model::Outlier;
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::window::Window;

/// One endpoint's counts.
#[derive(Debug, Default)]
pub(crate) struct Passive {
    /// Failures in a row, up to the heads of answers: any good head ends the row.
    pub(crate) consecutive: AtomicU32,
    /// Answers in a row that broke off after a good head. Only a whole one ends this row.
    broken: AtomicU32,
    /// How often it was ejected of late; the next ejection lasts one more `eject_for`.
    times: AtomicU32,
    /// All ejections ever, for the metrics.
    pub(crate) total: AtomicU64,
    /// When the last ejection ended or will end, in milliseconds of the endpoint's clock.
    last_end: AtomicU64,
    window: ArcSwapOption<Window>,
}

/// What a request saw of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The head of a good answer.
    Good,
    /// A bad answer, or none.
    Failed,
    /// A good head, and then no whole answer.
    BrokeOff,
}

/// What an outcome calls for.
#[derive(Debug, PartialEq, Eq)]
enum Evidence {
    Fine,
    InARow(u32),
    Ratio { failed: u32, of: u32 },
}

/// Takes in one outcome, and ejects the endpoint when it was one failure too many. `turn` makes the
/// ejections of one upstream happen one after the other; it is only taken when there is evidence.
pub(crate) fn observe(
    settings: &Outlier,
    endpoint: &Endpoint,
    seen: Seen,
    now: Instant,
    all: &[Arc<Endpoint>],
    turn: &Mutex<()>,
) {
    let reason = match endpoint.passive.weigh(settings, seen) {
        Evidence::Fine => return,
        Evidence::InARow(count) => format!("{count} failures in a row"),
        Evidence::Ratio { failed, of } => format!("{failed} of {of} requests failed"),
    };
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    if !may_eject(settings, endpoint, now, all) {
        return;
    }
    let length = endpoint.passive.sentence(settings, endpoint, now);
    endpoint.eject(now, length);
    endpoint.passive.restart();
    tracing::warn!(
        upstream = %endpoint.upstream(), endpoint = %endpoint.label(), reason,
        seconds = length.as_secs_f64(), "endpoint ejected"
    );
}

/// Whether one more may be ejected.
fn may_eject(settings: &Outlier, one: &Endpoint, now: Instant, all: &[Arc<Endpoint>]) -> bool {
    if one.ejected_until(now).is_some() {
        return false;
    }
    let ejected = all.iter().filter(|e| e.ejected_until(now).is_some()).count();
    let most = (settings.max_ejected.0 * all.len() as f64).floor().max(1.0);
    let others = all.iter().any(|e| !std::ptr::eq(Arc::as_ptr(e), one) && e.usable(now).is_ok());
    others && (ejected as f64) < most
}

/// No ejection lasts longer.
pub(crate) fn longest(settings: &Outlier) -> Duration {
    settings.max_eject_for.0.max(settings.eject_for.0)
}

impl Passive {
    /// An answer has ended whole.
    pub(crate) fn whole(&self) {
        // A load first, as below.
        if self.broken.load(Relaxed) != 0 {
            self.broken.store(0, Relaxed);
        }
    }

    fn weigh(&self, settings: &Outlier, seen: Seen) -> Evidence {
        let failed = seen != Seen::Good;
        let ratio = settings.failures.and_then(|share| {
            let sums = self.window(settings.of_last).record(failed, false);
            let full = sums.filled >= settings.of_last.min(10_000);
            (full && sums.reaches(sums.failed, share.0))
                .then_some(Evidence::Ratio { failed: sums.failed, of: sums.filled })
        });
        if !failed {
            // A load first: most endpoints are fine, and a shared line is cheaper read.
            if self.consecutive.load(Relaxed) != 0 {
                self.consecutive.store(0, Relaxed);
            }
            return Evidence::Fine;
        }
        let (row, other) = match seen {
            Seen::BrokeOff => (&self.broken, &self.consecutive),
            _ => (&self.consecutive, &self.broken),
        };
        let in_row = row.fetch_add(1, Relaxed).saturating_add(1);
        let consecutive = in_row.saturating_add(other.load(Relaxed));
        if settings.consecutive > 0 && consecutive >= settings.consecutive {
            return Evidence::InARow(consecutive);
        }
        ratio.unwrap_or(Evidence::Fine)
    }

    fn window(&self, length: u32) -> Arc<Window> {
        let length = length.clamp(1, 10_000);
        if let Some(window) = self.window.load_full().filter(|w| w.length() == length) {
            return window;
        }
        let fresh = Arc::new(Window::new(length));
        self.window.store(Some(Arc::clone(&fresh)));
        fresh
    }

    /// The n-th ejection lasts n times as long. Who stayed in for `max_eject_for` starts anew.
    fn sentence(&self, settings: &Outlier, endpoint: &Endpoint, now: Instant) -> Duration {
        let times = self.times(settings, endpoint.clock(now)).saturating_add(1);
        self.times.store(times, Relaxed);
        let length = settings.eject_for.0.saturating_mul(times).min(longest(settings));
        self.last_end.store(endpoint.clock(now + length), Relaxed);
        self.total.fetch_add(1, Relaxed);
        length
    }

    /// How often it was ejected of late.
    pub(crate) fn times(&self, settings: &Outlier, clock: u64) -> u32 {
        let calm = Duration::from_millis(clock.saturating_sub(self.last_end.load(Relaxed)));
        if calm >= longest(settings) { 0 } else { self.times.load(Relaxed) }
    }

    /// Takes in what another process knew. `last_end`: on the endpoint's clock.
    pub(crate) fn recall(&self, times: u32, consecutive: u32, last_end: u64) {
        self.times.store(times, Relaxed);
        self.consecutive.store(consecutive, Relaxed);
        self.last_end.store(last_end, Relaxed);
    }

    /// Old failures do not count against an endpoint that comes back.
    fn restart(&self) {
        self.consecutive.store(0, Relaxed);
        self.broken.store(0, Relaxed);
        if let Some(window) = &*self.window.load() {
            window.clear();
        }
    }
}

#[cfg(test)]
#[path = "outlier_tests.rs"]
mod tests;
