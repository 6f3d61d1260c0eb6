//! Warnings: what nothing uses, and secrets that stand in plain text.

use std::collections::HashSet;

use serde_json::Value;

use super::Findings;
use crate::decode::nearest;
use crate::format::{argument, is_secret, is_secret_webhook, target};
use crate::model::{Document, SinkKind, Sticky, Target, bears_secret};
use crate::source::{Fail, NodeId, Tree};

pub(super) fn check(document: &Document, findings: &mut Findings<'_>) {
    let mut used: HashSet<&str> = HashSet::new();
    for name in document.routes.pieces().iter().flat_map(|piece| piece.upstreams()) {
        meant(document, name, &mut used);
    }
    used.extend(document.listeners.values().filter_map(|listener| listener.to.as_deref()));
    for name in document.upstreams.keys() {
        if !used.contains(name.as_str()) && !in_settings(document, name) {
            let message = format!("nothing uses the upstream `{name}`");
            findings.warning(&["upstreams", name], message);
        }
    }
    for name in document.identity.keys() {
        if !in_settings(document, name) && !mentions(&document.admin.auth, name) {
            let message = format!("nothing requires the identity `{name}`");
            findings.warning(&["identity", name], message);
        }
    }
    for (name, consumer) in &document.consumers {
        if let Some(plan) = &consumer.plan
            && !document.plans.contains_key(plan)
        {
            let path = ["consumers", name, "plan"];
            let message = format!("there is no plan `{}`", findings.written(&path, plan));
            findings.warning(&path, message);
        }
    }
    secrets(document, findings);
}

/// Counts an upstream as used, or the one that a mistyped name means.
fn meant<'d>(document: &'d Document, name: &'d str, used: &mut HashSet<&'d str>) {
    if document.upstreams.contains_key(name) {
        used.insert(name);
        return;
    }
    let known: Vec<&str> = document.upstreams.keys().map(String::as_str).collect();
    used.extend(nearest(name, &known));
}

/// Whether a policy's or handler's settings name something. Runs for the unused alone.
fn in_settings(document: &Document, name: &str) -> bool {
    document.routes.iter().flat_map(|(_, set)| &set.routes).any(|route| {
        let policies = route.policies.iter().any(|policy| mentions(&policy.config, name));
        policies || matches!(&route.to, Target::Handler { config, .. } if mentions(config, name))
    })
}

/// Whether a text in a value is a name, or a URL or list that has it between other signs.
fn mentions(value: &Value, name: &str) -> bool {
    let parts = |c: char| !(c.is_alphanumeric() || "-_.".contains(c));
    match value {
        Value::String(text) => text == name || text.split(parts).any(|part| part == name),
        Value::Array(items) => items.iter().any(|item| mentions(item, name)),
        Value::Object(map) => map.iter().any(|(key, value)| key == name || mentions(value, name)),
        _ => false,
    }
}

fn secrets(document: &Document, findings: &mut Findings<'_>) {
    let mut places: Vec<Vec<String>> = Vec::new();
    let place = |path: &[&str]| path.iter().map(|&key| key.to_owned()).collect();
    if document.admin.token.is_some() {
        places.push(place(&["admin", "token"]));
    }
    for (name, consumer) in &document.consumers {
        for (number, key) in consumer.api_keys.iter().enumerate() {
            // A hash is no secret.
            if key.starts_with(lockgate_core::STORED_KEY) {
                continue;
            }
            places.push(place(&["consumers", name, "api_keys", &number.to_string()]));
        }
    }
    for (name, store) in &document.stores {
        if store.password.is_some() {
            places.push(place(&["stores", name, "password"]));
        }
        if store.redis_sentinel.as_ref().is_some_and(|sentinel| sentinel.password.is_some()) {
            places.push(place(&["stores", name, "redis_sentinel", "password"]));
        }
    }
    for (name, sink) in &document.alerts.sinks {
        if sink.key.is_some() {
            places.push(place(&["alerts", name, "key"]));
        }
        if sink.token.is_some() {
            places.push(place(&["alerts", name, "token"]));
        }
        if sink.url.is_some() && sink.kind == SinkKind::Slack {
            places.push(place(&["alerts", name, "url"]));
        }
        if sink.email.as_ref().is_some_and(|email| email.password.is_some()) {
            places.push(place(&["alerts", name, "email", "password"]));
        }
    }
    identities(document, findings);
    urls(document, findings);
    in_part(document, findings);
    for (name, upstream) in &document.upstreams {
        if let Some(Sticky::Cookie { secret: Some(_), .. }) = upstream.sticky {
            places.push(place(&["upstreams", name, "sticky", "cookie", "secret"]));
        }
    }
    for path in places {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let source = findings.source;
        let Some(node) = source.node(&path) else { continue };
        if source.tree.reference(node).is_none() && source.tree.written(node).is_some() {
            let fail = Fail::warning(source.nearest(&path), "a secret stands here in plain text");
            findings.push(fail.help("`${env:NAME}` or `${file:path}`").hidden());
        }
    }
}

