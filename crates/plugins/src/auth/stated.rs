//! What the upstream is told of the consumer, in headers that nobody else can state: whatever a
//! client sends under their names is taken away first, in every spelling that an upstream may fold
//! into them. Refuses names that the gateway itself writes.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use lockgate_core::{ConfigError, Consumer};
use serde_json::Value;

use crate::fields;

static USER_ID: HeaderName = HeaderName::from_static("x-user-id");
static USER_ROLE: HeaderName = HeaderName::from_static("x-user-role");
static AUTHENTICATED: HeaderName = HeaderName::from_static("x-authenticated");

const NOTHING: HeaderValue = HeaderValue::from_static("");

/// Names that the gateway writes after all policies, and what they begin with.
const OWN: [&str; 5] = ["forwarded", "via", "x-authenticated", "x-real-ip", "x-request-id"];
const OWN_FAMILIES: [&str; 3] = ["lockgate-", "x-client-cert-", "x-forwarded-"];

/// Where a header's value comes from.
enum Part {
    Name,
    Identity,
    Roles,
    Scopes,
    Plan,
    Tags,
    Claim(Box<str>),
}

/// The headers that a policy states beside those of every consumer.
pub(super) struct Stated {
    names: Box<[HeaderName]>,
    /// What each of them says.
    parts: Box<[Part]>,
}

impl Stated {
    pub(super) fn new(headers: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut seen = HashSet::new();
        let (mut names, mut parts) = (Vec::new(), Vec::new());
        for (key, source) in headers {
            let at = |error: ConfigError| error.at(key);
            let name = fields::name(key).map_err(at)?;
            let folded = name.as_str().replace('_', "-");
            let own = name == HOST
                || OWN.contains(&&*folded)
                || OWN_FAMILIES.iter().any(|begin| folded.starts_with(begin));
            if own {
                return Err(at(ConfigError::new(format!(
                    "`{name}` is the gateway's own to state"
                ))));
            }
            if !seen.insert(folded) {
                let message = format!("`{name}` is there in another spelling already");
                return Err(at(ConfigError::new(message)));
            }
            names.push(name);
            parts.push(Part::read(source).map_err(at)?);
        }
        Ok(Self { names: names.into(), parts: parts.into() })
    }

    /// The names.
    pub(super) fn names(&self) -> &[HeaderName] {
        &self.names
    }

    fn iter(&self) -> impl Iterator<Item = (&HeaderName, &Part)> {
        self.names.iter().zip(&self.parts)
    }

    /// Takes away what the client sent under these names.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        fields::remove_spellings(headers, self.names.iter());
    }

    /// States who the consumer is.
    pub(super) fn state(&self, headers: &mut HeaderMap, consumer: &Consumer) {
        let told = consumer.told.get_or_make(|| {
            let both = [plain(&consumer.name, false), list(&consumer.roles)];
            // What has been escaped is always a header's value.
            let value = |text: &str| HeaderValue::from_str(text).unwrap_or(NOTHING);
            both.iter().map(|text| value(text)).collect()
        });
        for (name, value) in [&USER_ID, &USER_ROLE].into_iter().zip(told) {
            headers.insert(name, value.clone());
        }
        headers.insert(&AUTHENTICATED, HeaderValue::from_static("true"));
        for (name, part) in self.iter() {
            match part.of(consumer) {
                Some(value) => put(headers, name, value),
                None => {
                    headers.remove(name);
                }
            }
        }
    }

    /// For `describe()`: `x-email from claim:email`, each after a comma.
    pub(super) fn describe(&self) -> String {
        self.iter().map(|(name, part)| format!(", {name} from {}", part.word())).collect()
    }
}

