//! `serialize`: requests with the same key pass one at a time, over all gateways that share a
//! store, each with a token that tells the service which came later. Refuses who has waited for
//! too long, and fails or flags what went on when its lease was over.

mod body;
mod key;
mod pass;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::{Method, StatusCode};
use lockgate_core::{
    Build, Built, ConfigError, Key, Kind, Listed, Metric, MetricKind, Policy, PolicyPlugin, Reason,
    Stage, Time, decode,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::Value;

use crate::counted::{Name, OnStoreError};
use crate::fields;
use pass::{Counts, Figures, OneAtATime};

/// Lets requests with the same key pass one at a time.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// What is never asked for twice at once, such as `path:id`; or a list taken together. A
    /// request that does not have all of it is refused.
    by: Key,
    /// How long a request waits for its turn.
    #[serde(default = "usual_wait")]
    wait: Time,
    /// How long a request may take once it is its turn. Longer than the route's `timeout`, so that
    /// it is no more than the last resort.
    #[serde(default = "usual_hold")]
    hold: Time,
    /// How soon others may go on when a gateway has vanished with a turn. It says that it is still
    /// there three times as often. In memory it means nothing.
    #[serde(default = "usual_ttl")]
    ttl: Time,
    /// How many may wait for one value of the key.
    #[serde(default = "usual_queue")]
    queue: usize,
    /// Where the turns are kept: gateways that name the same Redis take turns with each other.
    #[serde(default = "memory")]
    store: String,
    /// What happens when the store does not answer.
    #[serde(default = "deny")]
    on_store_error: OnStoreError,
    /// The turn ends with the answer's head, or with the last byte of its body.
    #[serde(default)]
    until: Until,
    /// The header in which the service is told the turn's number.
    #[serde(default = "usual_header")]
    fencing_header: String,
    /// The status for who has waited for too long.
    #[serde(default)]
    busy: Busy,
    /// What that answer's `Retry-After` says.
    #[serde(default = "usual_retry")]
    retry_after: Time,
    /// What happens to a request whose turn is over before its answer is there.
    #[serde(default)]
    on_lost: OnLost,
    /// Only requests with these methods take turns; without it, all that the route takes.
    #[serde(default)]
    methods: Option<Vec<String>>,
    /// Routes that say the same name take turns with each other. Without it, each for itself.
    #[serde(default)]
    name: Option<Name>,
}

/// When a turn ends.
#[derive(Deserialize, JsonSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Until {
    /// When the head of the answer has come.
    Headers,
    /// When its body has come to its end.
    #[default]
    Body,
}

/// What happens to a request whose turn is over.
#[derive(Deserialize, JsonSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum OnLost {
    /// It is cut short and refused.
    #[default]
    Fail,
    /// Its answer passes, with `Lockgate-Lease: lost`.
    Flag,
}

/// The status for who has waited for too long.
#[derive(Clone, Copy)]
struct Busy(StatusCode);

impl Default for Busy {
    fn default() -> Self {
        Self(StatusCode::CONFLICT)
    }
}

impl<'de> Deserialize<'de> for Busy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u16::deserialize(deserializer)? {
            409 => Ok(Self(StatusCode::CONFLICT)),
            503 => Ok(Self(StatusCode::SERVICE_UNAVAILABLE)),
            other => Err(serde::de::Error::custom(format!("`{other}` is neither 409 nor 503"))),
        }
    }
}

impl JsonSchema for Busy {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Busy".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> Schema {
        schemars::json_schema!({ "enum": [409, 503] })
    }
}

fn usual_wait() -> Time {
    Time(Duration::from_secs(2))
}

fn usual_hold() -> Time {
    Time(Duration::from_secs(60))
}

fn usual_ttl() -> Time {
    Time(Duration::from_secs(5))
}

fn usual_retry() -> Time {
    Time(Duration::from_secs(1))
}

fn usual_queue() -> usize {
    100
}

fn usual_header() -> String {
    "Lockgate-Fence".to_owned()
}

fn memory() -> String {
    "memory".to_owned()
}

fn deny() -> OnStoreError {
    OnStoreError::Deny
}

