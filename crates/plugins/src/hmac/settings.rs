//! The settings as they are written.

use std::collections::BTreeMap;
use std::time::Duration;

use lockgate_core::{Size, Time};
use schemars::JsonSchema;
use serde::Deserialize;

/// Identifies callers by a signature over the request (RFC 9421).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// A signature's `keyid` → the key, and whose it is.
    pub(super) keys: BTreeMap<String, Key>,
    /// What a signature must cover at least: `@method`, `@authority`, `@path` and, where there is
    /// one, `@query`; `@target-uri` and `@request-target` cover what they hold.
    pub(super) required: Option<Vec<String>>,
    /// Whether a request with a body must have a `Content-Digest` that the signature covers.
    #[serde(default = "yes")]
    pub(super) digest: bool,
    /// Whether a signature must have a `nonce`, which is taken once.
    #[serde(default = "yes")]
    pub(super) nonce: bool,
    /// The signature's label, when there may be several; otherwise there must be one alone.
    pub(super) label: Option<String>,
    /// The `tag` that a signature must have.
    pub(super) tag: Option<String>,
    /// How old a signature may be by its `created`.
    #[serde(default = "default_max_age")]
    pub(super) max_age: Time,
    /// How far the clocks may differ.
    #[serde(default = "default_leeway")]
    pub(super) leeway: Time,
    /// The largest body whose digest is checked: it is held in memory meanwhile.
    #[serde(default = "default_max_body")]
    pub(super) max_body: Size,
    /// Nonces that are remembered of each key; when there are more in `max_age`, further requests
    /// are refused.
    #[serde(default = "default_max_nonces")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(super) max_nonces: u32,
}

/// A signer's key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    /// A shared secret (`hmac-sha256`), from `${env:NAME}` or `${file:path}`. At least 32 bytes.
    pub(super) secret: Option<String>,
    /// A shared secret in base64.
    pub(super) secret_base64: Option<String>,
    /// An Ed25519 public key (`ed25519`) in PEM, or the path of a file with it.
    pub(super) public_key: Option<String>,
    /// Whose it is; the `keyid` unless said.
    pub(super) consumer: Option<String>,
}

fn yes() -> bool {
    true
}

fn default_max_age() -> Time {
    Time(Duration::from_secs(300))
}

fn default_leeway() -> Time {
    Time(Duration::from_secs(30))
}

fn default_max_body() -> Size {
    Size(1 << 20)
}

fn default_max_nonces() -> u32 {
    100_000
}
