//! What a limit tells requests apart by. A request that lacks a part of it, such as a consumer, is
//! counted by its address instead: leaving something out must not be a way around.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use lockgate_core::{Exchange, Expression, Key, KeyPart, Scope, Seen, Stage};
use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// A key, or an expression that makes one.
#[derive(Debug, Clone)]
pub(crate) enum By {
    Key(Key),
    Cel(Arc<Expression>),
}

impl By {
    pub(crate) fn ip() -> Self {
        Self::Key(KeyPart::Ip.into())
    }

    pub(crate) fn consumer() -> Self {
        Self::Key(KeyPart::Consumer.into())
    }

    /// Before the identity is known, unless it is what counts.
    pub(crate) fn stage(&self) -> Stage {
        let of_identity = match self {
            Self::Key(key) => key.needs_consumer(),
            Self::Cel(expression) => expression.needs_consumer(),
        };
        if of_identity { Stage::LimitConsumer } else { Stage::LimitIp }
    }

    /// Writes a request's key.
    #[inline]
    pub(crate) fn write(&self, exchange: &Exchange, out: &mut Vec<u8>) {
        let whole = match self {
            Self::Key(key) => key.write(exchange, out),
            Self::Cel(expression) => expression.write(&Seen::from(exchange), out).is_ok(),
        };
        if !whole {
            out.push(1);
            KeyPart::Ip.write(exchange, out);
        }
    }

    /// A request's key as operators may see it: what may be a credential is hashed, with a key
    /// that each process draws anew.
    pub(crate) fn shown(&self, exchange: &Exchange) -> String {
        let key = match self {
            Self::Key(key) => key,
            Self::Cel(_) => {
                let mut value = Vec::new();
                self.write(exchange, &mut value);
                return format!("#{:016x}", SHOWN.hash_one(&value));
            }
        };
        let mut text = String::new();
        let mut whole = true;
        for part in key.parts() {
            let mut value = Vec::new();
            whole &= part.write(exchange, &mut value);
            if !text.is_empty() {
                text.push_str(" + ");
            }
            match part {
                KeyPart::Ip => text.push_str(&address(exchange)),
                KeyPart::Consumer => {
                    let name = exchange.consumer.as_ref().map(|consumer| &*consumer.name);
                    text.push_str(name.unwrap_or("nobody"));
                }
                KeyPart::Route | KeyPart::Host | KeyPart::Path(_) => {
                    text.push_str(&String::from_utf8_lossy(&value));
                }
                _ => text.push_str(&format!("#{:016x}", SHOWN.hash_one(&value))),
            }
        }
        if !whole {
            text.push_str(&format!(" from {}", address(exchange)));
        }
        text
    }
}

static SHOWN: LazyLock<RandomState> = LazyLock::new(RandomState::new);

fn address(exchange: &Exchange) -> String {
    match exchange.client_ip.to_canonical() {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Cel(expression) => expression.fmt(f),
        }
    }
}

/// The long form of an expression.
#[derive(serde::Deserialize, serde::Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Cel {
    /// What makes the key: an expression that comes to a text, a number or a truth.
    cel: String,
}

impl<'de> Deserialize<'de> for By {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = By;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key such as `ip`, a list of them, or `{ cel: EXPRESSION }`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<By, E> {
                text.parse().map(By::Key).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<By, A::Error> {
                Key::deserialize(SeqAccessDeserializer::new(list)).map(By::Key)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<By, A::Error> {
                let Cel { cel } = Cel::deserialize(MapAccessDeserializer::new(map))?;
                let expression = Expression::new(&cel, Scope::Route).map_err(de::Error::custom)?;
                Ok(By::Cel(expression.into()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Serialize for By {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Key(key) => key.serialize(serializer),
            Self::Cel(expression) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("cel", &expression.to_string())?;
                map.end()
            }
        }
    }
}

impl JsonSchema for By {
    fn schema_name() -> Cow<'static, str> {
        "By".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let (key, cel) = (generator.subschema_for::<Key>(), generator.subschema_for::<Cel>());
        schemars::json_schema!({ "anyOf": [key, cel] })
    }
}
