//! The identity at work: token → issuer → key → signature → claims → consumer, or the cache in
//! place of all of it. Every token goes this way; there is no other.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use lockgate_core::{
    Challenge, Consumer, Counter, Exchange, Fault, Identity, Proof, Rejection, Step,
};

use super::cache::{Cache, Kept};
use super::claims::Rules;
use super::issuer::{Issuer, Keys};
use super::keys::{KeySet, Miss};
use super::person::Naming;
use super::reasons::{
    ALGORITHM, AMBIGUOUS, ISSUER, KEY_UNKNOWN, KEYS_UNAVAILABLE, MALFORMED, SIGNATURE, rejected,
    said, shown,
};
use super::remote::Remote;
use super::token::Token;
use crate::carry::{self, Carry, Unreadable};
use crate::clock;

/// A configured identity of this kind.
pub(super) struct Bearer {
    /// At least one.
    pub(super) issuers: Box<[Issuer]>,
    pub(super) carry: Carry,
    pub(super) max_size: usize,
    pub(super) rules: Rules,
    pub(super) naming: Naming,
    pub(super) cache: Cache,
    pub(super) hits: Arc<Counter>,
    pub(super) misses: Arc<Counter>,
}

/// Why a token did not become a consumer.
enum No {
    /// It does not hold.
    Rejected(Rejection),
    /// Nothing can be said before its issuer's keys are there.
    KeysAbsent(Arc<Remote>),
    /// Its issuer may have a key that is not known here yet.
    KeyUnknown(Arc<Remote>, Rejection),
}

impl From<Rejection> for No {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl Identity for Bearer {
    fn identify<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Proof, Fault>> {
        let token = match self.carry.find(exchange) {
            Ok(Some(token)) => token,
            Ok(None) => return Step::Now(Ok(Proof::Absent)),
            Err(why) => return Step::Now(Ok(Proof::Invalid(unreadable(why)))),
        };
        let worker = exchange.connection.worker;
        let generation = |place: usize| {
            self.issuers.get(place).map_or(u64::MAX, |issuer| issuer.keys.generation())
        };
        if let Some(consumer) =
            self.cache.get(worker, token, clock::at(exchange.lately()), generation)
        {
            self.hits.add(worker, 1);
            return Step::Now(Ok(self.believe(exchange, consumer)));
        }
        self.misses.add(worker, 1);
        let token = match carry::read(token) {
            Ok(token) => token,
            Err(why) => return Step::Now(Ok(Proof::Invalid(unreadable(why)))),
        };
        match self.verify(worker, token) {
            Ok(consumer) => Step::Now(Ok(self.believe(exchange, consumer))),
            Err(No::Rejected(rejection)) => Step::Now(Ok(Proof::Invalid(rejection))),
            Err(No::KeysAbsent(remote) | No::KeyUnknown(remote, _)) => {
                Step::Later(Box::pin(self.later(exchange, remote)))
            }
        }
    }

    /// Only for keys that are fetched.
    fn waits(&self) -> bool {
        self.issuers.iter().any(|issuer| matches!(issuer.keys, Keys::Fetched { .. }))
    }

    /// RFC 6750 §3.
    fn challenge(&self, why: Challenge<'_>) -> Option<HeaderValue> {
        let mut text = "Bearer realm=\"".to_owned();
        quote(&self.naming.identity, &mut text);
        text.push('"');
        match why {
            Challenge::Missing => {}
            Challenge::Invalid(rejection) => {
                let said = said(rejection.reason);
                let _ = write!(text, ", error=\"invalid_token\", error_description=\"{said}\"");
            }
            Challenge::Scope(scopes) => {
                text.push_str(", error=\"insufficient_scope\", scope=\"");
                quote(scopes, &mut text);
                text.push('"');
            }
        }
        HeaderValue::try_from(text).ok()
    }

    fn describe(&self) -> String {
        let mut text = "JWT".to_owned();
        for (place, issuer) in self.issuers.iter().enumerate() {
            text.push_str(if place == 0 { " of " } else { "; or of " });
            text.push_str(issuer.name.as_deref().unwrap_or("any issuer"));
            let _ = write!(text, " ({})", issuer.story);
            if !issuer.audience.is_empty() {
                let _ = write!(text, " for {}", issuer.audience.join(" or "));
            }
        }
        text
    }
}

/// Why nothing can be made of what stands where a token should.
fn unreadable(why: Unreadable) -> Rejection {
    match why {
        Unreadable::Twice => rejected(&AMBIGUOUS, "two in one place"),
        Unreadable::NoText => rejected(&MALFORMED, "no plain text"),
    }
}

impl Bearer {
    fn believe(&self, exchange: &mut Exchange, consumer: Arc<Consumer>) -> Proof {
        if self.carry.strips() {
            self.carry.strip(exchange);
        }
        Proof::Consumer(consumer)
    }

