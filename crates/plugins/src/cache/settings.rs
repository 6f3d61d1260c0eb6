//! What a route says of its cache: the settings as written, and the terms made of them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use lockgate_core::{ConfigError, Key, Percent, Size, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Keeps answers and gives them again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Settings")]
pub(super) struct Long {
    /// How long an answer is fresh where the upstream does not say. Without it only what the
    /// upstream gives a time is kept.
    pub(super) ttl: Option<Time>,
    /// Whether `ttl` and `statuses` hold against what the upstream says; never against `no-store`,
    /// `private` and `no-cache`.
    #[serde(rename = "override")]
    pub(super) forced: bool,
    /// How long after that it may still be given while a new one is fetched (RFC 5861).
    pub(super) stale_while_revalidate: Option<Time>,
    /// How long after that it may still be given when the upstream fails (RFC 5861).
    pub(super) stale_if_error: Option<Time>,
    /// Status, or class such as `5xx` → its own `ttl`. `ttl` itself is of 200, 203, 204, 301 and
    /// 308.
    pub(super) statuses: BTreeMap<String, Time>,
    /// Share of the time since `Last-Modified` for which an answer is guessed to be fresh, where
    /// nothing else says how long.
    pub(super) heuristic: Option<Percent>,
    /// What tells requests apart beside scheme, host, path, query and consumer.
    pub(super) vary_by: Option<Key>,
    /// Whether identified consumers share answers. Otherwise each has their own.
    pub(super) shared: bool,
    /// Which parameters of the query tell requests apart.
    pub(super) query: Query,
    /// Largest body that is kept.
    pub(super) max_body: Size,
    /// How long requests wait for the answer to another that asks for the same until one more of
    /// them asks.
    pub(super) wait: Time,
    /// Whether answers with `Set-Cookie` are kept, cookie and all.
    pub(super) set_cookie: bool,
    /// Whether clients may ask for a fresh answer (`Cache-Control: no-cache` and the like).
    pub(super) client_control: bool,
    /// Whether `Cache-Tag` and `Surrogate-Key` reach the client.
    pub(super) show_tags: bool,
    /// Where answers are kept: in memory, or in a Redis that other gateways share, with the memory
    /// of each in front.
    pub(super) store: String,
    /// Largest body that goes to a shared store; each gateway keeps larger ones for itself.
    pub(super) max_shared_body: Size,
    /// What a gateway does with what it has in memory while it cannot hear of purges by others,
    /// because the shared store cannot be reached. What is not in memory is a miss either way.
    pub(super) on_store_error: OnStoreError,
}

/// What is done with answers in memory while their shared store cannot be reached.
#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnStoreError {
    /// They are given for as long as they are good: one that was purged elsewhere, until then.
    Local,
    /// They are not given: each request is a miss.
    Miss,
}

impl Default for Long {
    fn default() -> Self {
        Self {
            ttl: None,
            forced: false,
            stale_while_revalidate: None,
            stale_if_error: None,
            statuses: BTreeMap::new(),
            heuristic: None,
            vary_by: None,
            shared: false,
            query: Query::default(),
            max_body: Size(8 << 20),
            wait: Time(Duration::from_secs(5)),
            set_cookie: false,
            client_control: true,
            show_tags: false,
            store: "memory".to_owned(),
            max_shared_body: Size(1 << 20),
            on_store_error: OnStoreError::Local,
        }
    }
}

/// Parameters of the query: a name, or its begin and a `*`.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Query {
    /// These alone tell requests apart.
    pub(super) only: Option<Vec<String>>,
    /// These do not.
    pub(super) ignore: Vec<String>,
}

/// The settings, or the `ttl` alone.
pub(super) struct Config(pub(super) Long);

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Config;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 60s, or the settings of a cache")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Config, E> {
                let ttl = text.parse().map_err(E::custom)?;
                Ok(Config(Long { ttl: Some(ttl), ..Long::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Config, A::Error> {
                Long::deserialize(MapAccessDeserializer::new(map)).map(Config)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Config {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Config".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let short = generator.subschema_for::<Time>();
        let long = generator.subschema_for::<Long>();
        let text = "Keeps answers and gives them again.";
        json_schema!({ "description": text, "anyOf": [short, long] })
    }
}

/// What decides how long answers are good for.
#[derive(Debug, Default)]
pub(super) struct Terms {
    ttl: Option<Duration>,
    statuses: Vec<(StatusCode, Duration)>,
    classes: Vec<(u16, Duration)>,
    pub(super) forced: bool,
    pub(super) stale_while_revalidate: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
    pub(super) heuristic: Option<f64>,
    pub(super) set_cookie: bool,
}

impl Terms {
    /// Takes its part of the settings.
    ///
    /// # Errors
    /// A status that is none.
    pub(super) fn read(long: &Long) -> Result<Self, ConfigError> {
        let time = |time: Option<Time>| time.map(|time| time.0);
        let mut terms = Self {
            ttl: time(long.ttl),
            forced: long.forced,
            stale_while_revalidate: time(long.stale_while_revalidate),
            stale_if_error: time(long.stale_if_error),
            heuristic: long.heuristic.map(|share| share.0),
            set_cookie: long.set_cookie,
            ..Self::default()
        };
        for (text, ttl) in &long.statuses {
            let wrong = |why: &str| ConfigError::new(why.to_owned()).at(text).at("statuses");
            if let [class @ b'2'..=b'5', b'x', b'x'] = text.as_bytes() {
                terms.classes.push((u16::from(class - b'0'), ttl.0));
                continue;
            }
            let status: Option<StatusCode> = text.parse().ok();
            match status.map(|status| (status, status.as_u16())) {
                Some((_, 206 | 304)) => return Err(wrong("an answer in part is never kept")),
                Some((status, 200..=599)) => terms.statuses.push((status, ttl.0)),
                _ => return Err(wrong("expected a status such as 404, or a class such as 5xx")),
            }
        }
        if terms.forced && terms.ttl.is_none() && long.statuses.is_empty() {
            let message = "`override` needs a `ttl` or `statuses` that hold instead";
            return Err(ConfigError::new(message).at("override"));
        }
        Ok(terms)
    }

    /// The route's own time for a status.
    pub(super) fn of_status(&self, status: StatusCode) -> Option<Duration> {
        if let Some((_, ttl)) = self.statuses.iter().find(|(own, _)| *own == status) {
            return Some(*ttl);
        }
        let code = status.as_u16();
        if matches!(code, 206 | 304) {
            return None;
        }
        if let Some((_, ttl)) = self.classes.iter().find(|(class, _)| *class == code / 100) {
            return Some(*ttl);
        }
        self.ttl.filter(|_| matches!(code, 200 | 203 | 204 | 301 | 308))
    }
}
