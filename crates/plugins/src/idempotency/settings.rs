//! What a route says of its idempotency keys: the settings as written.

use std::time::Duration;

use http::Method;
use http::header::HeaderName;
use lockgate_core::{ConfigError, Key, KeyPart, Size, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use super::same::Part;
use crate::one_or_more::OneOrMore;

/// Runs a request with an idempotency key once, and gives its repeats the same answer.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Config {
    /// The header with the key: `header:NAME`.
    pub(super) key: Source,
    /// How long a record is kept once its request has ended. A repeat after that runs.
    pub(super) keep: Time,
    /// Whether requests without a key are refused.
    pub(super) required: bool,
    /// The methods that it is for. Those that change nothing need no key.
    pub(super) methods: OneOrMore<String>,
    /// Whose keys are told apart: `[consumer, route]` unless said.
    pub(super) scope: Option<Key>,
    /// What must be the same in a repeat: `[method, path, body, consumer]` unless said; `path` is
    /// with its query.
    pub(super) fingerprint: Option<Vec<Part>>,
    /// Largest body of a request with a key.
    pub(super) max_body: Size,
    /// Largest body of an answer that is kept. Of a larger one it is kept that it was given.
    pub(super) max_answer: Size,
    /// How long a repeat waits for the first to end, before it is refused.
    pub(super) wait: Time,
    /// How long after the last sign of life of its gateway a running request counts as lost.
    pub(super) lost_after: Time,
    /// What a repeat gets of a request whose outcome nobody knows: a refusal, or a second run.
    pub(super) on_unknown: OnUnknown,
    /// What becomes of an upstream's answer of 500 to 599: it is kept as any other, or the next
    /// repeat runs again.
    pub(super) on_server_error: OnServerError,
    /// Whether a request with a key may be sent to the upstream again by `retry`, as a GET may: the
    /// upstream knows repeats by the key.
    pub(super) upstream_retries: bool,
    /// Where records are kept.
    pub(super) store: String,
    /// What happens when the store does not answer: requests with a key are refused, or run
    /// without protection.
    pub(super) on_store_error: OnStoreError,
}

/// What a repeat gets of a request whose outcome nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnUnknown {
    Refuse,
    Retry,
}

/// What becomes of an upstream's 5xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnServerError {
    Keep,
    Retry,
}

/// What happens when the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnStoreError {
    Deny,
    Allow,
}

/// Where the key comes.
#[derive(Debug, JsonSchema)]
pub(super) struct Source(
    #[schemars(with = "String", regex(pattern = "^header:.+$"))] pub(super) HeaderName,
);

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let part: Result<KeyPart, String> = String::deserialize(deserializer)?.parse();
        match part {
            Ok(KeyPart::Header(name)) => Ok(Self(name)),
            Ok(_) => Err(de::Error::custom("an idempotency key comes in a header: `header:NAME`")),
            Err(error) => Err(de::Error::custom(error)),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            key: Source(HeaderName::from_static("idempotency-key")),
            keep: Time(Duration::from_secs(86_400)),
            required: false,
            methods: OneOrMore(vec!["POST".to_owned(), "PATCH".to_owned()]),
            scope: None,
            fingerprint: None,
            max_body: Size(1 << 20),
            max_answer: Size(1 << 20),
            wait: Time(Duration::ZERO),
            lost_after: Time(Duration::from_secs(10)),
            on_unknown: OnUnknown::Refuse,
            on_server_error: OnServerError::Keep,
            upstream_retries: true,
            store: "memory".to_owned(),
            on_store_error: OnStoreError::Deny,
        }
    }
}

/// Largest body, of a request or an answer.
const MOST_BYTES: u64 = 64 << 20;
/// Within these a record is kept.
const KEPT: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(366 * 86_400)];
/// Within these a sign of life is awaited; there is one a second.
const LOST: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(600)];
/// Longest wait for the first.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

impl Config {
    /// Whether the numbers make sense.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, says: &str| Err(ConfigError::new(says).at(key));
        let within = |time: Time, [least, most]: [Duration; 2]| (least..=most).contains(&time.0);
        if !within(self.keep, KEPT) {
            return wrong("keep", "records are kept from 1s to 366 days (8784h)");
        }
        if !within(self.lost_after, LOST) {
            return wrong("lost_after", "a sign of life is awaited for 3s to 10m");
        }
        if self.wait.0 > LONGEST_WAIT {
            return wrong("wait", "a repeat waits for 5m at most");
        }
        if self.max_body.0 > MOST_BYTES {
            return wrong("max_body", "it is held in memory: at most 64MiB");
        }
        if self.max_answer.0 > MOST_BYTES {
            return wrong("max_answer", "it is held in memory: at most 64MiB");
        }
        if self.fingerprint.as_ref().is_some_and(|parts| parts.is_empty() || parts.len() > 16) {
            return wrong("fingerprint", "something must be the same: 1 to 16 parts");
        }
        Ok(())
    }

    /// The methods that it is for.
    pub(super) fn methods(&self) -> Result<Vec<Method>, ConfigError> {
        let read = |(place, text): (usize, &String)| {
            let wrong = |says: String| ConfigError::new(says).at(place.to_string()).at("methods");
            let safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::CONNECT];
            match Method::from_bytes(text.as_bytes()) {
                Ok(method) if safe.contains(&method) => {
                    Err(wrong(format!("`{method}` may be repeated without a key")))
                }
                Ok(method) if !text.bytes().any(|byte| byte.is_ascii_lowercase()) => Ok(method),
                _ => Err(wrong(format!("`{text}` is no method, such as `POST`"))),
            }
        };
        self.methods.0.iter().enumerate().map(read).collect()
    }

    /// One line for `explain`.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("by {}, kept {}", self.key.0, self.keep);
        let mut say = |more: &str| text.push_str(&format!(", {more}"));
        if self.required {
            say("required");
        }
        if let Some(scope) = &self.scope {
            say(&format!("for each {scope}"));
        }
        if !self.wait.0.is_zero() {
            say(&format!("repeats wait {}", self.wait));
        }
        if self.on_unknown == OnUnknown::Retry {
            say("runs again when the outcome is unknown");
        }
        if self.on_server_error == OnServerError::Retry {
            say("runs again after a 5xx");
        }
        if !self.upstream_retries {
            say("never sent twice");
        }
        if self.on_store_error == OnStoreError::Allow {
            say("unprotected when the store fails");
        }
        format!("{text}; in {}", self.store)
    }
}
