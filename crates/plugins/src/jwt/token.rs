//! A token as it is written: a JWS in compact form (RFC 7515 §7.1) over JSON claims. There is one
//! way to write a token, and any other is refused: padding, spaces, bits that decode to nothing,
//! members that stand twice. Keys in the header (`jwk`, `jku`, `x5u`, `x5c`) are never looked at.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockgate_core::Rejection;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::reasons::{ALGORITHM, CRITICAL, MALFORMED, TOO_LARGE, rejected, shown};
use super::strict;

/// A token that is well formed. Nothing of it is believed yet.
#[derive(Debug)]
pub(super) struct Token<'t> {
    pub(super) algorithm: Algorithm,
    /// `kid`.
    pub(super) key: Option<String>,
    pub(super) typ: Option<String>,
    pub(super) claims: Map<String, Value>,
    /// What is signed: the first two parts.
    pub(super) signed: &'t str,
    pub(super) signature: Vec<u8>,
}

impl<'t> Token<'t> {
    /// Reads a token of at most `max` bytes.
    pub(super) fn read(text: &'t str, max: usize) -> Result<Self, Rejection> {
        if text.len() > max {
            return Err(rejected(&TOO_LARGE, format!("{} bytes, {max} are the most", text.len())));
        }
        let parts: Vec<&str> = text.splitn(6, '.').collect();
        let [header, claims, signature] = parts.as_slice() else {
            return Err(malformed(match parts.len() {
                5 => "it has five parts: encrypted tokens (JWE) are not read",
                _ => "a token has three parts",
            }));
        };
        let head = strict::object(&decode(header, "the header is no base64url")?)
            .map_err(|why| malformed_part("header", why))?;
        let algorithm = algorithm(&head)?;
        let [key, typ, cty] =
            [text_of(&head, "kid")?, text_of(&head, "typ")?, text_of(&head, "cty")?];
        if cty.is_some_and(|cty| cty.eq_ignore_ascii_case("jwt")) {
            return Err(malformed("it holds another token (`cty: JWT`), which is not read"));
        }
        let claims = strict::object(&decode(claims, "the claims are no base64url")?)
            .map_err(|why| malformed_part("claims", why))?;
        let signature = decode(signature, "the signature is no base64url")?;
        if signature.is_empty() {
            return Err(malformed("it has no signature"));
        }
        let signed = text.rsplit_once('.').map_or("", |(signed, _)| signed);
        Ok(Self { algorithm, key, typ, claims, signed, signature })
    }
}

/// The header's algorithm. It picks among those that the key allows, no more.
fn algorithm(head: &Map<String, Value>) -> Result<Algorithm, Rejection> {
    // An unencoded payload (`b64: false`) is not for JWTs, by RFC 7797's update of RFC 7519.
    if head.contains_key("crit") || head.contains_key("b64") {
        return Err(rejected(&CRITICAL, "the header has `crit` or `b64`"));
    }
    if head.contains_key("enc") || head.contains_key("zip") {
        return Err(malformed("the header is one of an encrypted token (JWE)"));
    }
    let name = text_of(head, "alg")?.ok_or_else(|| malformed("the header has no `alg`"))?;
    Algorithm::named(&name)
        .ok_or_else(|| rejected(&ALGORITHM, format!("`alg` is `{}`", shown(&name))))
}

fn text_of(head: &Map<String, Value>, name: &'static str) -> Result<Option<String>, Rejection> {
    match head.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(malformed(match name {
            "alg" => "the header's `alg` is no text",
            "kid" => "the header's `kid` is no text",
            _ => "the header's `typ` or `cty` is no text",
        })),
    }
}

/// Unpadded, without whitespace, and with nothing in the bits that are left over.
fn decode(part: &str, wrong: &'static str) -> Result<Vec<u8>, Rejection> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed(wrong))
}

fn malformed(why: &'static str) -> Rejection {
    rejected(&MALFORMED, why)
}

fn malformed_part(part: &str, why: &str) -> Rejection {
    rejected(&MALFORMED, format!("the {part} {why}"))
}
