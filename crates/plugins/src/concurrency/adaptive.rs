//! A limit that finds itself. While answers come as fast as they ever do, there is room for more;
//! when they slow down, requests queue somewhere behind, and more of them at once gain nothing.
//!
//! Samples are taken together in windows. After each, the limit becomes
//! `limit × gradient + √limit`, smoothed, where the gradient is the latency without load over the
//! window's, at most 1 and at least ½. Latency without load is the least window seen; as a queue
//! that always stands would in time pass for it, it is measured anew every half a minute, with half
//! of the limit for one window. Where the limit falls and falls, it is doubted sooner: requests may
//! have become slower by themselves. Then the same measure tells, for a queue would have halved
//! with the limit. A limit that is not used up does not grow.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A window lasts so long at least, and until it has so many samples.
const WINDOW: Duration = Duration::from_millis(100);
const FEWEST: u64 = 20;
/// A window in which too little happens says nothing about load.
const LONGEST: Duration = Duration::from_secs(2);
/// How often the latency without load is measured anew.
const PROBE_EVERY: Duration = Duration::from_secs(30);
/// After so many windows in a row of a falling limit, that has fallen to so much, the latency
/// without load is doubted; so soon after it was measured, and less often each time in vain.
const FALLS: u32 = 5;
const FALLEN: f64 = 0.9;
const DOUBT_AFTER: Duration = Duration::from_secs(2);
/// What is left of the latency with half of the limit, at most, when it comes of a queue.
const QUEUED: f64 = 0.75;
/// Latency may rise by so much before it counts as queueing.
const TOLERANCE: f64 = 1.5;
const LEAST_GRADIENT: f64 = 0.5;
/// The share of a new limit that is taken over after a window.
const SMOOTHING: f64 = 0.4;
/// What a window with answers that failed for overload leaves of the limit.
const BACK_OFF: f64 = 0.9;

/// A limit that follows the latency.
pub(super) struct Adaptive {
    limit: AtomicU32,
    least: u32,
    most: u32,
    samples: AtomicU64,
    nanos: AtomicU64,
    failed: AtomicU64,
    /// The most in flight at once in this window.
    peak: AtomicU32,
    state: Mutex<State>,
}

struct State {
    /// The limit with its fraction.
    limit: f64,
    window: Instant,
    /// Nanoseconds; none before the first window.
    unloaded: Option<f64>,
    probe: Probe,
    /// The windows in a row in which the limit fell, and where it stood before.
    falls: u32,
    fell_from: f64,
    /// When the latency without load may be doubted, and how long after that again.
    doubt_at: Instant,
    doubt_every: Duration,
}

/// Measuring the latency without load.
enum Probe {
    /// Next at this time.
    At(Instant),
    /// The limit is halved, but answers to requests from before still come in.
    Settling(Measure),
    /// The window under way is the measure.
    Measuring(Measure),
}

#[derive(Clone, Copy)]
struct Measure {
    /// The limit before.
    limit: f64,
    /// The latency before, when that is what made it doubtful, and when it is measured in any case.
    doubted: Option<(f64, Instant)>,
}

impl Adaptive {
    /// Begins at `first`, and stays from `least` to `most`.
    pub(super) fn new(first: u32, least: u32, most: u32) -> Self {
        let first = first.clamp(least, most);
        let now = Instant::now();
        let (samples, nanos, failed, peak) = Default::default();
        let state = State {
            limit: f64::from(first),
            window: now,
            unloaded: None,
            probe: Probe::At(now + PROBE_EVERY),
            falls: 0,
            fell_from: 0.0,
            doubt_at: now + DOUBT_AFTER,
            doubt_every: DOUBT_AFTER,
        };
        let (limit, state) = (AtomicU32::new(first), Mutex::new(state));
        Self { limit, least, most, samples, nanos, failed, peak, state }
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }

