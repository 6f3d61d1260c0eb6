//! What stands under `auth`: the name of an identity, or a mapping with all the settings.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Who may pass, and what the upstream is told of them.
#[derive(serde::Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    /// Identities of which one must vouch for the caller: the first that does says who it is.
    pub(super) any_of: Words,
    /// Identities that must all vouch. The first says who it is, unless `any_of` does; of the
    /// others the claims are added, where the names are free.
    pub(super) all_of: Words,
    /// Whether a caller without any credentials may pass, as nobody (`false`). Credentials that do
    /// not hold are refused all the same.
    pub(super) optional: bool,
    /// Roles of which the consumer must have one.
    pub(super) roles: Words,
    /// Scopes of which the consumer must have all.
    pub(super) scopes: Words,
    /// An expression of the Common Expression Language that must be true. It sees `request`,
    /// `consumer` (`null` for nobody), `claims`, `route` and `captures`.
    pub(super) when: Option<String>,
    /// The status for credentials that do not hold: 403, or 401 as RFC 6750 has it.
    pub(super) invalid: Invalid,
    /// What the upstream is told of the consumer, beside who it is.
    pub(super) forward: Forward,
}

/// What the upstream is told.
#[derive(serde::Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Forward {
    /// Header → `claim:NAME`, or one of `name`, `identity`, `roles`, `scopes`, `plan`, `tags`.
    /// What clients send under these names is taken away on every route; `Authorization` and other
    /// fields of HTTP itself on this one alone.
    pub(super) headers: BTreeMap<String, String>,
}

/// One word, or a list of them.
#[derive(Default)]
pub(super) struct Words(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordsVisitor;
        impl<'de> Visitor<'de> for WordsVisitor {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word, or a list of words")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Words, E> {
                Ok(Words(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                Ok(Words(words))
            }
        }
        deserializer.deserialize_any(WordsVisitor)
    }
}

impl JsonSchema for Words {
    fn schema_name() -> Cow<'static, str> {
        "Words".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
        })
    }
}

/// How credentials that do not hold are answered.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Invalid {
    /// 403: the caller was heard, and is not believed.
    #[default]
    Forbidden,
    /// 401, with a challenge that says `invalid_token` (RFC 6750 §3.1).
    Unauthenticated,
}

impl<'de> Deserialize<'de> for Invalid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u16::deserialize(deserializer)? {
            401 => Ok(Self::Unauthenticated),
            403 => Ok(Self::Forbidden),
            other => Err(de::Error::custom(format!("{other} is neither 401 nor 403"))),
        }
    }
}

impl JsonSchema for Invalid {
    fn schema_name() -> Cow<'static, str> {
        "InvalidStatus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "enum": [401, 403], "default": 403 })
    }
}

/// The settings in either form.
pub(super) struct Config(pub(super) Settings);

impl Config {
    /// The short form.
    pub(super) fn any_of(names: Vec<String>) -> Self {
        Self(Settings { any_of: Words(names), ..Settings::default() })
    }
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ConfigVisitor;
        impl<'de> Visitor<'de> for ConfigVisitor {
            type Value = Config;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an identity's name, or a mapping such as `{ any_of: [NAME] }`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Config, E> {
                Ok(Config::any_of(vec![name.to_owned()]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Config, A::Error> {
                Settings::deserialize(MapAccessDeserializer::new(map)).map(Config)
            }
        }
        deserializer.deserialize_any(ConfigVisitor)
    }
}

impl JsonSchema for Config {
    fn schema_name() -> Cow<'static, str> {
        "Auth".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<Settings>();
        json_schema!({
            "description": "Who may pass: an identity's name, or all the settings.",
            "anyOf": [{ "type": "string" }, long],
        })
    }
}
