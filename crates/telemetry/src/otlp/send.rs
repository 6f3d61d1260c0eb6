//! One collector: requests to it by HTTP or gRPC, what its answers mean, and how often what it did
//! not take is sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, TE};
use http::{HeaderMap, Request, Response};
use lockgate_config::model::{Collector, OtlpProtocol};
use lockgate_core::{Call, Destination, Outbound, Trailers};

use super::proto::{Field, find};

/// How often something is sent in all before it is given up.
const TRIES: u32 = 5;
/// The longest wait between two.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Most bytes of an answer.
const MAX_ANSWER: usize = 64 * 1024;
/// What is asked of gRPC (its own status codes): what may be sent again as it is.
const AGAIN: [&[u8]; 6] = [b"1", b"4", b"10", b"11", b"14", b"15"];

/// What became of what was told by one signal, for the life of the process.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Taken by the collector.
    pub(crate) sent: AtomicU64,
    /// Lost here: the queue was full, or the collector away for too long.
    pub(crate) dropped: AtomicU64,
    /// Refused by the collector.
    pub(crate) rejected: AtomicU64,
    /// Requests that failed.
    pub(crate) failures: AtomicU64,
}

/// The way to one collector.
pub(crate) struct Sender {
    outbound: Arc<dyn Outbound>,
    collector: Collector,
    /// PEM of whom it trusts.
    ca: Option<Bytes>,
    failing: AtomicBool,
}

/// Why a collector did not take what it was sent.
struct Failed {
    why: String,
    /// Whether it may take it later, and what it says of when.
    again: Option<Option<Duration>>,
}

impl Sender {
    pub(crate) fn new(
        outbound: Arc<dyn Outbound>,
        collector: Collector,
        ca: Option<Bytes>,
    ) -> Self {
        Self { outbound, collector, ca, failing: AtomicBool::new(false) }
    }

    pub(crate) fn collector(&self) -> &Collector {
        &self.collector
    }

    /// Sends a request that tells `told` things, again if need be, and counts what became of
    /// them.
    pub(crate) async fn deliver(&self, request: Vec<u8>, told: u64, counts: &Counts) {
        let request = Bytes::from(request);
        for tries in 1..=TRIES {
            let failed = match self.send(request.clone()).await {
                Ok(rejected) => {
                    counts.rejected.fetch_add(rejected.min(told), Relaxed);
                    counts.sent.fetch_add(told.saturating_sub(rejected), Relaxed);
                    if self.failing.swap(false, Relaxed) {
                        tracing::info!(collector = %super::name(&self.collector), "takes OTLP again");
                    }
                    return;
                }
                Err(failed) => failed,
            };
            counts.failures.fetch_add(1, Relaxed);
            if !self.failing.swap(true, Relaxed) {
                let collector = super::name(&self.collector);
                tracing::warn!(%collector, why = %failed.why, "the collector takes no OTLP");
            }
            match failed.again {
                Some(after) if tries < TRIES => tokio::time::sleep(pause(tries, after)).await,
                Some(_) => break,
                None => {
                    counts.rejected.fetch_add(told, Relaxed);
                    return;
                }
            }
        }
        counts.dropped.fetch_add(told, Relaxed);
    }

    /// Sends once; how many things the collector has refused of it.
    async fn send(&self, message: Bytes) -> Result<u64, Failed> {
        let grpc = self.collector.protocol == OtlpProtocol::Grpc;
        let body = if grpc { framed(&message) } else { message };
        let mut request = Request::post(self.collector.url.clone()).body(body).unwrap_or_default();
        let headers = request.headers_mut();
        for (name, value) in &self.collector.headers.0 {
            // They have been checked.
            if let (Ok(name), Ok(mut value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
            {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        if grpc {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        }
        let ca = self.ca.clone();
        let to = if grpc { Destination::Http2 { ca } } else { Destination::Url { ca } };
        let timeout = self.collector.timeout;
        let call = Call { request, to, timeout, max_body: MAX_ANSWER };
        let answer = self
            .outbound
            .send(call)
            .await
            .map_err(|fault| Failed { why: fault.story(), again: Some(None) })?;
        if grpc { of_grpc(&answer) } else { of_http(&answer) }
    }
}

/// A message as gRPC frames it: not compressed, its length, itself.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = Vec::with_capacity(message.len() + 5);
    framed.push(0);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

fn of_http(answer: &Response<Bytes>) -> Result<u64, Failed> {
    let status = answer.status();
    if status.is_success() {
        return Ok(rejected(answer.body()));
    }
    let after = answer.headers().get(RETRY_AFTER);
    let after = after.and_then(|after| after.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    let again = matches!(status.as_u16(), 429 | 502 | 503 | 504).then_some(after);
    Err(Failed { why: format!("it answered {status}"), again })
}

fn of_grpc(answer: &Response<Bytes>) -> Result<u64, Failed> {
    let status = answer.status();
    if !status.is_success() {
        let again = matches!(status.as_u16(), 429 | 502 | 503 | 504).then_some(None);
        return Err(Failed { why: format!("it answered {status}"), again });
    }
    // An answer without a body has its status in the head.
    let trailers = answer.extensions().get::<Trailers>().map(|trailers| &trailers.0);
    let said = |from: &HeaderMap| from.get("grpc-status").cloned();
    let status = trailers.and_then(said).or_else(|| said(answer.headers()));
    match status.as_ref().map(HeaderValue::as_bytes) {
        Some(b"0") => Ok(rejected(answer.body().get(5..).unwrap_or_default())),
        Some(code) => {
            let again = AGAIN.contains(&code).then_some(None);
            Err(Failed { why: format!("gRPC status {}", String::from_utf8_lossy(code)), again })
        }
        None => Err(Failed { why: "an answer without a gRPC status".to_owned(), again: None }),
    }
}

/// `partial_success.rejected_…` of an export's answer.
fn rejected(answer: &[u8]) -> u64 {
    match find(answer, 1) {
        Some(Field::Bytes(partial)) => match find(partial, 1) {
            Some(Field::Number(rejected)) => rejected,
            _ => 0,
        },
        _ => 0,
    }
}

/// As long as the collector asks for, or twice as long each time; with jitter, so that gateways do
/// not come back together.
fn pause(tries: u32, asked: Option<Duration>) -> Duration {
    let own = Duration::from_millis(500) * (1 << tries.min(6));
    let most = asked.unwrap_or(own).min(LONGEST_PAUSE);
    most.mul_f64(0.5 + fastrand::f64() / 2.0)
}
