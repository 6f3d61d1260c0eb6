//! One limit as it was configured: what it counts by, how much it allows to whom, and what it is
//! called.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use lockgate_core::{
    Algorithm, Build, ConfigError, Counter, CounterName, Counters, Exchange, Limit, LineText, Stem,
    Take,
};
use serde::Serialize;
use serde::de::{self, Deserialize, Deserializer};
use tokio::time::Instant;

use super::{Answers, By, Planned, Plans, Precision, REFUSALS, leased};

/// How the answer's headers speak of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `RateLimit-Limit` and so on.
    Rate,
    /// `X-Quota-Limit` and so on.
    Quota,
}

/// A limit of a list.
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    /// The policy's name.
    pub(crate) policy: &'static str,
    /// Where it stands: what its counters' keys begin with, a NUL after it.
    pub(crate) place: Box<str>,
    pub(crate) by: By,
    /// All that it may come to; which, say the next two.
    pub(crate) bounds: Vec<Bound>,
    /// For whoever has no plan; `None`: unlimited.
    pub(crate) standard: Option<usize>,
    /// For whoever has this plan.
    pub(crate) plans: HashMap<Box<str>, Option<usize>>,
    pub(crate) cost: u64,
    /// `None`: all.
    pub(crate) answers: Option<Answers>,
    pub(crate) dry_run: bool,
    /// How exactly it counts, if the configuration says so.
    pub(crate) precision: Option<Precision>,
    /// Whether the answer's headers tell of it.
    pub(crate) headers: bool,
    pub(crate) form: Form,
    /// Whether a call that another limit refuses later is given back.
    pub(crate) only_served: bool,
    /// Whether one is given back that a later limit of the same list refuses.
    pub(crate) yields: bool,
    pub(crate) refusals: Arc<Counter>,
}

/// One amount.
pub(crate) struct Bound {
    pub(crate) limit: Limit,
    /// As the configuration writes it.
    pub(crate) text: String,
    /// What stands of it in `RateLimit-Policy`, once its rule is [settled](Rule::settle).
    pub(crate) told: Option<LineText>,
    /// What the store has made of its counters' keys, once its rule is settled.
    stem: Option<Stem>,
    /// Whether slices of it are taken ahead.
    pub(crate) leased: bool,
}

/// Largest count of any limit: a bucket of a sliding window holds no more.
const MOST: u64 = 1_000_000_000;
/// Largest count of a sliding log, which keeps eight bytes for each.
const MOST_LOGGED: u64 = 10_000;

impl Bound {
    pub(crate) fn new(
        limit: Limit,
        text: String,
        cost: u64,
        precision: Option<Precision>,
    ) -> Result<Self, String> {
        let (most, what) = match limit.algorithm {
            Algorithm::SlidingLog => (MOST_LOGGED, "a sliding log"),
            _ => (MOST, "a limit"),
        };
        if limit.count > most {
            return Err(format!("`{text}`: {what} counts to {most} at most"));
        }
        let at_once = match limit.algorithm {
            Algorithm::TokenBucket => limit.burst,
            _ => limit.count,
        };
        if cost > at_once {
            return Err(format!("`{text}` would never let a request pass that costs {cost}"));
        }
        let leased = leased(&limit, precision);
        Ok(Self { limit, text, told: None, stem: None, leased })
    }

    fn told(&self, name: &str) -> Option<LineText> {
        let mut text = format!("\"{name}\";q={}", self.limit.count);
        // A month has no length of its own.
        if let Some(seconds) = window_seconds(&self.limit) {
            text.push_str(&format!(";w={seconds}"));
        }
        LineText::new(text)
    }
}

fn window_seconds(limit: &Limit) -> Option<u64> {
    use lockgate_core::CalendarUnit;
    match limit.algorithm {
        Algorithm::Calendar(calendar) => match calendar.unit {
            CalendarUnit::Day => Some(86_400),
            CalendarUnit::Month => None,
        },
        // Whole seconds alone can be said.
        _ => Some(limit.window.as_secs()).filter(|_| limit.window.subsec_nanos() == 0),
    }
}

impl Rule {
    /// The amount that holds for a request, by its place among the bounds; `None`: unlimited.
    #[inline]
    pub(crate) fn bound(&self, exchange: &Exchange) -> Option<usize> {
        if self.plans.is_empty() {
            return self.standard;
        }
        let plan = exchange.consumer.as_ref().and_then(|consumer| consumer.plan.as_deref());
        let planned = plan.and_then(|plan| self.plans.get(plan));
        planned.map_or(self.standard, |planned| *planned)
    }

    /// Writes what its counter is kept under.
    #[inline]
    pub(crate) fn write_key(&self, exchange: &Exchange, out: &mut Vec<u8>) {
        out.extend_from_slice(self.place.as_bytes());
        self.by.write(exchange, out);
    }

