//! Tokens for cases: `tokens` names them, and `{token:NAME}` stands for one anywhere in the case;
//! `{public:KEY}` is the PEM and `{jwk:KEY}` the JWK of a test key. The keys are files of
//! `jwt/test_keys`; times such as `exp: +1h` count from the beginning of the case.

use std::collections::BTreeMap;
use std::fs;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaSignatureEncoding,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What a case says of a token. `alg` and `typ: JWT` are in its header unless `header` says other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    alg: String,
    secret: Option<String>,
    key: Option<String>,
    #[serde(default)]
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

/// Takes `tokens` out of a case, and puts what they stand for in their place.
pub(super) fn fill(case: &mut Value) -> Result<(), String> {
    let tokens = case.as_object_mut().and_then(|case| case.remove("tokens"));
    let tokens: BTreeMap<String, Token> =
        serde_json::from_value(tokens.unwrap_or_else(|| json!({}))).map_err(|e| e.to_string())?;
    let tokens = tokens.into_iter().map(|(name, token)| {
        make(token).map(|text| (name.clone(), text)).map_err(|why| format!("{name}: {why}"))
    });
    let tokens: BTreeMap<String, String> = tokens.collect::<Result<_, _>>()?;
    replace(case, &tokens)
}

fn replace(value: &mut Value, tokens: &BTreeMap<String, String>) -> Result<(), String> {
    match value {
        Value::String(text) => {
            while let Some((before, rest)) = text.split_once("{token:") {
                let (name, after) = rest.split_once('}').ok_or("a token's name ends with `}`")?;
                let token = tokens.get(name).ok_or_else(|| format!("no token `{name}`"))?;
                *text = format!("{before}{token}{after}");
            }
            for (word, make) in [
                ("{public:", public_pem as fn(&str) -> String),
                ("{jwk:", |name| jwk(name).to_string()),
            ] {
                while let Some((before, rest)) = text.split_once(word) {
                    let (name, after) = rest.split_once('}').ok_or("a key's name ends with `}`")?;
                    *text = format!("{before}{}{after}", make(name));
                }
            }
            Ok(())
        }
        Value::Array(list) => list.iter_mut().try_for_each(|one| replace(one, tokens)),
        Value::Object(map) => map.values_mut().try_for_each(|one| replace(one, tokens)),
        _ => Ok(()),
    }
}

fn make(token: Token) -> Result<String, String> {
    let mut header = Map::new();
    header.insert("alg".to_owned(), token.alg.clone().into());
    header.insert("typ".to_owned(), "JWT".into());
    header.extend(token.header);
    let mut claims = token.claims;
    for name in ["exp", "nbf", "iat"] {
        if let Some(Value::String(text)) = claims.get(name) {
            let (sign, time) = text.split_at_checked(1).ok_or("a time is `+1h` or `-5m`")?;
            let time: lockgate_core::Time = time.parse()?;
            let seconds = i64::try_from(time.0.as_secs()).map_err(|e| e.to_string())?;
            let seconds = if sign == "-" { -seconds } else { seconds };
            claims.insert(name.to_owned(), (crate::clock::now() + seconds).into());
        }
    }
    let signer = match (&token.secret, &token.key) {
        (Some(secret), None) => Signer::Secret(secret.as_bytes().to_vec()),
        (None, Some(key)) => Signer::Key(key.clone()),
        _ => return Err("it has a `secret` or a `key`".to_owned()),
    };
    let (header, claims) = (Value::from(header).to_string(), Value::from(claims).to_string());
    Ok(sign(&token.alg, &signer, &header, &claims))
}

/// What signs.
pub(crate) enum Signer {
    Secret(Vec<u8>),
    /// A test key by its file's name.
    Key(String),
}

