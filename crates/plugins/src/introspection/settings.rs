//! The settings as they are written.

use std::time::Duration;

use lockgate_core::Time;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::one_or_more::OneOrMore;

/// Identifies callers by a token that the authorization server is asked about (RFC 7662).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// The introspection endpoint. `https`, or `http` on this machine.
    pub(super) url: String,
    /// Who the gateway is to the server.
    pub(super) client_id: String,
    /// How it proves that, from `${env:NAME}` or `${file:path}`.
    pub(super) client_secret: String,
    /// Where `client_id` and `client_secret` go.
    #[serde(default)]
    pub(super) auth: ClientAuth,
    /// PEM file of the authorities to trust instead of the system's.
    pub(super) ca: Option<String>,
    /// Whether `http` to another machine is fine (`false`): tokens and the secret can then be read
    /// on the way.
    #[serde(default)]
    pub(super) allow_http: bool,
    /// How long an answer is kept, never beyond the token's `exp`. A revoked token is let in for
    /// so long; `0s` asks for every request.
    #[serde(default = "default_cache")]
    pub(super) cache: Time,
    /// How long a refusal is kept, at most `cache`.
    #[serde(default = "default_cache_refused")]
    pub(super) cache_refused: Time,
    /// Most answers kept.
    #[serde(default = "default_max_entries")]
    #[schemars(range(min = 16, max = 10_000_000))]
    pub(super) max_entries: u32,
    /// How long the server may take.
    #[serde(default = "default_timeout")]
    pub(super) timeout: Time,
    /// A header, or several, in place of `Authorization: Bearer`.
    #[serde(default)]
    pub(super) header: OneOrMore<String>,
    /// A cookie, or several.
    #[serde(default)]
    pub(super) cookie: OneOrMore<String>,
    /// A query parameter, or several. It is taken out of the URL before the target sees it.
    #[serde(default)]
    pub(super) query: OneOrMore<String>,
    /// Whether the target gets the header or cookie with the token.
    #[serde(default = "default_forward")]
    pub(super) forward: bool,
    /// Of which the answer's `aud` must have one. Without it `aud` is not looked at.
    #[serde(default)]
    pub(super) audience: OneOrMore<String>,
    /// The exact text of the answer's `iss`. Without it `iss` is not looked at.
    pub(super) issuer: Option<String>,
    /// The member of the answer that names the consumer. For tokens of clients without a user it
    /// is often `client_id`.
    #[serde(default = "default_name")]
    pub(super) name_claim: String,
    /// The member with the roles, or several, such as `realm_access.roles`.
    #[serde(default = "default_roles")]
    pub(super) roles_claim: OneOrMore<String>,
    /// The members that may hold the scopes; the first that is there counts.
    #[serde(default = "default_scope")]
    pub(super) scope_claim: OneOrMore<String>,
    /// The member that names one of `plans`.
    pub(super) plan_claim: Option<String>,
}

/// How a client proves to an authorization server who it is (RFC 6749 §2.3.1).
#[derive(Deserialize, JsonSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClientAuth {
    /// In `Authorization: Basic`.
    #[default]
    Basic,
    /// In the body.
    Post,
}

fn default_cache() -> Time {
    Time(Duration::from_secs(60))
}

fn default_cache_refused() -> Time {
    Time(Duration::from_secs(5))
}

fn default_max_entries() -> u32 {
    10_000
}

fn default_timeout() -> Time {
    Time(Duration::from_secs(2))
}

fn default_forward() -> bool {
    true
}

fn default_name() -> String {
    "sub".to_owned()
}

fn default_roles() -> OneOrMore<String> {
    OneOrMore(vec!["roles".to_owned()])
}

fn default_scope() -> OneOrMore<String> {
    OneOrMore(vec!["scope".to_owned()])
}
