//! `concurrency`: so many requests at once, by a fixed number or by what the upstream bears, with a
//! short queue. Refuses what the queue does not take: at once, before it has cost anything.

mod adaptive;
mod keyed;
mod limiter;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Response};
use lockgate_core::{
    Body, Build, ConfigError, Exchange, Fault, Figure, Key, Kind, Metric, MetricKind, Origin,
    Policy, PolicyPlugin, Priority, Reason, Stage, Step, Time, Verdict, decode, reasons,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use adaptive::Adaptive;
use keyed::Keyed;
use limiter::{Bound, Limiter, Permit};

/// So many requests at once. Short form: the limit alone.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Long {
    /// How many at once, or `adaptive`: as many as the upstream answers without slowing down.
    limit: Most,
    /// A limit for each value of a key, such as `consumer`, instead of one for all: what is over it
    /// is refused with 429.
    #[serde(default)]
    by: Option<Key>,
    /// Whose limit it is, when it is not by a key: the place's where it is written (`route`), or
    /// one for each upstream (`upstream`), for all the routes that say so.
    #[serde(default)]
    per: Per,
    /// How many may wait for their turn.
    #[serde(default = "usual_queue")]
    queue: usize,
    /// How long they wait at most.
    #[serde(default = "usual_wait")]
    wait: Time,
    /// The least and the first that an adaptive limit is.
    #[serde(default = "usual_min")]
    min: u32,
    /// The most that an adaptive limit is.
    #[serde(default = "usual_max")]
    max: u32,
}

/// The settings, short forms made long.
struct Config(Long);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Most {
    Fixed(u32),
    Adaptive,
}

#[derive(serde::Deserialize, JsonSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Per {
    #[default]
    Route,
    Upstream,
}

fn usual_queue() -> usize {
    64
}

fn usual_wait() -> Time {
    Time(Duration::from_millis(100))
}

fn usual_min() -> u32 {
    4
}

fn usual_max() -> u32 {
    1000
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Waiting requests hold their sockets and heads: this many is plenty.
const MOST_QUEUE: usize = 10_000;
const MOST_LIMIT: u32 = 1_000_000;
const LONGEST_WAIT: Duration = Duration::from_secs(60);

static EXCEEDED: Reason = Reason {
    code: "concurrency_exceeded",
    kind: Kind::TooManyRequests,
    help: "This consumer, or whatever the limit's `by` names, has as many requests under way as \
           its `concurrency` allows.",
};

static LIMIT: Metric = Metric {
    name: "lockgate_concurrency_limit",
    kind: MetricKind::Gauge,
    labels: &["limit"],
    help: "How many requests at once the limit allows now, by the place where it is written",
};
static IN_FLIGHT: Metric = Metric {
    name: "lockgate_concurrency_requests_in_flight",
    kind: MetricKind::Gauge,
    labels: &["limit"],
    help: "Requests that hold a permit of the limit",
};
static WAITING: Metric = Metric {
    name: "lockgate_concurrency_requests_waiting",
    kind: MetricKind::Gauge,
    labels: &["limit"],
    help: "Requests that wait for a permit of the limit",
};

/// The entry in the list of plugins.
pub(crate) struct Concurrency;

impl PolicyPlugin for Concurrency {
    fn name(&self) -> &'static str {
        "concurrency"
    }

    fn stage(&self, config: &Value) -> Stage {
        match decode(config) {
            Ok(Config(Long { by: Some(key), .. })) if !key.needs_consumer() => Stage::LimitIp,
            _ => Stage::LimitConsumer,
        }
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&EXCEEDED];
        REASONS
    }

    fn metrics(&self) -> &'static [&'static Metric] {
        const METRICS: &[&Metric] = &[&LIMIT, &IN_FLIGHT, &WAITING];
        METRICS
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(&self, config: &Value, build: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        let Config(config) = decode(config)?;
        check(&config)?;
        let place = match (config.per, &config.by) {
            (Per::Upstream, None) if !build.target.is_empty() => {
                format!("upstream {}", build.target)
            }
            _ => build.place.to_string(),
        };
        let told = Told { limit: config.limit, wait: config.wait, queue: config.queue };
        let scope = match config.by {
            Some(key) => {
                let limit = if let Most::Fixed(limit) = config.limit { limit } else { 1 };
                let settings = format!("{place} {limit} {key} {}", config.queue);
                let make = || Arc::new(Keyed::new(limit, config.queue, config.wait.0));
                Scope::Each(build.shared(&settings, make), key)
            }
            None => Scope::One(One::new(&config, &place, build)),
        };
        Ok(Box::new(Permits { scope, told, wait: config.wait.0, priority: build.priority }))
    }
}

