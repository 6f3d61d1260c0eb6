//! One address that serves an upstream, and all that is known of it. Shared by all workers: every
//! request touches atomics alone; the one lock is taken by probes and by the admin.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::latency::PeakEwma;
use crate::outlier::Passive;
use crate::queue::Queue;

/// An endpoint's share when it is fully warm.
pub(crate) const FULL_SHARE: u64 = 1024;
/// The share at which a fresh endpoint begins.
const FIRST_SHARE: u64 = FULL_SHARE / 10;

/// What an operator has ordered, kept apart from what probes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Override {
    /// Nothing: probes and answers decide.
    None,
    /// In use whatever probes and answers say.
    Up,
    /// Out of use.
    Down,
    /// No new requests; those in flight end.
    Drain,
}

/// What probes have found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Not probed yet; counts as up.
    #[default]
    Unknown,
    Healthy,
    /// It answers, but not well.
    Unhealthy,
    /// It cannot even be connected to.
    Unreachable,
}

/// Why an endpoint takes no request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out {
    /// Probes say so.
    Down { unreachable: bool },
    /// Too many of its answers failed.
    Ejected { until: Instant },
    /// An operator took it down.
    Overridden,
    /// An operator drains it.
    Draining,
    /// Its weight is 0.
    NoWeight,
    /// It has `pool.max_requests` in flight.
    AtLimit,
}

impl fmt::Display for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down { unreachable: false } => f.write_str("down: its health checks fail"),
            Self::Down { unreachable: true } => f.write_str("down: it cannot be connected to"),
            Self::Ejected { until } => {
                let left = until.saturating_duration_since(Instant::now());
                write!(f, "ejected for its failures, for {:.1}s more", left.as_secs_f64())
            }
            Self::Overridden => f.write_str("taken down by an operator"),
            Self::Draining => f.write_str("draining, by an operator"),
            Self::NoWeight => f.write_str("its weight is 0"),
            Self::AtLimit => f.write_str("at its limit of requests (pool.max_requests)"),
        }
    }
}

/// How much is held against an endpoint, from nothing to certainty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doubt {
    None,
    /// Its answers failed, a while ago.
    Ejected,
    /// It has answered every probe, and never well: perhaps the probe is wrong.
    Unproven,
    /// It was healthy once and is not now.
    Down,
    /// Nothing can be sent there, or an operator forbids it.
    Certain,
}

/// What probes have seen, behind the lock.
#[derive(Debug, Default, Clone)]
pub(crate) struct ProbeRecord {
    pub(crate) checked_at: Option<Instant>,
    pub(crate) last_checked: Option<SystemTime>,
    pub(crate) last_failure: Option<SystemTime>,
    pub(crate) response_time: Option<Duration>,
    pub(crate) error: Option<Box<str>>,
    pub(crate) failures: u32,
    pub(crate) successes: u32,
    pub(crate) zone: Option<Box<str>>,
}

/// What is fixed about an endpoint for as long as it lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    /// The upstream's name.
    pub(crate) upstream: Arc<str>,
    /// `host:port` as configured.
    pub(crate) name: Arc<str>,
    /// The host alone, without brackets.
    pub(crate) host: Arc<str>,
    pub(crate) address: SocketAddr,
}

/// One address that serves an upstream.
#[derive(Debug)]
pub struct Endpoint {
    identity: Identity,
    label: Arc<str>,
    id: u64,
    born: Instant,
    weight: AtomicU32,
    priority: AtomicU32,
    max_requests: AtomicU32,
    gone: AtomicBool,
    steer: AtomicU8,
    health: AtomicU8,
    proven: AtomicBool,
    in_flight: AtomicU32,
    connections: AtomicU32,
    queue: Queue,
    /// Milliseconds of this endpoint's clock; 0: not ejected.
    ejected_until: AtomicU64,
    /// When it came (back) into use; 0: warm from the start.
    fresh_since: AtomicU64,
    pub(crate) latency: PeakEwma,
    pub(crate) passive: Passive,
    probe: Mutex<ProbeRecord>,
}

