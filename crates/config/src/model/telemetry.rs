//! `telemetry`: what the gateway tells of itself.

use std::path::PathBuf;

use lockgate_core::Percent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OtlpMetrics, Traces};
use crate::decode::forms;

/// What the gateway tells of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Telemetry {
    /// The access log; `None` is off.
    pub access_log: Option<AccessLog>,
    /// Whether `/metrics` answers.
    pub metrics: bool,
    /// Spans of requests, to a collector; `None` is off.
    pub traces: Option<Traces>,
    /// The metrics, to a collector; `None` is off.
    pub otlp: Option<OtlpMetrics>,
}

/// The access log: one line a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AccessLog {
    /// `stdout`, or a file.
    #[schemars(with = "String")]
    pub to: LogTo,
    /// JSON unless told; text when stdout is a terminal and nothing is said.
    pub format: LogFormat,
    /// Share of the requests that are logged; errors always are (100%).
    pub sample: Percent,
    /// Request headers to log, lower case. Authorization, cookies and the like are redacted.
    #[serde(deserialize_with = "forms::headers")]
    pub headers: Vec<String>,
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogTo {
    Stdout,
    File(PathBuf),
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Auto,
    Json,
    Text,
    Ecs,
}

impl Default for Telemetry {
    fn default() -> Self {
        let access_log = Some(AccessLog::default());
        Self { access_log, metrics: true, traces: None, otlp: None }
    }
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            to: LogTo::Stdout,
            format: LogFormat::Auto,
            sample: Percent(1.0),
            headers: Vec::new(),
        }
    }
}
