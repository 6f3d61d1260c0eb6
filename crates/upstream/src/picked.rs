//! A chosen endpoint, held for one attempt: its place among the requests in flight, and the way
//! back for what the attempt has taught.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use crate::breaker::Permit;
use crate::endpoint::Endpoint;
use crate::outlier::Seen;
use crate::upstream::Upstream;

/// How an attempt ended, as far as the endpoint is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The head of an answer came. A 5xx counts as a failure.
    Answered { status: u16, latency: Duration },
    /// No (whole) answer came.
    Failed { kind: Failure },
    /// The client went away, or another attempt won: nothing is learned.
    Cancelled,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// No connection, TLS included.
    Connect,
    /// No head in time.
    Timeout,
    /// The connection closed, or what came was not HTTP.
    Broken,
}

/// A failed attempt counts as at least this slow for `peak_ewma`: a refusal is not a fast answer.
const FAILURE_LATENCY: Duration = Duration::from_secs(1);

/// A chosen endpoint. It counts as in flight until this is dropped: keep it until the answer's
/// body has ended.
#[derive(Debug)]
pub struct Picked {
    upstream: Arc<Upstream>,
    endpoint: Arc<Endpoint>,
    since: Instant,
    keyed: bool,
    cookie: Option<HeaderValue>,
    permit: Option<Permit>,
    /// A good head has come.
    good: bool,
    /// The answer has ended whole.
    whole: bool,
}

impl Picked {
    /// Takes over a place that has been claimed.
    pub(crate) fn new(
        upstream: Arc<Upstream>,
        endpoint: Arc<Endpoint>,
        since: Instant,
        keyed: bool,
        cookie: Option<HeaderValue>,
    ) -> Self {
        if keyed {
            upstream.position().keyed.fetch_add(1, Relaxed);
        }
        Self { upstream, endpoint, since, keyed, cookie, permit: None, good: false, whole: false }
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// When it was picked.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// The upstream it was picked from.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Keeps the breaker's permit for this attempt, until [`Picked::done`].
    pub fn hold(&mut self, permit: Permit) {
        self.permit = Some(permit);
    }

    /// The `Set-Cookie` that the answer must bear, when the client is not yet held to this
    /// endpoint by a sticky cookie.
    pub fn set_cookie(&mut self) -> Option<HeaderValue> {
        self.cookie.take()
    }

    /// The answer has ended whole. May be said before or after [`Picked::done`] tells of its head.
    pub fn ended(&mut self) {
        self.whole = true;
        if self.good {
            self.endpoint.passive.whole();
        }
    }

    /// Feeds the latency average, the passive health and the breaker. Called when the head came
    /// or the attempt failed; once more with [`Failure::Broken`] when the body broke off after.
    /// The breaker has its verdict from the head: a trial is not held for a body's length.
    pub fn done(&mut self, ending: Ending) {
        let now = match ending {
            // As good as the clock, and it has just been read.
            Ending::Answered { latency, .. } => self.since + latency,
            _ => Instant::now(),
        };
        let (failed, latency) = match ending {
            Ending::Cancelled => {
                self.permit = None;
                return;
            }
            Ending::Answered { status, latency } => (status >= 500, latency),
            Ending::Failed { .. } => (true, now.saturating_duration_since(self.since)),
        };
        let clock = self.endpoint.clock(now);
        match ending {
            Ending::Answered { .. } if !failed => self.endpoint.latency.observe(latency, clock),
            Ending::Answered { .. } => self.endpoint.latency.observe_failure(latency, clock),
            _ => self.endpoint.latency.observe_failure(latency.max(FAILURE_LATENCY), clock),
        }
        let seen = match failed {
            true if self.good => Seen::BrokeOff,
            true => Seen::Failed,
            false => Seen::Good,
        };
        self.good = !failed;
        if self.good && self.whole {
            self.endpoint.passive.whole();
        }
        self.upstream.observe(&self.endpoint, seen, now);
        if let Some(permit) = self.permit.take() {
            permit.done(failed, latency);
        }
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.endpoint.release();
        let pool = &self.upstream.settings().pool;
        if pool.max_requests > 0 {
            self.upstream.queue().wake();
        }
        // A stream has ended, so its connection may take another.
        if pool.max_connections > 0 && self.upstream.settings().may_speak_http2() {
            self.endpoint.queue().wake();
        }
        if self.keyed {
            self.upstream.position().keyed.fetch_sub(1, Relaxed);
        }
    }
}
