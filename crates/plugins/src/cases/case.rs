//! What a case may say. Everything is optional but `case`, `route` and an expectation.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// One YAML document of a case file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// What it shows, in one sentence. Only for whoever reads the case or its failure.
    #[serde(rename = "case")]
    pub(super) _name: String,
    /// The route's value, as in a configuration; or one pattern with its value. `to` names a
    /// handler, or any word for the upstream that the case plays.
    pub(super) route: Value,
    /// A short form of `exchanges` with one entry.
    pub(super) request: Option<Value>,
    pub(super) upstream: Option<Upstream>,
    pub(super) upstream_sees: Option<Sees>,
    pub(super) answer: Option<Answer>,
    /// Several requests to the same built route, one after another.
    pub(super) exchanges: Option<Vec<Exchange>>,
    /// The route must not load.
    pub(super) load_error: Option<LoadError>,
}

/// A request and what must come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exchange {
    /// `GET /path`, `GET https://host/path`, or a [`Request`].
    pub(super) request: Value,
    pub(super) upstream: Option<Upstream>,
    pub(super) upstream_sees: Option<Sees>,
    pub(super) answer: Answer,
}

/// The long form of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) line: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Lines>,
    #[serde(default)]
    pub(super) body: String,
    /// 192.0.2.1 unless said.
    pub(super) client_ip: Option<std::net::IpAddr>,
}

/// The upstream's reply: 200 without a body unless said.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Upstream {
    pub(super) status: Option<u16>,
    pub(super) headers: BTreeMap<String, Lines>,
    pub(super) body: String,
}

/// What the upstream must have been asked. Its presence says that it must have been asked at all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sees {
    /// `GET /path?query`.
    pub(super) line: Option<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Lines>,
    pub(super) body: Option<String>,
}

/// What the client must get.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    pub(super) status: Option<u16>,
    /// The code of the gateway's own refusal.
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Lines>,
    pub(super) body: Option<String>,
}

/// How the route must fail to load.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoadError {
    /// The place in the plugin's value, keys joined by dots.
    pub(super) at: Option<String>,
    /// A part of the message.
    pub(super) says: String,
}

/// The lines of one header: `null` is none, a text is one, a list is several.
#[derive(Deserialize)]
#[serde(from = "Value")]
pub(super) struct Lines(pub(super) Vec<String>);

impl From<Value> for Lines {
    fn from(value: Value) -> Self {
        Self(match value {
            Value::Null => Vec::new(),
            Value::Array(list) => list.into_iter().flat_map(|one| Self::from(one).0).collect(),
            Value::String(text) => vec![text],
            other => vec![other.to_string()],
        })
    }
}
