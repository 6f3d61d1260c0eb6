//! `telemetry.traces` and `telemetry.otlp`: what goes to a collector by OTLP, and how.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use indexmap::IndexMap;
use lockgate_core::{Percent, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::is_only_named;
use crate::decode::forms;

/// Spans of requests, to a collector by OTLP. A URL alone is its `to`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Traces {
    /// The collector: `http://HOST:PORT` or `https://HOST:PORT`. Without a path, `/v1/traces` is
    /// asked by HTTP.
    pub to: String,
    /// How OTLP is spoken. When not given, the port decides: `grpc` on 4317, `http` else.
    pub protocol: Option<OtlpProtocol>,
    /// Which requests are told. A percentage alone is its `ratio`.
    pub sample: Sampling,
    /// What else is read of requests without a valid `traceparent`.
    #[serde(deserialize_with = "forms::contexts")]
    pub read: Vec<Context>,
    /// Headers of the requests to the collector: `{ authorization: "${env:NAME}" }`.
    #[serde(deserialize_with = "forms::header_values")]
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub headers: Headers,
    /// PEM file of the authorities to trust instead of the system's, for `https://`.
    #[serde(deserialize_with = "forms::maybe_path")]
    pub ca: Option<PathBuf>,
    /// How long one request to the collector may take (10s).
    pub timeout: Time,
    /// The resource's `service.name` (`lockgate`).
    pub service_name: String,
    /// What else is said of the resource: `{ deployment.environment.name: production }`.
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub resource: IndexMap<String, String>,
}

/// Which requests are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Sampling {
    /// Share of the traces that begin here (100%). Decided by the trace's id, so that gateways
    /// with the same share choose the same.
    pub ratio: Percent,
    /// Whether the flag of a request's `traceparent` decides instead of `ratio` (true).
    pub parent: bool,
    /// Most requests that are told in a second, whatever asks for them (100); `off`: no limit.
    pub per_second: Option<u32>,
    /// Whether requests that end in an error are told although they were not chosen (true): with a
    /// status of 500 or more, or by a fault that is not the client's. To `per_second` of them.
    pub errors: bool,
    /// Those that take at least as long are told too (off).
    pub slow: Option<Time>,
}

/// The gateway's metrics, to a collector by OTLP. A URL alone is its `to`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OtlpMetrics {
    /// The collector: `http://HOST:PORT` or `https://HOST:PORT`. Without a path, `/v1/metrics` is
    /// asked by HTTP.
    pub to: String,
    /// How OTLP is spoken. When not given, the port decides: `grpc` on 4317, `http` else.
    pub protocol: Option<OtlpProtocol>,
    /// How often (60s).
    pub interval: Time,
    /// Headers of the requests to the collector.
    #[serde(deserialize_with = "forms::header_values")]
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub headers: Headers,
    /// PEM file of the authorities to trust instead of the system's, for `https://`.
    #[serde(deserialize_with = "forms::maybe_path")]
    pub ca: Option<PathBuf>,
    /// How long one request to the collector may take (10s).
    pub timeout: Time,
    /// The resource's `service.name` (`lockgate`).
    pub service_name: String,
    /// What else is said of the resource.
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub resource: IndexMap<String, String>,
}

/// How OTLP is spoken: protobuf either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OtlpProtocol {
    Grpc,
    Http,
}

/// Headers other than `traceparent` that say of which trace a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Context {
    /// `b3`, or `x-b3-traceid` and the others.
    B3,
    /// `uber-trace-id`.
    Jaeger,
}

/// Headers whose values may be secrets: shown only where they are named by a reference.
#[derive(Clone, PartialEq, Default)]
pub struct Headers(pub IndexMap<String, String>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().filter(|(_, value)| is_only_named(value)))
    }
}

/// Where and how OTLP is spoken, and of what.
#[derive(Debug, Clone, PartialEq)]
pub struct Collector {
    /// Where, with the path of the signal.
    pub url: Uri,
    /// How.
    pub protocol: OtlpProtocol,
    /// With which headers.
    pub headers: Headers,
    /// Whom it trusts.
    pub ca: Option<PathBuf>,
    /// How long a request may take.
    pub timeout: Duration,
    /// Attributes of the resource, `service.name` first.
    pub resource: Vec<(String, String)>,
}

/// What is wrong: the key, and a sentence that repeats no value.
pub type WrongCollector = (&'static str, &'static str);

/// A signal's own path in either protocol.
struct Signal {
    http: &'static str,
    grpc: &'static str,
}

const TRACES: Signal = Signal {
    http: "/v1/traces",
    grpc: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
};
const METRICS: Signal = Signal {
    http: "/v1/metrics",
    grpc: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
};

/// Headers that are not the configuration's to set.
const OWN: [&str; 8] = [
    "content-type",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "host",
    "upgrade",
    "user-agent",
];
/// The longest wait for a collector.
const LONGEST: Duration = Duration::from_secs(300);
/// Most attributes of a resource, or headers.
const MOST: usize = 64;

impl Traces {
    /// Where they go, all settings checked.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn collector(&self) -> Result<Collector, WrongCollector> {
        let Self { to, protocol, headers, ca, timeout, service_name, resource, .. } = self;
        collector(&TRACES, to, *protocol, (headers, ca, *timeout), (service_name, resource))
    }
}

impl OtlpMetrics {
    /// Where they go, all settings checked.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn collector(&self) -> Result<Collector, WrongCollector> {
        let Self { to, protocol, headers, ca, timeout, service_name, resource, interval } = self;
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&interval.0) {
            return Err(("interval", "expected from 1s to 1h"));
        }
        collector(&METRICS, to, *protocol, (headers, ca, *timeout), (service_name, resource))
    }
}

