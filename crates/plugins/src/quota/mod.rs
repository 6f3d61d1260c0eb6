//! `quota`: so many calls in a day or a month of the calendar, by consumer unless told otherwise.
//! Refuses what is over it; what another limit refuses later costs nothing.

mod allowance;

use lockgate_core::{
    Algorithm, Build, Built, Calendar, ConfigError, Kind, Limit, Listed, Metric, Policy,
    PolicyPlugin, Reason, Stage, decode,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, json};

use crate::counted::{
    self, Answers, Bound, By, Entry, Form, Name, OnStoreError, Precision, REFUSALS, Rule,
    STORE_ERRORS, planned,
};
use allowance::{Allowance, Offset};

/// Limits how many calls are served in a day or a month. A quota alone, such as `100000/month`,
/// counts by consumer.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// How many in a day or a month: `5000/day`, `100000/month`. May be left out with `plans`:
    /// then whoever has no plan has no quota.
    limit: Option<Allowance>,
    /// Whose calls are counted together. A call that lacks it is counted by its address.
    #[serde(default = "By::consumer")]
    by: By,
    /// How far the clock that says when a day begins is ahead of UTC: `+02:00`.
    #[serde(default)]
    timezone: Offset,
    /// What one call takes.
    #[serde(default = "one")]
    cost: u64,
    /// Which answers count; all when left out. `failures` are those from 400 on.
    count: Option<Answers>,
    /// What refusals, headers and metrics call it.
    #[serde(default = "quota")]
    name: Name,
    /// Whether a consumer's plan may say another quota (`plans.NAME.quota`).
    #[serde(default)]
    plans: bool,
    /// Counts and tells what it would refuse, and refuses nothing.
    #[serde(default)]
    dry_run: bool,
    /// Whether answers bear the `X-Quota` headers.
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

fn one() -> u64 {
    1
}

fn yes() -> bool {
    true
}

fn memory() -> String {
    "memory".to_owned()
}

fn quota() -> Name {
    Name("quota".into())
}

/// The settings, in either form.
struct Settings(Config);

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SettingsVisitor;
        impl<'de> Visitor<'de> for SettingsVisitor {
            type Value = Settings;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a quota such as 100000/month, or settings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Settings, E> {
                text.parse::<Allowance>()
                    .map(|limit| Settings(Config::of(limit)))
                    .map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Settings, A::Error> {
                Config::deserialize(MapAccessDeserializer::new(map)).map(Settings)
            }
        }
        deserializer.deserialize_any(SettingsVisitor)
    }
}

impl Config {
    fn of(limit: Allowance) -> Self {
        Self {
            limit: Some(limit),
            by: By::consumer(),
            timezone: Offset::default(),
            cost: 1,
            count: None,
            name: quota(),
            plans: false,
            dry_run: false,
            headers: true,
            store: memory(),
            precision: None,
            on_store_error: OnStoreError::default(),
        }
    }

    fn limit(&self, allowance: Allowance) -> Limit {
        let calendar = Calendar { unit: allowance.unit, offset_seconds: self.timezone.0 };
        Limit {
            algorithm: Algorithm::Calendar(calendar),
            count: allowance.count,
            window: std::time::Duration::ZERO,
            burst: 1,
        }
    }
}

/// The quota is used up.
static QUOTA_EXCEEDED: Reason = Reason {
    code: "quota_exceeded",
    kind: Kind::TooManyRequests,
    help: "A `quota` of the route is used up until its day or month ends: the answer's member \
           `limit` names it, and `GET /admin/quotas` lists who has used how much.",
};

/// The entry in the list of plugins.
pub(crate) struct Quota;

impl PolicyPlugin for Quota {
    fn name(&self) -> &'static str {
        "quota"
    }

    fn stage(&self, config: &Value) -> Stage {
        let by = config.get("by").and_then(|by| decode::<By>(by).ok());
        by.unwrap_or_else(By::consumer).stage()
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&QUOTA_EXCEEDED];
        REASONS
    }

    fn metrics(&self) -> &'static [&'static Metric] {
        const METRICS: &[&Metric] = &[&REFUSALS, &STORE_ERRORS];
        METRICS
    }

    fn schema(&self) -> Schema {
        let short = json!({ "type": "string", "pattern": "^[0-9]+/(day|month)$" });
        counted::either(schema_for!(Config), short)
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
        counted::build_list(list, build, &QUOTA_EXCEEDED, |one, build| self.entry(one, build))
    }
}

impl Quota {
    fn entry(&self, listed: &Listed<'_>, build: &Build<'_>) -> Result<Entry, ConfigError> {
        let Settings(config) = decode(listed.config)?;
        if config.cost == 0 {
            return Err(ConfigError::new("a call costs at least 1").at("cost"));
        }
        let mut bounds = Vec::new();
        if let Some(allowance) = config.limit {
            let at = |why: String| ConfigError::new(why).at("limit");
            let limit = config.limit(allowance);
            let text = allowance.to_string();
            bounds.push(Bound::new(limit, text, config.cost, config.precision).map_err(at)?);
        } else if !config.plans {
            return Err(ConfigError::new("a quota needs a `limit`, or `plans: true`"));
        }
        let mut rule = Rule {
            place: counted::place(listed.place, Some(&config.name)),
            name: config.name.0.clone().into(),
            policy: self.name(),
            by: config.by.clone(),
            standard: if bounds.is_empty() { None } else { Some(0) },
            bounds,
            plans: Default::default(),
            cost: config.cost,
            answers: config.count.clone(),
            dry_run: config.dry_run,
            precision: config.precision,
            headers: config.headers,
            form: Form::Quota,
            only_served: true,
            yields: false,
            refusals: Default::default(),
        };
        if config.plans {
            let read = |text: &str| {
                let allowance: Allowance = text.parse()?;
                Ok((config.limit(allowance), allowance.to_string()))
            };
            rule.heed(planned(self.name(), &rule.name, build, read)?)?;
        }
        Ok(Entry { rule, store: config.store, on_store_error: config.on_store_error })
    }
}
