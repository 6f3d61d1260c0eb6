//! Consumers: callers who have been identified, and what the configuration knows of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use http::HeaderValue;
use serde_json::{Map, Value};

/// A caller who has been identified. Made once for a credential and shared by its requests.
#[derive(Clone, Default)]
pub struct Consumer {
    /// The name in the configuration, or the subject that the identity vouches for.
    pub name: Arc<str>,
    /// Whether the name is one of the configuration's `consumers`.
    pub known: bool,
    /// The identity that vouched.
    pub identity: Arc<str>,
    /// Who vouched within it, where it believes several: a token's issuer, a certificate's
    /// authority. Each has its own callers.
    pub issuer: Arc<str>,
    /// What they may do, in words that routes ask for.
    pub roles: Box<[Box<str>]>,
    /// What the credential itself allows (RFC 6749 §3.3).
    pub scopes: Box<[Box<str>]>,
    /// A plan of `plans`.
    pub plan: Option<Arc<str>>,
    /// Free words.
    pub tags: Box<[Box<str>]>,
    /// What the credential claims: a token's claims, an auth service's answer.
    pub claims: Map<String, Value>,
    /// What tells callers of the same name apart: who else vouched in the same request (a
    /// partner's machine may bring many users), or a hash of what they were believed for.
    pub beside: Vec<u8>,
    /// What a target is told of them, made once for all of their requests.
    pub told: Told,
}

/// Header values that are the same for all requests of a consumer. A copy of the consumer, who may
/// be changed, has none yet.
#[derive(Default)]
pub struct Told(OnceLock<Box<[HeaderValue]>>);

impl Told {
    /// The values, which `make` makes for the first request.
    pub fn get_or_make(&self, make: impl FnOnce() -> Box<[HeaderValue]>) -> &[HeaderValue] {
        self.0.get_or_init(make)
    }
}

impl Clone for Told {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Consumer {
    /// A claim as text: `sub`, or `realm_access.org` for one inside another; a name with dots in it
    /// is looked for as it stands first. `None` when there is none, or it is a list or a mapping.
    pub fn claim(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.claim_value(name)? {
            Value::String(text) => Some(text.as_str().into()),
            Value::Number(number) => Some(number.to_string().into()),
            Value::Bool(yes) => Some(if *yes { "true" } else { "false" }.into()),
            _ => None,
        }
    }

    /// A claim as it stands, by the same names.
    pub fn claim_value(&self, name: &str) -> Option<&Value> {
        if let Some(value) = self.claims.get(name) {
            return Some(value);
        }
        let (first, rest) = name.split_once('.')?;
        let first = self.claims.get(first)?;
        rest.split('.').try_fold(first, |value, key| value.get(key))
    }

    /// Whether they have this role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|have| **have == *role)
    }

    /// Whether the credential allows this scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|have| **have == *scope)
    }

    /// Writes what tells this consumer from every other: two identities, and two issuers within
    /// one, may vouch for callers of the same name who are not the same, but a configured consumer
    /// is one, however identified.
    pub fn write_key(&self, out: &mut Vec<u8>) {
        if self.known {
            out.extend_from_slice(self.name.as_bytes());
            return;
        }
        // An issuer chooses its own name and its callers': neither may reach into the other.
        for part in [&self.identity, &self.issuer, &self.name] {
            write_part(part.as_bytes(), out);
        }
    }

    /// Notes another who vouched in the same request.
    pub fn stands_beside(&mut self, other: &Self) {
        let mut key = Vec::new();
        other.write_key(&mut key);
        write_part(&key, &mut self.beside);
    }

    /// Writes all that an answer made for them may depend on: who they are, who vouched beside
    /// them, and what this credential allows. The same caller's lesser credential is not to be
    /// given what a greater one was.
    pub fn write_rights(&self, out: &mut Vec<u8>) {
        let mut key = Vec::new();
        self.write_key(&mut key);
        write_part(&key, out);
        write_part(&self.beside, out);
        for words in [&self.roles, &self.scopes] {
            out.extend_from_slice(&(words.len() as u64).to_be_bytes());
            for word in words {
                write_part(word.as_bytes(), out);
            }
        }
    }
}

/// With its length before it, so that no two lists of parts are the same bytes.
fn write_part(part: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(part.len() as u64).to_be_bytes());
    out.extend_from_slice(part);
}

/// Neither claims nor anything else that came with a credential.
impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("name", &self.name)
            .field("identity", &self.identity)
            .field("roles", &self.roles)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// What the hash of an API key begins with, where it stands in place of the key.
pub const STORED_KEY: &str = "lgk1:";

/// What the configuration says of one consumer.
#[derive(Default)]
pub struct ConsumerEntry {
    /// Their name.
    pub name: Arc<str>,
    /// Their keys, or the keys' hashes: secrets, never to be shown.
    pub api_keys: Box<[Box<str>]>,
    /// What they may do.
    pub roles: Box<[Box<str>]>,
    /// A plan of `plans`.
    pub plan: Option<Arc<str>>,
    /// Free words.
    pub tags: Box<[Box<str>]>,
}