const LONGEST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_HOLD: Duration = Duration::from_secs(600);
const SHORTEST_HOLD: Duration = Duration::from_millis(10);
const LONGEST_TTL: Duration = Duration::from_secs(60);
/// Below that, a store that is slow for a moment would lose every turn.
const SHORTEST_TTL: Duration = Duration::from_millis(300);
const MOST_QUEUE: usize = 10_000;

static BUSY: Reason = Reason {
    code: "serialize_busy",
    kind: Kind::Conflict,
    help: "Requests with the same key were under way for as long as the route's `serialize.wait` \
           allows this one to wait. The status is its `busy`.",
};
static QUEUE_FULL: Reason = Reason {
    code: "serialize_queue_full",
    kind: Kind::Conflict,
    help: "As many requests with the same key wait already as the route's `serialize.queue` \
           allows, or as there is room for in the store. The status is its `busy`.",
};
static KEY_MISSING: Reason = Reason {
    code: "serialize_key_missing",
    kind: Kind::InvalidRequest,
    help: "The request does not have what the route's `serialize.by` names.",
};
static KEY_AMBIGUOUS: Reason = Reason {
    code: "serialize_key_ambiguous",
    kind: Kind::InvalidRequest,
    help: "The request has what the route's `serialize.by` names more than once, so that the \
           service might read another than the gateway.",
};
static LOST: Reason = Reason {
    code: "lease_lost",
    kind: Kind::Unavailable,
    help: "The lease that the request held by the route's `serialize` was lost while it was under \
           way: the store failed over or did not answer in time, or the gateway stood still. The \
           service may have done what was asked.",
};
static EXPIRED: Reason = Reason {
    code: "lease_expired",
    kind: Kind::GatewayTimeout,
    help: "The request took longer than the route's `serialize.hold` once it was its turn. The \
           service may have done what was asked.",
};

const LABELS: &[&str] = &["place"];
static TURNS: Metric = Metric {
    name: "lockgate_serialize_turns_total",
    kind: MetricKind::Counter,
    labels: LABELS,
    help: "Requests that were given their turn, by the place where `serialize` is configured",
};
static REFUSED: Metric = Metric {
    name: "lockgate_serialize_busy_total",
    kind: MetricKind::Counter,
    labels: LABELS,
    help: "Requests that were refused as they had waited for too long, or too many waited",
};
static LOSSES: Metric = Metric {
    name: "lockgate_serialize_lost_total",
    kind: MetricKind::Counter,
    labels: &["place", "how"],
    help: "Turns that were over before their answer was there, lost or expired",
};
static STORE_ERRORS: Metric = Metric {
    name: "lockgate_serialize_store_errors_total",
    kind: MetricKind::Counter,
    labels: &["place", "went"],
    help: "Requests for which the store could not give a turn, and which way they went: `local`, \
           `allow` or `deny`",
};
static HELD: Metric = Metric {
    name: "lockgate_serialize_held",
    kind: MetricKind::Gauge,
    labels: LABELS,
    help: "Requests of this gateway whose turn it is now",
};
static WAITING: Metric = Metric {
    name: "lockgate_serialize_waiting",
    kind: MetricKind::Gauge,
    labels: LABELS,
    help: "Requests of this gateway that wait for their turn",
};

/// The entry in the list of plugins.
pub(crate) struct Serialize;

