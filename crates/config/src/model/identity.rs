//! `identity` and `consumers`: who may call.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Settings;
use crate::decode::forms;

/// How callers prove who they are: one kind, and its settings as written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Identity {
    /// `jwt`, `api_key`, `introspection`, `basic`, `mtls`, `hmac`, `oidc` or `forward`.
    pub kind: String,
    /// Its settings.
    pub settings: Settings,
}

/// A caller that the configuration knows.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Consumer {
    /// Keys that name them: `${env:NAME}` or `${file:path}`, never in plain text.
    #[serde(skip_serializing, deserialize_with = "forms::words")]
    pub api_keys: Vec<String>,
    /// What they may do, in words that routes ask for.
    #[serde(deserialize_with = "forms::words")]
    pub roles: Vec<String>,
    /// A plan of `plans`.
    pub plan: Option<String>,
    /// Free words.
    #[serde(deserialize_with = "forms::words")]
    pub tags: Vec<String>,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("api_keys", &self.api_keys.len())
            .field("roles", &self.roles)
            .field("plan", &self.plan)
            .field("tags", &self.tags)
            .finish()
    }
}
