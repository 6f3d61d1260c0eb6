//! A request's spans as OTLP has them (`opentelemetry.proto.trace.v1.Span`), named by
//! OpenTelemetry's conventions for HTTP: the request, the policies that waited, the attempts.

use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Version, header};
use lockgate_core::span::{Part, SpanId, TRACESTATE, TraceId, What};
use lockgate_core::{Blame, Exchange, Reason};
use tokio::time::Instant;

use crate::log::redacted;
use crate::otlp::proto::{bytes, fixed32, fixed64, message, text, uint};
use crate::otlp::{attribute, number};

/// One finished request.
pub struct Told<'a> {
    /// The request, and what was decided of it.
    pub exchange: &'a Exchange,
    /// What the client asked for, before anything was rewritten.
    pub target: Option<&'a PathAndQuery>,
    /// The status that the client got.
    pub status: u16,
    /// Why the gateway refused or failed, or the answer broke off.
    pub reason: Option<&'static Reason>,
    /// Whose doing that was.
    pub blame: Option<Blame>,
    /// When the answer's last byte was written, or could no longer be.
    pub ended: Instant,
    /// Bytes of body from the client.
    pub received: u64,
    /// Bytes of body to the client.
    pub sent: u64,
    /// The time of day at a moment.
    pub time: &'a dyn Fn(Instant) -> SystemTime,
}

// The fields of a span.
const SPANS: u32 = 2;
const TRACE_ID: u32 = 1;
const SPAN_ID: u32 = 2;
const STATE: u32 = 3;
const PARENT_ID: u32 = 4;
const NAME: u32 = 5;
const KIND: u32 = 6;
const START: u32 = 7;
const END: u32 = 8;
const ATTRIBUTES: u32 = 9;
const STATUS: u32 = 15;
const FLAGS: u32 = 16;

const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// The status code of a span that went wrong.
const ERROR: u64 = 2;
/// That it is known whether the parent was elsewhere, and that it was.
const IS_KNOWN: u32 = 1 << 8;
const IS_REMOTE: u32 = 1 << 9;

/// What every span begins with.
struct Head<'a> {
    id: SpanId,
    parent: Option<SpanId>,
    kind: u64,
    from: Instant,
    to: Instant,
    name: &'a str,
    remote: bool,
}

