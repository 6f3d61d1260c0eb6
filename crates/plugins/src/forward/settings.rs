//! The settings as they are written, and the short form of `cache`.

use std::fmt;
use std::time::Duration;

use lockgate_core::Time;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::one_or_more::OneOrMore;

/// Identifies callers by asking an auth service, which sees the request's head.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// Where the service is asked; or an `upstream` and a `path`.
    pub(super) url: Option<String>,
    /// The upstream that is asked, by its own health checks, balance and TLS.
    pub(super) upstream: Option<String>,
    /// The path that it is asked for (`/`).
    pub(super) path: Option<String>,
    /// PEM file of the authorities to trust instead of the system's, for `url`.
    pub(super) ca: Option<String>,
    /// How it is asked; the request never has a body.
    #[serde(default)]
    pub(super) method: Method,
    /// The request's headers that the service gets. A request that has none of them is not asked
    /// about: it has no credentials.
    #[serde(default = "default_send")]
    pub(super) send: OneOrMore<String>,
    /// Whether the service is asked about requests without any of these headers too (`false`).
    #[serde(default)]
    pub(super) ask_anyway: bool,
    /// Headers of its answer that the target gets. What clients send under these names is taken
    /// away on every route; `Authorization` and other fields of HTTP itself on its own alone.
    #[serde(default)]
    pub(super) copy: OneOrMore<String>,
    /// The header of its answer that names the consumer. With `""` all callers are one, who goes
    /// by the identity's name.
    #[serde(default = "default_name")]
    pub(super) name: String,
    /// The header of its answer with the roles, separated by commas.
    pub(super) roles: Option<String>,
    /// The header of its answer that names one of `plans`.
    pub(super) plan: Option<String>,
    /// How long an answer is kept; not at all unless said.
    #[serde(default)]
    pub(super) cache: Cache,
    /// Most answers kept.
    #[serde(default = "default_max_entries")]
    #[schemars(range(min = 16, max = 10_000_000))]
    pub(super) max_entries: u32,
    /// How long the service may take.
    #[serde(default = "default_timeout")]
    pub(super) timeout: Time,
    /// What a client gets when the service refuses.
    #[serde(default)]
    pub(super) answer: Refused,
}

/// How the service is asked.
#[derive(Deserialize, JsonSchema, Default, Clone, Copy)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Method {
    #[default]
    Get,
    Head,
    Post,
}

/// What a client gets when the service refuses.
#[derive(Deserialize, JsonSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Refused {
    /// The gateway's own refusal.
    #[default]
    Own,
    /// The service's answer as it is, for 401 and 403, and for 3xx too: the way to a login.
    Pass,
}

/// For how long answers are kept, and for which requests.
#[derive(Default)]
pub(super) struct Cache(pub(super) CacheSettings);

/// All of it.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct CacheSettings {
    /// How long an answer is kept. What the service takes back is let in for so long.
    pub(super) ttl: Time,
    /// Which requests get the same answer.
    #[serde(default)]
    pub(super) by: By,
}

/// Which requests get the same answer.
#[derive(Deserialize, JsonSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum By {
    /// Those that are all the same to the service: headers, method, host, path and query.
    #[default]
    Request,
    /// Those with the same headers of `send`: for a service that says who it is, and not who may
    /// do what.
    Headers,
}

impl<'de> Deserialize<'de> for Cache {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Cache;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as 10s, or a mapping with `ttl`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Cache, E> {
                let ttl = text.parse().map_err(E::custom)?;
                Ok(Cache(CacheSettings { ttl, ..CacheSettings::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Cache, A::Error> {
                CacheSettings::deserialize(MapAccessDeserializer::new(map)).map(Cache)
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl JsonSchema for Cache {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cache".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let settings = generator.subschema_for::<CacheSettings>();
        let time = generator.subschema_for::<Time>();
        schemars::json_schema!({ "anyOf": [time, settings] })
    }
}

fn default_send() -> OneOrMore<String> {
    OneOrMore(vec!["Authorization".to_owned(), "Cookie".to_owned()])
}

fn default_name() -> String {
    "X-User-Id".to_owned()
}

fn default_max_entries() -> u32 {
    10_000
}

fn default_timeout() -> Time {
    Time(Duration::from_secs(1))
}