    /// Takes a sample. Whether the limit has grown.
    pub(super) fn observe(&self, took: Duration, failed: bool, in_flight: u32) -> bool {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Relaxed);
        self.failed.fetch_add(u64::from(failed), Relaxed);
        self.peak.fetch_max(in_flight, Relaxed);
        if self.samples.fetch_add(1, Relaxed) + 1 < FEWEST {
            return false;
        }
        // Whoever is late finds the window being closed, and leaves it to the other.
        let Ok(mut state) = self.state.try_lock() else { return false };
        let age = state.window.elapsed();
        if age < WINDOW {
            return false;
        }
        let samples = self.samples.swap(0, Relaxed).max(1);
        let average = self.nanos.swap(0, Relaxed) as f64 / samples as f64;
        let failed = self.failed.swap(0, Relaxed) > 0;
        let peak = self.peak.swap(0, Relaxed);
        state.window = Instant::now();
        if age > LONGEST {
            return false;
        }
        let before = self.limit();
        state.close(average, failed, peak);
        state.limit = state.limit.clamp(f64::from(self.least), f64::from(self.most));
        let limit = state.limit as u32;
        self.limit.store(limit, Relaxed);
        limit > before
    }

    /// The latency without load, as far as it is known.
    pub(super) fn unloaded(&self) -> Option<Duration> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.unloaded.map(|nanos| Duration::from_nanos(nanos as u64))
    }
}

impl State {
    fn close(&mut self, average: f64, failed: bool, peak: u32) {
        let now = Instant::now();
        match self.probe {
            Probe::At(time) if now >= time => return self.begin(None),
            Probe::At(time) if self.is_doubtful(now) => return self.begin(Some((average, time))),
            Probe::At(_) => {}
            Probe::Settling(measure) => {
                self.probe = Probe::Measuring(measure);
                return;
            }
            Probe::Measuring(measure) => return self.end(measure, average, now),
        }
        let unloaded = self.unloaded.map_or(average, |least| least.min(average));
        self.unloaded = Some(unloaded);
        if failed {
            self.limit *= BACK_OFF;
            self.falls = 0;
            return;
        }
        let gradient = (TOLERANCE * unloaded / average.max(1.0)).clamp(LEAST_GRADIENT, 1.0);
        let next = self.limit * gradient + self.limit.sqrt();
        match next < self.limit || gradient <= LEAST_GRADIENT {
            true if self.falls == 0 => (self.falls, self.fell_from) = (1, self.limit),
            true => self.falls += 1,
            false => self.falls = 0,
        }
        // What is not used up cannot be seen to be too little.
        if next > self.limit && f64::from(peak) < self.limit / 2.0 {
            return;
        }
        self.limit += (next - self.limit) * SMOOTHING;
    }
    fn is_doubtful(&self, now: Instant) -> bool {
        let fallen = self.limit < self.fell_from * FALLEN;
        // One that cannot fall any more has come to its least long ago.
        let stands = self.falls >= 2 * FALLS;
        self.falls >= FALLS && (fallen || stands) && now >= self.doubt_at
    }

    /// Begins to measure the latency without load.
    fn begin(&mut self, doubted: Option<(f64, Instant)>) {
        self.probe = Probe::Settling(Measure { limit: self.limit, doubted });
        self.limit /= 2.0;
        self.falls = 0;
    }

    fn end(&mut self, Measure { limit, doubted }: Measure, average: f64, now: Instant) {
        self.limit = limit;
        if let Some((loaded, next)) = doubted
            && average < loaded * QUEUED
        {
            // It was a queue.
            self.probe = Probe::At(next);
            self.doubt_every = (self.doubt_every * 2).min(PROBE_EVERY);
            self.doubt_at = now + self.doubt_every;
            return;
        }
        self.unloaded = Some(average);
        // Not all at the same time, where several gateways share an upstream.
        self.probe = Probe::At(now + PROBE_EVERY.mul_f64(0.75 + fastrand::f64() / 2.0));
        (self.doubt_every, self.doubt_at) = (DOUBT_AFTER, now + DOUBT_AFTER);
    }
}
