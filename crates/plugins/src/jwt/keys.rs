//! A set of keys (RFC 7517 §5): which of them a token may be verified with.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::algorithm::{Algorithm, Allowed};
use super::key::Key;
use super::token::Token;

/// Most keys of a set.
const MAX_KEYS: usize = 256;
/// Most keys that a token without a `kid` is tried against.
const MAX_TRIES: usize = 8;

/// Keys, and their number among those that their source has had.
pub(super) struct KeySet {
    pub(super) generation: u64,
    pub(super) keys: Vec<Key>,
}

/// Why no key of a set verifies a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// None has its `kid`.
    Key,
    /// Its key is not for its algorithm.
    Algorithm,
    /// Its key says that the signature is not its own.
    Signature,
}

impl KeySet {
    /// Verifies a token's signature. A `kid` names the key; where none of the set has it, those
    /// without one may be meant. A token without a `kid` may be of any.
    pub(super) fn verify(&self, token: &Token<'_>) -> Result<(), Miss> {
        let id = token.key.as_deref();
        let named = id.is_some() && self.keys.iter().any(|key| key.id.as_deref() == id);
        let meant = |key: &&Key| match id {
            Some(_) if named => key.id.as_deref() == id,
            Some(_) => key.id.is_none(),
            None => true,
        };
        let mut miss = Miss::Key;
        let mut tries = 0;
        for key in self.keys.iter().filter(meant) {
            match key.verify(token.algorithm, token.signed.as_bytes(), &token.signature) {
                Some(true) => return Ok(()),
                Some(false) => {
                    miss = Miss::Signature;
                    tries += 1;
                }
                None if miss == Miss::Key => miss = Miss::Algorithm,
                None => {}
            }
            if tries == MAX_TRIES {
                break;
            }
        }
        Err(miss)
    }
}

/// A document of keys.
#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// One key as JSON (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2). Other members are not for us.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

/// Reads a document of keys: those that can be used, and why others cannot. `secrets`: whether
/// shared secrets may be among them, as a document that others can fetch keeps none.
///
/// # Errors
/// When it is no such document.
pub(super) fn read(
    text: &[u8],
    allowed: &Allowed,
    secrets: bool,
) -> Result<(Vec<Key>, Vec<String>), String> {
    let document: Document = serde_json::from_slice(text)
        .map_err(|_| "it is no JSON object with a list `keys` (RFC 7517 §5)".to_owned())?;
    if document.keys.len() > MAX_KEYS {
        return Err(format!("it has more than {MAX_KEYS} keys"));
    }
    let (mut keys, mut others) = (Vec::new(), Vec::new());
    for (place, key) in document.keys.into_iter().enumerate() {
        match jwk(key, allowed, secrets) {
            Ok(key) => keys.push(key),
            Err(why) => others.push(format!("key {place}: {why}")),
        }
    }
    Ok((keys, others))
}

fn jwk(value: Value, allowed: &Allowed, secrets: bool) -> Result<Key, String> {
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| "it is no JWK".to_owned())?;
    if jwk.usage.as_ref().is_some_and(|usage| usage != "sig") {
        return Err("its `use` is not `sig`".to_owned());
    }
    if jwk.key_ops.as_ref().is_some_and(|all| !all.iter().any(|one| one == "verify")) {
        return Err("its `key_ops` lack `verify`".to_owned());
    }
    let only;
    let allowed = match &jwk.alg {
        None => allowed,
        Some(name) => {
            let named = Algorithm::named(name).filter(|algorithm| allowed.takes(*algorithm));
            let named = named.ok_or("its `alg` is not one that is taken here")?;
            only = Allowed::new(Some(&[named]));
            &only
        }
    };
    let mut key = match jwk.kty.as_str() {
        "RSA" => Key::rsa(&part("n", jwk.n)?, &part("e", jwk.e)?, allowed),
        "EC" => {
            let (algorithm, size) = match jwk.crv.as_deref() {
                Some("P-256") => (Algorithm::Es256, 32),
                Some("P-384") => (Algorithm::Es384, 48),
                _ => return Err("its `crv` is neither P-256 nor P-384".to_owned()),
            };
            let (x, y) = (part("x", jwk.x)?, part("y", jwk.y)?);
            if x.len() != size || y.len() != size {
                return Err(format!("its `x` and `y` have {size} bytes each"));
            }
            Key::curve(algorithm, &[&[4][..], &x, &y].concat(), allowed)
        }
        "OKP" if jwk.crv.as_deref() == Some("Ed25519") => {
            let x = part("x", jwk.x)?;
            if x.len() != 32 {
                return Err("its `x` has 32 bytes".to_owned());
            }
            Key::curve(Algorithm::EdDsa, &x, allowed)
        }
        "oct" if secrets => Key::secret(&part("k", jwk.k)?, allowed),
        "oct" => Err("a shared secret is not taken from a document that can be fetched".to_owned()),
        _ => Err("its `kty` and `crv` are none of RSA, EC, OKP with Ed25519".to_owned()),
    }?;
    key.id = jwk.kid.map(Into::into);
    Ok(key)
}

fn part(name: &str, text: Option<String>) -> Result<Vec<u8>, String> {
    let text = text.ok_or_else(|| format!("it lacks `{name}`"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("its `{name}` is no base64url"))
}