impl PolicyPlugin for Serialize {
    fn name(&self) -> &'static str {
        "serialize"
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Serialize
    }

    fn is_routeless(&self) -> bool {
        true
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] =
            &[&BUSY, &QUEUE_FULL, &KEY_MISSING, &KEY_AMBIGUOUS, &LOST, &EXPIRED];
        REASONS
    }

    fn metrics(&self) -> &'static [&'static Metric] {
        const METRICS: &[&Metric] = &[&TURNS, &REFUSED, &LOSSES, &STORE_ERRORS, &HELD, &WAITING];
        METRICS
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(&self, config: &Value, build: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        let config: Config = decode(config)?;
        check(&config)?;
        let header = fields::name(&config.fencing_header).map_err(|e| e.at("fencing_header"))?;
        let at_store = |error: ConfigError| error.at("store");
        let leases = build.leases(&config.store).map_err(at_store)?;
        let instead = match config.on_store_error {
            OnStoreError::Local => Some(build.leases("memory").map_err(at_store)?),
            _ => None,
        };
        let place = match &config.name {
            Some(name) => format!("name {name}"),
            None => build.place.to_string(),
        };
        Ok(Box::new(OneAtATime {
            figures: Figures::new(build),
            counts: Counts::new(build, config.on_store_error),
            methods: methods(config.methods.as_deref())?,
            told: told(&config),
            place: place.into(),
            by: config.by,
            wait: config.wait.0,
            hold: config.hold.0,
            ttl: config.ttl.0,
            queue: config.queue,
            leases,
            instead,
            on_store_error: config.on_store_error,
            until: config.until,
            header,
            busy: config.busy.0,
            retry_after: config.retry_after.0,
            on_lost: config.on_lost,
        }))
    }

    /// Two at once would be two locks, which two requests can take in opposite orders.
    fn build_list(
        &self,
        list: &[Listed<'_>],
        build: &mut Build<'_>,
    ) -> Result<Vec<Built>, (usize, ConfigError)> {
        if list.len() > 1 {
            let message = "a request waits for one turn: say `by: [..]` for what is taken together";
            return Err((1, ConfigError::new(message)));
        }
        let mut all = Vec::with_capacity(list.len());
        for (from, one) in list.iter().enumerate() {
            build.place = one.place.into();
            let policy = self.build(one.config, build).map_err(|error| (from, error))?;
            all.push(Built { from, stage: self.stage(one.config), policy });
        }
        Ok(all)
    }
}

fn check(config: &Config) -> Result<(), ConfigError> {
    let wrong = |key: &str, message: &str| Err(ConfigError::new(message).at(key));
    if config.wait.0 > LONGEST_WAIT {
        return wrong("wait", "nobody waits longer than a minute");
    }
    if !(SHORTEST_HOLD..=LONGEST_HOLD).contains(&config.hold.0) {
        return wrong("hold", "a turn is from 10ms to 10m long");
    }
    if !(SHORTEST_TTL..=LONGEST_TTL).contains(&config.ttl.0) {
        return wrong("ttl", "it is from 300ms to 1m");
    }
    if !(1..=MOST_QUEUE).contains(&config.queue) {
        return wrong("queue", "from 1 to 10000 may wait; say `wait: 0s` for none");
    }
    Ok(())
}

fn methods(words: Option<&[String]>) -> Result<Option<Box<[Method]>>, ConfigError> {
    let Some(words) = words else { return Ok(None) };
    let wrong = |message: String| ConfigError::new(message).at("methods");
    if words.is_empty() {
        return Err(wrong("say which methods, or leave it out for all".to_owned()));
    }
    let mut methods = Vec::with_capacity(words.len());
    for word in words {
        let upper = word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        let method = Method::from_bytes(word.as_bytes()).ok().filter(|_| upper);
        methods.push(method.ok_or_else(|| wrong(format!("`{word}` is not a method")))?);
    }
    Ok(Some(methods.into()))
}

/// What `explain` says.
fn told(config: &Config) -> Box<str> {
    let Config { by, wait, hold, store, .. } = config;
    let mut text = format!("one at a time by {by} ({store}), waits {wait}, holds {hold}");
    if let Some(name) = &config.name {
        text.push_str(&format!(", with all of `{name}`"));
    }
    if let Some(methods) = &config.methods {
        text.push_str(&format!(", only {}", methods.join(", ")));
    }
    if config.until == Until::Headers {
        text.push_str(", until the answer's head");
    }
    text.push_str(&format!(", then {}", config.busy.0.as_u16()));
    if config.on_lost == OnLost::Flag {
        text.push_str(", flags what it lost");
    }
    if config.store != "memory" {
        text.push_str(match config.on_store_error {
            OnStoreError::Deny => "",
            OnStoreError::Local => ", for this gateway alone when the store fails",
            OnStoreError::Allow => ", without a turn when the store fails",
        });
    }
    text.into()
}
