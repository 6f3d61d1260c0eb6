//! How an upgrade goes.

use serde_json::{Value, json};

/// What has become of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// None was asked for.
    Serving,
    /// A new process starts.
    Begun { pid: u32 },
    /// It did not come up. This process serves.
    Failed { why: String },
    /// It serves, and this process drains.
    Over { pid: u32 },
}

impl State {
    /// For the admin listener. `pid` is whoever answers.
    pub(crate) fn shown(&self) -> Value {
        let mut shown = match self {
            Self::Serving => json!({ "state": "serving" }),
            Self::Begun { pid } => json!({ "state": "begun", "successor": pid }),
            Self::Failed { why } => json!({ "state": "failed", "why": why }),
            Self::Over { pid } => json!({ "state": "over", "successor": pid }),
        };
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("pid".to_owned(), std::process::id().into());
        }
        shown
    }
}
