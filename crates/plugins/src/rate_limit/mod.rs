//! `rate_limit`: so many requests in such a time, told apart by address, consumer or whatever a
//! key can name. Refuses what is over the limit, and what a limit could never let pass.

use lockgate_core::{
    Algorithm, Build, Built, ConfigError, Kind, Limit, Listed, Metric, Policy, PolicyPlugin, Rate,
    Reason, Stage, decode,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, json};

use crate::counted::{
    self, Answers, Bound, By, Entry, Form, Name, OnStoreError, Precision, REFUSALS, Rule,
    STORE_ERRORS, planned,
};

/// Limits how many requests pass in a time. A rate alone, such as `100/min`, counts by address.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// How many in which time: `100/min`, `20/2s`.
    limit: Rate,
    /// What requests are told apart by. One that lacks it is counted by its address.
    #[serde(default = "By::ip")]
    by: By,
    /// How it counts.
    #[serde(default)]
    algorithm: Word,
    /// With `token_bucket`: most at once; the limit's count when left out.
    burst: Option<u64>,
    /// What one request takes.
    #[serde(default = "one")]
    cost: u64,
    /// Which answers count; all when left out. `failures` are those from 400 on.
    count: Option<Answers>,
    /// What refusals, headers and metrics call it; its key when left out.
    name: Option<Name>,
    /// Whether a consumer's plan may say another limit (`plans.NAME.rate_limit`).
    #[serde(default)]
    plans: bool,
    /// Counts and tells what it would refuse, and refuses nothing.
    #[serde(default)]
    dry_run: bool,
    /// Whether answers bear the `RateLimit` headers.
    #[serde(default = "yes")]
    headers: bool,
    /// Where it counts.
    #[serde(default = "memory")]
    store: String,
    /// How exactly gateways that share a store count together; left out, `leased` for what is
    /// above 20 in a second, else `exact`. In memory all counting is exact.
    precision: Option<Precision>,
    /// What happens when the store does not answer.
    #[serde(default)]
    on_store_error: OnStoreError,
}

/// A way of counting.
#[derive(serde::Deserialize, Serialize, JsonSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// Never more than the limit in any window; forgets at most a sixtieth of the window late.
    #[default]
    SlidingWindow,
    /// The same, exact, with the time of each request. To 10,000.
    SlidingLog,
    /// Tokens that come back evenly, and a burst.
    TokenBucket,
    /// Begins anew at round times.
    FixedWindow,
}

fn one() -> u64 {
    1
}

fn yes() -> bool {
    true
}

fn memory() -> String {
    "memory".to_owned()
}

/// The settings, in either form.
struct Settings(Config);

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SettingsVisitor;
        impl<'de> Visitor<'de> for SettingsVisitor {
            type Value = Settings;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a rate such as 100/min, or settings with a `limit`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Settings, E> {
                text.parse::<Rate>().map(|limit| Settings(Config::of(limit))).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Settings, A::Error> {
                Config::deserialize(MapAccessDeserializer::new(map)).map(Settings)
            }
        }
        deserializer.deserialize_any(SettingsVisitor)
    }
}

impl Config {
    fn of(limit: Rate) -> Self {
        Self {
            limit,
            by: By::ip(),
            algorithm: Word::default(),
            burst: None,
            cost: 1,
            count: None,
            name: None,
            plans: false,
            dry_run: false,
            headers: true,
            store: memory(),
            precision: None,
            on_store_error: OnStoreError::default(),
        }
    }

    fn limit(&self, rate: Rate) -> Limit {
        let algorithm = match self.algorithm {
            Word::SlidingWindow => Algorithm::SlidingWindow,
            Word::SlidingLog => Algorithm::SlidingLog,
            Word::TokenBucket => Algorithm::TokenBucket,
            Word::FixedWindow => Algorithm::FixedWindow,
        };
        let burst = self.burst.unwrap_or(rate.count);
        Limit { algorithm, count: rate.count, window: rate.window, burst }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let is_bucket = self.algorithm == Word::TokenBucket;
        if self.burst.is_some() && !is_bucket {
            let message = "only `algorithm: token_bucket` has a burst";
            return Err(ConfigError::new(message).at("burst"));
        }
        if self.burst == Some(0) {
            return Err(ConfigError::new("a burst is at least 1").at("burst"));
        }
        if self.count.is_some() && is_bucket {
            let message = "tokens cannot be given back: take a `sliding_window` with `count`";
            return Err(ConfigError::new(message).at("count"));
        }
        if self.cost == 0 {
            return Err(ConfigError::new("a request costs at least 1").at("cost"));
        }
        Ok(())
    }
}

/// Too many requests.
static RATE_LIMITED: Reason = Reason {
    code: "rate_limited",
    kind: Kind::TooManyRequests,
    help: "A `rate_limit` of the route is spent: the answer's member `limit` names it, and \
           `Retry-After` says how long it takes.",
};

/// The entry in the list of plugins.
pub(crate) struct RateLimit;

impl PolicyPlugin for RateLimit {
    fn name(&self) -> &'static str {
        "rate_limit"
    }

    fn stage(&self, config: &Value) -> Stage {
        let by = config.get("by").and_then(|by| decode::<By>(by).ok());
        by.unwrap_or_else(By::ip).stage()
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&RATE_LIMITED];
        REASONS
    }

    fn metrics(&self) -> &'static [&'static Metric] {
        const METRICS: &[&Metric] = &[&REFUSALS, &STORE_ERRORS];
        METRICS
    }

    fn schema(&self) -> Schema {
        counted::either(
            schema_for!(Config),
            json!({ "type": "string", "pattern": "^[0-9]+/[0-9a-z]+$" }),
        )
    }

    fn build(&self, config: &Value, build: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        let place = build.place.clone();
        counted::only(self.build_list(&[Listed { config, place: &place }], build))
    }

    fn build_list(
        &self,
        list: &[Listed<'_>],
        build: &mut Build<'_>,
    ) -> Result<Vec<Built>, (usize, ConfigError)> {
        counted::build_list(list, build, &RATE_LIMITED, |one, build| self.entry(one, build))
    }
}

impl RateLimit {
    fn entry(&self, listed: &Listed<'_>, build: &Build<'_>) -> Result<Entry, ConfigError> {
        let Settings(config) = decode(listed.config)?;
        config.check()?;
        let at = |why: String| ConfigError::new(why).at("limit");
        let text = config.limit.to_string();
        let limit = config.limit(config.limit);
        let bound = Bound::new(limit, text, config.cost, config.precision).map_err(at)?;
        let mut rule = Rule {
            place: counted::place(listed.place, config.name.as_ref()),
            name: config.name.clone().unwrap_or_else(|| Name::of(&config.by)).0.into(),
            policy: self.name(),
            by: config.by.clone(),
            bounds: vec![bound],
            standard: Some(0),
            plans: Default::default(),
            cost: config.cost,
            answers: config.count.clone(),
            dry_run: config.dry_run,
            precision: config.precision,
            headers: config.headers,
            form: Form::Rate,
            only_served: false,
            yields: false,
            refusals: Default::default(),
        };
        if config.plans {
            let read = |text: &str| {
                let rate: Rate = text.parse()?;
                Ok((config.limit(rate), rate.to_string()))
            };
            rule.heed(planned(self.name(), &rule.name, build, read)?)?;
        }
        Ok(Entry { rule, store: config.store, on_store_error: config.on_store_error })
    }
}