fn check(config: &Long) -> Result<(), ConfigError> {
    let wrong = |key: &str, message: &str| Err(ConfigError::new(message).at(key));
    match config.limit {
        Most::Fixed(limit) if !(1..=MOST_LIMIT).contains(&limit) => {
            return wrong("limit", "a limit is from 1 to 1000000, or `adaptive`");
        }
        Most::Adaptive if config.by.is_some() => {
            return wrong("by", "an adaptive limit is an upstream's; by a key it is a fixed one");
        }
        _ => {}
    }
    if config.by.is_some() && config.per == Per::Upstream {
        return wrong("per", "a limit is either `by` a key or `per: upstream`");
    }
    if config.queue > MOST_QUEUE {
        return wrong("queue", "at most 10000 may wait");
    }
    if config.wait.0 > LONGEST_WAIT {
        return wrong("wait", "nobody waits longer than a minute");
    }
    if config.min == 0 || config.min > config.max || config.max > MOST_LIMIT {
        return wrong("min", "`min` is from 1 to `max`, and that at most 1000000");
    }
    Ok(())
}

/// A limit for all, and its figures.
struct One {
    limiter: Arc<Limiter>,
    _figures: [Arc<dyn Figure>; 3],
}

impl One {
    fn new(config: &Long, place: &str, build: &Build<'_>) -> Self {
        let settings = match config.limit {
            Most::Fixed(limit) => format!("{place} {limit} {}", config.queue),
            Most::Adaptive => {
                format!("{place} adaptive {}-{} {}", config.min, config.max, config.queue)
            }
        };
        let limiter = build.shared(&settings, || {
            let bound = match config.limit {
                Most::Fixed(limit) => Bound::Fixed(limit),
                Most::Adaptive => {
                    let first = config.min.max(20);
                    Bound::Adaptive(Box::new(Adaptive::new(first, config.min, config.max)))
                }
            };
            Arc::new(Limiter::new(bound, config.queue, config.wait.0 / 2))
        });
        let figure = |read: fn(&Limiter) -> u64| -> Arc<dyn Figure> {
            let limiter = Arc::clone(&limiter);
            Arc::new(move || read(&limiter))
        };
        let figures = [
            figure(|limiter| u64::from(limiter.limit())),
            figure(|limiter| u64::from(limiter.in_flight())),
            figure(|limiter| limiter.waiting() as u64),
        ];
        for (metric, figure) in [&LIMIT, &IN_FLIGHT, &WAITING].into_iter().zip(&figures) {
            build.expose(metric, &[place], figure);
        }
        Self { limiter, _figures: figures }
    }
}

/// Whose the permits are.
enum Scope {
    One(One),
    Each(Arc<Keyed>, Key),
}

/// What `explain` says.
struct Told {
    limit: Most,
    wait: Time,
    queue: usize,
}

struct Permits {
    scope: Scope,
    told: Told,
    wait: Duration,
    priority: Priority,
}

/// What is kept of a request that was let in: its permit, given back at the answer's last byte.
struct Entered {
    _permit: Permit,
    since: Instant,
}

impl Permits {
    fn entered(&self, exchange: &mut Exchange, permit: Permit) {
        exchange.kept.put(self, Entered { _permit: permit, since: Instant::now() });
    }

    fn refusal(&self) -> Fault {
        let fault = match self.scope {
            Scope::One(_) => Fault::gateway(&reasons::OVERLOADED),
            Scope::Each(..) => Fault::client(&EXCEEDED),
        };
        fault.retry_after(Duration::from_secs(1)).detail("no permit of `concurrency` is free")
    }

    async fn queued(
        &self,
        exchange: &mut Exchange,
        limiter: Arc<Limiter>,
    ) -> Result<Verdict, Fault> {
        let Some(waiting) = limiter.wait(self.priority) else { return Err(self.refusal()) };
        let begun = Instant::now();
        let permit = timeout(self.wait, waiting).await.ok().flatten();
        let permit = permit.ok_or_else(|| self.refusal())?;
        exchange.note(|| format!("concurrency: waited {:?}", begun.elapsed()));
        self.entered(exchange, permit);
        Ok(Verdict::Pass)
    }
}