impl Endpoint {
    pub(crate) fn new(identity: Identity) -> Self {
        let label = identity.address.to_string();
        let id = xxhash_rust::xxh3::xxh3_64(
            format!("{}\0{}\0{label}", identity.upstream, identity.name).as_bytes(),
        );
        Self {
            identity,
            label: label.into(),
            id,
            born: Instant::now(),
            weight: AtomicU32::new(1),
            priority: AtomicU32::new(0),
            max_requests: AtomicU32::new(0),
            gone: AtomicBool::new(false),
            steer: AtomicU8::new(0),
            health: AtomicU8::new(0),
            proven: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            queue: Queue::default(),
            ejected_until: AtomicU64::new(0),
            fresh_since: AtomicU64::new(0),
            latency: PeakEwma::default(),
            passive: Passive::default(),
            probe: Mutex::default(),
        }
    }

    /// The upstream's name.
    pub fn upstream(&self) -> &Arc<str> {
        &self.identity.upstream
    }

    /// `host:port` as configured.
    pub fn name(&self) -> &Arc<str> {
        &self.identity.name
    }

    /// The configured host, without its port and without brackets: what TLS verifies unless told.
    pub fn host(&self) -> &Arc<str> {
        &self.identity.host
    }

    /// The address to connect to.
    pub fn address(&self) -> SocketAddr {
        self.identity.address
    }

    /// The address as text, for logs and metrics.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The same on every gateway: a hash of upstream, name and address.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its configured share.
    pub fn weight(&self) -> u32 {
        self.weight.load(Relaxed)
    }

    /// Lower ones are used first.
    pub fn priority(&self) -> u32 {
        self.priority.load(Relaxed)
    }

    /// Requests in flight, all workers together.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Open connections, all workers together: the pools count here.
    pub fn connections(&self) -> &AtomicU32 {
        &self.connections
    }

    /// Those who wait for a connection to it.
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Whether it has left its upstream's set: pools close what they keep for it.
    pub fn gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    pub(crate) fn set_gone(&self, gone: bool) {
        self.gone.store(gone, Relaxed);
    }

    /// What probes have found.
    pub fn health(&self) -> Health {
        match self.health.load(Acquire) {
            0 => Health::Unknown,
            1 => Health::Healthy,
            2 => Health::Unhealthy,
            _ => Health::Unreachable,
        }
    }

    /// What an operator has ordered.
    pub fn ordered(&self) -> Override {
        match self.steer.load(Acquire) {
            0 => Override::None,
            1 => Override::Up,
            2 => Override::Down,
            _ => Override::Drain,
        }
    }

    /// Orders what probes cannot undo. Survives reloads while the endpoint is configured.
    pub fn order(&self, order: Override) {
        let word = match order {
            Override::None => 0,
            Override::Up => 1,
            Override::Down => 2,
            Override::Drain => 3,
        };
        let before = self.steer.swap(word, AcqRel);
        if before >= 2 && word < 2 {
            self.freshen();
        }
    }

    /// Until when it is ejected, if it is.
    pub fn ejected_until(&self, now: Instant) -> Option<Instant> {
        let until = self.ejected_until.load(Acquire);
        (until > self.clock(now)).then(|| self.born + Duration::from_millis(until))
    }

    pub(crate) fn is_proven(&self) -> bool {
        self.proven.load(Relaxed)
    }

    pub(crate) fn prove(&self) {
        self.proven.store(true, Relaxed);
    }

    pub(crate) fn eject(&self, now: Instant, length: Duration) {
        self.ejected_until.store(self.clock(now + length), Release);
    }

    /// Ends an ejection: passive health has been switched off.
    pub(crate) fn pardon(&self) {
        self.ejected_until.store(0, Release);
    }

