//! The key that a request takes turns by. Two spellings of one value must be one key, or the lock
//! could be walked around: escapes are decoded, and what is there twice is refused.

use blake3::Hasher;
use http::header::COOKIE;
use lockgate_core::{Exchange, Fault, Key, KeyPart, form_pairs, unform};

use super::{KEY_AMBIGUOUS, KEY_MISSING};

/// As lower case hex digits, of which these make 128 bits.
pub(super) type Digest = [u8; 32];

/// Hashed, so that no value of a request stands in a store, and all are equally long.
///
/// # Errors
/// When the request does not have all of it, or has a part twice.
pub(super) fn digest(place: &str, by: &Key, exchange: &Exchange) -> Result<Digest, Fault> {
    let mut hasher = Hasher::new();
    hasher.update(place.as_bytes());
    hasher.update(&[0]);
    for part in by.parts() {
        let value = read(part, exchange)?;
        // The length first, so that two tuples never make the same text.
        hasher.update(&(value.len() as u64).to_le_bytes());
        hasher.update(&value);
    }
    let mut digest = [0; 32];
    let hex = hasher.finalize().to_hex();
    for (digit, from) in digest.iter_mut().zip(hex.as_bytes()) {
        *digit = *from;
    }
    Ok(digest)
}

/// The value of a part, as the service will read it.
fn read(part: &KeyPart, exchange: &Exchange) -> Result<Vec<u8>, Fault> {
    let mut value = Vec::new();
    let count = match part {
        KeyPart::Query(name) => {
            let pairs = form_pairs(exchange.head.uri.query().unwrap_or_default());
            let mut own = pairs.filter(|(key, _)| **key == *name.as_bytes());
            value.extend_from_slice(&own.next().map(|(_, value)| value).unwrap_or_default());
            1 + own.count()
        }
        KeyPart::Path(name) => {
            // A plus is itself in a path.
            let text = exchange.captures.get(name).unwrap_or_default().replace('+', "%2B");
            value.extend_from_slice(&unform(&text));
            1
        }
        other => {
            if !other.write(exchange, &mut value) {
                value.clear();
            }
            occurrences(other, exchange)
        }
    };
    if count > 1 {
        let detail = format!("`{part}` is there {count} times");
        return Err(Fault::client(&KEY_AMBIGUOUS).detail(detail));
    }
    if value.is_empty() {
        return Err(Fault::client(&KEY_MISSING).detail(format!("there is no `{part}`")));
    }
    Ok(value)
}

/// How often a part is there, where the service could read another than the first.
fn occurrences(part: &KeyPart, exchange: &Exchange) -> usize {
    let headers = &exchange.head.headers;
    match part {
        KeyPart::Header(name) => headers.get_all(name).iter().count(),
        KeyPart::Cookie(name) => {
            let lines = headers.get_all(COOKIE).iter();
            let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
            let named = |pair: &&[u8]| {
                let key = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
                key.trim_ascii() == name.as_bytes()
            };
            pairs.filter(named).count()
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cases::request;

    fn of(by: &str, line: &str, headers: serde_json::Value) -> Result<Digest, &'static str> {
        let exchange = request(&json!({ "line": line, "headers": headers }));
        let by: Key = by.parse().unwrap();
        digest("here", &by, &exchange).map_err(|fault| fault.reason().code)
    }

    #[test]
    fn spellings_of_one_value_are_one_key() {
        let plain = of("query:id", "GET /?id=42&x=1", json!({})).unwrap();
        assert_eq!(of("query:id", "GET /?x=2&id=%34%32", json!({})), Ok(plain));
        assert_ne!(of("query:id", "GET /?id=43", json!({})), Ok(plain));
        let blank = of("query:id", "GET /?id=a+b", json!({})).unwrap();
        assert_eq!(of("query:id", "GET /?id=a%20b", json!({})), Ok(blank));
        assert!(of("query:id", "GET /?id=%zz", json!({})).is_ok());
    }

    #[test]
    fn spellings_of_a_path_are_one_key_too() {
        let of = |path: &str| {
            let line = format!("GET {path}");
            let exchange = crate::cases::request_to("/{id}", &json!(line));
            digest("here", &"path:id".parse().unwrap(), &exchange).unwrap()
        };
        assert_eq!(of("/a@b"), of("/a%40b"));
        assert_eq!(of("/a+b"), of("/a%2Bb"));
        assert_ne!(of("/a+b"), of("/a%20b"));
    }

    #[test]
    fn what_is_there_twice_or_not_at_all_is_refused() {
        let twice = Err("serialize_key_ambiguous");
        assert_eq!(of("query:id", "GET /?id=1&id=2", json!({})), twice);
        assert_eq!(of("query:id", "GET /?id=1&i%64=2", json!({})), twice);
        assert_eq!(of("header:x-a", "GET /", json!({ "x-a": ["1", "2"] })), twice);
        assert_eq!(of("cookie:a", "GET /", json!({ "cookie": "a=1; b=2; a=3" })), twice);
        let missing = Err("serialize_key_missing");
        assert_eq!(of("query:id", "GET /?id=", json!({})), missing);
        assert_eq!(of("query:id", "GET /", json!({})), missing);
        assert_eq!(of("header:x-a", "GET /", json!({})), missing);
        assert_eq!(of("consumer", "GET /", json!({})), missing);
    }

    #[test]
    fn tuples_and_places_are_told_apart() {
        let exchange = request(&json!({ "line": "GET /", "headers": { "a": "1b", "c": "2" } }));
        let other = request(&json!({ "line": "GET /", "headers": { "a": "1", "c": "b2" } }));
        let by: Key = serde_json::from_value(json!(["header:a", "header:c"])).unwrap();
        let one = digest("here", &by, &exchange).unwrap();
        assert_ne!(one, digest("here", &by, &other).unwrap());
        assert_ne!(one, digest("there", &by, &exchange).unwrap());
        assert_eq!(one, digest("here", &by, &exchange).unwrap());
    }
}
