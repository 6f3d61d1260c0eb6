//! What one line of the access log says: the entry as the request path gives it, borrowed, and
//! the table of fields with their names in both JSON formats.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use lockgate_core::{Blame, Origin, Tls};

/// One finished request. Nothing in it needs to be clean: the log escapes and redacts.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// When the request's head was complete.
    pub time: SystemTime,
    /// The request's id.
    pub id: &'a str,
    /// The client's address: the peer's, or what a trusted proxy vouches for.
    pub client_ip: IpAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The worker thread that served it.
    pub worker: usize,
    /// The listener's name.
    pub listener: &'a str,
    /// `HTTP/1.1`, `HTTP/2`.
    pub protocol: &'static str,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The method.
    pub method: &'a str,
    /// The host that was asked for.
    pub host: &'a str,
    /// The path and the query, as the client sent them.
    pub path: &'a str,
    /// The status that the client got, or 499 when it went away first.
    pub status: u16,
    /// The reason's code, when the gateway refused or failed, or the answer broke off.
    pub reason: Option<&'a str>,
    /// Whose doing that was.
    pub blame: Option<Blame>,
    /// What happened, for the operator; empty when there is nothing to tell.
    pub story: &'a str,
    /// Who made the answer.
    pub origin: Origin,
    /// The route's pattern.
    pub route: Option<&'a str>,
    /// The consumer's name, when an identity has vouched for one.
    pub consumer: Option<&'a str>,
    /// The identity that vouched.
    pub identity: Option<&'a str>,
    /// The consumer's plan.
    pub plan: Option<&'a str>,
    /// The upstream's name.
    pub upstream: Option<&'a str>,
    /// The endpoint that was asked last.
    pub endpoint: Option<&'a str>,
    /// How often an endpoint was asked.
    pub attempts: u32,
    /// The status of the upstream's own answer.
    pub upstream_status: Option<u16>,
    /// What came of it at the cache, in a word.
    pub cache: Option<&'static str>,
    /// The name of the limit or quota that refused it.
    pub limit: Option<&'a str>,
    /// From the head's arrival to the answer's last byte.
    pub total: Duration,
    /// From the head's arrival until the first attempt began.
    pub queued: Duration,
    /// Time to connect in the last attempt; zero on a pooled connection.
    pub connect: Duration,
    /// From the last attempt's start to the head of its answer.
    pub first_byte: Option<Duration>,
    /// From the answer's head to its last byte.
    pub body: Duration,
    /// Bytes of body from the client.
    pub received: u64,
    /// Bytes of body to the client.
    pub sent: u64,
    /// The User-Agent header.
    pub user_agent: Option<&'a [u8]>,
    /// The Referer header.
    pub referer: Option<&'a [u8]>,
    /// The TLS session.
    pub tls: Option<&'a Tls>,
    /// The trace that the request belongs to.
    pub trace_id: Option<&'a str>,
    /// The request's own span, when traces are on.
    pub span_id: Option<&'a str>,
    /// The route's tags.
    pub tags: &'a [String],
    /// The request's headers, of which the configuration selects.
    pub headers: Option<&'a HeaderMap>,
}

impl Default for Entry<'_> {
    fn default() -> Self {
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            time: SystemTime::UNIX_EPOCH,
            id: "",
            client_ip: nowhere,
            peer: SocketAddr::new(nowhere, 0),
            worker: 0,
            listener: "",
            protocol: "",
            scheme: "",
            method: "",
            host: "",
            path: "",
            status: 0,
            reason: None,
            blame: None,
            story: "",
            origin: Origin::default(),
            route: None,
            consumer: None,
            identity: None,
            plan: None,
            upstream: None,
            endpoint: None,
            attempts: 0,
            upstream_status: None,
            cache: None,
            limit: None,
            total: Duration::ZERO,
            queued: Duration::ZERO,
            connect: Duration::ZERO,
            first_byte: None,
            body: Duration::ZERO,
            received: 0,
            sent: 0,
            user_agent: None,
            referer: None,
            tls: None,
            trace_id: None,
            span_id: None,
            tags: &[],
            headers: None,
        }
    }
}

impl Entry<'_> {
    /// Whether the line is written whatever the sample says.
    pub(super) fn is_error(&self) -> bool {
        self.status >= 500 || self.reason.is_some()
    }
}

/// The word for whose doing a fault was.
pub(super) fn blame_word(blame: Blame) -> &'static str {
    match blame {
        Blame::Client => "client",
        Blame::Gateway => "gateway",
        Blame::Upstream => "upstream",
    }
}

/// The word for who made the answer.
pub(crate) fn origin_word(origin: Origin) -> &'static str {
    match origin {
        Origin::Gateway => "gateway",
        Origin::Upstream => "upstream",
        Origin::Cache => "cache",
    }
}

/// One field of a JSON line.
#[derive(Debug)]
pub struct Field {
    /// Its name with `format: json`.
    pub name: &'static str,
    /// Its name with `format: ecs`.
    pub ecs: &'static str,
    /// `string`, `number`, `list` or `object`.
    pub form: &'static str,
    /// Whether it may be missing.
    pub optional: bool,
    /// What it tells, in a sentence without a full stop.
    pub help: &'static str,
}

macro_rules! optional {
    (always) => {
        false
    };
    (when_known) => {
        true
    };
}

