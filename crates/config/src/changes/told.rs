//! What differs between two configurations that were in force, thing by thing, as a log may tell
//! it: as written, and without the secrets that stand there in plain text.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::NAMED;
use crate::format::hide_plain_secrets;
use crate::source::{Source, Spelling};

/// One thing that is not as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Differing {
    /// `routes./a`, `upstreams.users`, `defaults`.
    pub thing: String,
    /// What it was; nothing when it was not there.
    pub before: Value,
    /// What it is.
    pub after: Value,
    /// Whether what differs is left out, as it is secret.
    pub is_secret: bool,
}

/// All that differs.
pub fn differing(before: &Source, after: &Source) -> Vec<Differing> {
    let (before, after) = (written(before), written(after));
    let mut found = Vec::new();
    for section in keys(&before, &after) {
        let (old, new) = (before.get(section), after.get(section));
        if old == new {
            continue;
        }
        if !NAMED.contains(&section) {
            found.push(one(&[section], old, new));
            continue;
        }
        let map =
            |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
        let (old, new) = (map(old), map(new));
        for name in keys(&old, &new) {
            let (old, new) = (old.get(name), new.get(name));
            if old != new {
                found.push(one(&[section, name], old, new));
            }
        }
    }
    found
}

fn written(source: &Source) -> Map<String, Value> {
    match source.tree.value(source.root, Spelling::Written) {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The keys of both, those of the second in its order before what is only in the first.
fn keys<'m>(old: &'m Map<String, Value>, new: &'m Map<String, Value>) -> Vec<&'m str> {
    let mut seen = HashSet::new();
    let all = new.keys().chain(old.keys()).map(String::as_str);
    all.filter(|key| seen.insert(*key)).collect()
}

fn one(path: &[&str], old: Option<&Value>, new: Option<&Value>) -> Differing {
    let (before, after) = (shown(path, old), shown(path, new));
    let is_secret = before == after;
    Differing { thing: path.join("."), before, after, is_secret }
}

/// A thing as a log may tell it: without its secrets, which are known by where they stand.
pub fn shown(path: &[&str], value: Option<&Value>) -> Value {
    let Some(value) = value else { return Value::Null };
    let around = |inner, key: &&str| Value::Object(Map::from_iter([((*key).to_owned(), inner)]));
    let mut whole = path.iter().rev().fold(value.clone(), around);
    hide_plain_secrets(&mut whole);
    path.iter()
        .fold(whole, |mut outer, key| outer.get_mut(*key).map(Value::take).unwrap_or_default())
}
