//! Keys of signers. Each has one algorithm, whatever a signature says of itself. Refuses secrets
//! that are too short to be guessed at no cost.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::{hmac, signature};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_core::{Build, ConfigError, Consumer};

use super::seen::Seen;
use super::settings::Key as Settings;

/// Least bytes of a secret.
const MIN_SECRET: usize = 32;
/// What comes before the 32 bytes of an Ed25519 key in DER (RFC 8410 §4).
const ED25519_DER: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0];

/// A signer's key.
pub(super) struct Key {
    way: Way,
    pub(super) consumer: Arc<Consumer>,
    pub(super) seen: Arc<Seen>,
}

enum Way {
    HmacSha256(Box<hmac::Key>),
    Ed25519([u8; 32]),
}

impl Key {
    pub(super) fn new(
        id: &str,
        settings: &Settings,
        max_nonces: usize,
        build: &Build<'_>,
    ) -> Result<Self, ConfigError> {
        let way = Way::new(settings, build)?;
        let mut consumer = Consumer {
            name: settings.consumer.as_deref().unwrap_or(id).into(),
            identity: (*build.name).into(),
            ..Consumer::default()
        };
        consumer.claims.insert("keyid".to_owned(), id.into());
        build.provide.consumers().complete(&mut consumer);
        // Kept across reloads, or each of them would let everything be sent once more.
        let seen = build.shared(&format!("{} {id}", build.name), || Arc::new(Seen::default()));
        seen.limit(max_nonces);
        Ok(Self { way, consumer: Arc::new(consumer), seen })
    }

    /// The algorithm's name in the registry (RFC 9421 §6.2).
    pub(super) fn algorithm(&self) -> &'static str {
        match self.way {
            Way::HmacSha256(_) => "hmac-sha256",
            Way::Ed25519(_) => "ed25519",
        }
    }

    /// Whether a signature over this is the key's; in constant time for a secret.
    pub(super) fn verify(&self, base: &[u8], signature: &[u8]) -> bool {
        match &self.way {
            Way::HmacSha256(key) => hmac::verify(key, base, signature).is_ok(),
            Way::Ed25519(key) => signature::UnparsedPublicKey::new(&signature::ED25519, key)
                .verify(base, signature)
                .is_ok(),
        }
    }
}

impl Way {
    fn new(settings: &Settings, build: &Build<'_>) -> Result<Self, ConfigError> {
        let secret = |key: &str, bytes: &[u8]| {
            if bytes.len() < MIN_SECRET {
                let message = format!("a secret has at least {MIN_SECRET} bytes");
                return Err(ConfigError::new(message).at(key));
            }
            Ok(Self::HmacSha256(Box::new(hmac::Key::new(hmac::HMAC_SHA256, bytes))))
        };
        match (&settings.secret, &settings.secret_base64, &settings.public_key) {
            (Some(text), None, None) => secret("secret", text.as_bytes()),
            (None, Some(text), None) => {
                let bytes = STANDARD.decode(text.trim());
                let wrong = || ConfigError::new("this is not base64").at("secret_base64");
                secret("secret_base64", &bytes.map_err(|_| wrong())?)
            }
            (None, None, Some(key)) => {
                public(key, build).map(Self::Ed25519).map_err(|error| error.at("public_key"))
            }
            _ => Err(ConfigError::new("say one of `secret`, `secret_base64` and `public_key`")),
        }
    }
}

/// An Ed25519 key in PEM: the text itself, or a file's.
fn public(text: &str, build: &Build<'_>) -> Result<[u8; 32], ConfigError> {
    let text = match text.contains("-----BEGIN") {
        true => text.to_owned(),
        false => {
            let file = build.provide.read(Path::new(text)).map_err(ConfigError::new)?;
            String::from_utf8_lossy(&file).into_owned()
        }
    };
    let wrong = || ConfigError::new("this is no Ed25519 public key in PEM (`PUBLIC KEY`)");
    let (_, rest) = text.split_once("-----BEGIN PUBLIC KEY-----").ok_or_else(wrong)?;
    let (inner, _) = rest.split_once("-----END PUBLIC KEY-----").ok_or_else(wrong)?;
    let inner: String = inner.split_ascii_whitespace().collect();
    let der = STANDARD.decode(inner).map_err(|_| wrong())?;
    let key = der.strip_prefix(&ED25519_DER).ok_or_else(wrong)?;
    key.try_into().map_err(|_| wrong())
}
