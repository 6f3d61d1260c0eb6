//! Roles and scopes as issuers write them: words in a text, or a list of them (RFC 8693 §4.2,
//! RFC 9068 §2.2.3).

use serde_json::Value;

/// The words of values, each once: a text's are between spaces, a list's are its texts.
pub(crate) fn words<'c>(values: impl Iterator<Item = &'c Value>) -> Box<[Box<str>]> {
    let mut words: Vec<Box<str>> = Vec::new();
    let mut add = |word: &str| {
        if !word.is_empty() && !words.iter().any(|have| **have == *word) {
            words.push(word.into());
        }
    };
    for value in values {
        match value {
            Value::String(text) => text.split(' ').for_each(&mut add),
            Value::Array(list) => list.iter().filter_map(Value::as_str).for_each(&mut add),
            _ => {}
        }
    }
    words.into()
}
