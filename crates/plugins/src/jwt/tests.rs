//! What cases cannot say: the vectors of the RFCs, attacks on the bytes of a token, anything as a
//! token, and the fetching of keys.

mod anything;
mod attacks;
mod doubts;
mod fetching;
mod vectors;

use std::sync::Arc;

use lockgate_core::{Identity, Proof, Step};
use serde_json::{Value, json};

use crate::cases;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn identity(settings: &Value) -> Arc<dyn Identity> {
    cases::identity("jwt", settings).unwrap()
}

/// An identity with the test secret.
fn own() -> Arc<dyn Identity> {
    identity(&json!({ "secret": SECRET }))
}

/// What it makes of a token: the consumer's name, or the code of the reason.
fn judge(identity: &dyn Identity, token: &str) -> Result<String, &'static str> {
    let mut exchange = cases::request(&json!("GET /"));
    let value = format!("Bearer {token}").into_bytes();
    let value = http::HeaderValue::from_bytes(&value).unwrap();
    exchange.head.headers.insert(http::header::AUTHORIZATION, value);
    match identity.identify(&mut exchange) {
        Step::Now(Ok(Proof::Consumer(consumer))) => Ok(consumer.name.to_string()),
        Step::Now(Ok(Proof::Invalid(rejection))) => {
            // A token's own text never gets into a log.
            for part in token.split('.').filter(|part| part.len() > 8) {
                assert!(!rejection.detail.contains(part), "{rejection:?}");
            }
            Err(rejection.reason.code)
        }
        Step::Now(Ok(Proof::Absent)) => Err("absent"),
        Step::Now(Ok(Proof::Answer(..))) => Err("answer"),
        Step::Now(Err(fault)) => Err(fault.reason().code),
        Step::Later(_) => Err("later"),
    }
}

/// A token with the test secret's signature, whatever its parts say.
fn signed(header: &str, claims: &str) -> String {
    let signer = cases::token::Signer::Secret(SECRET.into());
    cases::token::sign("HS256", &signer, header, claims)
}

/// Claims that hold.
fn claims() -> String {
    json!({ "sub": "alice", "exp": crate::clock::now() + 3600 }).to_string()
}
