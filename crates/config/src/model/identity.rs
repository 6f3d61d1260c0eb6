//! `identity` and `consumers`: who may call. Read and kept; policies come to use them.

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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Consumer {
    #[serde(skip)]
    pub api_keys: Vec<String>,
    pub roles: Vec<String>,
    pub plan: Option<String>,
    pub tags: Vec<String>,
}