/// A token of these texts, whatever they say.
pub(crate) fn sign(alg: &str, signer: &Signer, header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", base64(header), base64(claims));
    let signature = signature(alg, signer, signed.as_bytes());
    format!("{signed}.{}", base64(&signature))
}

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn signature(alg: &str, signer: &Signer, message: &[u8]) -> Vec<u8> {
    let key = match signer {
        Signer::Secret(secret) => {
            let algorithm = match alg {
                "HS384" => hmac::HMAC_SHA384,
                "HS512" => hmac::HMAC_SHA512,
                _ => hmac::HMAC_SHA256,
            };
            return hmac::sign(&hmac::Key::new(algorithm, secret), message).as_ref().to_vec();
        }
        Signer::Key(name) => private(name),
    };
    let random = SystemRandom::new();
    let rsa = |encoding: &'static RsaSignatureEncoding| {
        let pair = RsaKeyPair::from_pkcs8(&key).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &random, message, &mut signature).unwrap();
        signature
    };
    let ec = |algorithm| {
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &key).unwrap();
        pair.sign(&random, message).unwrap().as_ref().to_vec()
    };
    match alg {
        "RS256" => rsa(&RSA_PKCS1_SHA256),
        "RS384" => rsa(&RSA_PKCS1_SHA384),
        "RS512" => rsa(&RSA_PKCS1_SHA512),
        "PS256" => rsa(&RSA_PSS_SHA256),
        "PS384" => rsa(&RSA_PSS_SHA384),
        "PS512" => rsa(&RSA_PSS_SHA512),
        "ES256" => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
        "ES384" => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
        _ => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key).unwrap();
            pair.sign(message).as_ref().to_vec()
        }
    }
}

/// The text of a file of test keys.
pub(crate) fn key_file(name: &str) -> String {
    let path = super::folder().join("jwt/test_keys").join(format!("{name}.pem"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn private(name: &str) -> Vec<u8> {
    <(SectionKind, Vec<u8>)>::from_pem_slice(key_file(name).as_bytes()).unwrap().1
}

/// The public half of a test key, as PEM.
pub(crate) fn public_pem(name: &str) -> String {
    let key = private(name);
    let der = match name {
        "p256" => ec(&key, &ECDSA_P256_SHA256_FIXED_SIGNING).public_key().as_der(),
        "p384" => ec(&key, &ECDSA_P384_SHA384_FIXED_SIGNING).public_key().as_der(),
        "ed25519" => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key).unwrap();
            pair.public_key().as_der()
        }
        _ => RsaKeyPair::from_pkcs8(&key).unwrap().public_key().as_der(),
    };
    let body = STANDARD.encode(der.unwrap().as_ref());
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

fn ec(key: &[u8], algorithm: &'static aws_lc_rs::signature::EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    EcdsaKeyPair::from_pkcs8(algorithm, key).unwrap()
}

/// The public half of a test key, as JWK, with its name as `kid`.
pub(crate) fn jwk(name: &str) -> Value {
    let key = private(name);
    let point = |pair: &EcdsaKeyPair, crv: &str| {
        let point = pair.public_key().as_ref()[1..].to_vec();
        let (x, y) = point.split_at(point.len() / 2);
        json!({ "kty": "EC", "crv": crv, "x": base64(x), "y": base64(y) })
    };
    let mut jwk = match name {
        "p256" => point(&ec(&key, &ECDSA_P256_SHA256_FIXED_SIGNING), "P-256"),
        "p384" => point(&ec(&key, &ECDSA_P384_SHA384_FIXED_SIGNING), "P-384"),
        "ed25519" => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key).unwrap();
            json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key()) })
        }
        _ => {
            let pair = RsaKeyPair::from_pkcs8(&key).unwrap();
            let public = pair.public_key();
            let (n, e) = (public.modulus(), public.exponent());
            json!({
                "kty": "RSA",
                "n": base64(n.big_endian_without_leading_zero()),
                "e": base64(e.big_endian_without_leading_zero()),
            })
        }
    };
    jwk["kid"] = name.into();
    jwk["use"] = "sig".into();
    jwk
}
