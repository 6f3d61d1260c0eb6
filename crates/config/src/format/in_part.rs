//! Texts that are secrets in part: a webhook's URL below its host, a probe's query, an argument of
//! a program. What is shown of them has one mark in place of that part, so that what stands there
//! can be found again. What is only named is shown.

use lockgate_core::is_secret_name;
use serde_json::{Map, Value};

use super::HIDDEN;
use crate::model::is_only_named;

/// Hides them in a whole configuration. What was hidden is added to `hidden`.
pub(crate) fn hide_parts(document: &mut Value, hidden: &mut Vec<String>) {
    let sinks = document.get_mut("alerts").and_then(Value::as_object_mut);
    for sink in sinks.into_iter().flat_map(Map::values_mut) {
        match sink {
            Value::String(url) => hide(url, webhook(url), hidden),
            sink => {
                if let Some(Value::String(url)) = sink.get_mut("url") {
                    hide(url, webhook(url), hidden);
                }
                arguments(sink.get_mut("command"), hidden);
            }
        }
    }
    queries(document, hidden);
}

fn arguments(command: Option<&mut Value>, hidden: &mut Vec<String>) {
    let mut before: Option<String> = None;
    for one in command.and_then(Value::as_array_mut).into_iter().flatten() {
        let Value::String(text) = one else { continue };
        let shown = argument(before.as_deref(), text);
        before = Some(text.clone());
        hide(text, shown, hidden);
    }
}

/// Wherever a path or a URL is set that has a query: a probe's, a key set's, a redirect's.
fn queries(part: &mut Value, hidden: &mut Vec<String>) {
    match part {
        Value::String(text) if text.starts_with('/') || text.contains("://") => {
            hide(text, target(text), hidden);
        }
        Value::Object(map) => map.values_mut().for_each(|part| queries(part, hidden)),
        Value::Array(items) => items.iter_mut().for_each(|item| queries(item, hidden)),
        _ => {}
    }
}

/// `shown`: what is shown of a text, if not all of it.
fn hide(text: &mut String, shown: Option<String>, hidden: &mut Vec<String>) {
    if let Some(shown) = shown {
        hidden.push(std::mem::replace(text, shown));
    }
}

/// What is shown of a webhook's URL: nothing below its host, as whoever knows that may use it.
/// `None`: all of it.
fn webhook(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, below) = rest.split_at(host);
    match (host.contains('@'), below) {
        (true, _) => Some(format!("{scheme}://{HIDDEN}")),
        (false, below) if is_only_named(below.trim_start_matches('/')) => None,
        (false, below) => {
            let slash = if below.starts_with('/') { "/" } else { "" };
            Some(format!("{scheme}://{host}{slash}{HIDDEN}"))
        }
    }
}

/// Whether a webhook's URL has a secret in it that can be known as one: a login, a parameter, or a
/// word that nobody has thought of.
pub(crate) fn is_secret_webhook(url: &str) -> bool {
    webhook(url).is_some_and(|_| {
        let (_, rest) = url.split_once("://").unwrap_or_default();
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let random = |word: &str| {
            let has = |of: fn(&u8) -> bool| word.as_bytes().iter().any(of);
            word.len() >= 20 && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
        };
        host.contains('@') || target(rest).is_some() || rest.split(['/', '?', '=']).any(random)
    })
}

/// What is shown of a path with a query, when one of its parameters is a secret: nothing of the
/// query. `None`: all of it.
pub(crate) fn target(path: &str) -> Option<String> {
    let (before, query) = path.split_once('?')?;
    let is_secret = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or_default();
        is_secret_name(name.as_bytes()) && is_plain(value)
    };
    query.split(['&', ';']).any(is_secret).then(|| format!("{before}?{HIDDEN}"))
}

/// What is shown of an argument, by what is before it. `None`: all of it.
pub(crate) fn argument(before: Option<&str>, argument: &str) -> Option<String> {
    if !is_plain(argument) {
        return None;
    }
    if before.is_some_and(is_flag_of_secret) {
        return Some(HIDDEN.to_owned());
    }
    if argument.starts_with("-u") && argument.contains(':') {
        // curl's word for a login, with the login in it.
        return Some(format!("-u{HIDDEN}"));
    }
    if argument.contains(char::is_whitespace) && !is_header(argument) {
        // A script: what a part of it says cannot be told apart.
        let words = || argument.split(|c: char| c.is_whitespace() || "'\"`;|&()".contains(c));
        let mut pairs = words().zip(words().skip(1)).filter(|(_, word)| !word.is_empty());
        let is_one = |before: Option<&str>, word: &str| self::argument(before, word).is_some();
        let is_secret = words().any(|word| is_one(None, word))
            || pairs.any(|(before, word)| is_one(Some(before), word) || is_name(before));
        return is_secret.then(|| HIDDEN.to_owned());
    }
    if argument.contains("://") {
        return webhook(argument);
    }
    let (name, value) = argument.split_once(['=', ':'])?;
    let is_secret = is_secret_name(name.trim_start_matches('-').as_bytes());
    let begin = argument.strip_suffix(value).unwrap_or_default();
    let blank = value.len() - value.trim_start().len();
    let begin = format!("{begin}{}", value.get(..blank).unwrap_or_default());
    (is_secret && is_plain(value.trim_start())).then(|| format!("{begin}{HIDDEN}"))
}

