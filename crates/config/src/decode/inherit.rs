//! `defaults`: what every upstream and route inherits, merged in the tree before anything is
//! decoded, so that each value keeps the place where it was written.

use std::collections::HashMap;

use super::forms;
use crate::source::{NodeId, Shape, Source, Tree};

/// What an upstream may inherit; every other key of `defaults` is a policy's name.
pub(crate) const UPSTREAM_KEYS: &[&str] = &[
    "balance",
    "sticky",
    "health",
    "outlier",
    "breaker",
    "retry",
    "timeout",
    "tls",
    "http2",
    "pool",
    "slow_start",
    "panic_threshold",
    "host",
];

/// The settings that are merged key by key, and the struct that they are.
const MERGED: &[(&str, &str)] = &[
    ("health", "Health"),
    ("outlier", "Outlier"),
    ("breaker", "Breaker"),
    ("retry", "Retry"),
    ("timeout", "TimeoutSet"),
    ("tls", "UpstreamTls"),
    ("pool", "Pool"),
];

/// What the merging made.
#[derive(Default)]
pub(crate) struct Inherited {
    /// An upstream's own node → the one with its inheritance.
    upstreams: HashMap<NodeId, NodeId>,
    /// What an upstream made from a URL begins with.
    pub(super) from_url: Option<NodeId>,
    /// A route's `retry` → the one with its inheritance.
    retries: HashMap<NodeId, NodeId>,
    /// The policies of `defaults`: key and value.
    pub(super) policies: Vec<(NodeId, NodeId)>,
}

impl Inherited {
    pub(super) fn upstream(&self, own: NodeId) -> NodeId {
        self.upstreams.get(&own).copied().unwrap_or(own)
    }

    pub(super) fn retry(&self, own: NodeId) -> NodeId {
        self.retries.get(&own).copied().unwrap_or(own)
    }
}

/// Merges `defaults` into the upstreams, and its `retry` into the routes'.
pub(crate) fn inherit(source: &mut Source) -> Inherited {
    let root = source.root;
    let tree = &mut source.tree;
    let mut inherited = Inherited::default();
    let Some(defaults) = tree.get(root, "defaults") else { return inherited };
    let is_setting =
        |tree: &Tree, key| tree.written(key).is_some_and(|word| UPSTREAM_KEYS.contains(&word));
    let (settings, policies): (Vec<_>, Vec<_>) =
        tree.pairs(defaults).to_vec().into_iter().partition(|pair| is_setting(tree, pair.0));
    inherited.policies = policies;
    if settings.is_empty() {
        return inherited;
    }
    let at = tree.at(defaults);
    let base = tree.map(at, &settings);
    let no_health: Vec<_> =
        settings.iter().copied().filter(|pair| tree.written(pair.0) != Some("health")).collect();
    inherited.from_url = Some(tree.map(at, &no_health));
    for (_, own) in section(tree, root, "upstreams") {
        if tree.shape(own) == Shape::Map {
            let merged = overlay(tree, base, own, true);
            inherited.upstreams.insert(own, merged);
        }
    }
    if let Some(retry) = tree.get(base, "retry") {
        for own in retries(tree, root) {
            let merged = merge(tree, retry, own, "Retry");
            inherited.retries.insert(own, merged);
        }
    }
    inherited
}

fn section(tree: &Tree, root: NodeId, name: &str) -> Vec<(NodeId, NodeId)> {
    tree.get(root, name).map(|node| tree.pairs(node).to_vec()).unwrap_or_default()
}

/// The `retry` of every route that has one.
fn retries(tree: &Tree, root: NodeId) -> Vec<NodeId> {
    let mut found = Vec::new();
    for (_, set) in section(tree, root, "routes") {
        found.extend(tree.get(set, "retry"));
        found.extend(tree.items(set).iter().filter_map(|route| tree.get(*route, "retry")));
    }
    found
}

/// One map over another. Below the top, everything is merged key by key.
fn overlay(tree: &mut Tree, base: NodeId, over: NodeId, top: bool) -> NodeId {
    let mut pairs = tree.pairs(over).to_vec();
    for (key, value) in tree.pairs(base).to_vec() {
        let word = tree.written(key).unwrap_or_default();
        let Some(place) = pairs.iter().position(|pair| tree.written(pair.0) == Some(word)) else {
            pairs.push((key, value));
            continue;
        };
        let kind = MERGED.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind);
        if let (true, Some(kind), Some(&(_, own))) = (top, kind, pairs.get(place)) {
            let merged = merge(tree, value, own, kind);
            if let Some(pair) = pairs.get_mut(place) {
                pair.1 = merged;
            }
        }
    }
    tree.map(tree.at(over), &pairs)
}

/// One setting over another, short forms lengthened. `off` stays off; `true` inherits all.
fn merge(tree: &mut Tree, base: NodeId, over: NodeId, kind: &str) -> NodeId {
    if tree.is_off(over) || tree.is_off(base) {
        return over;
    }
    if matches!(tree.shape(over), Shape::Bool(true) | Shape::Nothing) {
        return base;
    }
    match (lengthen(tree, base, kind), lengthen(tree, over, kind)) {
        (Some(base), Some(over)) => overlay(tree, base, over, false),
        _ => over,
    }
}

fn lengthen(tree: &mut Tree, node: NodeId, kind: &str) -> Option<NodeId> {
    match tree.shape(node) {
        Shape::Map => Some(node),
        Shape::Number | Shape::Text => {
            let field = forms::short(kind)?;
            let at = tree.at(node);
            let key = tree.scalar(at, field, true);
            Some(tree.map(at, &[(key, node)]))
        }
        _ => None,
    }
}
