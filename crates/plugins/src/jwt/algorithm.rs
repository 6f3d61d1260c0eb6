//! The signature algorithms (RFC 7518 §3, RFC 8037). `none` is not among them.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

/// One algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    #[serde(rename = "EdDSA", alias = "Ed25519")]
    EdDsa,
}

/// Each with its name; names are compared as they stand (RFC 7515 §4.1.1).
const NAMES: [(Algorithm, &str); 12] = [
    (Algorithm::Hs256, "HS256"),
    (Algorithm::Hs384, "HS384"),
    (Algorithm::Hs512, "HS512"),
    (Algorithm::Rs256, "RS256"),
    (Algorithm::Rs384, "RS384"),
    (Algorithm::Rs512, "RS512"),
    (Algorithm::Ps256, "PS256"),
    (Algorithm::Ps384, "PS384"),
    (Algorithm::Ps512, "PS512"),
    (Algorithm::Es256, "ES256"),
    (Algorithm::Es384, "ES384"),
    (Algorithm::EdDsa, "EdDSA"),
];

impl Algorithm {
    /// By the name in a token or a key. `Ed25519` is the newer name of `EdDSA` (RFC 9864).
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = if name == "Ed25519" { "EdDSA" } else { name };
        NAMES.iter().find_map(|&(algorithm, known)| (known == name).then_some(algorithm))
    }

    /// Whether it takes a shared secret.
    pub(super) fn is_hmac(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find_map(|(one, name)| (one == self).then_some(*name));
        f.write_str(name.unwrap_or_default())
    }
}

/// What the configuration allows: all, or a list.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowed(Option<Box<[Algorithm]>>);

impl Allowed {
    /// None given allows all.
    pub(super) fn new(list: Option<&[Algorithm]>) -> Self {
        Self(list.map(Into::into))
    }

    /// Whether this one is allowed.
    pub(super) fn takes(&self, algorithm: Algorithm) -> bool {
        self.0.as_ref().is_none_or(|list| list.contains(&algorithm))
    }

    /// Those that were named.
    pub(super) fn named(&self) -> &[Algorithm] {
        self.0.as_deref().unwrap_or_default()
    }
}
