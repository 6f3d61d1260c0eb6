//! The settings as they are written, and their short forms.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use lockgate_core::{Size, Time};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use super::algorithm::Algorithm;
use crate::one_or_more::OneOrMore;

/// Identifies callers by a signed JSON Web Token.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Config {
    /// Whose tokens are taken: the exact text of their `iss`. With no other source of keys, they
    /// come by OpenID Connect discovery from `ISSUER/.well-known/openid-configuration`.
    pub(super) issuer: Option<String>,
    /// A shared secret (HS256, and HS384 and HS512 if it is long enough), from `${env:NAME}` or
    /// `${file:path}`. At least 32 bytes.
    pub(super) secret: Option<String>,
    /// One or more public keys in PEM, or the path of a file of them: RSA, EC P-256 or P-384,
    /// Ed25519.
    pub(super) public_key: Option<String>,
    /// The path of a file with a JSON Web Key Set.
    pub(super) jwks_file: Option<String>,
    /// Where a JSON Web Key Set is fetched from, and fetched again as its keys change.
    pub(super) jwks_url: Option<String>,
    /// The path of a PEM file of authorities, for an issuer or `jwks_url` whose certificate the
    /// system does not know.
    pub(super) ca: Option<String>,
    /// Several issuers: the `iss` of each, or its own `issuer`, source of keys, `audience` and
    /// `algorithms`. A token's `iss` picks one, and only its keys count.
    pub(super) issuers: Vec<Trusted>,
    /// Of which a token's `aud` must have one. Without it `aud` is not looked at, and a token that
    /// the issuer made for another service is taken.
    pub(super) audience: Words,
    /// The only algorithms that are taken, of those that a key allows: HS256, HS384, HS512, RS256,
    /// RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA.
    pub(super) algorithms: Option<Vec<Algorithm>>,
    /// The `typ` that a token's header must have, such as `at+jwt` (RFC 9068).
    pub(super) typ: Option<String>,
    /// Claims that a token must have, beside `exp` and the one that names the consumer.
    pub(super) required: Words,
    /// Whether a token without `exp` is taken too, which holds until its key is gone.
    pub(super) endless: bool,
    /// Claims, and the value or values of which a token must have one.
    pub(super) claims: BTreeMap<String, Value>,
    /// How far the clocks may differ, for `exp`, `nbf` and `iat`. At most 5m.
    pub(super) leeway: Time,
    /// How old a token may be by its `iat`, whatever its `exp`.
    pub(super) max_age: Option<Time>,
    /// The largest token, up to 64KiB.
    pub(super) max_size: Size,
    /// A header, or several, in place of `Authorization: Bearer`.
    pub(super) header: Words,
    /// A cookie, or several.
    pub(super) cookie: Words,
    /// A query parameter, or several. It is taken out of the URL before the target sees it.
    pub(super) query: Words,
    /// Whether the target gets the header or cookie with the token.
    pub(super) forward: bool,
    /// The claim that names the consumer.
    pub(super) name_claim: String,
    /// The claim with the roles, or several, such as `realm_access.roles`.
    pub(super) roles_claim: Words,
    /// The claims that may hold the scopes; the first that is there counts.
    pub(super) scope_claim: Words,
    /// The claim that names one of `plans`.
    pub(super) plan_claim: Option<String>,
    /// How many verified tokens each worker remembers; 0 remembers none.
    pub(super) cache: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            issuer: None,
            secret: None,
            public_key: None,
            jwks_file: None,
            jwks_url: None,
            ca: None,
            issuers: Vec::new(),
            audience: Words::default(),
            algorithms: None,
            typ: None,
            required: Words::default(),
            endless: false,
            claims: BTreeMap::new(),
            leeway: Time(Duration::from_secs(30)),
            max_age: None,
            max_size: Size(8 << 10),
            header: Words::default(),
            cookie: Words::default(),
            query: Words::default(),
            forward: true,
            name_claim: "sub".to_owned(),
            roles_claim: OneOrMore(vec!["roles".to_owned()]),
            scope_claim: OneOrMore(["scope", "scp", "scopes"].map(str::to_owned).to_vec()),
            plan_claim: None,
            cache: 2048,
        }
    }
}

/// An issuer and where its keys are.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Source {
    /// The exact text of its tokens' `iss`.
    pub(super) issuer: Option<String>,
    /// A shared secret.
    pub(super) secret: Option<String>,
    /// Public keys in PEM, or the path of a file of them.
    pub(super) public_key: Option<String>,
    /// The path of a file with a JSON Web Key Set.
    pub(super) jwks_file: Option<String>,
    /// Where a JSON Web Key Set is fetched from.
    pub(super) jwks_url: Option<String>,
    /// The path of a PEM file of the authorities to trust when keys are fetched.
    pub(super) ca: Option<String>,
    /// In place of the `audience` of all.
    pub(super) audience: Option<Words>,
    /// In place of the `algorithms` of all.
    pub(super) algorithms: Option<Vec<Algorithm>>,
}

/// One of several issuers. A text is an issuer with discovery.
pub(super) struct Trusted(pub(super) Source);

impl<'de> Deserialize<'de> for Trusted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Trusted;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an issuer, or a mapping with `issuer` and where its keys are")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Trusted, E> {
                Ok(Trusted(Source { issuer: Some(text.to_owned()), ..Source::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Trusted, A::Error> {
                Source::deserialize(MapAccessDeserializer::new(map)).map(Trusted)
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl JsonSchema for Trusted {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Trusted".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let fields = generator.subschema_for::<Source>();
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, fields] })
    }
}

/// One word, or a list of them.
pub(super) type Words = OneOrMore<String>;

/// As they are kept.
pub(super) fn boxed(words: &Words) -> Box<[Box<str>]> {
    words.0.iter().map(|word| word.as_str().into()).collect()
}