impl Told<'_> {
    /// Appends the spans as fields of a `ScopeSpans`; how many.
    pub(super) fn push(&self, out: &mut Vec<u8>) -> u64 {
        let spans = &self.exchange.spans;
        let (Some(trace), Some(own)) = (spans.trace(), spans.id()) else { return 0 };
        message(out, SPANS, |out| self.server(out, trace, own));
        1 + self.push_below(out)
    }

    /// Appends those below the request's own; how many.
    pub(super) fn push_below(&self, out: &mut Vec<u8>) -> u64 {
        let spans = &self.exchange.spans;
        let (Some(trace), Some(own)) = (spans.trace(), spans.id()) else { return 0 };
        let mut count = 0;
        for part in spans.parts() {
            message(out, SPANS, |out| self.part(out, trace, own, part));
            count += 1;
        }
        if let Some((id, begun)) = spans.attempt() {
            message(out, SPANS, |out| self.last_attempt(out, (trace, own), id, begun));
            count += 1;
        }
        count
    }

    fn server(&self, out: &mut Vec<u8>, trace: TraceId, own: SpanId) {
        let Self { exchange, target, status, .. } = *self;
        let spans = &exchange.spans;
        let route = exchange.route.as_deref();
        let path = route.and_then(|route| route.get(route.find('/')?..));
        let method = known(&exchange.head.method);
        let name = match (method, path) {
            (Some(method), Some(path)) => format!("{method} {path}"),
            (Some(method), None) => method.to_owned(),
            (None, Some(path)) => format!("HTTP {path}"),
            (None, None) => "HTTP".to_owned(),
        };
        let head = Head {
            id: own,
            parent: spans.remote(),
            kind: SERVER,
            from: exchange.started,
            to: self.ended,
            name: &name,
            remote: spans.remote().is_some(),
        };
        self.head(out, trace, &head);
        push_method(out, &exchange.head.method);
        number(out, ATTRIBUTES, "http.response.status_code", u64::from(status));
        if let Some(path) = path {
            attribute(out, ATTRIBUTES, "http.route", path);
        }
        attribute(out, ATTRIBUTES, "url.scheme", if exchange.secure { "https" } else { "http" });
        if let Some(target) = target {
            attribute(out, ATTRIBUTES, "url.path", &redacted::text(target.path().as_bytes()));
            if let Some(query) = target.query() {
                attribute(out, ATTRIBUTES, "url.query", &redacted::query(query.as_bytes()));
            }
        }
        self.client(out);
        if let Some(route) = route {
            attribute(out, ATTRIBUTES, "lockgate.route", route);
        }
        attribute(out, ATTRIBUTES, "lockgate.request_id", exchange.id.as_str());
        attribute(out, ATTRIBUTES, "lockgate.listener", &exchange.connection.listener);
        attribute(out, ATTRIBUTES, "lockgate.origin", crate::log::origin_word(exchange.origin));
        if spans.left_out() > 0 {
            number(out, ATTRIBUTES, "lockgate.spans_left_out", u64::from(spans.left_out()));
        }
        let own_fault = self.blame.is_some_and(|blame| blame != Blame::Client);
        push_error(out, self.reason, (status >= 500).then_some(status), own_fault);
    }

    /// Who asked, and by what.
    fn client(&self, out: &mut Vec<u8>) {
        let exchange = self.exchange;
        attribute(out, ATTRIBUTES, "server.address", &redacted::text(exchange.host.as_bytes()));
        attribute(out, ATTRIBUTES, "client.address", &exchange.client_ip.to_string());
        push_peer(out, exchange.connection.peer);
        let version = match exchange.head.version {
            Version::HTTP_2 => "2",
            Version::HTTP_10 => "1.0",
            _ => "1.1",
        };
        attribute(out, ATTRIBUTES, "network.protocol.version", version);
        if let Some(agent) = exchange.head.headers.get(header::USER_AGENT) {
            attribute(out, ATTRIBUTES, "user_agent.original", &redacted::text(agent.as_bytes()));
        }
        number(out, ATTRIBUTES, "http.request.body.size", self.received);
        number(out, ATTRIBUTES, "http.response.body.size", self.sent);
    }

    fn part(&self, out: &mut Vec<u8>, trace: TraceId, own: SpanId, part: &Part) {
        let Part { id, begun, ended, what, reason } = part;
        let head = Head {
            id: *id,
            parent: Some(own),
            kind: INTERNAL,
            from: *begun,
            to: *ended,
            name: "",
            remote: false,
        };
        match what {
            What::Policy(policy) => {
                let name = format!("policy {policy}");
                self.head(out, trace, &Head { name: &name, ..head });
                attribute(out, ATTRIBUTES, "lockgate.policy", policy);
                push_error(out, *reason, None, reason.is_some());
            }
            What::Attempt { number, endpoint, status, connect } => {
                let head = Head { kind: CLIENT, ..head };
                let told = Attempt {
                    number: *number,
                    endpoint: endpoint.as_deref(),
                    status: *status,
                    connect: connect.as_secs_f64() * 1e3,
                    reason: *reason,
                };
                self.attempt(out, trace, head, &told);
            }
        }
    }

    /// The attempt that brought the answer, or was under way at the end: it lasts as long as the
    /// answer does.
    fn last_attempt(
        &self,
        out: &mut Vec<u8>,
        (trace, own): (TraceId, SpanId),
        id: SpanId,
        begun: Instant,
    ) {
        let notes = &self.exchange.upstream;
        let (parent, remote) = (Some(own), false);
        let head = Head { id, parent, kind: CLIENT, from: begun, to: self.ended, name: "", remote };
        let told = Attempt {
            number: notes.attempts,
            endpoint: notes.endpoint.as_deref(),
            status: notes.status,
            connect: notes.connect.as_secs_f64() * 1e3,
            reason: self.reason.filter(|_| match self.blame {
                Some(Blame::Upstream) => true,
                // An endpoint is not to blame for a client that does not wait for it.
                Some(Blame::Client) => false,
                _ => notes.status.is_none(),
            }),
        };
        self.attempt(out, trace, head, &told);
    }

    fn attempt(&self, out: &mut Vec<u8>, trace: TraceId, head: Head<'_>, told: &Attempt<'_>) {
        let method = &self.exchange.head.method;
        self.head(out, trace, &Head { name: known(method).unwrap_or("HTTP"), ..head });
        push_method(out, method);
        if let Some(status) = told.status {
            number(out, ATTRIBUTES, "http.response.status_code", u64::from(status));
        }
        if told.number > 1 {
            let again = u64::from(told.number - 1);
            number(out, ATTRIBUTES, "http.request.resend_count", again);
        }
        if let Some(endpoint) = told.endpoint {
            attribute(out, ATTRIBUTES, "lockgate.endpoint", endpoint);
            match endpoint.parse::<SocketAddr>() {
                Ok(peer) => {
                    attribute(out, ATTRIBUTES, "server.address", &peer.ip().to_string());
                    number(out, ATTRIBUTES, "server.port", u64::from(peer.port()));
                    push_peer(out, peer);
                }
                Err(_) => attribute(out, ATTRIBUTES, "server.address", endpoint),
            }
        }
        if let Some(upstream) = self.exchange.upstream.name.as_deref() {
            attribute(out, ATTRIBUTES, "lockgate.upstream", upstream);
        }
        if told.connect > 0.0 {
            message(out, ATTRIBUTES, |out| {
                text(out, 1, "lockgate.connect_ms");
                message(out, 2, |out| crate::otlp::proto::double(out, 4, told.connect));
            });
        }
        let failed = told.status.filter(|status| *status >= 400);
        push_error(out, told.reason, failed, told.reason.is_some());
    }

    fn head(&self, out: &mut Vec<u8>, trace: TraceId, head: &Head<'_>) {
        let spans = &self.exchange.spans;
        bytes(out, TRACE_ID, &trace.bytes());
        bytes(out, SPAN_ID, &head.id.bytes());
        push_state(out, &self.exchange.head.headers);
        if let Some(parent) = head.parent {
            bytes(out, PARENT_ID, &parent.bytes());
        }
        text(out, NAME, head.name);
        uint(out, KIND, head.kind);
        fixed64(out, START, unix_nanos((self.time)(head.from)));
        fixed64(out, END, unix_nanos((self.time)(head.to)));
        let remote = if head.remote { IS_REMOTE } else { 0 };
        fixed32(out, FLAGS, u32::from(spans.flags()) | IS_KNOWN | remote);
    }
}