impl Part {
    fn read(text: &str) -> Result<Self, ConfigError> {
        Ok(match text {
            "name" => Self::Name,
            "identity" => Self::Identity,
            "roles" => Self::Roles,
            "scopes" => Self::Scopes,
            "plan" => Self::Plan,
            "tags" => Self::Tags,
            other => match other.strip_prefix("claim:").filter(|name| !name.is_empty()) {
                Some(name) => Self::Claim(name.into()),
                None => {
                    let message = format!(
                        "`{text}` is none of claim:NAME, name, identity, roles, scopes, plan, tags"
                    );
                    return Err(ConfigError::new(message));
                }
            },
        })
    }

    fn word(&self) -> Cow<'static, str> {
        match self {
            Self::Name => "name".into(),
            Self::Identity => "identity".into(),
            Self::Roles => "roles".into(),
            Self::Scopes => "scopes".into(),
            Self::Plan => "plan".into(),
            Self::Tags => "tags".into(),
            Self::Claim(name) => format!("claim:{name}").into(),
        }
    }

    fn of<'c>(&self, consumer: &'c Consumer) -> Option<Cow<'c, str>> {
        Some(match self {
            Self::Name => plain(&consumer.name, false),
            Self::Identity => plain(&consumer.identity, false),
            Self::Roles => list(&consumer.roles),
            Self::Scopes => list(&consumer.scopes),
            Self::Plan => plain(consumer.plan.as_deref()?, false),
            Self::Tags => list(&consumer.tags),
            Self::Claim(name) => match consumer.claim_value(name)? {
                Value::String(text) => plain(text, false),
                Value::Array(items) => {
                    let words: Vec<Box<str>> = items.iter().filter_map(word).collect();
                    list(&words).into_owned().into()
                }
                other => word(other)?.into_string().into(),
            },
        })
    }
}

/// A claim that is one word; a mapping and a list are none.
fn word(value: &Value) -> Option<Box<str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string().into()),
        _ => None,
    }
}

fn put(headers: &mut HeaderMap, name: &HeaderName, value: Cow<'_, str>) {
    // What has been escaped is always a header's value.
    match HeaderValue::from_str(&value) {
        Ok(value) => headers.insert(name, value),
        Err(_) => headers.remove(name),
    };
}

fn list(words: &[Box<str>]) -> Cow<'_, str> {
    match words {
        [] => "".into(),
        [word] => plain(word, true),
        words => {
            let mut out = String::new();
            for (place, word) in words.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                out.push_str(&plain(word, true));
            }
            out.into()
        }
    }
}

/// A text that reads back as itself and as nothing else: control characters, what is not ASCII, a
/// space at either end and `%` are percent-encoded, in a list commas too. A subject or role that
/// an issuer was talked into cannot pass for two, or for another.
fn plain(text: &str, in_list: bool) -> Cow<'_, str> {
    let last = text.len().saturating_sub(1);
    let is_plain = |(place, byte): (usize, u8)| match byte {
        b'%' => false,
        b',' => !in_list,
        b' ' => place != 0 && place != last,
        byte => byte.is_ascii_graphic(),
    };
    if text.bytes().enumerate().all(is_plain) {
        return text.into();
    }
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| char::from(HEX.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    let mut out = String::with_capacity(text.len() + 16);
    for (place, byte) in text.bytes().enumerate() {
        if is_plain((place, byte)) {
            out.push(char::from(byte));
        } else {
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_back_as_itself_alone() {
        for (text, in_list, expected) in [
            ("alice", false, "alice"),
            ("auth0|7, inc", false, "auth0|7, inc"),
            ("a,admin", true, "a%2Cadmin"),
            (" admin", true, "%20admin"),
            ("Alice Smith", false, "Alice Smith"),
            ("a\r\nX-User-Role: admin", false, "a%0D%0AX-User-Role: admin"),
            ("100%", false, "100%25"),
            ("é", false, "%C3%A9"),
            ("", false, ""),
            (" ", false, "%20"),
        ] {
            let value = plain(text, in_list);
            assert_eq!(value, expected, "{text:?}");
            assert!(HeaderValue::from_str(&value).is_ok());
        }
    }
}
