//! The audit log: a line for each change that somebody has made, with who it was, and what was
//! before and is now; and for what was to change something and has not. It is a part of the
//! process's own log, under the target `lockgate::audit`.

use std::fmt;
use std::net::IpAddr;

use serde_json::Value;

/// Most bytes of what a line says of a thing, of what it was, and of what it is.
const MOST: usize = 4096;

/// Who asks, as far as the admin listener knows.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) name: String,
    pub(crate) from: Option<IpAddr>,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Some(from) => write!(f, "{} from {from}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What came of what somebody wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Changed,
    /// All is as it was wanted already.
    Unchanged,
    Refused,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

/// Writes a line. Secrets in plain text are to be out of `before` and `after` already.
pub fn audit(outcome: Outcome, who: &str, what: &str, before: &Value, after: &Value) {
    let (what, before, after) = (cut(what.to_owned()), short(before), short(after));
    tracing::info!(target: "lockgate::audit", who, what, before, after, "{}", outcome.word());
}

fn short(value: &Value) -> String {
    cut(match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

fn cut(mut text: String) -> String {
    let whole = text.len();
    if whole > MOST {
        text.truncate(text.floor_char_boundary(MOST));
        text.push_str(&format!("… (cut: it has {whole} bytes)"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        let long = Value::from("ä".repeat(3000));
        let told = short(&long);
        assert!(told.ends_with("ä… (cut: it has 6000 bytes)"), "{told}");
        assert!(told.len() < MOST + 64);
        assert_eq!(short(&Value::Null), "");
        assert_eq!(short(&serde_json::json!({ "to": "x" })), "{\"to\":\"x\"}");
    }
}
