//! What is hidden in whatever is shown: secrets that stand in plain text. In place of each stands
//! [`HIDDEN`], which no configuration may have in it: it is never taken for the secret itself.

use lockgate_core::STORED_KEY;
use serde_json::{Map, Value};

use super::in_part::hide_parts;
use crate::model::{is_only_named, without_password};

/// What stands in place of a secret. Written as a reference, so that it can be anywhere where one
/// may be, and is refused where references are looked up.
pub const HIDDEN: &str = "${hidden}";

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

/// Where headers, cookies and parameters of queries stand with their values.
const NAMED_VALUES: [&str; 6] = ["headers", "header", "cookie", "query", "set", "add"];

/// Words in their names by which the values are secrets.
const CREDENTIALS: [&str; 8] =
    ["authorization", "cookie", "credential", "key", "password", "secret", "session", "token"];

/// Settings with the secrets hidden that stand in them in plain text.
pub fn bare(mut settings: Value) -> Value {
    take_out(&mut settings, &mut Vec::new());
    settings
}

/// Hides the secrets that stand in plain text in a whole configuration. Hashes of keys stay: no key
/// can be made of them. Returns what was taken out, in its order.
pub(crate) fn hide_plain_secrets(document: &mut Value) -> Vec<String> {
    let mut hidden = Vec::new();
    hide_parts(document, &mut hidden);
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
        each(&mut alerts, |sink| routing_key(sink, &mut hidden));
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
fn named_only(text: &str) -> bool {
    is_only_named(text)
}

/// A key may be when it is only named, or hashed.
fn may_show_key(key: &str) -> bool {
    named_only(key) || key.starts_with(STORED_KEY)
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
            for (key, part) in map {
                match part {
                    Value::Object(_) | Value::Array(_) if is_secret(key) => take_out(part, hidden),
                    part if is_secret(key) => secret(part, hidden),
                    // By its value a closed route is passed.
                    Value::Object(named) if key == "bypass_header" => {
                        named.get_mut("value").into_iter().for_each(|value| secret(value, hidden));
                    }
                    Value::Object(named) if NAMED_VALUES.contains(&key.as_str()) => {
                        credentials(named, hidden);
                        take_out(part, hidden);
                    }
                    _ => take_out(part, hidden),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|part| take_out(part, hidden)),
        _ => {}
    }
}

/// Takes out what is stated to others, or asked of clients, as a secret: `headers: { request: {
/// set: { Authorization } } }`, `respond: { headers: { Set-Cookie } }`, `when: { query: { token }
/// }`. What has words of the request in it is none.
fn credentials(named: &mut Map<String, Value>, hidden: &mut Vec<String>) {
    for (name, value) in named {
        let name = name.to_ascii_lowercase();
        if CREDENTIALS.iter().any(|word| name.contains(word)) {
            credential(value, hidden);
        }
    }
}

/// Hides what is a secret as a whole.
fn secret(value: &mut Value, hidden: &mut Vec<String>) {
    texts(value, &mut |text| {
        if !named_only(text) {
            hide(text, hidden);
        }
    });
}

/// Hides what may have words of the request in it.
fn credential(value: &mut Value, hidden: &mut Vec<String>) {
    texts(value, &mut |text| {
        if says_more(text) {
            hide(text, hidden);
        }
    });
}

/// Whether a credential has anything in it beside references, words of the request and its scheme.
fn says_more(text: &str) -> bool {
    let mut rest = String::new();
    let mut parts = text.split("${");
    rest.push_str(parts.next().unwrap_or_default());
    parts.for_each(|part| rest.push_str(part.split_once('}').map_or(part, |(_, after)| after)));
    let rest = rest.trim();
    let scheme = ["bearer", "basic", "token"].iter().any(|one| rest.eq_ignore_ascii_case(one));
    !scheme && rest.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

/// Does something to a text, or to all texts in a list or a map. Digits alone are a text too, where
/// one is asked for.
fn texts(value: &mut Value, does: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => does(text),
        Value::Number(number) => {
            let (before, mut text) = (number.to_string(), number.to_string());
            does(&mut text);
            if text != before {
                *value = text.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|part| texts(part, does)),
        Value::Object(map) => map.values_mut().for_each(|part| texts(part, does)),
        _ => {}
    }
}

fn hide(text: &mut String, hidden: &mut Vec<String>) {
    hidden.push(std::mem::replace(text, HIDDEN.to_owned()));
}

fn keys(consumer: &mut Value, hidden: &mut Vec<String>) {
    let Some(keys) = consumer.get_mut("api_keys") else { return };
    texts(keys, &mut |key| {
        if !may_show_key(key) {
            hide(key, hidden);
        }
    });
}

/// Takes the passwords out of all URLs.
fn passwords(value: &mut Value, hidden: &mut Vec<String>) {
    texts(value, &mut |url| {
        if let Some(without) = without_password(url, HIDDEN) {
            hidden.push(std::mem::replace(url, without));
        }
    });
}

/// Takes out the key by which one who is told of alerts is reached.
fn routing_key(sink: &mut Value, hidden: &mut Vec<String>) {
    if let Some(key) = sink.get_mut("key") {
        secret(key, hidden);
    }
}

/// Takes out what is sent to collectors as headers, such as their tokens.
fn headers(value: &mut Value, hidden: &mut Vec<String>) {
    let Some(map) = value.as_object_mut() else { return };
    for (key, part) in map {
        if key != "headers" {
            headers(part, hidden);
        } else if part.is_object() {
            credential(part, hidden);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_named_as_a_credential_is_hidden_wherever_it_stands() {
        let mut route = json!({
            "when": [
                { "header": { "X-Api-Key": "s1", "X-Token": { "prefix": "s2" }, "X-Team": "blue" } },
                { "query": { "access_token": ["s3"], "page": "1" }, "cookie": { "session": "s4" } },
                { "header": { "Authorization": true, "X-Secret": "${env:KEPT}" } },
            ],
            "to": { "respond": { "body": "hello", "headers": { "Set-Cookie": "s5", "Vary": "a" } } },
            "headers": { "response": { "set": { "X-Auth-Token": "s6" }, "remove": ["Cookie"] } },
            "auth": { "header": "X-Api-Key", "secret": "s7" },
        });
        let mut hidden = Vec::new();
        take_out(&mut route, &mut hidden);
        hidden.sort();
        assert_eq!(hidden, ["s1", "s2", "s3", "s4", "s5", "s6", "s7"]);
        assert_eq!(route.to_string().matches(HIDDEN).count(), 7, "{route}");
        for shown in ["blue", "page", "hello", "Vary", "Cookie", "${env:KEPT}"] {
            assert!(route.to_string().contains(shown), "{shown}: {route}");
        }
        let once = route.clone();
        take_out(&mut route, &mut Vec::new());
        assert_eq!(route, once, "what is hidden stays as it is");
    }

    #[test]
    fn a_reference_beside_a_secret_hides_nothing_of_it() {
        let mut whole = json!({
            "routes": { "/a": {
                "headers": { "request": { "set": {
                    "Authorization": "Bearer s1${request_id}",
                    "X-Token": "Bearer ${claim:t}",
                } } },
                "maintenance": { "bypass_header": { "name": "X", "value": "s2" } },
                "to": { "redirect": { "to": "https://a.example/?token=s3&x=1" } },
            } },
            "alerts": {
                "a": "https://h.example/T0/s4?x=${env:HOME}",
                "b": "https://h.example/${env:PATH_OF_IT}",
                "c": { "command": ["curl", "-uops:s5", "https://h.example"] },
            },
        });
        assert_eq!(hide_plain_secrets(&mut whole).len(), 5, "{whole}");
        let text = whole.to_string();
        assert!((1..=5).all(|n| !text.contains(&format!("s{n}"))), "{text}");
        assert!(text.contains("Bearer ${claim:t}") && text.contains("${env:PATH_OF_IT}"), "{text}");
    }

    #[test]
    fn digits_alone_are_a_secret_too() {
        let mut whole = json!({
            "admin": { "token": 12345678 },
            "consumers": { "a": { "api_keys": [1234, "plain"] }, "b": { "api_keys": 5678 } },
            "alerts": { "pager": { "kind": "pagerduty", "key": 99 } },
            "routes": { "/a": { "headers": { "request": { "set": { "X-Api-Key": 42 } } } } },
            "telemetry": { "otlp": { "headers": { "Tenant": 17 } } },
        });
        let hidden = hide_plain_secrets(&mut whole);
        assert_eq!(hidden.len(), 7, "{whole}");
        assert_eq!(whole.to_string().matches(HIDDEN).count(), 7, "{whole}");
        assert!(!whole.to_string().contains(|one: char| one.is_ascii_digit()), "{whole}");
    }
}
