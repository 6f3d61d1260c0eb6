//! `hmac`: a signature over the request, by a shared secret or a key pair (RFC 9421). Refuses what
//! covers too little, is too old or too new, was sent before, or has a body that is not the signed
//! one.

mod base;
mod digest;
mod key;
mod seen;
mod settings;
mod signature;
pub mod structured;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderName;
use http::header::HOST;
use lockgate_core::{
    Body, Build, ConfigError, Consumer, Exchange, Fault, Identity, IdentityPlugin, Kind, Proof,
    Reason, Rejection, Step, decode,
};
use schemars::{Schema, schema_for};
use serde_json::Value;

use crate::clock;
use base::Message;
use key::Key;
use seen::Use;
use settings::Config;
use signature::{Claims, No, Rules};

macro_rules! reasons {
    ($($name:ident = $kind:ident, $code:literal, $help:literal;)*) => {
        $(static $name: Reason = Reason { code: $code, kind: Kind::$kind, help: $help };)*
        const REASONS: &[&Reason] = &[$(&$name),*];
    };
}

reasons! {
    MALFORMED = Unauthenticated, "signature_malformed",
        "`Signature-Input` and `Signature` are not in their one exact form (RFC 9421 §4): one without the other, a label or parameter twice or unknown, or several signatures and no `label` that chooses. The log's detail says which.";
    KEY_UNKNOWN = Unauthenticated, "signature_key_unknown",
        "The identity has no key of the signature's `keyid`, or the signature names another algorithm than the key's.";
    UNCOVERED = Unauthenticated, "signature_uncovered",
        "The signature does not cover a part of the request that it must (`required`, and `content-digest` with a body), or covers one that the request does not have.";
    TIME = Unauthenticated, "signature_time",
        "The signature is older than `max_age`, its `expires` is over, or its `created` lies ahead. Compare the clocks.";
    MISMATCH = Unauthenticated, "signature_mismatch",
        "The signature is not the key's over this request: something was changed on the way, or another key signed.";
    REPLAYED = Unauthenticated, "signature_replayed",
        "A request with this key and `nonce` has been taken before.";
    DIGEST = Unauthenticated, "signature_digest",
        "The body is not the one that `Content-Digest` tells of, or the field has neither `sha-256` nor `sha-512` (RFC 9530).";
    TOO_MANY = TooManyRequests, "signature_nonces",
        "The key has used `max_nonces` nonces within `max_age`: one more could not be told from a repetition.";
}

/// The entry in the list of plugins.
pub(crate) struct Hmac;

impl IdentityPlugin for Hmac {
    fn name(&self) -> &'static str {
        "hmac"
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        REASONS
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(
        &self,
        config: &Value,
        build: &mut Build<'_>,
    ) -> Result<Arc<dyn Identity>, ConfigError> {
        let config: Config = decode(config)?;
        if config.keys.is_empty() {
            return Err(ConfigError::new("without keys nobody can sign").at("keys"));
        }
        let max_nonces = usize::try_from(config.max_nonces).unwrap_or(usize::MAX);
        let mut keys = HashMap::with_capacity(config.keys.len());
        for (id, settings) in &config.keys {
            let key = Key::new(id, settings, max_nonces, build);
            keys.insert(id.as_str().into(), key.map_err(|error| error.at(id).at("keys"))?);
        }
        Ok(Arc::new(Signed {
            keys,
            max_body: usize::try_from(config.max_body.0).unwrap_or(usize::MAX),
            rules: Rules::new(&config)?,
        }))
    }
}

struct Signed {
    keys: HashMap<Box<str>, Key>,
    rules: Rules,
    max_body: usize,
}

/// A signature that holds, as far as the head goes.
struct Held<'s> {
    key: &'s Key,
    claims: Claims,
    covers_digest: bool,
}

fn no(reason: &'static Reason, detail: impl Into<Cow<'static, str>>) -> No {
    No(Rejection { reason, detail: detail.into() })
}

impl Signed {
    /// Looks at the head: all but the body and the nonce.
    fn head(&self, exchange: &Exchange) -> Result<Option<Held<'_>>, No> {
        let Some(found) = signature::find(&exchange.head.headers, &self.rules)? else {
            return Ok(None);
        };
        let claims = Claims::read(&found.parameters)?;
        let key = self.keys.get(&*claims.key);
        let key = key.ok_or_else(|| no(&KEY_UNKNOWN, "no such key"))?;
        if claims.algorithm.as_deref().is_some_and(|named| named != key.algorithm()) {
            return Err(no(&KEY_UNKNOWN, "it names another algorithm than its key's"));
        }
        self.rules.check(&claims, clock::now())?;
        let has_body = !exchange.body.is_empty();
        self.rules.covers(&found, exchange.head.uri.query().is_some(), has_body)?;
        let (head, secure) = (&exchange.head, exchange.secure);
        let message = Message { head, secure, length: exchange.body.len() };
        let base = message.base(&found.items, &found.parameters);
        let base = base.map_err(|why| no(&UNCOVERED, why))?;
        if !key.verify(base.as_bytes(), &found.signature) {
            return Err(no(&MISMATCH, format!("it is not of key `{}`", claims.key)));
        }
        // Two hosts would be covered as one that neither is.
        if exchange.head.headers.get_all(HOST).iter().count() != 1 {
            return Err(no(&UNCOVERED, "the request has not one host"));
        }
        Ok(Some(Held { key, claims, covers_digest: found.covers("content-digest") }))
    }

    /// The nonce, last of all: a request that is refused for something else does not use it up.
    fn conclude(&self, held: &Held<'_>) -> Result<Proof, Fault> {
        let consumer: Arc<Consumer> = Arc::clone(&held.key.consumer);
        let Some(nonce) = &held.claims.nonce else { return Ok(Proof::Consumer(consumer)) };
        match held.key.seen.take(nonce, self.rules.over(&held.claims), clock::now()) {
            Use::First => Ok(Proof::Consumer(consumer)),
            Use::Again => {
                let detail = format!("key `{}` has used this nonce before", held.claims.key);
                Ok(Proof::Invalid(no(&REPLAYED, detail).0))
            }
            Use::Full => Err(Fault::client(&TOO_MANY)
                .retry_after(self.rules.max_age)
                .detail(format!("key `{}` has used too many nonces", held.claims.key))),
        }
    }
}

impl Identity for Signed {
    fn identify<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Proof, Fault>> {
        let held = match self.head(exchange) {
            Ok(Some(held)) => held,
            Ok(None) => return Step::Now(Ok(Proof::Absent)),
            Err(No(rejection)) => return Step::Now(Ok(Proof::Invalid(rejection))),
        };
        if !held.covers_digest {
            return Step::Now(self.conclude(&held));
        }
        Step::Later(Box::pin(async move {
            const NAME: HeaderName = HeaderName::from_static("content-digest");
            let body = std::mem::take(&mut exchange.body).collect(self.max_body).await?;
            let stated = base::combined(&exchange.head.headers, &NAME);
            let checked =
                stated.and_then(|stated| digest::check(&stated.unwrap_or_default(), &body));
            exchange.body = Body::from(body);
            match checked {
                Ok(()) => self.conclude(&held),
                Err(why) => Ok(Proof::Invalid(no(&DIGEST, why).0)),
            }
        }))
    }

    fn describe(&self) -> String {
        let count = self.keys.len();
        format!("a signature over the request by one of {count} keys")
    }
}
