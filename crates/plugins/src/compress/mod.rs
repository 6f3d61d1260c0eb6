//! `compress`: answers in the coding that the client likes best, made while they pass. Leaves
//! alone what is compressed already, what must not be changed, and what would not become smaller.

mod accept;
mod encoder;
#[cfg(test)]
mod tests;
mod unchanged;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use lockgate_core::{
    Body, Build, ConfigError, Exchange, Fault, Policy, PolicyPlugin, Size, Stage, Step, Verdict,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::Value;

use crate::fields;
use crate::switch::{self, OrOn};
use accept::Coding;
use encoder::{Compressed, Effort, Encoder};
use unchanged::Has;

/// Compresses answers.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// The codings on offer, the preferred one first.
    codings: Vec<Coding>,
    /// Media types: `application/json`, `text/*`, `*+json`. Taken as they are, instead of the
    /// usual ones.
    types: Option<Vec<String>>,
    /// Answers that are known to be smaller go out as they are.
    min_size: Size,
    /// How hard is tried.
    level: Level,
}

/// How hard is tried.
#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Level {
    /// Little work.
    Fast,
    /// Between the two.
    Balanced,
    /// Small answers.
    Small,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            codings: vec![Coding::Zstd, Coding::Br, Coding::Gzip],
            types: None,
            min_size: Size(1024),
            level: Level::Balanced,
        }
    }
}

/// Texts of all kinds. Events are not among them, though they would be flushed.
const USUAL: [&str; 11] = [
    "text/*",
    "*+json",
    "*+xml",
    "application/json",
    "application/x-ndjson",
    "application/javascript",
    "application/xml",
    "application/wasm",
    "application/graphql",
    "application/yaml",
    "font/ttf",
];

const EVENTS: &str = "text/event-stream";

/// An answer at hand of at most this size is compressed at once, and goes out as it is if that
/// makes it no smaller.
const AT_ONCE: usize = 64 * 1024;

/// These speak of the very bytes that are sent.
const DIGESTS: [HeaderName; 5] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("signature"),
];

/// The entry in the list of plugins.
pub(crate) struct Compress;

impl PolicyPlugin for Compress {
    fn name(&self) -> &'static str {
        "compress"
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Encode
    }

    fn schema(&self) -> Schema {
        schema_for!(OrOn<Config>)
    }

    fn build(&self, config: &Value, _: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        let config: Config = switch::settings(config)?;
        if config.codings.is_empty() {
            return Err(ConfigError::new("at least one coding").at("codings"));
        }
        for (place, coding) in config.codings.iter().enumerate() {
            if config.codings.iter().take(place).any(|other| other == coding) {
                let message = format!("`{}` is named twice", coding.token());
                return Err(ConfigError::new(message).at(place.to_string()).at("codings"));
            }
        }
        Ok(Box::new(Encode {
            types: Types::read(config.types)?,
            codings: config.codings,
            min_size: config.min_size.0,
            effort: match config.level {
                Level::Fast => Effort { gzip: 1, br: 1, zstd: 1 },
                Level::Balanced => Effort { gzip: 5, br: 4, zstd: 3 },
                Level::Small => Effort { gzip: 8, br: 6, zstd: 8 },
            },
        }))
    }
}

/// Media types, each as a whole or as its two ends.
struct Types {
    all: Vec<(Box<str>, Box<str>)>,
    /// Whether events are meant by name.
    events: bool,
}

impl Types {
    fn read(written: Option<Vec<String>>) -> Result<Self, ConfigError> {
        let written = written.unwrap_or_else(|| USUAL.map(str::to_owned).into());
        let mut all = Vec::new();
        for (place, text) in written.iter().enumerate() {
            let text = text.to_ascii_lowercase();
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+/*".contains(&b);
            let one_star = text.matches('*').count() <= 1 || text == "*/*";
            let form = text.contains('/') || text.starts_with("*+");
            if !form || !one_star || !text.bytes().all(fits) {
                let message =
                    format!("`{text}` is not a media type such as text/html, text/* or *+json");
                return Err(ConfigError::new(message).at(place.to_string()).at("types"));
            }
            let (begin, end) = match text.as_str() {
                "*/*" => ("", ""),
                text => text.split_once('*').unwrap_or((text, "")),
            };
            all.push((begin.into(), end.into()));
        }
        if all.is_empty() {
            return Err(ConfigError::new("at least one media type").at("types"));
        }
        let events = written.iter().any(|text| text.eq_ignore_ascii_case(EVENTS));
        Ok(Self { all, events })
    }