impl fmt::Debug for ConsumerEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The configuration's consumers, by name.
#[derive(Debug, Default)]
pub struct Consumers(HashMap<Arc<str>, ConsumerEntry>);

impl Consumers {
    /// The consumer of that name.
    pub fn get(&self, name: &str) -> Option<&ConsumerEntry> {
        self.0.get(name)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &ConsumerEntry> {
        self.0.values()
    }

    /// Adds what the configuration knows of the consumer's name: a known one gets its roles, plan
    /// and tags beside those that its credential brought.
    pub fn complete(&self, consumer: &mut Consumer) {
        let Some(entry) = self.get(&consumer.name) else { return };
        consumer.known = true;
        consumer.name = Arc::clone(&entry.name);
        consumer.roles = both(&consumer.roles, &entry.roles);
        consumer.tags = both(&consumer.tags, &entry.tags);
        if entry.plan.is_some() {
            consumer.plan.clone_from(&entry.plan);
        }
    }
}

fn both(first: &[Box<str>], second: &[Box<str>]) -> Box<[Box<str>]> {
    let more = second.iter().filter(|word| !first.contains(word));
    first.iter().chain(more).cloned().collect()
}

impl FromIterator<ConsumerEntry> for Consumers {
    fn from_iter<I: IntoIterator<Item = ConsumerEntry>>(entries: I) -> Self {
        Self(entries.into_iter().map(|entry| (Arc::clone(&entry.name), entry)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(claims: Value) -> Consumer {
        let Value::Object(claims) = claims else { panic!("claims are a mapping") };
        Consumer { name: "a".into(), identity: "idp".into(), claims, ..Consumer::default() }
    }

    #[test]
    fn claims_are_found_by_name_and_by_path() {
        let claims = serde_json::json!({
            "sub": "a", "n": 7, "org": { "id": "x", "deep": { "er": true } },
            "https://x.example/y": "dotted", "list": [1],
        });
        let consumer = consumer(claims);
        for (name, expected) in [
            ("sub", Some("a")),
            ("n", Some("7")),
            ("org.id", Some("x")),
            ("org.deep.er", Some("true")),
            ("https://x.example/y", Some("dotted")),
            ("list", None),
            ("org", None),
            ("none", None),
            ("sub.x", None),
        ] {
            assert_eq!(consumer.claim(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_name_that_two_identities_vouch_for_is_two_consumers_unless_configured() {
        let key = |consumer: &Consumer| {
            let mut key = Vec::new();
            consumer.write_key(&mut key);
            key
        };
        let mut one = consumer(serde_json::json!({}));
        let mut other = Consumer { identity: "keys".into(), issuer: "x".into(), ..one.clone() };
        assert_ne!(key(&one), key(&other));
        let vouched = |identity: &str, issuer: &str, name: &str| Consumer {
            identity: identity.into(),
            issuer: issuer.into(),
            name: name.into(),
            ..Consumer::default()
        };
        let all = [
            vouched("idp", "a", "bc"),
            vouched("idp", "ab", "c"),
            vouched("idp", "b", "bc"),
            vouched("idp", "", "abc"),
            vouched("idpa", "", "bc"),
            vouched("idp", "a", "bc\0"),
        ];
        let keys: std::collections::HashSet<_> = all.iter().map(key).collect();
        assert_eq!(keys.len(), all.len());
        let entry = ConsumerEntry {
            name: "a".into(),
            roles: Box::new(["teller".into()]),
            plan: Some("gold".into()),
            ..ConsumerEntry::default()
        };
        let known: Consumers = [entry].into_iter().collect();
        known.complete(&mut one);
        known.complete(&mut other);
        assert_eq!(key(&one), key(&other));
        assert!(one.known && one.has_role("teller"));
        assert_eq!(one.plan.as_deref(), Some("gold"));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let entry = ConsumerEntry {
            name: "a".into(),
            api_keys: Box::new(["hunter2".into()]),
            ..ConsumerEntry::default()
        };
        let claimed = consumer(serde_json::json!({ "card": "hunter2" }));
        assert!(!format!("{entry:?} {claimed:?}").contains("hunter2"));
    }

    #[test]
    fn rights_tell_a_lesser_credential_from_a_greater_one() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).into()).collect();
        let one = |roles: &[&str], scopes: &[&str]| Consumer {
            name: "alice".into(),
            roles: words(roles),
            scopes: words(scopes),
            ..Consumer::default()
        };
        let mut beside = one(&[], &[]);
        beside.stands_beside(&one(&[], &[]));
        let all = [
            one(&[], &[]),
            one(&["a"], &[]),
            one(&[], &["a"]),
            one(&["a", "b"], &[]),
            one(&["ab"], &[]),
            one(&["a"], &["b"]),
            beside,
        ];
        let keys: std::collections::HashSet<Vec<u8>> = all
            .iter()
            .map(|consumer| {
                let mut key = Vec::new();
                consumer.write_rights(&mut key);
                key
            })
            .collect();
        assert_eq!(keys.len(), all.len());
    }
}
