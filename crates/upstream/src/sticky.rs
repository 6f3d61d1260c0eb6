//! The sticky cookie: which endpoint a client was sent to, signed, so that nobody can choose an
//! endpoint or learn an address from it. What does not verify is ignored, never refused.

use std::sync::OnceLock;

use http::HeaderValue;
use subtle::ConstantTimeEq;

use crate::endpoint::Endpoint;

/// Bytes of a cookie's value: 16 hex digits of the endpoint's id, then 32 of the signature.
const LENGTH: usize = 48;

/// What signs the cookies of one upstream.
#[derive(Debug)]
pub(crate) struct StickyCookie {
    pub(crate) name: Box<str>,
    key: Key,
}

struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// One endpoint's cookie, made when the set changes.
#[derive(Debug)]
pub(crate) struct Cookie {
    value: [u8; LENGTH],
    plain: Option<HeaderValue>,
    secure: Option<HeaderValue>,
}

impl StickyCookie {
    /// Signs with a key derived from `secret`, or with this process's own random key.
    pub(crate) fn new(name: &str, secret: Option<&str>) -> Self {
        let key = match secret {
            Some(secret) => blake3::derive_key("lockgate sticky cookie 2026", secret.as_bytes()),
            None => random_key(),
        };
        Self { name: name.into(), key: Key(key) }
    }

    /// The cookie of an endpoint. Its id says the upstream too, so that a cookie of one upstream
    /// is nothing to another with the same secret.
    pub(crate) fn cookie(&self, endpoint: &Endpoint) -> Cookie {
        let id = endpoint.id();
        let signature = blake3::keyed_hash(&self.key.0, &id.to_be_bytes()).to_hex();
        let text = format!("{id:016x}{}", signature.get(..32).unwrap_or_default());
        let mut value = [0; LENGTH];
        for (to, from) in value.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        let line = format!("{}={text}; Path=/; HttpOnly; SameSite=Lax", self.name);
        Cookie {
            value,
            secure: HeaderValue::from_str(&format!("{line}; Secure")).ok(),
            plain: HeaderValue::from_str(&line).ok(),
        }
    }
}

impl Cookie {
    /// Whether this is what the client sent, compared in constant time.
    pub(crate) fn is(&self, sent: &str) -> bool {
        self.value.ct_eq(sent.as_bytes()).into()
    }

    /// The `Set-Cookie` value; with `Secure` when the client speaks TLS.
    pub(crate) fn header(&self, secure: bool) -> Option<HeaderValue> {
        if secure { self.secure.clone() } else { self.plain.clone() }
    }
}

/// The endpoint's id that a cookie claims, to be verified by [`Cookie::is`].
pub(crate) fn claimed_id(sent: &str) -> Option<u64> {
    if sent.len() != LENGTH {
        return None;
    }
    u64::from_str_radix(sent.get(..16)?, 16).ok()
}

fn random_key() -> [u8; 32] {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = [0; 32];
        if let Err(error) = getrandom::fill(&mut key) {
            // No cookie of a guessable key is ever accepted as a right: it only chooses among
            // endpoints that the client could have been sent to anyway.
            tracing::error!(%error, "no random bytes from the system: sticky cookies are guessable");
            fastrand::fill(&mut key);
        }
        key
    })
}

#[cfg(test)]
#[path = "sticky_tests.rs"]
mod tests;
