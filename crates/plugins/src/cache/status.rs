//! What the cache says of itself in each answer: `Cache-Status` (RFC 9211), and its metric.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use lockgate_core::{Build, Counter, Exchange, Metric, MetricKind};

use super::freshness::Life;

pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

pub(super) static REQUESTS: Metric = Metric {
    name: "lockgate_cache_requests_total",
    kind: MetricKind::Counter,
    labels: &["route", "result"],
    help: "Requests of routes with a cache: hit, miss, stale, revalidated, or bypass",
};

/// What came of a request at the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Given fresh from what is kept.
    Hit,
    /// The upstream gave it.
    Miss,
    /// Given stale from what is kept.
    Stale,
    /// Given from what is kept, once the upstream had said that it is still good.
    Revalidated,
    /// No matter for a cache.
    Bypass,
}

/// In the order of the outcomes.
const WORDS: [&str; 5] = ["hit", "miss", "stale", "revalidated", "bypass"];

/// The counts of one route.
pub(super) struct Counts([Arc<Counter>; 5]);

impl Counts {
    pub(super) fn new(build: &Build<'_>) -> Self {
        Self(WORDS.map(|word| build.counter(&REQUESTS, &[&build.route, word])))
    }

    /// Counts a request, and has its line in the log say so.
    pub(super) fn add(&self, exchange: &mut Exchange, outcome: Outcome) {
        if let Some(counter) = self.0.get(outcome as usize) {
            counter.add(exchange.connection.worker, 1);
        }
        exchange.kept.cached = WORDS.get(outcome as usize).copied();
    }
}

/// Why a request went to the upstream (RFC 9211 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forward {
    /// The cache is not for such requests.
    Bypass,
    /// Nor for such methods.
    Method,
    /// Nothing is kept for the URI.
    UriMiss,
    /// Nothing for these headers.
    VaryMiss,
    /// The client asked for it.
    Request,
    /// What is kept is stale.
    Stale,
    /// Only a part is asked for, and the whole is not kept.
    Partial,
}

impl Forward {
    fn word(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// What is said of an answer from the cache; `age` as it is given.
pub(super) fn hit(life: &Life, age: Duration, collapsed: bool) -> HeaderValue {
    const FULL: HeaderValue = HeaderValue::from_static("Lockgate; hit");
    let ttl = seconds(life.lifetime) - seconds(age);
    // For every hit: no machinery of formats, and one allocation.
    let (mut text, mut digits) = (Cursor::new([0; 64]), itoa::Buffer::new());
    let end: &[u8] = if collapsed { b"; collapsed" } else { b"" };
    let parts = [b"Lockgate; hit; ttl=", digits.format(ttl).as_bytes(), end];
    let written = parts.iter().try_for_each(|part| text.write_all(part));
    let length = usize::try_from(text.position()).unwrap_or_default();
    let text = text.get_ref().get(..length).filter(|_| written.is_ok());
    text.and_then(|text| HeaderValue::from_bytes(text).ok()).unwrap_or(FULL)
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// What is said of a request that went on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forwarded {
    pub(super) why: Forward,
    /// The upstream's status, where it is not the answer's own.
    pub(super) status: Option<u16>,
    pub(super) stored: bool,
    /// Why not, or why something stale was given.
    pub(super) detail: Option<&'static str>,
}

/// Says that an answer needed the upstream.
pub(super) fn say_forwarded(headers: &mut HeaderMap, said: Forwarded) {
    let mut text = format!("Lockgate; fwd={}", said.why.word());
    if let Some(status) = said.status {
        let _ = write!(text, "; fwd-status={status}");
    }
    if said.stored {
        text.push_str("; stored");
    }
    if let Some(detail) = said.detail {
        let _ = write!(text, "; detail=\"{detail}\"");
    }
    say(headers, text);
}

/// Caches nearer to the client come later in the list.
fn say(headers: &mut HeaderMap, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.append(CACHE_STATUS, value);
    }
}
