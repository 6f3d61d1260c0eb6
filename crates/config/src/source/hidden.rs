//! The secrets of a configuration that were not shown: a text that was made of what was shown has
//! [`HIDDEN`] in their places, and can be checked with the secrets that stand there.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

use super::tree::{NodeId, Shape, Tree};
use crate::format::{HIDDEN, hide_plain_secrets};

/// What a configuration says, secrets and all, in each form in which it is shown, and what is shown
/// of that. Never shown itself.
pub struct Hidden(Vec<Form>);

struct Form {
    says: Value,
    shown: Value,
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

impl Hidden {
    pub(crate) fn new(forms: Vec<&Value>) -> Self {
        let form = |says: &Value| {
            let mut shown = says.clone();
            hide_plain_secrets(&mut shown);
            Form { says: says.clone(), shown }
        };
        Self(forms.into_iter().map(form).collect())
    }

    /// Puts what marks stand for in their places in a value, as far as that is known: as the form
    /// says that the value is in.
    pub(crate) fn reveal(&self, value: &mut Value, form: usize) {
        if let Some(form) = self.0.get(form) {
            reveal(value, &form.says, &form.shown);
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

/// What stands at a path in place of the mark in a text. That has to be all of what was shown
/// there: of a part that fits nobody shall learn that it does.
fn secret(form: &Form, path: &[String], text: &str) -> Option<String> {
    if at(&form.shown, path)?.as_str()? != text {
        return None;
    }
    match at(&form.says, path)? {
        Value::String(there) => {
            let (before, after) = text.split_once(HIDDEN)?;
            there.strip_prefix(before)?.strip_suffix(after).map(str::to_owned)
        }
        // Digits alone may be a secret.
        Value::Number(there) => Some(there.to_string()),
        _ => None,
    }
}

fn at<'v>(form: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(form, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    })
}

fn reveal(value: &mut Value, says: &Value, shown: &Value) {
    match (value, says, shown) {
        (value @ Value::String(_), says, Value::String(text))
            if text.contains(HIDDEN) && *value == **text =>
        {
            value.clone_from(says);
        }
        (Value::Object(map), Value::Object(says), Value::Object(shown)) => {
            for (key, value) in map {
                if let (Some(says), Some(shown)) = (says.get(key), shown.get(key)) {
                    reveal(value, says, shown);
                }
            }
        }
        (Value::Array(items), Value::Array(says), Value::Array(shown)) => {
            let both = says.iter().zip(shown);
            items.iter_mut().zip(both).for_each(|(item, (says, shown))| reveal(item, says, shown));
        }
        _ => {}
    }
}
