//! Which origins are allowed: named whole, by their parent domain, or by an expression. An origin
//! is compared as browsers write it (RFC 6454 §6.2): nothing is guessed, and nothing matches a
//! part of it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use lockgate_core::ConfigError;
use regex::RegexSet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

/// One entry of `origins`, as written.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    Text(String),
    Regex(String),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an origin such as `https://app.example`, or `{ regex: .. }`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Entry, E> {
        Ok(match text.strip_prefix("regex:") {
            Some(expression) => Entry::Regex(expression.trim_start().to_owned()),
            None => Entry::Text(text.to_owned()),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "regex" {
                return Err(de::Error::unknown_field(&key, &["regex"]));
            }
            found = Some(map.next_value()?);
        }
        found.map(Entry::Regex).ok_or_else(|| de::Error::missing_field("regex"))
    }
}

impl JsonSchema for Entry {
    fn schema_name() -> Cow<'static, str> {
        "Origin".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An origin, `https://*.parent`, `*`, `null`, or an expression.",
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": { "regex": { "type": "string" } },
                    "required": ["regex"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

/// The origins that are allowed.
pub(super) enum Origins {
    /// Every one, and whoever sends none.
    Any,
    /// Those listed.
    Listed(Box<Listed>),
}

/// So many origins are compared one after the other.
const FEW: usize = 4;

#[derive(Default)]
pub(super) struct Listed {
    exact: HashSet<Box<str>>,
    under: Vec<Under>,
    expressions: RegexSet,
    written: Vec<String>,
}

/// `https://*.example.com:8443`, cut at its star.
struct Under {
    scheme: Box<str>,
    parent: Box<str>,
}

impl Origins {
    /// Reads the list. An error is placed by the number of its entry.
    pub(super) fn read(entries: &[Entry]) -> Result<Self, ConfigError> {
        let (mut listed, mut expressions) = (Listed::default(), Vec::new());
        for (place, entry) in entries.iter().enumerate() {
            let at = |message: String| ConfigError::new(message).at(place.to_string());
            match entry {
                Entry::Text(text) if text == "*" && entries.len() == 1 => return Ok(Self::Any),
                Entry::Text(text) if text == "*" => {
                    return Err(at("`*` allows every origin: it stands alone".to_owned()));
                }
                Entry::Text(text) => {
                    listed.text(text).map_err(at)?;
                    listed.written.push(text.clone());
                }
                Entry::Regex(expression) => {
                    let whole = format!("^(?:{expression})$");
                    if let Err(error) = regex::Regex::new(&whole) {
                        return Err(at(format!("`{expression}` is no expression: {error}")));
                    }
                    listed.written.push(format!("regex:{expression}"));
                    expressions.push(whole);
                }
            }
        }
        if listed.written.is_empty() {
            return Err(ConfigError::new("at least one origin, or `*` for every one"));
        }
        listed.expressions =
            RegexSet::new(&expressions).map_err(|error| ConfigError::new(error.to_string()))?;
        Ok(Self::Listed(Box::new(listed)))
    }

    pub(super) fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(listed) => {
                listed.names(origin)
                    || listed.under.iter().any(|under| under.takes(origin))
                    || listed.expressions.is_match(origin)
            }
        }
    }
}

impl Listed {
    /// Whether an origin is named whole. A few are sooner compared than hashed.
    fn names(&self, origin: &str) -> bool {
        match self.exact.len() {
            0..=FEW => self.exact.iter().any(|exact| **exact == *origin),
            _ => self.exact.contains(origin),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        if text == "null" {
            self.exact.insert("null".into());
            return Ok(());
        }
        let example = "an origin is a scheme and a host, such as `https://app.example`";
        let (scheme, host) =
            text.split_once("://").ok_or_else(|| format!("`{text}`: {example}"))?;
        let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if !scheme_fits {
            return Err(format!("`{text}`: {example}"));
        }
        if host.contains(['/', '?', '#', '@']) {
            return Err(format!("`{text}`: {example}, without a path or a slash at its end"));
        }
        let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
        let default = [("http", ":80"), ("https", ":443")];
        if default.iter().any(|(of, port)| scheme == *of && host.ends_with(port)) {
            return Err(format!("`{text}`: browsers leave the default port out, so leave it out"));
        }
        let parent = host.strip_prefix("*.");
        let name = parent.unwrap_or(&host);
        let visible = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(visible) {
            let what = if name.contains('*') {
                "a star stands for the begin of a host: `https://*.example.com`"
            } else {
                "the host is written as browsers send it: ASCII letters (punycode), digits, `-`"
            };
            return Err(format!("`{text}`: {what}"));
        }
        match parent {
            Some(parent) => self.under.push(Under {
                scheme: format!("{scheme}://").into(),
                parent: format!(".{parent}").into(),
            }),
            None => drop(self.exact.insert(format!("{scheme}://{host}").into())),
        }
        Ok(())
    }
}

impl Under {
    /// Whether labels of a host, and nothing else, stand in the star's place.
    fn takes(&self, origin: &str) -> bool {
        let rest = origin.strip_prefix(&*self.scheme);
        let Some(labels) = rest.and_then(|rest| rest.strip_suffix(&*self.parent)) else {
            return false;
        };
        labels.split('.').all(|label| {
            let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
            !label.is_empty() && label.bytes().all(fits)
        })
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Listed(listed) => f.write_str(&listed.written.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(texts: &[&str]) -> Result<Origins, ConfigError> {
        let entry = |text: &&str| EntryVisitor.visit_str::<de::value::Error>(text).unwrap();
        Origins::read(&texts.iter().map(entry).collect::<Vec<_>>())
    }

    #[test]
    fn nothing_matches_a_part_of_an_origin() {
        let origins = origins(&[
            "https://app.example",
            "https://*.example.com",
            "http://*.dev.test:3000",
            "regex:https://pr-[0-9]+\\.preview\\.example",
        ])
        .unwrap();
        for allowed in [
            "https://app.example",
            "https://a.example.com",
            "https://b.a.example.com",
            "http://x.dev.test:3000",
            "https://pr-17.preview.example",
        ] {
            assert!(origins.allow(allowed), "{allowed}");
        }
        for refused in [
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.test",
            "https://evil.test/app.example",
            "https://evilapp.example",
            "https://example.com",
            "https://.example.com",
            "https://evil.test/.example.com",
            "https://evil.test#.example.com",
            "https://user@a.example.com",
            "https://A.example.com",
            "https://evilexample.com",
            "http://x.dev.test",
            "https://pr-17.preview.example.evil.test",
            "https://evil.test/https://pr-17.preview.example",
            "https://pr-17.preview.example\nx",
            "https://pr-17xpreview.example",
            "null",
            "*",
            "",
        ] {
            assert!(!origins.allow(refused), "{refused}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_refused_at_load() {
        for text in [
            "",
            "app.example",
            "https://app.example/",
            "https://app.example/x",
            "https://",
            "https://app.example:443",
            "http://app.example:80",
            "https://a.*.example",
            "https://**.example",
            "https://*",
            "https://münchen.example",
            "1://x",
            "regex:(",
        ] {
            assert!(origins(&[text]).is_err(), "{text}");
        }
        assert!(origins(&[]).is_err());
        assert!(origins(&["*", "https://app.example"]).is_err());
        assert!(origins(&["https://APP.example"]).unwrap().allow("https://app.example"));
    }
}
