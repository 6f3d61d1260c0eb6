//! `upstreams`: the services behind, their endpoints, and how to treat them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use lockgate_core::{Key, Percent, Size, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::decode::forms;

/// A service and the endpoints that serve it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Upstream {
    /// `host:port` → its settings. A name is resolved by DNS, to as many addresses as it has.
    #[serde(deserialize_with = "forms::endpoints")]
    #[schemars(with = "std::collections::BTreeMap<String, Endpoint>")]
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
    /// HTTP/2 towards the endpoints. True: over TLS as they choose by ALPN, in plain text without
    /// asking. False: never. Not said: over TLS as they choose, HTTP/1.1 in plain text.
    #[schemars(with = "bool")]
    pub http2: Http2Use,
    pub pool: Pool,
    /// How long a fresh endpoint's share grows to its weight; zero: at once.
    pub slow_start: Time,
    /// When fewer than this share of the endpoints of one priority are usable, yet at least one
    /// is, those that are ejected or fail their checks share the load (50%). When none of any
    /// priority is, the ejected ones are used, and those that have never passed a check. What
    /// cannot be connected to is not, nor what an operator took out. 0%: health always holds.
    pub panic_threshold: Percent,
    /// Send the endpoint's own name as Host instead of the client's (`host: endpoint`).
    pub host: HostHeader,
}

/// Whether HTTP/2 is spoken to endpoints. In the file a bool, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Http2Use {
    /// Over TLS as the endpoint chooses.
    #[default]
    Negotiated,
    On,
    Off,
}

impl Serialize for Http2Use {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let said = match self {
            Self::Negotiated => None,
            Self::On => Some(true),
            Self::Off => Some(false),
        };
        said.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Http2Use {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(if bool::deserialize(deserializer)? { Self::On } else { Self::Off })
    }
}

impl Upstream {
    /// Whether connections to its endpoints may turn out to speak HTTP/2.
    pub fn may_speak_http2(&self) -> bool {
        match self.http2 {
            Http2Use::On => true,
            Http2Use::Off => false,
            Http2Use::Negotiated => self.tls.is_some(),
        }
    }
}

/// Which Host an upstream sees, unless the route rewrites it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostHeader {
    Keep,
    Endpoint,
}

/// One endpoint's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Endpoint {
    /// Its share (1); 0 takes no new requests.
    pub weight: u32,
    /// Where it runs, shown beside it.
    pub zone: Option<String>,
    /// Lower ones are used first; higher ones when none of the lower is usable (0).
    pub priority: u32,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sticky {
    Cookie {
        /// `lockgate_sticky` unless told.
        #[serde(default = "sticky_name")]
        name: String,
        /// What cookies are signed with, so that several gateways agree; random when not given.
        #[serde(default, skip_serializing)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
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
    /// Failures in a row that take an endpoint out (3). Its first probe of all decides at once.
    pub unhealthy_after: u32,
    /// Successes in a row that bring it back (1).
    pub healthy_after: u32,
    /// Statuses that are healthy; empty: any 2xx. Inclusive ranges; a single one is `(s, s)`.
    #[serde(deserialize_with = "forms::statuses")]
    #[schemars(with = "Vec<String>")]
    pub status: Vec<(u16, u16)>,
    /// Text that the first 64KiB of the body must contain.
    pub body: Option<String>,
    /// The port to probe, when it is not the endpoint's own.
    pub port: Option<u16>,
}

/// What a health probe speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthKind {
    Http,
    Tcp,
    Grpc,
}

/// Passive health: endpoints are ejected for what real requests saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Retry {
    /// Tries after the first (1; 0: never).
    pub attempts: u32,
    /// What is retried: connect, timeout, 502 and 503.
    #[serde(deserialize_with = "forms::retry_on")]
    #[schemars(with = "Vec<String>")]
    pub on: Vec<RetryOn>,
    /// Retries as a share of requests, over ten seconds (20%); ten are always allowed, so that
    /// a quiet service rides out one dead endpoint. 0%: none.
    pub budget: Percent,
    /// The first pause (25ms), doubled each time, with full jitter.
    pub backoff: Time,
    /// 250ms.
    pub max_backoff: Time,
}

/// What is retried. What was surely not sent is retried for any method; the rest for idempotent
/// methods, or with an `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TimeoutSet {
    /// To connect, TLS included; per try (2s).
    pub connect: Time,
    /// From the request's being sent to the answer's head; per try (10s).
    pub headers: Time,
    /// The whole request, all tries and pauses, to the end of the answer's body (30s; 0s: none).
    /// Tunnels, `text/event-stream` and gRPC answers are bound up to their head.
    pub request: Time,
    /// The longest silence inside an answer's body, or in a tunnel (60s).
    pub idle: Time,
}

/// TLS towards the endpoints. There is no switch to skip verification.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UpstreamTls {
    /// PEM file of the authorities to trust instead of the system's.
    #[serde(deserialize_with = "forms::maybe_path")]
    pub ca: Option<PathBuf>,
    /// The name to ask for and to verify; the endpoint's host name when not given.
    pub sni: Option<String>,
    /// The certificate to show, PEM.
    #[serde(deserialize_with = "forms::maybe_path")]
    pub cert: Option<PathBuf>,
    /// Its key, PEM.
    #[serde(deserialize_with = "forms::maybe_path")]
    pub key: Option<PathBuf>,
}

/// Connections kept to each endpoint, by each worker unless said otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
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
    /// Requests that may wait for a free connection to one endpoint, or for a place with any of
    /// them, all workers together (1024); they wait for `timeout.connect` at most.
    pub max_pending: usize,
    /// Largest head accepted from an endpoint (64KiB).
    pub max_header_size: Size,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            endpoints: IndexMap::new(),
            balance: Balance::RoundRobin,
            sticky: None,
            health: Some(Health::default()),
            outlier: Some(Outlier::default()),
            breaker: None,
            retry: Retry::default(),
            timeout: TimeoutSet::default(),
            tls: None,
            http2: Http2Use::default(),
            pool: Pool::default(),
            slow_start: Time::default(),
            panic_threshold: Percent(0.5),
            host: HostHeader::Keep,
        }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self { weight: 1, zone: None, priority: 0 }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            kind: HealthKind::Http,
            path: "/health".into(),
            host: None,
            interval: secs(10),
            timeout: secs(2),
            unhealthy_after: 3,
            healthy_after: 1,
            status: Vec::new(),
            body: None,
            port: None,
        }
    }
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive: 5,
            eject_for: secs(30),
            max_eject_for: secs(300),
            max_ejected: Percent(0.5),
            failures: None,
            of_last: 100,
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: Percent(0.5),
            of_last: 20,
            open_for: secs(10),
            slow: None,
            slow_calls: Percent(1.0),
            trials: 3,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            on: vec![
                RetryOn::Connect,
                RetryOn::Timeout,
                RetryOn::Status(502),
                RetryOn::Status(503),
            ],
            budget: Percent(0.2),
            backoff: Time(Duration::from_millis(25)),
            max_backoff: Time(Duration::from_millis(250)),
        }
    }
}

impl Default for TimeoutSet {
    fn default() -> Self {
        Self { connect: secs(2), headers: secs(10), request: secs(30), idle: secs(60) }
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            max_idle: 128,
            idle_timeout: secs(60),
            max_age: secs(600),
            max_connections: 0,
            max_requests: 0,
            max_pending: 1024,
            max_header_size: Size(64 * 1024),
        }
    }
}

fn secs(count: u64) -> Time {
    Time(Duration::from_secs(count))
}

fn sticky_name() -> String {
    "lockgate_sticky".into()
}