impl Policy for Permits {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        let limiter = match &self.scope {
            Scope::One(one) => Arc::clone(&one.limiter),
            Scope::Each(keyed, key) => {
                let mut name = Vec::with_capacity(32);
                // What has no such key shares one limit: nobody escapes it by leaving it out.
                key.write(exchange, &mut name);
                keyed.limiter(&name)
            }
        };
        if let Some(permit) = limiter.enter(self.priority) {
            self.entered(exchange, permit);
            return Step::Now(Ok(Verdict::Pass));
        }
        if self.told.queue == 0 {
            return Step::Now(Err(self.refusal()));
        }
        Step::Later(Box::pin(self.queued(exchange, limiter)))
    }

    fn response<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        response: &'a mut Response<Body>,
    ) -> Step<'a, Result<(), Fault>> {
        let Scope::One(One { limiter, .. }) = &self.scope else { return Step::Now(Ok(())) };
        let late = exchange.fault.as_ref().is_some_and(|fault| {
            fault.reason() == &reasons::UPSTREAM_TIMEOUT
                || fault.reason() == &reasons::UPSTREAM_TIMEOUTS
        });
        // Only what the upstream took tells of its load, and only work that it has done: errors
        // are often sooner there than any answer.
        if late || exchange.origin == Origin::Upstream && !has_failed(exchange, response) {
            let entered = exchange.kept.get::<_, Entered>(self);
            if let Some(took) = entered.map(|entered| entered.since.elapsed()) {
                limiter.observe(took, late);
            }
        }
        Step::Now(Ok(()))
    }

    fn describe(&self) -> String {
        let Told { limit, wait, queue } = &self.told;
        let whose = match &self.scope {
            Scope::One(one) => {
                let now = one.limiter.unloaded().map(|latency| {
                    format!(", now {} (latency without load {latency:.1?})", one.limiter.limit())
                });
                format!("{limit} at once{}", now.unwrap_or_default())
            }
            Scope::Each(_, key) => format!("{limit} at once for each {key}"),
        };
        match queue {
            0 => format!("{whose}, no queue"),
            _ => format!("{whose}, {queue} may wait {wait}"),
        }
    }
}

/// Whether an answer tells of a failure, in HTTP or, with nothing else in it, in gRPC.
fn has_failed(exchange: &Exchange, response: &Response<Body>) -> bool {
    let of_grpc = || response.headers().get(GRPC_STATUS).is_some_and(|status| status != "0");
    response.status().is_server_error() || exchange.grpc && of_grpc()
}

impl fmt::Display for Most {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(limit) => write!(f, "{limit}"),
            Self::Adaptive => f.write_str("adaptive"),
        }
    }
}

impl Default for Long {
    fn default() -> Self {
        Self {
            limit: Most::Adaptive,
            by: None,
            per: Per::Route,
            queue: usual_queue(),
            wait: usual_wait(),
            min: usual_min(),
            max: usual_max(),
        }
    }
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Config;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, `adaptive`, or a map with `limit`")
            }

            fn visit_u64<E: de::Error>(self, limit: u64) -> Result<Config, E> {
                let limit = Most::Fixed(u32::try_from(limit).unwrap_or(u32::MAX));
                Ok(Config(Long { limit, ..Long::default() }))
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Config, E> {
                let limit = Most::read(word).map_err(E::custom)?;
                Ok(Config(Long { limit, ..Long::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Config, A::Error> {
                Long::deserialize(de::value::MapAccessDeserializer::new(map)).map(Config)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Config {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Concurrency".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> Schema {
        Long::json_schema(generator)
    }
}

impl Most {
    fn read(word: &str) -> Result<Self, String> {
        match word {
            "adaptive" => Ok(Self::Adaptive),
            _ => Err(format!("`{word}` is neither a number nor `adaptive`")),
        }
    }
}

impl<'de> Deserialize<'de> for Most {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Most;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or `adaptive`")
            }

            fn visit_u64<E: de::Error>(self, limit: u64) -> Result<Most, E> {
                Ok(Most::Fixed(u32::try_from(limit).unwrap_or(u32::MAX)))
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Most, E> {
                Most::read(word).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Most {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Most".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "adaptive" }],
        })
    }
}