/// What is told of an attempt.
struct Attempt<'a> {
    number: u32,
    endpoint: Option<&'a str>,
    status: Option<u16>,
    /// Milliseconds.
    connect: f64,
    reason: Option<&'static Reason>,
}

/// The status that makes an error, or why. A client's own mistake is a reason and no error.
fn push_error(
    out: &mut Vec<u8>,
    reason: Option<&'static Reason>,
    status: Option<u16>,
    is_error: bool,
) {
    match (reason, status) {
        (Some(reason), _) => attribute(out, ATTRIBUTES, "error.type", reason.code),
        (None, Some(status)) => {
            attribute(out, ATTRIBUTES, "error.type", itoa::Buffer::new().format(status));
        }
        (None, None) => return,
    }
    if is_error || status.is_some() {
        message(out, STATUS, |out| uint(out, 3, ERROR));
    }
}

fn push_method(out: &mut Vec<u8>, method: &Method) {
    match known(method) {
        Some(method) => attribute(out, ATTRIBUTES, "http.request.method", method),
        None => {
            attribute(out, ATTRIBUTES, "http.request.method", "_OTHER");
            let original = redacted::text(method.as_str().as_bytes());
            attribute(out, ATTRIBUTES, "http.request.method_original", &original);
        }
    }
}

/// The methods of RFC 9110 and PATCH: names of spans must not be a client's to multiply.
fn known(method: &Method) -> Option<&str> {
    use Method as M;
    let known =
        [M::GET, M::HEAD, M::POST, M::PUT, M::DELETE, M::CONNECT, M::OPTIONS, M::TRACE, M::PATCH];
    known.contains(method).then(|| method.as_str())
}

fn push_peer(out: &mut Vec<u8>, peer: SocketAddr) {
    let address: IpAddr = peer.ip().to_canonical();
    attribute(out, ATTRIBUTES, "network.peer.address", &address.to_string());
    number(out, ATTRIBUTES, "network.peer.port", u64::from(peer.port()));
}

/// The trace's state, which has been found well formed.
fn push_state(out: &mut Vec<u8>, headers: &HeaderMap) {
    let mut lines = headers.get_all(TRACESTATE).iter().filter_map(|line| line.to_str().ok());
    let Some(first) = lines.next() else { return };
    let all = lines.fold(first.to_owned(), |all, line| all + "," + line);
    text(out, STATE, &all);
}

fn unix_nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, crate::metrics::nanos)
}
