//! What a case may say. Everything is optional but `case` and an expectation.

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
    /// handler, or any word for the upstream that the case plays. Without it, an upstream alone.
    #[serde(default)]
    pub(super) route: Value,
    /// Identities that `auth` may name, consumers and plans, as in a configuration.
    #[serde(default)]
    pub(super) identity: BTreeMap<String, BTreeMap<String, Value>>,
    #[serde(default)]
    pub(super) consumers: BTreeMap<String, Consumer>,
    #[serde(default)]
    pub(super) plans: BTreeMap<String, Value>,
    /// Files that settings may name: path → text.
    #[serde(default)]
    pub(super) files: BTreeMap<String, String>,
    /// What answers the gateway's own requests: `GET https://host/path`, or `GET NAME:/path` for
    /// an upstream → its answers, one after another; the last one stays.
    #[serde(default)]
    pub(super) outside: BTreeMap<String, OneOrMore>,
    /// A short form of `exchanges` with one entry.
    pub(super) request: Option<Value>,
    pub(super) identify: Option<String>,
    pub(super) finds: Option<Finds>,
    pub(super) upstream: Option<Upstream>,
    pub(super) upstream_sees: Option<Sees>,
    pub(super) outside_sees: Option<Vec<Sees>>,
    pub(super) answer: Option<Answer>,
    /// Several requests to the same built route, one after another.
    pub(super) exchanges: Option<Vec<Exchange>>,
    /// The route must not load.
    pub(super) load_error: Option<LoadError>,
}

/// What a configuration says of a consumer.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Consumer {
    pub(super) api_keys: Vec<String>,
    pub(super) roles: Vec<String>,
    pub(super) plan: Option<String>,
    pub(super) tags: Vec<String>,
}

/// One answer, or a list of them.
#[derive(Deserialize)]
#[serde(from = "Value")]
pub(super) struct OneOrMore(pub(super) Vec<Upstream>);

impl From<Value> for OneOrMore {
    fn from(value: Value) -> Self {
        let list = if let Value::Array(list) = value { list } else { vec![value] };
        let read = |one| serde_json::from_value(one).expect("an answer of `outside`");
        Self(list.into_iter().map(read).collect())
    }
}

/// A request and what must come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exchange {
    /// So much time passes before it: `500ms`, `2s`.
    pub(super) after: Option<lockgate_core::Time>,
    /// `GET /path`, `GET https://host/path`, or a [`Request`].
    pub(super) request: Value,
    /// The route is left out: this identity alone is asked. What it leaves of the request's head
    /// is what `upstream_sees`.
    pub(super) identify: Option<String>,
    pub(super) finds: Option<Finds>,
    pub(super) upstream: Option<Upstream>,
    pub(super) upstream_sees: Option<Sees>,
    /// All requests of the gateway's own that came of it, in their order.
    pub(super) outside_sees: Option<Vec<Sees>>,
    pub(super) answer: Option<Answer>,
}

/// What an identity must find: one of these.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Finds {
    pub(super) consumer: Option<Found>,
    /// The reason's code.
    pub(super) rejected: Option<String>,
    pub(super) absent: bool,
    /// It cannot tell: the fault's reason.
    pub(super) fails: Option<String>,
    /// The challenge that goes with it; with a consumer, the one for the scope `all`.
    pub(super) challenge: Option<String>,
}

/// Whom: what is not said may be anything, but the name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) known: Option<bool>,
    pub(super) roles: Option<Vec<String>>,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) tags: Option<Vec<String>>,
    /// A plan's name; `none` is none.
    #[serde(default, deserialize_with = "plan")]
    pub(super) plan: Option<Value>,
    /// By name or path; `null` is one that is not there.
    #[serde(default)]
    pub(super) claims: BTreeMap<String, Value>,
}

fn plan<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    let plan = String::deserialize(deserializer)?;
    Ok(Some(if plan == "none" { Value::Null } else { plan.into() }))
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
    /// Who asks, as an identity would have found. Read where the case's consumers are known.
    #[serde(rename = "consumer")]
    pub(super) _consumer: Option<String>,
    /// The verified certificate that the client showed in the TLS handshake.
    pub(super) certificate: Option<Certificate>,
}

/// A client's certificate, as a listener reads it.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    /// As text, in the form of RFC 4514.
    pub(super) subject: String,
    /// That of the subject, where its text is not as plain as `CN=alice` or `CN=alice,O=Example`;
    /// `""` is none.
    pub(super) common_name: Option<String>,
    #[serde(default = "authority")]
    pub(super) issuer: String,
    /// `dns:NAME`, `email:NAME` and `uri:NAME`.
    #[serde(default)]
    pub(super) names: Vec<String>,
    #[serde(default)]
    pub(super) fingerprint: String,
}

fn authority() -> String {
    "CN=ca".to_owned()
}

/// The upstream's reply: 200 without a body unless said.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Upstream {
    pub(super) status: Option<u16>,
    pub(super) headers: BTreeMap<String, Lines>,
    pub(super) body: String,
    /// The body breaks off after that.
    pub(super) breaks_off: bool,
    /// It does not answer at all.
    pub(super) fails: bool,
    /// How long it takes.
    pub(super) takes: Option<lockgate_core::Time>,
    /// It cannot be reached.
    pub(super) refuses: bool,
}

/// What an upstream must have been asked. Its presence says that it must have been asked at all.
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
    /// The members that the refusal's problem has beyond the usual; all of them, when said.
    pub(super) members: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Lines>,
    pub(super) body: Option<String>,
    /// Parts of the body.
    #[serde(default)]
    pub(super) contains: Vec<String>,
    /// The body must break off, too early.
    #[serde(default)]
    pub(super) breaks_off: bool,
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
