//! JSON that has one meaning: a member's name stands once in its object, at any depth, and nothing
//! follows the value. Other readers take the first or the last of two; which of them checked the
//! token must not matter (RFC 8725 §2.4, RFC 7515 §4).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads an object.
///
/// # Errors
/// What is wrong, without any of the text.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, &'static str> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(Value::Object(map))) => Ok(map),
        Ok(_) => Err("is no JSON object"),
        Err(error) if error.is_data() => Err("has a member twice"),
        Err(_) => Err("is no JSON"),
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(value)) = seq.next_element()? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Strict(value))) = pairs.next_entry::<String, Strict>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("twice"));
            }
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_two_meanings_is_refused() {
        for (text, why) in [
            (r#"{"a":1,"a":1}"#, "has a member twice"),
            (r#"{"a":1,"\u0061":2}"#, "has a member twice"),
            (r#"{"a":{"b":[{"c":1,"c":2}]}}"#, "has a member twice"),
            (r#"{"a":1}{"#, "is no JSON"),
            (r#"{"a":1} x"#, "is no JSON"),
            (r#"{"a":1,}"#, "is no JSON"),
            (r#"{'a':1}"#, "is no JSON"),
            (r#"{"a":NaN}"#, "is no JSON"),
            (r#"{"a":1e999}"#, "is no JSON"),
            (r#"{"a":"\ud800"}"#, "is no JSON"),
            ("[1]", "is no JSON object"),
            ("\u{feff}{}", "is no JSON"),
            ("", "is no JSON"),
        ] {
            assert_eq!(object(text.as_bytes()), Err(why), "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err("is no JSON"));
        let deep = "[".repeat(10_000);
        assert_eq!(object(format!("{{\"a\":{deep}").as_bytes()), Err("is no JSON"));
    }

    #[test]
    fn values_are_read_as_they_stand() {
        let text = r#"{"a":[1,-2,1.5,true,null,"x"],"b":{"a":18446744073709551615}}"#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(Value::Object(object(text.as_bytes()).unwrap()), expected);
    }
}
