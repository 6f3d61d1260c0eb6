//! `alerts.rules`: when an alert fires. Each rule is on, with a default that lets one sleep, and
//! `off` switches it off.

use std::fmt;
use std::time::Duration;

use lockgate_core::{Percent, Time};
use schemars::JsonSchema;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use super::Severity;
use crate::decode::forms;

/// The words of all rules.
pub const RULES: [&str; 9] = [
    "endpoint_down",
    "upstream_low",
    "error_ratio",
    "p99",
    "breaker_open",
    "certificate",
    "config_refused",
    "store_failing",
    "log_drops",
];

macro_rules! rules {
    ($($(#[$about:meta])* $field:ident $name:ident [$severity:ident for $seconds:literal]
        { $($(#[$text:meta])* $key:ident: $kind:ty = $usual:expr),* })*) => {
        /// When an alert fires. `off` is none.
        #[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize, JsonSchema)]
        #[serde(default)]
        pub struct Rules {
            $($(#[$about])* pub $field: Option<$name>,)*
        }

        impl Default for Rules {
            fn default() -> Self {
                Self { $($field: Some($name::default()),)* }
            }
        }

        $(
            $(#[$about])*
            #[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize, JsonSchema)]
            #[serde(default)]
            pub struct $name {
                $($(#[$text])* pub $key: $kind,)*
                /// For how long it must be so before the alert fires.
                #[serde(rename = "for")]
                pub lasting: Time,
                /// How bad it is: `critical` is told in quiet hours too.
                pub severity: Severity,
            }

            impl Default for $name {
                fn default() -> Self {
                    Self {
                        $($key: $usual,)*
                        lasting: Time(Duration::from_secs($seconds)),
                        severity: Severity::$severity,
                    }
                }
            }
        )*
    };
}

rules! {
    /// An endpoint is probed down, or ejected for what requests saw.
    endpoint_down EndpointDown [Warning for 10] {}
    /// An upstream has too few endpoints that take requests.
    upstream_low UpstreamLow [Critical for 5] {
        /// Fewer than so many, or than a share of them. Unless said: none, or a smaller share
        /// than the upstream's `panic_threshold`.
        #[serde(deserialize_with = "forms::some")]
        below: Option<Below> = None
    }
    /// Too many of a route's requests end with a status of 500 or above.
    error_ratio ErrorRatio [Critical for 120] {
        /// The share, over a minute.
        above: Percent = Percent(0.05),
        /// With fewer requests in a minute it says nothing.
        requests: u64 = 20
    }
    /// One in a hundred requests to an upstream waits too long for the head of its answer.
    p99 P99 [Warning for 300] {
        /// The time, over a minute.
        above: Time = Time(Duration::from_secs(5)),
        /// With fewer requests in a minute it says nothing.
        requests: u64 = 100
    }
    /// An upstream's circuit breaker is open.
    breaker_open BreakerOpen [Critical for 0] {}
    /// A certificate that a listener serves runs out.
    certificate Certificate [Warning for 0] {
        /// How long before. Once it has run out the alert is critical.
        within: Time = Time(Duration::from_secs(14 * 86_400))
    }
    /// A changed configuration was refused, and the one before goes on serving.
    config_refused ConfigRefused [Warning for 0] {}
    /// A store does not answer, or the history cannot be written.
    store_failing StoreFailing [Critical for 30] {}
    /// Lines of the access log are lost.
    log_drops LogDrops [Warning for 0] {}
}

/// A number of endpoints, or a share of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Below {
    Count(u32),
    Share(Percent),
}

impl<'de> Deserialize<'de> for Below {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BelowVisitor;
        impl Visitor<'_> for BelowVisitor {
            type Value = Below;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of endpoints such as `2`, or a share such as `50%`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Below, E> {
                if text.ends_with('%') {
                    return text.parse().map(Below::Share).map_err(E::custom);
                }
                let wrong = || format!("`{text}` is neither a number of endpoints nor a share");
                text.parse().map(Below::Count).map_err(|_| E::custom(wrong()))
            }
        }
        deserializer.deserialize_newtype_struct(forms::WORD, BelowVisitor)
    }
}

impl Serialize for Below {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Share(share) => share.serialize(serializer),
        }
    }
}

impl JsonSchema for Below {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Below".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9.]+ ?%$" },
            ],
        })
    }
}