macro_rules! fields {
    ($($id:ident $name:literal $ecs:literal $form:ident $there:ident $help:literal;)*) => {
        /// A field, as the serialiser names it.
        #[derive(Clone, Copy)]
        pub(super) enum Key { $($id),* }

        impl Key {
            /// What stands before the value in JSON: a comma, the name, a colon.
            #[inline]
            pub(super) fn json(self) -> &'static str {
                match self { $(Self::$id => concat!(",\"", $name, "\":")),* }
            }

            /// The same with the name of the Elastic Common Schema.
            #[inline]
            pub(super) fn ecs(self) -> &'static str {
                match self { $(Self::$id => concat!(",\"", $ecs, "\":")),* }
            }
        }

        /// All fields, in the order of a line.
        pub static FIELDS: &[Field] = &[$(Field {
            name: $name,
            ecs: $ecs,
            form: stringify!($form),
            optional: optional!($there),
            help: $help,
        }),*];
    };
}

fields! {
    Time "time" "@timestamp" string always
        "When the request's head was complete: RFC 3339, UTC, milliseconds";
    Id "id" "http.request.id" string always
        "The request's id, as in the header `X-Request-Id`";
    ClientIp "client_ip" "client.ip" string always
        "The client's address, from the forwarded-for chain if `trusted_proxies` vouch for it";
    Peer "peer" "source.address" string always
        "Address and port of the other end of the connection; in ECS also `source.ip` and `source.port`";
    Worker "worker" "lockgate.worker" number always
        "The worker thread that served the request, from 0";
    Listener "listener" "lockgate.listener" string always
        "The listener's name";
    Protocol "protocol" "http.version" string always
        "HTTP/1.0, HTTP/1.1 or HTTP/2; without `HTTP/` in ECS";
    Scheme "scheme" "url.scheme" string always
        "http or https";
    Method "method" "http.request.method" string always
        "The request's method";
    Host "host" "url.domain" string always
        "The host that was asked for";
    Path "path" "url.path" string always
        "The path, as the client sent it";
    Query "query" "url.query" string when_known
        "The query, values of secret parameters redacted";
    Status "status" "http.response.status_code" number always
        "The status that the client got; 499 when it went away first";
    Reason "reason" "error.code" string when_known
        "The reason code, when the gateway refused or failed, or the answer broke off";
    Blame "blame" "lockgate.blame" string when_known
        "Whose doing that was: client, gateway or upstream";
    Story "story" "error.message" string when_known
        "What happened, in words for the operator";
    Origin "origin" "lockgate.origin" string always
        "Who made the answer: gateway, upstream or cache";
    Route "route" "lockgate.route" string when_known
        "The pattern of the route that matched";
    Consumer "consumer" "user.name" string when_known
        "Who asked, when an identity has vouched for them";
    Identity "identity" "lockgate.identity" string when_known
        "The identity that vouched";
    Plan "plan" "lockgate.plan" string when_known
        "The consumer's plan";
    Upstream "upstream" "lockgate.upstream" string when_known
        "The upstream's name";
    Endpoint "endpoint" "lockgate.endpoint" string when_known
        "The endpoint that was asked last";
    Attempts "attempts" "lockgate.attempts" number when_known
        "How often an endpoint was asked; missing when none was";
    UpstreamStatus "upstream_status" "lockgate.upstream_status" number when_known
        "The status of the upstream's own answer";
    Cache "cache" "lockgate.cache" string when_known
        "What came of it at the route's cache: hit, miss, stale, revalidated or bypass";
    Limit "limit" "lockgate.limit" string when_known
        "The name of the limit or quota that refused it";
    Total "total_ms" "event.duration" number always
        "From the head's arrival to the answer's last byte; nanoseconds in ECS";
    Queue "queue_ms" "lockgate.queue_ms" number when_known
        "From the head's arrival until the first attempt: policies and waiting";
    Connect "connect_ms" "lockgate.connect_ms" number when_known
        "Time to connect in the last attempt; 0 on a pooled connection";
    FirstByte "first_byte_ms" "lockgate.first_byte_ms" number when_known
        "From the last attempt's start to the head of its answer";
    Body "body_ms" "lockgate.body_ms" number always
        "From the answer's head to its last byte";
    Received "received" "http.request.body.bytes" number always
        "Bytes of body from the client";
    Sent "sent" "http.response.body.bytes" number always
        "Bytes of body to the client";
    UserAgent "user_agent" "user_agent.original" string when_known
        "The header User-Agent";
    Referer "referer" "http.request.referrer" string when_known
        "The header Referer, secret parameters redacted";
    TlsVersion "tls_version" "tls.version" string when_known
        "The TLS version; missing in plain text";
    TlsCipher "tls_cipher" "tls.cipher" string when_known
        "The cipher suite";
    TlsSni "tls_sni" "tls.client.server_name" string when_known
        "The server name that the client asked for";
    TlsSubject "tls_client" "tls.client.subject" string when_known
        "The subject of the client's certificate";
    TraceId "trace_id" "trace.id" string when_known
        "The trace that the request belongs to";
    SpanId "span_id" "span.id" string when_known
        "The request's own span, when traces are on";
    Tags "tags" "tags" list when_known
        "The route's tags";
    Headers "headers" "lockgate.headers" object when_known
        "The request headers that `telemetry.access_log.headers` names, secret ones redacted";
}

/// The generated part of `docs/reference/access-log.md`.
pub fn access_log_reference() -> String {
    let mut page = String::from(
        "| field | ECS name | form | there | what it tells |\n|---|---|---|---|---|\n",
    );
    for Field { name, ecs, form, optional, help } in FIELDS {
        let there = if *optional { "when known" } else { "always" };
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| `{name}` | `{ecs}` | {form} | {there} | {help} |");
    }
    page
}
