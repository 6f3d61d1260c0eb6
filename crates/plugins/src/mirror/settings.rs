//! The settings as they are written.

use std::time::Duration;

use lockgate_core::{Percent, Size, Time};
use schemars::JsonSchema;
use serde::Deserialize;

/// Sends a copy of requests somewhere else too; the answers to copies are dropped.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// Who gets the copies: an upstream, or a URL whose path comes before the request's.
    pub(super) to: String,
    /// PEM file of the authorities to trust instead of the system's, for an `https` URL.
    pub(super) ca: Option<String>,
    /// Which share of the requests is copied, chosen at random.
    #[serde(default = "default_percent")]
    pub(super) percent: Percent,
    /// Whether copies have the request's body.
    #[serde(default = "default_body")]
    pub(super) body: bool,
    /// Requests with a larger body are not copied.
    #[serde(default = "default_max_body")]
    pub(super) max_body: Size,
    /// How long an answer to a copy is waited for.
    #[serde(default = "default_timeout")]
    pub(super) timeout: Time,
    /// Copies that are under way at once.
    #[serde(default = "default_max_in_flight")]
    #[schemars(range(min = 1, max = 256))]
    pub(super) max_in_flight: u32,
}

fn default_percent() -> Percent {
    Percent(1.0)
}

fn default_body() -> bool {
    true
}

fn default_max_body() -> Size {
    Size(64 * 1024)
}

fn default_timeout() -> Time {
    Time(Duration::from_secs(5))
}

fn default_max_in_flight() -> u32 {
    32
}