/// Texts that have a secret in them: webhooks, arguments of programs, what probes ask for.
fn in_part(document: &Document, findings: &mut Findings<'_>) {
    let (source, mut found) = (findings.source, Vec::new());
    let written = |node: NodeId| source.tree.written(node);
    for (name, sink) in &document.alerts.sinks {
        let url = source.node(&["alerts", name, "url"]).or(source.node(&["alerts", name]));
        // One of Slack is a secret whatever it looks like.
        let is_known = sink.kind == SinkKind::Slack;
        found.extend(url.filter(|url| !is_known && written(*url).is_some_and(is_secret_webhook)));
        let command = source.node(&["alerts", name, "command"]);
        let arguments = command.map(|node| source.tree.items(node)).unwrap_or_default();
        let mut before = None;
        for &node in arguments {
            let text = written(node);
            found.extend(text.and_then(|text| argument(before, text)).map(|_| node));
            before = text;
        }
    }
    let probes = document.upstreams.keys().map(|name| vec!["upstreams", name, "health", "path"]);
    for path in probes.chain([vec!["defaults", "health", "path"]]) {
        let node = source.node(&path);
        found.extend(node.filter(|node| written(*node).and_then(target).is_some()));
    }
    in_plain(found, findings);
}

fn in_plain(found: Vec<NodeId>, findings: &mut Findings<'_>) {
    for node in found {
        let at = findings.source.tree.at(node);
        let fail = Fail::warning(at, "a secret stands here in plain text");
        findings.push(fail.help("`${env:NAME}` or `${file:path}`").hidden());
    }
}

/// Secrets in the settings of identities, which their plugins alone know: by what they are called.
fn identities(document: &Document, findings: &mut Findings<'_>) {
    let source = findings.source;
    let mut plain = Vec::new();
    for (name, identity) in &document.identity {
        if let Some(settings) = source.node(&["identity", name, &identity.kind]) {
            plain_secrets(&source.tree, settings, &mut plain);
        }
    }
    in_plain(plain, findings);
}

fn plain_secrets(tree: &Tree, node: NodeId, found: &mut Vec<NodeId>) {
    for &(key, value) in tree.pairs(node) {
        let is_plain = tree.written(value).is_some() && tree.reference(value).is_none();
        if is_plain && tree.written(key).is_some_and(is_secret) {
            found.push(value);
        }
        plain_secrets(tree, value, found);
    }
    tree.items(node).iter().for_each(|item| plain_secrets(tree, *item, found));
}

/// Passwords in the URLs of stores.
fn urls(document: &Document, findings: &mut Findings<'_>) {
    let source = findings.source;
    for name in document.stores.keys() {
        let whole = source.node(&["stores", name]);
        let url = source.node(&["stores", name, "url"]).or(whole);
        let cluster = source.node(&["stores", name, "redis_cluster"]);
        let servers = cluster.map(|node| source.tree.items(node)).unwrap_or_default();
        for node in url.into_iter().chain(servers.iter().copied()) {
            if source.tree.written(node).is_some_and(bears_secret) {
                let fail =
                    Fail::warning(source.tree.at(node), "a password stands here in plain text");
                let help = "`password: ${env:NAME}`, or `${env:NAME}` in its place";
                findings.push(fail.help(help).hidden());
            }
        }
    }
}