fn collector(
    signal: &Signal,
    to: &str,
    protocol: Option<OtlpProtocol>,
    (headers, ca, timeout): (&Headers, &Option<PathBuf>, Time),
    (service_name, resource): (&str, &IndexMap<String, String>),
) -> Result<Collector, WrongCollector> {
    let (url, protocol) = address(signal, to, protocol).map_err(|what| ("to", what))?;
    if headers.0.len() > MOST || headers.0.keys().any(|name| OWN.contains(&name.as_str())) {
        let what = "at most 64, and none of those that the gateway sets itself: content-type, \
                    host, user-agent and the like";
        return Err(("headers", what));
    }
    for (name, value) in &headers.0 {
        if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err()
        {
            return Err(("headers", "a header's value is visible ASCII in one line"));
        }
    }
    if ca.is_some() && url.scheme_str() != Some("https") {
        return Err(("ca", "is for `https://` alone"));
    }
    if timeout.0.is_zero() || timeout.0 > LONGEST {
        return Err(("timeout", "expected from 1ms to 5m"));
    }
    if service_name.is_empty() {
        return Err(("service_name", "cannot be empty"));
    }
    if resource.len() > MOST || resource.contains_key("service.name") {
        let what = "at most 64 attributes; `service.name` is `service_name` beside it";
        return Err(("resource", what));
    }
    let named = [("service.name".to_owned(), service_name.to_owned())];
    let others = resource.iter().map(|(key, value)| (key.clone(), value.clone()));
    let resource = named.into_iter().chain(others).collect();
    let (headers, ca, timeout) = (headers.clone(), ca.clone(), timeout.0);
    Ok(Collector { url, protocol, headers, ca, timeout, resource })
}

fn address(
    signal: &Signal,
    to: &str,
    protocol: Option<OtlpProtocol>,
) -> Result<(Uri, OtlpProtocol), &'static str> {
    const EXPECTED: &str =
        "expected the collector's URL, such as `http://127.0.0.1:4318` or `https://otel.example`";
    let uri: Uri = to.parse().map_err(|_| EXPECTED)?;
    let authority = uri.authority().ok_or(EXPECTED)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.host().is_empty() {
        return Err(EXPECTED);
    }
    if authority.as_str().contains('@') {
        return Err("a user and a password go into `headers: { authorization }`");
    }
    if uri.query().is_some() {
        return Err("a collector's URL has no query");
    }
    let by_port = match authority.port_u16() {
        Some(4317) => OtlpProtocol::Grpc,
        _ => OtlpProtocol::Http,
    };
    let protocol = protocol.unwrap_or(by_port);
    let path = match (protocol, uri.path()) {
        (OtlpProtocol::Grpc, "" | "/") => signal.grpc,
        (OtlpProtocol::Grpc, _) => return Err("by gRPC the path is fixed: leave it out"),
        (OtlpProtocol::Http, "" | "/") => signal.http,
        (OtlpProtocol::Http, path) => path,
    };
    let scheme = uri.scheme_str().unwrap_or_default();
    let url = format!("{scheme}://{authority}{path}").parse().map_err(|_| EXPECTED)?;
    Ok((url, protocol))
}

impl Default for Traces {
    fn default() -> Self {
        let OtlpMetrics { to, protocol, headers, ca, timeout, service_name, resource, .. } =
            OtlpMetrics::default();
        let (sample, read) = (Sampling::default(), Vec::new());
        Self { to, protocol, sample, read, headers, ca, timeout, service_name, resource }
    }
}

impl Default for OtlpMetrics {
    fn default() -> Self {
        Self {
            to: String::new(),
            protocol: None,
            interval: Time(Duration::from_secs(60)),
            headers: Headers::default(),
            ca: None,
            timeout: Time(Duration::from_secs(10)),
            service_name: "lockgate".to_owned(),
            resource: IndexMap::new(),
        }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        let (ratio, per_second) = (Percent(1.0), Some(100));
        Self { ratio, parent: true, per_second, errors: true, slow: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(to: &str, protocol: Option<OtlpProtocol>) -> Result<(String, OtlpProtocol), &str> {
        let traces = Traces { to: to.to_owned(), protocol, ..Traces::default() };
        let collector = traces.collector().map_err(|(key, _)| key)?;
        Ok((collector.url.to_string(), collector.protocol))
    }

    #[test]
    fn the_port_and_the_path_say_what_is_spoken() {
        use OtlpProtocol::{Grpc, Http};
        let grpc = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        for (to, said, url, protocol) in [
            ("http://c:4318", None, "http://c:4318/v1/traces".to_owned(), Http),
            ("http://c:4317", None, format!("http://c:4317{grpc}"), Grpc),
            ("https://c/", Some(Grpc), format!("https://c{grpc}"), Grpc),
            ("https://c/otlp/x", None, "https://c/otlp/x".to_owned(), Http),
            ("http://[::1]:4317/v1/traces", Some(Http), "http://[::1]:4317/v1/traces".into(), Http),
        ] {
            assert_eq!(address(to, said), Ok((url, protocol)), "{to}");
        }
        for to in ["", "c:4317", "ftp://c", "http://u:p@c", "http://c/?x=1", "http://c:4317/x"] {
            assert_eq!(address(to, None), Err("to"), "{to}");
        }
    }

    #[test]
    fn secrets_are_neither_printed_nor_written_out() {
        let headers = [("a", "Bearer s3cr3t"), ("b", "${env:TOKEN}")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let traces = Traces { headers: Headers(headers.into()), ..Traces::default() };
        assert!(!format!("{traces:?}").contains("s3cr3t"));
        let written = serde_json::to_value(&traces).unwrap();
        assert_eq!(written["headers"], serde_json::json!({ "b": "${env:TOKEN}" }));
    }
}
