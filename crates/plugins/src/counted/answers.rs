//! `count`: which answers are what a limit is about. The request takes its place before it is let
//! through, and gives it back when its answer turns out not to count; so however many are under
//! way together, no more of them can count than the limit allows.

use std::borrow::Cow;
use std::fmt;

use http::Response;
use lockgate_core::{Blame, Body, Exchange};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::json;

/// The answers that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answers {
    /// Status 400 or above, unless it is the gateway's or the upstream's own doing.
    Failures,
    /// These statuses, each from the first to the last.
    Statuses(Vec<(u16, u16)>),
}

impl Answers {
    pub(crate) fn has(&self, exchange: &Exchange, response: &Response<Body>) -> bool {
        let status = response.status().as_u16();
        match self {
            Self::Failures => match &exchange.fault {
                Some(fault) => fault.blame() == Blame::Client,
                None => status >= 400 || failed_grpc(exchange, response),
            },
            Self::Statuses(all) => {
                all.iter().any(|(first, last)| (*first..=*last).contains(&status))
            }
        }
    }
}

/// A failure that stands in the head; one in the trailers comes too late.
fn failed_grpc(exchange: &Exchange, response: &Response<Body>) -> bool {
    let status = response.headers().get("grpc-status");
    exchange.grpc && status.is_some_and(|status| status.as_bytes() != b"0")
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Statuses(all) = self else { return f.write_str("failures") };
        for (place, (first, last)) in all.iter().enumerate() {
            f.write_str(if place > 0 { ", " } else { "status " })?;
            if first == last { write!(f, "{first}")? } else { write!(f, "{}xx", first / 100)? }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Answers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnswersVisitor;
        impl<'de> Visitor<'de> for AnswersVisitor {
            type Value = Answers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`failures`, or `{ status: [401, 4xx] }`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Answers, E> {
                match text {
                    "failures" => Ok(Answers::Failures),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Answers, A::Error> {
                let mut found = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != "status" {
                        return Err(de::Error::unknown_field(&key, &["status"]));
                    }
                    found = Some(map.next_value::<Statuses>()?.0);
                }
                found.map(Answers::Statuses).ok_or_else(|| de::Error::missing_field("status"))
            }
        }
        deserializer.deserialize_any(AnswersVisitor)
    }
}

/// One status, a class of them, or a list.
struct Statuses(Vec<(u16, u16)>);

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StatusVisitor;
        impl<'de> Visitor<'de> for StatusVisitor {
            type Value = Statuses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status such as 401, a class such as 4xx, or a list of them")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Statuses, E> {
                let status = u16::try_from(number).ok().filter(|n| (100..600).contains(n));
                let wrong = || E::invalid_value(de::Unexpected::Unsigned(number), &self);
                status.map(|status| Statuses(vec![(status, status)])).ok_or_else(wrong)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Statuses, E> {
                if let Ok(number) = text.parse() {
                    return self.visit_u64(number);
                }
                let class = text.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok());
                let class = class.filter(|class| (1..6).contains(class)).map(|class| class * 100);
                let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
                class.map(|first| Statuses(vec![(first, first + 99)])).ok_or_else(wrong)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Statuses, A::Error> {
                let mut all = Vec::new();
                while let Some(Statuses(more)) = list.next_element()? {
                    all.extend(more);
                }
                if all.is_empty() || all.len() > 64 {
                    return Err(de::Error::custom("expected one to 64 statuses"));
                }
                Ok(Statuses(all))
            }
        }
        deserializer.deserialize_any(StatusVisitor)
    }
}

impl schemars::JsonSchema for Answers {
    fn schema_name() -> Cow<'static, str> {
        "Answers".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = json!({ "anyOf": [
            { "type": "integer", "minimum": 100, "maximum": 599 },
            { "type": "string", "pattern": "^[1-5]([0-9][0-9]|xx)$" },
        ] });
        schemars::json_schema!({ "anyOf": [
            { "const": "failures" },
            { "type": "object", "required": ["status"], "additionalProperties": false,
              "properties": { "status": { "anyOf": [one, { "type": "array", "items": one }] } } },
        ] })
    }
}