/// `--token`, or curl's word for a login.
fn is_flag_of_secret(text: &str) -> bool {
    let name = text.trim_start_matches('-');
    let is_flag = text.starts_with('-') && !text.contains(['=', ':']);
    is_flag && (is_secret_name(name.as_bytes()) || matches!(text, "-u" | "--user"))
}

/// `Authorization:` alone.
fn is_name(text: &str) -> bool {
    text.strip_suffix(':').is_some_and(|name| is_secret_name(name.as_bytes()))
}

/// `Name: value`, as programs take headers.
fn is_header(text: &str) -> bool {
    let name = text.split_once(": ").map(|(name, _)| name);
    name.is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

fn is_plain(value: &str) -> bool {
    !value.is_empty() && !is_only_named(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_shown_without_its_secret_parts() {
        let mut document = serde_json::json!({
            "alerts": {
                "quiet": "22:00-07:00", "rules": { "p99": "1s" },
                "hook": "https://h/s1", "chat": { "url": "https://h/s2", "kind": "slack" },
                "run": { "command": ["tell", "--token", "s3", "--key=s4", "--loud"] },
            },
            "defaults": { "health": { "path": "/up?token=s5" } },
            "upstreams": { "a": { "health": { "path": "/up?sig=s6&x=1" } }, "b": { "health": "off" } },
            "routes": { "/health": { "to": "a" } },
        });
        let mut hidden = Vec::new();
        hide_parts(&mut document, &mut hidden);
        let shown = document.to_string();
        assert_eq!((hidden.len(), shown.matches(HIDDEN).count()), (6, 6), "{shown}");
        assert!((1..=6).all(|n| !shown.contains(&format!("s{n}"))), "{shown}");
        assert!(shown.contains("https://h/${hidden}") && shown.contains("--loud"), "{shown}");
        let once = document.clone();
        hide_parts(&mut document, &mut hidden);
        assert_eq!(document, once, "what is hidden stays as it is");
    }

    #[test]
    fn a_webhook_is_shown_to_its_host() {
        for (url, shown) in [
            ("https://hooks.example/T0/B0/xyz", Some("https://hooks.example/${hidden}")),
            ("https://hooks.example:8443?key=1", Some("https://hooks.example:8443${hidden}")),
            ("https://user:pass@hooks.example/", Some("https://${hidden}")),
            ("https://hooks.example", None),
            ("http://10.0.0.1:9093/", None),
            ("https://hooks.example/${env:HOOK}", None),
            ("${env:HOOK}", None),
        ] {
            assert_eq!(webhook(url).as_deref(), shown, "{url}");
        }
        for (url, secret) in [
            ("https://hooks.example/services/T000/B000/a1b2c3d4e5f6g7h8i9j0k1l2", true),
            ("https://hooks.example/x?token=1", true),
            ("https://u:p@hooks.example/", true),
            ("https://hooks.example/alerts/gateway-of-the-bank", false),
            ("https://hooks.example/", false),
        ] {
            assert_eq!(is_secret_webhook(url), secret, "{url}");
        }
    }

    #[test]
    fn a_query_is_hidden_when_a_parameter_is_a_secret() {
        assert_eq!(target("/health?token=a&x=1").as_deref(), Some("/health?${hidden}"));
        assert_eq!(target("/health?x=1;api-key=a").as_deref(), Some("/health?${hidden}"));
        for open in ["/health", "/health?x=1", "/health?token=", "/health?token=${env:T}"] {
            assert_eq!(target(open), None, "{open}");
        }
    }

    #[test]
    fn arguments_are_known_by_what_they_are_called() {
        for (before, text, shown) in [
            ("--token", "abc", Some("${hidden}")),
            ("-u", "me:abc", Some("${hidden}")),
            ("", "--api-key=abc", Some("--api-key=${hidden}")),
            ("", "TOKEN=abc", Some("TOKEN=${hidden}")),
            ("-H", "Authorization: Bearer abc", Some("Authorization: ${hidden}")),
            ("-H", "X-Api-Key:abc", Some("X-Api-Key:${hidden}")),
            ("", "https://hooks.example/T0/x", Some("https://hooks.example/${hidden}")),
            ("-c", "curl -d @- https://hooks.example/T0/x", Some("${hidden}")),
            ("-c", "curl --token abc x", Some("${hidden}")),
            ("-c", "curl -H 'Authorization: Bearer abc' x", Some("${hidden}")),
            ("--token", "${env:TOKEN}", None),
            ("", "--token=${env:TOKEN}", None),
            ("-H", "Content-Type: application/json", None),
            ("-c", "cat > /tmp/alert && logger -t gate < /tmp/alert", None),
            ("--to", "ops", None),
            ("", "--verbose", None),
            ("", "--level=warning", None),
        ] {
            let before = Some(before).filter(|before| !before.is_empty());
            assert_eq!(argument(before, text).as_deref(), shown, "{before:?} {text}");
        }
    }
}
