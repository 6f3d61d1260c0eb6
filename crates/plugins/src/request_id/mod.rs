//! `request_id`: whose word for a request's id is taken, how the gateway's own ids look, and under
//! which further header the id goes along. Without it there are ids all the same.

use std::time::SystemTime;

use http::{HeaderName, HeaderValue, Response};
use lockgate_core::{
    Body, Build, ConfigError, Exchange, Fault, Policy, PolicyPlugin, RequestId, Stage, Step,
    Verdict, decode,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::Value;

use crate::fields;

/// Decides on the ids of requests.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// The header that bears the id, beside `X-Request-Id`, which always does.
    header: String,
    /// Whose id is kept: everybody's (`true`), that of a trusted proxy which names the client
    /// (`trusted`), nobody's (`false`).
    #[schemars(schema_with = "accept_schema")]
    accept: Accept,
    /// How an id that the gateway makes looks.
    format: Format,
    /// Whether the answer bears `header` too. `X-Request-Id` stands on every answer.
    answer: bool,
}

impl Default for Config {
    fn default() -> Self {
        let header = "X-Request-Id".to_owned();
        Self { header, accept: Accept::All, format: Format::Hex, answer: true }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Accept {
    All,
    Trusted,
    Nobody,
}

impl<'de> Deserialize<'de> for Accept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Accept;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, false or `trusted`")
            }

            fn visit_bool<E: de::Error>(self, all: bool) -> Result<Accept, E> {
                Ok(if all { Accept::All } else { Accept::Nobody })
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Accept, E> {
                let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
                (text == "trusted").then_some(Accept::Trusted).ok_or_else(wrong)
            }
        }
        deserializer.deserialize_any(Word)
    }
}

fn accept_schema(_: &mut schemars::SchemaGenerator) -> Schema {
    schemars::json_schema!({ "enum": [true, false, "trusted"] })
}

/// How an id looks.
#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// 32 hexadecimal digits.
    Hex,
    /// A random UUID (RFC 9562, version 4).
    Uuid,
    /// A ULID: 26 letters and digits, sorted by time.
    Ulid,
}

/// The entry in the list of plugins.
pub(crate) struct RequestIds;

const X_REQUEST_ID: &str = "x-request-id";

impl PolicyPlugin for RequestIds {
    fn name(&self) -> &'static str {
        "request_id"
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Trace
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(&self, config: &Value, _: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        let Config { header, accept, format, answer } = decode(config)?;
        let header = fields::name(&header).map_err(|error| error.at("header"))?;
        if !answer && header == X_REQUEST_ID {
            let message = "`X-Request-Id` stands on every answer: name another `header`";
            return Err(ConfigError::new(message).at("answer"));
        }
        Ok(Box::new(Ids { header, accept, format, answer }))
    }
}

struct Ids {
    header: HeaderName,
    accept: Accept,
    format: Format,
    answer: bool,
}

impl Ids {
    /// The id that the request came with, if it may be kept.
    fn given(&self, exchange: &Exchange) -> Option<RequestId> {
        let headers = &exchange.head.headers;
        // Of everybody else the chain has been taken away by now.
        let vouched =
            || headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded");
        let accepted = match self.accept {
            Accept::All => true,
            Accept::Trusted => vouched(),
            Accept::Nobody => false,
        };
        accepted.then(|| headers.get(&self.header)).flatten().and_then(RequestId::keep)
    }
}

impl Format {
    fn make(self) -> RequestId {
        let text = match self {
            Self::Hex => return RequestId::random(),
            Self::Uuid => uuid(fastrand::u128(..)),
            Self::Ulid => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                ulid(now.map_or(0, |since| since.as_millis()), fastrand::u128(..))
            }
        };
        let value = HeaderValue::try_from(text).ok();
        value.and_then(|value| RequestId::keep(&value)).unwrap_or_else(RequestId::random)
    }
}

/// Random bits as a UUID (RFC 9562 §5.4).
fn uuid(bits: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// 48 bits of time and 80 random ones, in Crockford's base 32.
fn ulid(millis: u128, bits: u128) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let whole = (millis & 0xffff_ffff_ffff) << 80 | bits & ((1 << 80) - 1);
    let digit = |place: u32| DIGITS.get((whole >> (5 * place)) as usize & 31).copied();
    (0..26).rev().filter_map(digit).map(char::from).collect()
}

impl Policy for Ids {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        exchange.id = self.given(exchange).unwrap_or_else(|| self.format.make());
        let id = exchange.id.header();
        exchange.head.headers.insert(&self.header, id);
        Step::Now(Ok(Verdict::Pass))
    }

    fn response<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        response: &'a mut Response<Body>,
    ) -> Step<'a, Result<(), Fault>> {
        if self.answer {
            response.headers_mut().insert(&self.header, exchange.id.header());
        }
        Step::Now(Ok(()))
    }

    fn describe(&self) -> String {
        let accept = match self.accept {
            Accept::All => "everybody's",
            Accept::Trusted => "trusted proxies'",
            Accept::Nobody => "nobody's",
        };
        let format = match self.format {
            Format::Hex => "hex",
            Format::Uuid => "uuid",
            Format::Ulid => "ulid",
        };
        format!("{}: keeps {accept}, makes {format}", self.header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_form() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(ulid(0, 0), "00000000000000000000000000");
        assert_eq!(ulid(0xffff_ffff_ffff, u128::MAX), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        assert!(ulid(1, u128::MAX) < ulid(2, 0));
        for format in [Format::Hex, Format::Uuid, Format::Ulid] {
            let length = format.make().as_str().len();
            assert!([32, 36, 26].contains(&length), "{length}");
            assert_ne!(format.make().as_str(), format.make().as_str());
        }
    }
}
