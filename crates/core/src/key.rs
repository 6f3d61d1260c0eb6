//! The small language of what a policy counts or keys by: `ip`, `consumer`, `header:NAME` …

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderName;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq, Serializer};

use crate::Exchange;
use crate::consumer::write_part;

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyPart {
    /// The client's address; an IPv6 one by its /64 network.
    Ip,
    /// The identified consumer.
    Consumer,
    /// The route's pattern.
    Route,
    /// The host asked for.
    Host,
    /// A request header.
    Header(HeaderName),
    /// A cookie.
    Cookie(Box<str>),
    /// A query parameter.
    Query(Box<str>),
    /// A capture of the route's path.
    Path(Box<str>),
    /// A claim of the consumer's token.
    Claim(Box<str>),
}

/// What requests are told apart by: one part, or several taken together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(Vec<KeyPart>);

impl Key {
    /// The parts, in order; at least one.
    pub fn parts(&self) -> &[KeyPart] {
        &self.0
    }

    /// Whether a part is only known once a consumer is identified.
    pub fn needs_consumer(&self) -> bool {
        self.0.iter().any(|part| matches!(part, KeyPart::Consumer | KeyPart::Claim(_)))
    }

    /// Writes the key of a request to `out`: its parts' values, each ended by a NUL (a claim after
    /// its length), so that two different tuples never make the same key. Returns false when a part
    /// has no value.
    #[inline]
    pub fn write(&self, exchange: &Exchange, out: &mut Vec<u8>) -> bool {
        // The usual one, in a few steps.
        if let ([KeyPart::Ip], IpAddr::V4(ip)) = (&*self.0, exchange.client_ip) {
            let [a, b, c, d] = ip.octets();
            out.extend_from_slice(&[a, b, c, d, 0]);
            return true;
        }
        self.write_parts(exchange, out)
    }

    fn write_parts(&self, exchange: &Exchange, out: &mut Vec<u8>) -> bool {
        let mut whole = true;
        for part in &self.0 {
            whole &= match part {
                // Unlike what is sent in a head, it may have a NUL in it.
                KeyPart::Claim(name) => {
                    let claim = exchange.consumer.as_ref().and_then(|one| one.claim(name));
                    write_part(claim.as_deref().unwrap_or_default().as_bytes(), out);
                    claim.is_some()
                }
                part => part.write(exchange, out),
            };
            out.push(0);
        }
        whole
    }
}

impl KeyPart {
    /// Writes the part's value; false when the request has none.
    pub fn write(&self, exchange: &Exchange, out: &mut Vec<u8>) -> bool {
        let text = match self {
            Self::Ip => {
                write_ip(exchange.client_ip, out);
                return true;
            }
            Self::Consumer => {
                let Some(consumer) = &exchange.consumer else { return false };
                consumer.write_key(out);
                return true;
            }
            Self::Claim(name) => {
                let claim = exchange.consumer.as_ref().and_then(|consumer| consumer.claim(name));
                out.extend_from_slice(claim.as_deref().unwrap_or_default().as_bytes());
                return claim.is_some();
            }
            Self::Route => exchange.route.as_deref().map(str::as_bytes),
            Self::Host => Some(exchange.host.as_bytes()),
            Self::Header(name) => exchange.head.headers.get(name).map(|value| value.as_bytes()),
            Self::Cookie(name) => exchange.cookie(name).map(str::as_bytes),
            Self::Query(name) => exchange.query(name).map(str::as_bytes),
            Self::Path(name) => exchange.captures.get(name).map(str::as_bytes),
        };
        out.extend_from_slice(text.unwrap_or_default());
        text.is_some()
    }
}

/// IPv6 hosts own a whole /64, so that is what is told apart.
fn write_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend(ip.octets().into_iter().take(8)),
    }
}

impl FromStr for KeyPart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, name) = text.split_once(':').unwrap_or((text, ""));
        let plain = match word {
            "ip" => Some(Self::Ip),
            "consumer" => Some(Self::Consumer),
            "route" => Some(Self::Route),
            "host" => Some(Self::Host),
            _ => None,
        };
        if let Some(part) = plain {
            return if text == word { Ok(part) } else { Err(format!("`{word}` takes no name")) };
        }
        let named = |make: fn(Box<str>) -> Self| {
            if name.is_empty() {
                Err(format!("`{word}` needs a name: `{word}:NAME`"))
            } else {
                Ok(make(name.into()))
            }
        };
        match word {
            "header" => HeaderName::from_str(name)
                .map(Self::Header)
                .map_err(|_| format!("`{name}` is not a header name")),
            "cookie" => named(Self::Cookie),
            "query" => named(Self::Query),
            "path" => named(Self::Path),
            "claim" => named(Self::Claim),
            _ => Err(format!(
                "`{text}` is none of ip, consumer, route, host, header:NAME, cookie:NAME, \
                 query:NAME, path:NAME, claim:NAME"
            )),
        }
    }
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip => f.write_str("ip"),
            Self::Consumer => f.write_str("consumer"),
            Self::Route => f.write_str("route"),
            Self::Host => f.write_str("host"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Path(name) => write!(f, "path:{name}"),
            Self::Claim(name) => write!(f, "claim:{name}"),
        }
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(vec![text.parse()?]))
    }
}

impl From<KeyPart> for Key {
    fn from(part: KeyPart) -> Self {
        Self(vec![part])
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, part) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(" + ")?;
            }
            part.fmt(f)?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key such as `ip` or `header:NAME`, or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Key, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Key, A::Error> {
                let mut parts = Vec::new();
                while let Some(text) = list.next_element::<String>()? {
                    parts.push(text.parse().map_err(de::Error::custom)?);
                }
                if parts.is_empty() || parts.len() > 8 {
                    return Err(de::Error::custom("a key has one to eight parts"));
                }
                Ok(Key(parts))
            }
        }
        deserializer.deserialize_any(KeyVisitor)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let [part] = self.0.as_slice() {
            return serializer.collect_str(part);
        }
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for part in &self.0 {
            list.serialize_element(&part.to_string())?;
        }
        list.end()
    }
}

impl schemars::JsonSchema for Key {
    fn schema_name() -> Cow<'static, str> {
        "Key".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let part = serde_json::json!({
            "type": "string",
            "pattern": "^(ip|consumer|route|host|(header|cookie|query|path|claim):.+)$",
        });
        schemars::json_schema!({
            "description": "What requests are told apart by.",
            "anyOf": [part, { "type": "array", "items": part, "minItems": 1, "maxItems": 8 }],
        })
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use serde_json::json;

    use super::*;
    use crate::{Connection, Consumer};

    #[test]
    fn no_claim_reaches_into_the_next_one() {
        let key: Key = serde_json::from_value(json!(["claim:a", "claim:b"])).unwrap();
        let of = |a: &str, b: &str| {
            let (head, ()) = http::Request::new(()).into_parts();
            let peer = ([127, 0, 0, 1], 1).into();
            let mut exchange = Exchange::begun(head, Rc::new(Connection::plain(peer, peer)));
            let claims = json!({ "a": a, "b": b }).as_object().cloned().unwrap_or_default();
            exchange.consumer = Some(Consumer { claims, ..Consumer::default() }.into());
            let mut out = Vec::new();
            assert!(key.write(&exchange, &mut out));
            out
        };
        assert_eq!(of("x", "y"), of("x", "y"));
        assert_ne!(of("x\0y", "z"), of("x", "y\0z"));
        assert_ne!(of("x\0", "y"), of("x", "\0y"));
    }
}
