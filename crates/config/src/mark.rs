//! The routes of a configuration as far as the next one is compared with them: a name and a number
//! each, so that a configuration that is in force need not keep them as they were read.

use std::hash::{DefaultHasher, Hash, Hasher};

use indexmap::IndexMap;

use crate::model::{
    Condition, Match, PolicyEntry, Retry, Route, RouteSet, Routes, Settings, Target,
};

/// Pattern → a hash of all that stands under it. Two that differ have the same one by a chance of
/// one in 2^64.
#[derive(Debug, Clone, Default)]
pub struct RouteMarks(pub(crate) IndexMap<Box<str>, u64>);

impl RouteMarks {
    /// The marks of a document's routes. They hold within one run of the program.
    pub fn of(routes: &Routes) -> Self {
        let mark = |(pattern, set): (&String, &RouteSet)| {
            let mut hasher = DefaultHasher::new();
            set.routes.len().hash(&mut hasher);
            set.routes.iter().for_each(|one| route(one, &mut hasher));
            (pattern.as_str().into(), hasher.finish())
        };
        Self(routes.iter().map(mark).collect())
    }
}

fn route(route: &Route, hasher: &mut DefaultHasher) {
    // By name, so that a new field cannot be forgotten.
    let Route { when, to, rewrite, timeout, retry, priority, tags, policies } = route;
    condition(when, hasher);
    target(to, hasher);
    (rewrite, timeout, priority, tags, policies.len()).hash(hasher);
    retry.is_some().hash(hasher);
    if let Some(Retry { attempts, on, budget, backoff, max_backoff }) = retry {
        (attempts, on, budget.0.to_bits(), backoff, max_backoff).hash(hasher);
    }
    for policy in policies {
        let PolicyEntry { name, config, path } = &**policy;
        (name, path).hash(hasher);
        settings(config, hasher);
    }
}

fn condition(condition: &Condition, hasher: &mut DefaultHasher) {
    let Condition { header, query, cookie, method, cel } = condition;
    for map in [header, query, cookie] {
        let mut parts: Vec<(&String, &Match)> = map.iter().collect();
        parts.sort_unstable_by_key(|part| part.0);
        parts.hash(hasher);
    }
    (method, cel).hash(hasher);
}

fn target(target: &Target, hasher: &mut DefaultHasher) {
    std::mem::discriminant(target).hash(hasher);
    match target {
        Target::Upstream(name) => name.hash(hasher),
        Target::Split(parts) => {
            let mut parts: Vec<(&String, &u32)> = parts.iter().collect();
            parts.sort_unstable();
            parts.hash(hasher);
        }
        Target::Handler { name, config } => {
            name.hash(hasher);
            settings(config, hasher);
        }
    }
}

fn settings(settings: &Settings, hasher: &mut DefaultHasher) {
    let written = settings.has_references().then(|| settings.written());
    (&**settings, written).hash(hasher);
}
