//! What `rate_limit` and `quota` have in common: limits of one list that are decided together,
//! what is said of them in headers, and what is given back when an answer does not count. Nothing
//! is decided here about how a store counts.

mod answers;
mod by;
mod group;
mod plans;
mod rule;
mod shown;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use lockgate_core::{
    Algorithm, Build, Built, CalendarUnit, ConfigError, Counter, Limit, Listed, MOST_TAKES, Metric,
    MetricKind, Reason, Stage,
};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use answers::Answers;
pub(crate) use by::By;
pub(crate) use group::Group;
pub(crate) use plans::{Planned, Plans, planned};
pub(crate) use rule::{Bound, Form, Name, Rule};

/// What is done when the store does not answer.
#[derive(Deserialize, Serialize, JsonSchema, Debug, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnStoreError {
    /// This gateway counts for itself, in memory: its share of the limit.
    #[default]
    Local,
    /// The request passes.
    Allow,
    /// The request is refused (503).
    Deny,
}

impl OnStoreError {
    fn counter(self, policy: &str, store: &str, build: &Build<'_>) -> Arc<Counter> {
        build.counter(&STORE_ERRORS, &[policy, store, self.word()])
    }

    /// The word in the metrics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// How exactly gateways that share a store count together.
#[derive(Deserialize, Serialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Precision {
    /// Each request is counted where all others are, with one call of the store.
    Exact,
    /// Each gateway takes a slice of what remains, and spends it without a call.
    Leased,
}

/// Above so many in a second, a limit is leased unless it says otherwise.
const LEASED_ABOVE: u64 = 20;

/// Whether slices of a limit are taken ahead.
pub(crate) fn leased(limit: &Limit, precision: Option<Precision>) -> bool {
    let Some(precision) = precision else {
        let window = match limit.algorithm {
            Algorithm::Calendar(calendar) => match calendar.unit {
                CalendarUnit::Day => Duration::from_secs(86_400),
                // The longest, so that every month is slower.
                CalendarUnit::Month => Duration::from_secs(31 * 86_400),
            },
            _ => limit.window,
        };
        let most = u128::from(LEASED_ABOVE) * window.as_millis();
        return u128::from(limit.count) * 1_000 > most;
    };
    precision == Precision::Leased
}

/// Declared by both policies.
pub(crate) static REFUSALS: Metric = Metric {
    name: "lockgate_limit_refusals_total",
    kind: MetricKind::Counter,
    labels: &["policy", "limit", "place", "dry_run"],
    help: "Requests for which a limit or quota was spent, by its name and where it is configured",
};

/// Declared by both policies.
pub(crate) static STORE_ERRORS: Metric = Metric {
    name: "lockgate_limit_store_errors_total",
    kind: MetricKind::Counter,
    labels: &["policy", "store", "went"],
    help: "Requests whose limits the store could not count, and which way they went: `local`, \
           `allow` or `deny`",
};

/// One entry of a list, ready to stand in a group.
pub(crate) struct Entry {
    pub(crate) rule: Rule,
    pub(crate) store: String,
    pub(crate) on_store_error: OnStoreError,
}

/// Reads a list's entries, and makes as few policies as can be of them: those of one stage and one
/// store are decided together.
pub(crate) fn build_list(
    list: &[Listed<'_>],
    build: &mut Build<'_>,
    reason: &'static Reason,
    entry: impl Fn(&Listed<'_>, &Build<'_>) -> Result<Entry, ConfigError>,
) -> Result<Vec<Built>, (usize, ConfigError)> {
    let mut entries = Vec::with_capacity(list.len());
    for (number, one) in list.iter().enumerate() {
        entries.push(entry(one, build).map_err(|error| (number, error))?);
    }
    groups(entries, reason, build)
}

fn groups(
    entries: Vec<Entry>,
    reason: &'static Reason,
    build: &mut Build<'_>,
) -> Result<Vec<Built>, (usize, ConfigError)> {
    let mut built: Vec<(usize, String, Group)> = Vec::new();
    let mut names: Vec<Arc<str>> = Vec::new();
    for (from, mut entry) in entries.into_iter().enumerate() {
        let before = names.iter().filter(|name| **name == entry.rule.name).count();
        names.push(Arc::clone(&entry.rule.name));
        if before > 0 {
            // Not only its name: counters of the same place would be one.
            entry.rule.rename(before + 1);
        }
        entry.rule.count_refusals(build);
        let place = built.iter().position(|(_, store, group)| {
            *store == entry.store
                && group.stage() == entry.rule.by.stage()
                && group.on_store_error == entry.on_store_error
                && group.rules.len() < MOST_TAKES
        });
        if let Some((_, _, group)) = place.and_then(|place| built.get_mut(place)) {
            entry.rule.settle(&*group.counters);
            group.rules.push(entry.rule);
            continue;
        }
        let at = |error: ConfigError| (from, error.at("store"));
        let counters = build.counters(&entry.store).map_err(at)?;
        entry.rule.settle(&*counters);
        let group = Group {
            reason,
            counters,
            local: build.counters("memory").map_err(at)?,
            store: entry.store.as_str().into(),
            on_store_error: entry.on_store_error,
            store_errors: entry.on_store_error.counter(entry.rule.policy, &entry.store, build),
            rules: vec![entry.rule],
        };
        built.push((from, entry.store, group));
    }
    let stages: Vec<Stage> = built.iter().map(|(_, _, group)| group.stage()).collect();
    for (place, (_, _, group)) in built.iter_mut().enumerate() {
        let own = (group.stage(), place);
        let later = stages.iter().enumerate().any(|(place, stage)| (*stage, place) > own);
        // Whoever is told to come back has taken nothing.
        for rule in &mut group.rules {
            let tokens = |bound: &Bound| bound.limit.algorithm == Algorithm::TokenBucket;
            // Those cannot be given back.
            rule.yields = later && !rule.bounds.iter().any(tokens);
        }
    }
    let policies = built.into_iter().map(|(from, _, group)| Built {
        from,
        stage: group.stage(),
        policy: Box::new(group),
    });
    Ok(policies.collect())
}

/// What a limit's counters are kept under: its place in the document, where a list's entry with a
/// name goes by that, so that others may come before it.
pub(crate) fn place(place: &str, name: Option<&Name>) -> Box<str> {
    let (list, last) = place.rsplit_once('.').unwrap_or(("", place));
    match name {
        Some(name) if last.parse::<usize>().is_ok() => format!("{list}.{name}\0").into(),
        _ => format!("{place}\0").into(),
    }
}

/// The schema of settings that have a short form beside the long one.
pub(crate) fn either(long: Schema, short: Value) -> Schema {
    let mut long = Value::from(long);
    // What the schema is, and what it refers to, belongs to the whole.
    let (description, defs) = (long.get("description").cloned(), long.get("$defs").cloned());
    let mut whole = Map::new();
    whole.extend(description.map(|text| ("description".to_owned(), text)));
    if let Some(parts) = long.as_object_mut() {
        for key in ["$schema", "title", "$defs", "description"] {
            parts.shift_remove(key);
        }
    }
    whole.insert("anyOf".to_owned(), Value::Array(vec![short, long]));
    whole.extend(defs.map(|defs| ("$defs".to_owned(), defs)));
    whole.into()
}

/// The first of what a list of one made.
pub(crate) fn only(
    built: Result<Vec<Built>, (usize, ConfigError)>,
) -> Result<Box<dyn lockgate_core::Policy>, ConfigError> {
    let first = built.map_err(|(_, error)| error)?.into_iter().next();
    first.map(|built| built.policy).ok_or_else(|| ConfigError::new("expected a limit"))
}