    /// What is taken for one request.
    #[inline]
    pub(crate) fn take<'a>(&self, bound: &'a Bound, key: &'a [u8], at: Instant) -> Take<'a> {
        Take {
            dry: self.dry_run,
            listed: matches!(bound.limit.algorithm, Algorithm::Calendar(_)),
            leased: bound.leased,
            returnable: self.may_give_back(),
            at: Some(at),
            stem: bound.stem,
            ..Take::new(key, &bound.limit, self.cost)
        }
    }

    /// Whether what is taken may have to be given back.
    #[inline]
    pub(crate) fn may_give_back(&self) -> bool {
        self.answers.is_some() || self.only_served || self.yields
    }

    /// Adds the bounds that plans bring.
    pub(crate) fn heed(&mut self, plans: Plans<(Limit, String)>) -> Result<(), ConfigError> {
        for (plan, said) in plans {
            let planned = match said {
                Planned::Off => None,
                Planned::Limit((limit, text)) => {
                    let bound =
                        Bound::new(limit, text, self.cost, self.precision).map_err(|why| {
                            ConfigError::new(format!("the plan `{plan}`: {why}")).at("plans")
                        })?;
                    self.bounds.push(bound);
                    Some(self.bounds.len() - 1)
                }
            };
            self.plans.insert(plan, planned);
        }
        Ok(())
    }

    /// Tells it from others of the same name in its list.
    pub(crate) fn rename(&mut self, number: usize) {
        self.name = format!("{}-{number}", self.name).into();
        self.place = format!("{}-{number}\0", self.place.trim_end_matches('\0')).into();
    }

    /// Prepares what is the same for all requests, now that neither its name nor its bounds change
    /// any more.
    pub(crate) fn settle(&mut self, counters: &dyn Counters) {
        let headers = self.headers && !self.dry_run;
        for bound in &mut self.bounds {
            bound.told = bound.told(&self.name).filter(|_| headers);
            bound.stem = counters.stem(self.place.as_bytes(), &bound.limit);
        }
    }

    pub(crate) fn count_refusals(&mut self, build: &Build<'_>) {
        let dry = if self.dry_run { "true" } else { "false" };
        let place = self.place.trim_end_matches('\0');
        self.refusals = build.counter(&REFUSALS, &[self.policy, &self.name, place, dry]);
    }

    /// What a request's counter is called.
    pub(crate) fn counter_name(&self, exchange: &Exchange) -> CounterName {
        let place = self.place.trim_end_matches('\0');
        CounterName { limit: format!("{} ({place})", self.name), key: self.by.shown(exchange) }
    }

    /// What `explain` prints of it.
    pub(crate) fn describe(&self) -> String {
        let own = self.standard.and_then(|place| self.bounds.get(place));
        let mut text = format!("{} by {}", own.map_or("no limit", |own| &own.text), self.by);
        if let Some(bound) = self.bounds.first() {
            let how = match bound.limit.algorithm {
                Algorithm::SlidingWindow => "sliding_window".to_owned(),
                Algorithm::SlidingLog => "sliding_log".to_owned(),
                Algorithm::TokenBucket => format!("token_bucket, burst {}", bound.limit.burst),
                Algorithm::FixedWindow => "fixed_window".to_owned(),
                Algorithm::Calendar(calendar) => match calendar.offset_seconds {
                    0 => "UTC".to_owned(),
                    seconds => format!("UTC{:+}h", f64::from(seconds) / 3_600.0),
                },
            };
            text.push_str(&format!(" ({how})"));
        }
        let mut plans: Vec<_> = self.plans.iter().collect();
        plans.sort_unstable_by_key(|(plan, _)| &**plan);
        for (plan, place) in plans {
            let bound = place.and_then(|place| self.bounds.get(place));
            let text_of = bound.map_or("no limit", |bound| &bound.text);
            text.push_str(&format!(", {plan}: {text_of}"));
        }
        if self.cost != 1 {
            text.push_str(&format!(", cost {}", self.cost));
        }
        if let Some(answers) = &self.answers {
            text.push_str(&format!(", counts {answers}"));
        }
        if self.dry_run {
            text.push_str(", dry run");
        }
        text
    }
}

/// A limit's own name, as an answer may show it.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
#[serde(transparent)]
pub(crate) struct Name(pub(crate) Box<str>);

impl Name {
    /// From a key, with whatever a name cannot have replaced.
    pub(crate) fn of(by: &By) -> Self {
        let plain = |c: char| if is_plain(c) || c == ' ' { c } else { '_' };
        Self(by.to_string().chars().take(64).map(plain).collect::<String>().into())
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.:+/".contains(c)
}

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if (1..=64).contains(&text.len()) && text.chars().all(is_plain) {
            return Ok(Self(text.into()));
        }
        Err("a limit's name is 1 to 64 letters, digits and -_.:+/")
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Cow<'_, str> = Deserialize::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl schemars::JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "LimitName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_.:+/-]{1,64}$" })
    }
}