    /// Whether a new request may be sent here now.
    ///
    /// # Errors
    /// Why not.
    pub fn usable(&self, now: Instant) -> Result<(), Out> {
        match self.ordered() {
            Override::Down => return Err(Out::Overridden),
            Override::Drain => return Err(Out::Draining),
            Override::Up | Override::None if self.weight() == 0 => return Err(Out::NoWeight),
            Override::Up => {}
            Override::None => {
                match self.health() {
                    Health::Unknown | Health::Healthy => {}
                    Health::Unhealthy => return Err(Out::Down { unreachable: false }),
                    Health::Unreachable => return Err(Out::Down { unreachable: true }),
                }
                if let Some(until) = self.ejected_until(now) {
                    return Err(Out::Ejected { until });
                }
            }
        }
        if self.has_room() { Ok(()) } else { Err(Out::AtLimit) }
    }

    /// How much speaks against it, its limits apart.
    pub(crate) fn doubt(&self, out: Out) -> Doubt {
        match out {
            Out::AtLimit => Doubt::None,
            Out::Ejected { .. } => Doubt::Ejected,
            Out::Down { unreachable: false } if self.is_proven() => Doubt::Down,
            Out::Down { unreachable: false } => Doubt::Unproven,
            Out::Down { unreachable: true } | Out::Overridden | Out::Draining | Out::NoWeight => {
                Doubt::Certain
            }
        }
    }

    /// Why it is out, in words, with what the last probe met.
    pub fn why(&self, out: Out) -> String {
        match (out, &self.probe().error) {
            (Out::Down { .. }, Some(error)) => format!("{out}: {error}"),
            _ => out.to_string(),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        let max = self.max_requests.load(Relaxed);
        max == 0 || self.in_flight() < max
    }

    /// Takes a place for one request; false when there is none left.
    pub(crate) fn claim(&self) -> bool {
        let max = self.max_requests.load(Relaxed);
        if max == 0 {
            self.in_flight.fetch_add(1, Relaxed);
            return true;
        }
        let taken = self.in_flight.fetch_update(Relaxed, Relaxed, |n| (n < max).then_some(n + 1));
        taken.is_ok()
    }

    /// Gives a place back.
    pub(crate) fn release(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Its part of its weight, of [`FULL_SHARE`]: less while it warms up after coming into use.
    pub(crate) fn share(&self, now: Instant, slow_start: Duration) -> u64 {
        let length = u64::try_from(slow_start.as_millis()).unwrap_or(u64::MAX);
        if length == 0 {
            return FULL_SHARE;
        }
        let since = self.fresh_since.load(Relaxed).max(self.ejected_until.load(Relaxed));
        if since == 0 {
            return FULL_SHARE;
        }
        let age = self.clock(now).saturating_sub(since).min(length);
        FIRST_SHARE + (FULL_SHARE - FIRST_SHARE).saturating_mul(age) / length
    }

    /// Takes over the settings of a (new) configuration.
    pub(crate) fn adjust(&self, weight: u32, priority: u32, zone: Option<&str>, room: usize) {
        self.weight.store(weight, Relaxed);
        self.priority.store(priority, Relaxed);
        self.max_requests.store(u32::try_from(room).unwrap_or(u32::MAX), Relaxed);
        self.probe().zone = zone.map(Into::into);
    }

    pub(crate) fn set_health(&self, health: Health) {
        let word = match health {
            Health::Unknown => 0,
            Health::Healthy => 1,
            Health::Unhealthy => 2,
            Health::Unreachable => 3,
        };
        if health == Health::Healthy {
            self.prove();
        }
        let before = self.health.swap(word, AcqRel);
        if before >= 2 && word < 2 {
            self.freshen();
        }
    }

    /// Begins the slow start.
    pub(crate) fn freshen(&self) {
        self.fresh_since.store(self.clock(Instant::now()), Relaxed);
    }

    /// Milliseconds since it was made, never zero.
    pub(crate) fn clock(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.born).as_millis();
        u64::try_from(age).unwrap_or(u64::MAX).max(1)
    }

    pub(crate) fn probe(&self) -> MutexGuard<'_, ProbeRecord> {
        // A record is whole after every assignment, so a poisoned one can be used.
        self.probe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
