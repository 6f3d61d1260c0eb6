//! What stands under a policy or a handler: its values, and beside them the spelling of the file,
//! so that nothing that is printed ever shows what a `${env:NAME}` stood for.

use std::fmt;
use std::ops::Deref;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// The settings of a plugin. It reads as the resolved [`Value`]; `Debug` and `Serialize` show the
/// written form alone.
#[derive(Clone, PartialEq)]
pub struct Settings {
    value: Value,
    written: Option<Box<Value>>,
}

impl Settings {
    /// Resolved settings, and how they were written where that differs.
    pub fn new(value: Value, written: Value) -> Self {
        let written = (value != written).then(|| Box::new(written));
        Self { value, written }
    }

    /// The settings with `${env:NAME}` and `${file:path}` as the file spells them.
    pub fn written(&self) -> &Value {
        self.written.as_deref().unwrap_or(&self.value)
    }

    /// Puts a text in place of the value under a path of keys and indices; false when there is
    /// none, or it is that text already.
    pub(crate) fn replace(&mut self, path: &[String], text: &str) -> bool {
        let spell = |value: &mut Value| {
            let found = path.iter().try_fold(value, |value, key| match value {
                Value::Object(map) => map.get_mut(key),
                Value::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
                _ => None,
            });
            match found {
                Some(place) if place.as_str() != Some(text) => {
                    *place = text.into();
                    true
                }
                _ => false,
            }
        };
        if let Some(written) = &mut self.written {
            spell(written);
        }
        spell(&mut self.value)
    }

    /// Whether some of it came from the environment or a file.
    pub fn has_references(&self) -> bool {
        self.written.is_some()
    }
}

impl Deref for Settings {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

impl From<Value> for Settings {
    fn from(value: Value) -> Self {
        Self { value, written: None }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written().fmt(f)
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written().serialize(serializer)
    }
}
