//! What is left out of whatever is shown: secrets that stand in plain text.

use lockgate_core::STORED_KEY;
use serde_json::{Map, Value};

use crate::model::{SinkKind, is_only_named, shown};

/// What settings call their secrets.
const SECRETS: [&str; 8] = [
    "secret",
    "secret_base64",
    "client_secret",
    "password",
    "token",
    "pepper",
    "passphrase",
    "api_key",
];

/// Words in the names of headers whose values are secrets.
const SECRET_HEADERS: [&str; 6] = ["authorization", "cookie", "key", "token", "secret", "password"];

/// Settings without the secrets that stand in them in plain text.
pub fn bare(mut settings: Value) -> Value {
    take_out(&mut settings, &mut Vec::new());
    settings
}

/// Takes the secrets that stand in plain text out of a whole configuration as it is written. Hashes
/// of keys stay: no key can be made of them. Returns what was taken out, in its order.
pub(crate) fn hide_plain_secrets(document: &mut Value) -> Vec<String> {
    let mut hidden = Vec::new();
    take_out(document, &mut hidden);
    let section = |document: &'_ mut Value, name| document.get_mut(name).map(Value::take);
    if let Some(mut consumers) = section(document, "consumers") {
        each(&mut consumers, |consumer| keys(consumer, &mut hidden));
        put(document, "consumers", consumers);
    }
    if let Some(mut stores) = section(document, "stores") {
        passwords(&mut stores, &mut hidden);
        put(document, "stores", stores);
    }
    if let Some(mut alerts) = section(document, "alerts") {
        each(&mut alerts, |sink| addresses(sink, &mut hidden));
        put(document, "alerts", alerts);
    }
    if let Some(telemetry) = document.get_mut("telemetry") {
        headers(telemetry, &mut hidden);
    }
    hidden
}

/// Whether settings call a secret so.
pub(crate) fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key)
}

/// A secret may be shown when it is only named.
pub(super) fn named_only(text: &str) -> bool {
    is_only_named(text)
}

/// A key may be when it is only named, or hashed.
pub(super) fn may_show_key(key: &str) -> bool {
    named_only(key) || key.starts_with(STORED_KEY)
}

/// Whether nobody can do anything by knowing an address.
pub(super) fn is_open(url: &str, kind: SinkKind) -> bool {
    kind != SinkKind::Slack && !url.contains(['@', '?'])
}

fn put(document: &mut Value, name: &str, section: Value) {
    if let Some(place) = document.get_mut(name) {
        *place = section;
    }
}

fn each(map: &mut Value, does: impl FnMut(&mut Value)) {
    map.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(does);
}

fn take_out(value: &mut Value, hidden: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            map.retain(|key, part| match part {
                Value::String(text) if is_secret(key) && !named_only(text) => {
                    hidden.push(std::mem::take(text));
                    false
                }
                _ => true,
            });
            for (key, part) in map {
                if matches!(key.as_str(), "request" | "response") {
                    credentials(part, hidden);
                }
                take_out(part, hidden);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|part| take_out(part, hidden)),
        _ => {}
    }
}

/// Takes out what a route states to others, or to its clients, as a secret: `headers: { request: {
/// set: { Authorization } } }`. What has words of the request in it is none.
fn credentials(direction: &mut Value, hidden: &mut Vec<String>) {
    for verb in ["set", "add"] {
        let lines = direction.get_mut(verb).and_then(Value::as_object_mut);
        lines.into_iter().for_each(|lines| {
            lines.retain(|name, value| {
                let Value::String(text) = value else { return true };
                let name = name.to_ascii_lowercase();
                let is_plain =
                    !text.contains("${") && SECRET_HEADERS.iter().any(|word| name.contains(word));
                if is_plain {
                    hidden.push(std::mem::take(text));
                }
                !is_plain
            });
        });
    }
}

fn keys(consumer: &mut Value, hidden: &mut Vec<String>) {
    let Some(keys) = consumer.get_mut("api_keys") else { return };
    let all = match keys.take() {
        Value::Array(all) => all,
        one => vec![one],
    };
    let (kept, plain): (Vec<Value>, Vec<Value>) =
        all.into_iter().partition(|key| key.as_str().is_some_and(may_show_key));
    hidden.extend(plain.into_iter().filter_map(|key| key.as_str().map(str::to_owned)));
    *keys = kept.into();
}

/// Takes the passwords out of all URLs.
fn passwords(value: &mut Value, hidden: &mut Vec<String>) {
    match value {
        Value::String(url) => {
            let without = shown(url);
            if without != *url {
                hidden.push(std::mem::replace(url, without));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|part| passwords(part, hidden)),
        Value::Object(map) => map.values_mut().for_each(|part| passwords(part, hidden)),
        _ => {}
    }
}

/// Takes out the addresses of an alert's receiver that are secrets themselves.
fn addresses(sink: &mut Value, hidden: &mut Vec<String>) {
    let is_secret = |url: &str| !url.contains("${") && !is_open(url, SinkKind::Json);
    match sink {
        Value::String(url) if is_secret(url) => {
            hidden.push(std::mem::take(url));
            *sink = Value::Null;
        }
        Value::Object(map) => {
            let is_slack = map.get("kind").is_some_and(|kind| kind == "slack");
            map.retain(|key, part| {
                let Value::String(text) = part else { return true };
                let plain = match key.as_str() {
                    "url" => !text.contains("${") && (is_slack || is_secret(text)),
                    "key" => !named_only(text),
                    _ => false,
                };
                if plain {
                    hidden.push(std::mem::take(text));
                }
                !plain
            });
        }
        _ => {}
    }
}

/// Takes out what is sent to collectors as headers, such as their tokens.
fn headers(value: &mut Value, hidden: &mut Vec<String>) {
    let Some(map) = value.as_object_mut() else { return };
    for (key, part) in map {
        if key != "headers" {
            headers(part, hidden);
            continue;
        }
        each(part, |header| {
            if let Value::String(text) = header
                && !text.contains("${")
            {
                hidden.push(std::mem::take(text));
                *header = Value::Null;
            }
        });
        part.as_object_mut().into_iter().for_each(|map| map.retain(|_, one| !one.is_null()));
    }
}
