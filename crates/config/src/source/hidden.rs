//! The secrets of a configuration that were not shown: a text that was made of what was shown has
//! [`HIDDEN`] in their places, and can be checked with the secrets that stand there.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

use super::tree::{NodeId, Shape, Tree};
use crate::format::HIDDEN;

/// What a configuration says, secrets and all, in each form in which it is shown. Never shown.
pub struct Hidden(Vec<Value>);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

impl Hidden {
    pub(crate) fn new(forms: Vec<&Value>) -> Self {
        Self(forms.into_iter().cloned().collect())
    }

    /// Puts what marks stand for in their places in a value, as far as that is known: as the form
    /// says that the value is in.
    pub(crate) fn reveal(&self, value: &mut Value, form: usize) {
        if let Some(form) = self.0.get(form) {
            reveal(value, form);
        }
    }

    /// What the marks in the scalars under a node stand for, as far as that is known.
    pub(super) fn secrets(&self, tree: &Tree, root: NodeId) -> HashMap<NodeId, String> {
        let mut found = HashMap::new();
        marks(tree, root, &mut Vec::new(), &mut |path, node, text| {
            let secret = self.0.iter().find_map(|form| secret(form, path, text));
            secret.into_iter().for_each(|secret| drop(found.insert(node, secret)));
        });
        found
    }
}

/// Tells of all scalars under a node with a mark in them, with their paths.
pub(crate) fn marks<'t>(
    tree: &'t Tree,
    node: NodeId,
    path: &mut Vec<String>,
    does: &mut impl FnMut(&[String], NodeId, &'t str),
) {
    let mut below = |key: String, node| {
        path.push(key);
        marks(tree, node, path, does);
        path.pop();
    };
    match tree.shape(node) {
        Shape::Map => {
            for &(key, value) in tree.pairs(node) {
                below(tree.written(key).unwrap_or_default().to_owned(), value);
            }
        }
        Shape::List => {
            for (place, &item) in tree.items(node).iter().enumerate() {
                below(place.to_string(), item);
            }
        }
        _ => {
            if let Some(text) = tree.written(node).filter(|text| text.contains(HIDDEN)) {
                does(path, node, text);
            }
        }
    }
}

/// What stands at a path in place of the mark in a text.
fn secret(form: &Value, path: &[String], text: &str) -> Option<String> {
    let there = path.iter().try_fold(form, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    });
    match there? {
        Value::String(there) => behind(text, there).map(str::to_owned),
        // Digits alone may be a secret.
        Value::Number(there) => (text == HIDDEN).then(|| there.to_string()),
        _ => None,
    }
}

/// What stands in a text in place of the mark in another, when what is around it is the same.
fn behind<'t>(marked: &str, there: &'t str) -> Option<&'t str> {
    let (before, after) = marked.split_once(HIDDEN)?;
    there.strip_prefix(before)?.strip_suffix(after)
}

fn reveal(value: &mut Value, form: &Value) {
    match (value, form) {
        (Value::String(text), Value::String(there)) if behind(text, there).is_some() => {
            text.clone_from(there);
        }
        (value, Value::Number(_)) if *value == HIDDEN => value.clone_from(form),
        (Value::Object(map), Value::Object(form)) => {
            for (key, value) in map {
                form.get(key).into_iter().for_each(|form| reveal(value, form));
            }
        }
        (Value::Array(items), Value::Array(form)) => {
            items.iter_mut().zip(form).for_each(|(item, form)| reveal(item, form));
        }
        _ => {}
    }
}
