//! The long form: what a file means once every short form, default and inheritance is written
//! out. It loads as the same document. Secrets stay in the spelling of the file; one that stands
//! there in plain text is hidden.

use lockgate_core::Plugin;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::emit::emit;
use super::hide::hide_plain_secrets;
use crate::load::load_shown;
use crate::model::{
    Alerts, Condition, Document, Http2Use, LogTo, Match, Retry, RetryOn, Rewrite, Route, Sticky,
    Store, Target, Upstream, word_of,
};
use crate::report::Report;
use crate::source::Begin;

/// The long form of a file and all that it includes, as YAML.
///
/// # Errors
/// All that is wrong with it, as [`crate::load`] tells it.
pub fn long<'b>(from: impl Into<Begin<'b>>, plugins: &[Plugin]) -> Result<String, Report> {
    Ok(emit(&long_value(&load_shown(from, plugins)?)))
}

/// The long form of a document that was read to be shown, as a value.
pub fn long_value(document: &Document) -> Value {
    let mut all = told(document);
    hide_plain_secrets(&mut all);
    all
}

/// As [`long_value`], with the secrets that stand there in plain text: never shown.
pub(crate) fn told(document: &Document) -> Value {
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| {
        let empty = match &value {
            Value::Null => true,
            Value::Object(map) => map.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        if !empty {
            all.insert(name.into(), value);
        }
    };
    let workers = document.workers.map_or_else(|| "cores".into(), Value::from);
    put("workers", workers);
    put("listeners", switched(value(&document.listeners)));
    put("admin", admin(document));
    put("trusted_proxies", value(&document.trusted_proxies));
    put("http", value(&document.http));
    put("telemetry", telemetry(document));
    put("replicas", value(&document.replicas));
    let stores = document.stores.iter();
    put("stores", stores.map(|(name, one)| (name.clone(), store(one))).collect());
    put("plans", value(&document.plans));
    let identity = document.identity.iter();
    put(
        "identity",
        identity
            .map(|(name, one)| (name.clone(), json!({ &one.kind: value(&one.settings) })))
            .collect(),
    );
    put("consumers", consumers(document));
    let upstreams = document.upstreams.iter();
    put("upstreams", upstreams.map(|(name, one)| (name.clone(), upstream(one))).collect());
    put("routes", routes(document));
    put("alerts", alerts(&document.alerts));
    Value::Object(all)
}

fn value(from: &impl Serialize) -> Value {
    serde_json::to_value(from).unwrap_or_default()
}

/// What is `null` in the model is `off` in the file.
fn switched(mut value: Value) -> Value {
    match &mut value {
        Value::Null => return false.into(),
        Value::Object(map) => map.values_mut().for_each(|part| *part = switched(part.take())),
        Value::Array(items) => items.iter_mut().for_each(|part| *part = switched(part.take())),
        _ => {}
    }
    value
}

fn set(value: &mut Value, key: &str, to: Value) {
    if let Value::Object(map) = value {
        map.insert(key.into(), to);
    }
}

fn unset(value: &mut Value, key: &str) {
    if let Value::Object(map) = value {
        map.shift_remove(key);
    }
}

fn admin(document: &Document) -> Value {
    let admin = &document.admin;
    if admin.address.is_none() {
        return false.into();
    }
    let mut out = value(admin);
    if let Some(token) = &admin.token {
        set(&mut out, "token", token.as_str().into());
    }
    if admin.auth.is_null() {
        unset(&mut out, "auth");
    }
    if admin.state_dir.is_none() {
        unset(&mut out, "state_dir");
    }
    if admin.also_on.is_none() {
        unset(&mut out, "also_on");
    }
    out
}

fn store(store: &Store) -> Value {
    let mut out = value(store);
    let is_elsewhere = !store.redis_cluster.is_empty() || store.redis_sentinel.is_some();
    if !is_elsewhere {
        set(&mut out, "url", store.url.as_deref().unwrap_or("memory").into());
    }
    if !store.redis_cluster.is_empty() {
        set(&mut out, "redis_cluster", value(&store.redis_cluster));
    }
    if let Some(password) = &store.password {
        set(&mut out, "password", password.as_str().into());
    }
    if let Some(sentinel) = &store.redis_sentinel
        && let Some(password) = &sentinel.password
        && let Some(place) = out.get_mut("redis_sentinel")
    {
        set(place, "password", password.as_str().into());
    }
    out
}

/// Nothing when nobody is told.
fn alerts(alerts: &Alerts) -> Value {
    if alerts == &Alerts::default() {
        return Value::Null;
    }
    let mut out = switched(value(alerts));
    if alerts.quiet.is_none() {
        unset(&mut out, "quiet");
    }
    let below = out.pointer_mut("/rules/upstream_low").filter(|rule| rule["below"] == false);
    below.into_iter().for_each(|rule| unset(rule, "below"));
    for (name, sink) in &alerts.sinks {
        let Some(out) = out.get_mut(name) else { continue };
        for (key, secret) in [("url", &sink.url), ("key", &sink.key), ("token", &sink.token)] {
            secret.iter().for_each(|secret| set(out, key, secret.as_str().into()));
        }
        if let Some(body) = &sink.body {
            set(out, "body", body.clone());
        }
        if !sink.command.is_empty() {
            set(out, "command", value(&sink.command));
        }
        for key in ["ca", "email"] {
            if out.get(key) == Some(&Value::Bool(false)) {
                unset(out, key);
            }
        }
        if let (Some(email), Some(out)) = (&sink.email, out.get_mut("email")) {
            for key in ["ca", "user"] {
                if out.get(key) == Some(&Value::Bool(false)) {
                    unset(out, key);
                }
            }
            if let Some(password) = &email.password {
                set(out, "password", password.as_str().into());
            }
        }
    }
    out
}

fn telemetry(document: &Document) -> Value {
    let mut out = switched(value(&document.telemetry));
    if let Some(log) = &document.telemetry.access_log
        && let Some(place) = out.get_mut("access_log")
    {
        let to = match &log.to {
            LogTo::Stdout => "stdout".into(),
            LogTo::File(path) => value(path),
        };
        set(place, "to", to);
    }
    let signals = &document.telemetry;
    for (signal, headers) in [
        ("traces", signals.traces.as_ref().map(|traces| &traces.headers)),
        ("otlp", signals.otlp.as_ref().map(|otlp| &otlp.headers)),
    ] {
        if let (Some(headers), Some(place)) = (headers, out.get_mut(signal)) {
            set(place, "headers", value(&headers.0));
        }
    }
    out
}

fn consumers(document: &Document) -> Value {
    let one = |consumer: &crate::model::Consumer| {
        let mut out = switched(value(consumer));
        if !consumer.api_keys.is_empty() {
            set(&mut out, "api_keys", value(&consumer.api_keys));
        }
        out
    };
    document.consumers.iter().map(|(name, consumer)| (name.clone(), one(consumer))).collect()
}

fn upstream(upstream: &Upstream) -> Value {
    let mut out = switched(value(upstream));
    set(&mut out, "retry", retry(&upstream.retry));
    if upstream.http2 == Http2Use::Negotiated {
        unset(&mut out, "http2");
    }
    if let Some(health) = &upstream.health
        && let Some(place) = out.get_mut("health")
    {
        let ranges = health.status.iter().map(|(from, to)| format!("{from}-{to}")).collect();
        set(place, "status", ranges);
    }
    if let Some(Sticky::Cookie { name, secret: Some(secret) }) = &upstream.sticky {
        set(&mut out, "sticky", json!({ "cookie": { "name": name, "secret": secret } }));
    }
    out
}

fn retry(retry: &Retry) -> Value {
    let mut out = value(retry);
    let on = retry.on.iter().map(|on| match on {
        RetryOn::Connect => "connect".into(),
        RetryOn::Timeout => "timeout".into(),
        RetryOn::Status(status) => Value::from(*status),
    });
    set(&mut out, "on", on.collect());
    out
}

fn routes(document: &Document) -> Value {
    let sets = document.routes.iter().map(|(pattern, set)| {
        let mut all: Vec<Value> = set.routes.iter().map(route).collect();
        let value = if all.len() == 1 { all.remove(0) } else { Value::Array(all) };
        (pattern.to_string(), value)
    });
    sets.collect()
}

fn route(route: &Route) -> Value {
    let mut out = Map::new();
    if *route.when != Condition::default() {
        out.insert("when".into(), when(&route.when));
    }
    out.insert(
        "to".into(),
        match &route.to {
            Target::Upstream(name) => (**name).into(),
            Target::Split(parts) => value(parts),
            Target::Handler { name, config } => json!({ &**name: config.written() }),
        },
    );
    if *route.rewrite != Rewrite::default() {
        let mut rewrite = value(&route.rewrite);
        if let Value::Object(map) = &mut rewrite {
            map.retain(|_, part| !part.is_null());
        }
        out.insert("rewrite".into(), rewrite);
    }
    if let Some(timeout) = route.timeout {
        out.insert("timeout".into(), value(&timeout));
    }
    if let Some(own) = &route.retry {
        out.insert("retry".into(), retry(own));
    }
    if let Some(priority) = route.priority {
        out.insert("priority".into(), word_of(priority).into());
    }
    if !route.tags.is_empty() {
        out.insert("tags".into(), value(&route.tags));
    }
    for policy in &route.policies {
        let config = policy.config.written().clone();
        let Some(before) = out.get_mut(&*policy.name) else {
            // A list would be read as several policies.
            let one = if config.is_array() { json!([config]) } else { config };
            out.insert(policy.name.to_string(), one);
            continue;
        };
        match before {
            Value::Array(items) => items.push(config),
            single => *single = json!([single.take(), config]),
        }
    }
    Value::Object(out)
}

fn when(when: &Condition) -> Value {
    let mut out = Map::new();
    for (kind, map) in [("header", &when.header), ("query", &when.query), ("cookie", &when.cookie)]
    {
        let values = map.iter().map(|(name, wanted)| {
            let wanted = match wanted {
                Match::Present => true.into(),
                Match::Absent => false.into(),
                Match::Exact(text) => text.as_str().into(),
                other => value(other),
            };
            (name.clone(), wanted)
        });
        let values: Map<String, Value> = values.collect();
        if !values.is_empty() {
            out.insert(kind.into(), values.into());
        }
    }
    if !when.method.is_empty() {
        out.insert("method".into(), value(&when.method));
    }
    if let Some(expression) = &when.cel {
        out.insert("cel".into(), expression.as_str().into());
    }
    out.into()
}
