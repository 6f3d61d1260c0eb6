//! `upstreams`: the services behind, their endpoints, and how to treat them.

use std::fmt;
use std::path::PathBuf;

use indexmap::IndexMap;
use lockgate_core::{Key, Percent, Size, Time};
use serde::Serialize;

/// A service and the endpoints that serve it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Upstream {
    /// `host:port` → its settings. A name is resolved by DNS, to as many addresses as it has.
    pub endpoints: IndexMap<String, Endpoint>,
    pub balance: Balance,
    pub sticky: Option<Sticky>,
    /// Active health checks; `None` is off (the default for upstreams made from a URL).
    pub health: Option<Health>,
    pub outlier: Option<Outlier>,
    pub breaker: Option<Breaker>,
    pub retry: Retry,
    pub timeout: TimeoutSet,
    /// TLS towards the endpoints; `None` speaks plain text.
    pub tls: Option<UpstreamTls>,
    /// HTTP/2 towards the endpoints: prior knowledge in plain text, by ALPN over TLS.
    pub http2: bool,
    pub pool: Pool,
    /// How long a fresh endpoint's share grows to its weight; zero: at once.
    pub slow_start: Time,
    /// When fewer than this share of endpoints are healthy, health is ignored (50%; 0%: never).
    pub panic_threshold: Percent,
    /// Send the endpoint's own name as Host instead of the client's (`host: endpoint`).
    pub host: HostHeader,
}

/// Which Host an upstream sees, unless the route rewrites it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HostHeader {
    Keep,
    Endpoint,
}

/// One endpoint's settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Endpoint {
    /// Its share (1); 0 takes no new requests.
    pub weight: u32,
    pub zone: Option<String>,
    /// Lower ones are used first; higher ones when none of the lower is usable (0).
    pub priority: u32,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    RoundRobin,
    LeastConnections,
    Random,
    P2c,
    PeakEwma,
    Maglev(Key),
}

/// How a client is kept on one endpoint.
#[derive(Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sticky {
    Cookie {
        /// `lockgate_sticky` unless told.
        name: String,
        /// What cookies are signed with, so that several gateways agree; random when not given.
        #[serde(skip)]
        secret: Option<String>,
    },
    Header {
        name: String,
    },
}

impl fmt::Debug for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie { name, .. } => write!(f, "Cookie({name})"),
            Self::Header { name } => write!(f, "Header({name})"),
        }
    }
}

/// Active health checks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Health {
    /// What is spoken: an HTTP request, a bare TCP connect, or gRPC's health service.
    pub kind: HealthKind,
    /// `/health`.
    pub path: String,
    /// The Host of the probe; the endpoint's own when not given.
    pub host: Option<String>,
    /// 10s.
    pub interval: Time,
    /// 2s.
    pub timeout: Time,
    /// Failures in a row that take an endpoint out (3).
    pub unhealthy_after: u32,
    /// Successes in a row that bring it back (1).
    pub healthy_after: u32,
    /// Statuses that are healthy; empty: any 2xx. Inclusive ranges; a single one is `(s, s)`.
    pub status: Vec<(u16, u16)>,
    /// Text that the first 64KiB of the body must contain.
    pub body: Option<String>,
    /// The port to probe, when it is not the endpoint's own.
    pub port: Option<u16>,
}

/// What a health probe speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthKind {
    Http,
    Tcp,
    Grpc,
}

/// Passive health: endpoints are ejected for what real requests saw.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outlier {
    /// Failures in a row (5xx, connect errors, timeouts) that eject (5).
    pub consecutive: u32,
    /// The first ejection's length (30s); the n-th lasts n times as long, to `max_eject_for`.
    pub eject_for: Time,
    /// 5m.
    pub max_eject_for: Time,
    /// No more than this share of the endpoints is ejected at once (50%; at least one may be).
    pub max_ejected: Percent,
    /// Failure ratio over `of_last` requests that ejects too; `None`: off.
    pub failures: Option<Percent>,
    /// 100.
    pub of_last: u32,
}

/// The circuit breaker, per upstream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Breaker {
    /// Failure ratio that opens it (50%).
    pub failures: Percent,
    /// Over so many requests, and not before there were so many (20).
    pub of_last: u32,
    /// How long it stays open (10s).
    pub open_for: Time,
    /// A call slower than this counts as slow; `None`: off.
    pub slow: Option<Time>,
    /// Ratio of slow calls that opens it (100%).
    pub slow_calls: Percent,
    /// Trial requests let through when half open; all must succeed (3).
    pub trials: u32,
}

/// When and how often a request is sent again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Retry {
    /// Tries after the first (1; 0: never).
    pub attempts: u32,
    pub on: Vec<RetryOn>,
    /// Retries as a share of requests, over ten seconds (20%).
    pub budget: Percent,
    /// The first pause (25ms), doubled each time, with full jitter.
    pub backoff: Time,
    /// 250ms.
    pub max_backoff: Time,
}

/// What is retried. What was surely not sent is retried for any method; the rest for idempotent
/// methods, or with an `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// No connection, or it broke before an answer began.
    Connect,
    /// A try ran into `timeout.headers`.
    Timeout,
    /// This status. In the file a bare number.
    Status(u16),
}

/// Timeouts towards the endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TimeoutSet {
    /// To connect, TLS included; per try (2s).
    pub connect: Time,
    /// From the request's being sent to the answer's head; per try (10s).
    pub headers: Time,
    /// The whole request, all tries and pauses, to the answer's head... and its body's end (30s;
    /// 0s: none). Not applied to tunnels and to streams once their head has come.
    pub request: Time,
    /// The longest silence inside an answer's body, or in a tunnel (60s).
    pub idle: Time,
}

/// TLS towards the endpoints. There is no switch to skip verification.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct UpstreamTls {
    /// PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The name to ask for and to verify; the endpoint's host name when not given.
    pub sni: Option<String>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// Connections kept to each endpoint, by each worker unless said otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pool {
    /// Idle connections kept (128).
    pub max_idle: usize,
    /// An idle connection is closed after (60s).
    pub idle_timeout: Time,
    /// A connection is not used again when older than (10m).
    pub max_age: Time,
    /// Connections to one endpoint, all workers together; 0: no limit (0).
    pub max_connections: usize,
    /// Requests in flight to one endpoint, all workers together; 0: no limit (0).
    pub max_requests: usize,
    /// Requests that may wait for a free connection or place (1024), at most `timeout.connect`.
    pub max_pending: usize,
    /// Largest head accepted from an endpoint (64KiB).
    pub max_header_size: Size,
}