    fn take(&self, headers: &HeaderMap) -> bool {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let Some(kind) = kind else { return false };
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind == EVENTS {
            return self.events;
        }
        self.all.iter().any(|(begin, end)| {
            let rest = kind.strip_prefix(&**begin);
            rest.is_some_and(|rest| match (begin.ends_with('/') || begin.is_empty(), &**end) {
                (true, end) => rest.ends_with(end),
                (false, _) => rest.is_empty(),
            })
        })
    }
}

struct Encode {
    types: Types,
    codings: Vec<Coding>,
    min_size: u64,
    effort: Effort,
}

impl Encode {
    /// Whether an answer may be compressed, for a client that likes it.
    fn may(&self, response: &Response<Body>) -> bool {
        let headers = response.headers();
        let whole = !matches!(
            response.status(),
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        ) && !response.status().is_informational();
        let large = response.body().len().is_none_or(|length| length >= self.min_size);
        whole
            && large
            && !headers.contains_key(header::CONTENT_ENCODING)
            && !headers.contains_key(header::CONTENT_RANGE)
            && !DIGESTS.iter().any(|name| headers.contains_key(name))
            && !forbids_change(headers)
            && self.types.take(headers)
    }

    /// Compresses what is at hand; `None` when it would be no smaller.
    fn at_once(&self, bytes: &Bytes, coding: Coding) -> Option<Bytes> {
        let mut encoder = Encoder::new(coding, self.effort).ok()?;
        encoder.write(bytes).ok()?;
        let out = encoder.finish().ok()?;
        (out.len() < bytes.len()).then(|| out.into())
    }
}

/// RFC 9111 §5.2.2.6.
fn forbids_change(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CACHE_CONTROL).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .any(|line| line.split(',').any(|word| word.trim().eq_ignore_ascii_case("no-transform")))
}

/// What is true of an answer that is another sequence of bytes now.
fn restate(headers: &mut HeaderMap, coding: Coding) {
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
    headers.remove(header::CONTENT_LENGTH);
    // Ranges would be of the bytes before.
    headers.remove(header::ACCEPT_RANGES);
    if let Some(weak) = unchanged::weak(headers) {
        headers.insert(header::ETAG, weak);
    }
}

/// What is known of a request by its way down: later policies may change what the upstream is told.
struct Asked {
    coding: Option<Coding>,
    has: Option<Has>,
}

impl Policy for Encode {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        let headers = &exchange.head.headers;
        let may = exchange.head.method != Method::HEAD && !forbids_change(headers);
        let coding = may.then(|| accept::best(headers, &self.codings)).flatten();
        let has = Some(Has::read(headers)).filter(|has| !has.is_nothing());
        if coding.is_some() || has.is_some() {
            exchange.kept.put(self, Asked { coding, has });
        }
        Step::Now(Ok(Verdict::Pass))
    }

    fn response<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        response: &'a mut Response<Body>,
    ) -> Step<'a, Result<(), Fault>> {
        let asked: Option<Asked> = exchange.kept.take(self);
        let (coding, has) = asked.map_or((None, None), |asked| (asked.coding, asked.has));
        if response.status() == StatusCode::NOT_MODIFIED {
            let headers = response.headers_mut();
            if headers.contains_key(header::CONTENT_ENCODING) || forbids_change(headers) {
                return Step::Now(Ok(()));
            }
            if let Some(tag) = unchanged::tag(headers, has.as_ref(), coding.is_some()) {
                headers.insert(header::ETAG, tag);
                fields::vary(headers, "Accept-Encoding");
            }
            return Step::Now(Ok(()));
        }
        if !self.may(response) {
            return Step::Now(Ok(()));
        }
        fields::vary(response.headers_mut(), "Accept-Encoding");
        let Some(coding) = coding.filter(|_| !response.body().is_empty()) else {
            return Step::Now(Ok(()));
        };
        let body = match std::mem::take(response.body_mut()) {
            Body::Full(bytes) if bytes.len() <= AT_ONCE => match self.at_once(&bytes, coding) {
                Some(less) => less.into(),
                None => {
                    *response.body_mut() = Body::Full(bytes);
                    return Step::Now(Ok(()));
                }
            },
            body => Body::stream(Compressed::new(body, coding, self.effort)),
        };
        *response.body_mut() = body;
        restate(response.headers_mut(), coding);
        Step::Now(Ok(()))
    }

    fn describe(&self) -> String {
        let codings: Vec<&str> = self.codings.iter().map(|coding| coding.token()).collect();
        let types = self.types.all.len();
        format!("{} of {types} types from {}", codings.join(", "), Size(self.min_size))
    }
}