    /// Once more, after the issuer has been heard.
    async fn later(&self, exchange: &mut Exchange, remote: Arc<Remote>) -> Result<Proof, Fault> {
        remote.next().await;
        let found = self.carry.find(exchange).and_then(|token| token.map(carry::read).transpose());
        let token = match found {
            Ok(Some(token)) => token,
            Ok(None) => return Ok(Proof::Absent),
            Err(why) => return Ok(Proof::Invalid(unreadable(why))),
        };
        match self.verify(exchange.connection.worker, token) {
            Ok(consumer) => Ok(self.believe(exchange, consumer)),
            Err(No::Rejected(rejection) | No::KeyUnknown(_, rejection)) => {
                Ok(Proof::Invalid(rejection))
            }
            Err(No::KeysAbsent(remote)) => Err(Fault::gateway(&KEYS_UNAVAILABLE)
                .detail(remote.trouble())
                .retry_after(Duration::from_secs(1))),
        }
    }

    /// Verifies a token, and keeps what came of it.
    fn verify(&self, worker: usize, text: &str) -> Result<Arc<Consumer>, No> {
        let token = Token::read(text, self.max_size)?;
        let (place, issuer) = self.issuer(&token)?;
        let keys = match &issuer.keys {
            Keys::Fixed(keys) => Arc::clone(keys),
            Keys::Fetched { remote, .. } => {
                remote.keys().ok_or_else(|| No::KeysAbsent(Arc::clone(remote)))?
            }
        };
        check_signature(&token, &keys, issuer)?;
        let now = clock::now();
        let typ = token.typ.as_deref();
        let window = self.rules.check(&token.claims, typ, &issuer.audience, now)?;
        let consumer = Arc::new(self.naming.consumer(token.claims)?);
        let generation = keys.generation;
        let kept = Kept { consumer: Arc::clone(&consumer), window, issuer: place, generation };
        self.cache.put(worker, text, now, kept);
        Ok(consumer)
    }

    /// The issuer that a token says it is of: its keys alone decide whether that is so.
    fn issuer(&self, token: &Token<'_>) -> Result<(usize, &Issuer), Rejection> {
        let says = match token.claims.get("iss") {
            None => None,
            Some(serde_json::Value::String(text)) => Some(text.as_str()),
            Some(_) => return Err(rejected(&MALFORMED, "its `iss` is no text")),
        };
        let is = |issuer: &Issuer| issuer.name.is_none() || issuer.name.as_deref() == says;
        self.issuers.iter().enumerate().find(|(_, issuer)| is(issuer)).ok_or_else(|| {
            rejected(
                &ISSUER,
                match says {
                    Some(says) => format!("its `iss` is `{}`", shown(says)),
                    None => "it has no `iss`".to_owned(),
                },
            )
        })
    }
}

fn check_signature(token: &Token<'_>, keys: &KeySet, issuer: &Issuer) -> Result<(), No> {
    let Err(miss) = keys.verify(token) else { return Ok(()) };
    Err(No::Rejected(match miss {
        Miss::Key => {
            let key = token.key.as_deref().map_or("(none)", shown);
            let unknown = rejected(&KEY_UNKNOWN, format!("its `kid` is `{key}`"));
            match &issuer.keys {
                Keys::Fixed(_) => unknown,
                Keys::Fetched { remote, .. } => {
                    return Err(No::KeyUnknown(Arc::clone(remote), unknown));
                }
            }
        }
        Miss::Algorithm => {
            let algorithm = token.algorithm;
            rejected(&ALGORITHM, format!("its key is not used with its `alg`, {algorithm}"))
        }
        Miss::Signature => rejected(&SIGNATURE, format!("as {}", token.algorithm)),
    }))
}

/// Text inside a quoted string (RFC 9110 §5.6.4); what cannot stand there is left out.
fn quote(text: &str, out: &mut String) {
    let fits = |letter: &char| matches!(letter, ' '..='~') && !matches!(letter, '"' | '\\');
    out.extend(text.chars().filter(fits));
}
