//! `identity` and `consumers`: who may call. Read and kept; policies come to use them.

use std::fmt;

use serde::Serialize;

/// How callers prove who they are: one kind, and its settings as written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Identity {
    /// `jwt`, `api_key`, `introspection`, `basic`, `mtls`, `hmac`, `oidc` or `forward`.
    pub kind: String,
    /// Its settings. Secrets stay unresolved in here.
    pub settings: serde_json::Value,
}

/// A caller that the configuration knows.
#[derive(Clone, PartialEq, Serialize)]
pub struct Consumer {
    #[serde(skip)]
    pub api_keys: Vec<String>,
    pub roles: Vec<String>,
    pub plan: Option<String>,
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
