//! When two requests are the same: whose keys meet at all, and what must be equal under one key.
//! Everything is hashed, so that no store has a key or a body of a client's.

use blake3::Hasher;
use http::header::AUTHORIZATION;
use lockgate_core::{Exchange, Fingerprint, Key, KeyPart};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

/// A part of what must be equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Method,
    /// With its query.
    Path,
    Body,
    Of(KeyPart),
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "method" => Ok(Self::Method),
            "path" => Ok(Self::Path),
            "body" => Ok(Self::Body),
            other => other.parse().map(Self::Of).map_err(|error: String| {
                let own = "`method`, `path`, `body`, or a key such as `consumer`";
                de::Error::custom(format!("expected {own}: {error}"))
            }),
        }
    }
}

impl JsonSchema for Part {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FingerprintPart".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let part =
            "^(method|path|body|ip|consumer|route|host|(header|cookie|query|path|claim):.+)$";
        schemars::json_schema!({ "type": "string", "pattern": part })
    }
}

/// A route's rule.
pub(super) struct Same {
    scope: Vec<KeyPart>,
    fingerprint: Vec<Part>,
}

impl Same {
    /// By these parts, or those that hold where nothing is said.
    pub(super) fn new(scope: Option<&Key>, fingerprint: Option<Vec<Part>>) -> Self {
        let scope = scope.map_or(vec![KeyPart::Consumer, KeyPart::Route], |key| key.parts().into());
        let usual = || vec![Part::Method, Part::Path, Part::Body, Part::Of(KeyPart::Consumer)];
        Self { scope, fingerprint: fingerprint.unwrap_or_else(usual) }
    }

    /// The key of a request's record.
    pub(super) fn key(&self, exchange: &Exchange, key: &str) -> [u8; 32] {
        let mut all = All::new("lockgate idempotency key 1");
        for part in &self.scope {
            all.add_part(part, exchange);
        }
        all.add(Some(key.as_bytes()));
        all.end()
    }

    /// What must be equal under that key.
    pub(super) fn fingerprint(&self, exchange: &Exchange, body: &[u8]) -> Fingerprint {
        let mut all = All::new("lockgate idempotency fingerprint 1");
        for part in &self.fingerprint {
            let path = || exchange.head.uri.path_and_query().map(|path| path.as_str().as_bytes());
            match part {
                Part::Method => all.add(Some(exchange.head.method.as_str().as_bytes())),
                // With the host: a route may be for several.
                Part::Path => {
                    all.add(Some(exchange.host.as_bytes()));
                    all.add(path());
                }
                Part::Body => all.add(Some(body)),
                Part::Of(part) => {
                    all.add_part(part, exchange);
                    if *part == KeyPart::Consumer {
                        all.add_bearer(exchange);
                    }
                }
            }
        }
        all.end()
    }
}

/// Parts that are hashed together, so that no two tuples of them are the same text.
struct All {
    hasher: Hasher,
    value: Vec<u8>,
}

impl All {
    fn new(context: &str) -> Self {
        Self { hasher: Hasher::new_derive_key(context), value: Vec::new() }
    }

    fn add(&mut self, value: Option<&[u8]>) {
        let bytes = value.unwrap_or_default();
        self.hasher.update(&[u8::from(value.is_some())]);
        self.hasher.update(&(bytes.len() as u64).to_be_bytes());
        self.hasher.update(bytes);
    }

    fn add_part(&mut self, part: &KeyPart, exchange: &Exchange) {
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        let there = part.write(exchange, &mut value);
        self.add(there.then_some(&value));
        self.value = value;
    }

    /// What tells callers apart that the gateway does not: of a consumer, who else vouched; of
    /// nobody that is known, the credential that goes upstream. A repeat that differs in it is
    /// refused, which neither shows an answer to another nor runs twice.
    fn add_bearer(&mut self, exchange: &Exchange) {
        match &exchange.consumer {
            Some(consumer) => self.add(Some(&consumer.beside)),
            None => {
                for line in exchange.head.headers.get_all(AUTHORIZATION) {
                    self.add(Some(line.as_bytes()));
                }
                self.add(None);
            }
        }
    }

    fn end(self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }
}
