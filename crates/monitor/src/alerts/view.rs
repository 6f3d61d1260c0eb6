//! What is shown of alerts: plain values. Moments are milliseconds since 1970.

use lockgate_config::model::Severity;
use serde::{Deserialize, Serialize};

/// All that is to be seen of alerts.
#[derive(Debug, Clone, Serialize)]
pub struct AlertsView {
    /// Those that fire, the worst and then the newest first.
    pub firing: Vec<AlertView>,
    /// Conditions that do not hold for long enough yet.
    pub pending: Vec<AlertView>,
    /// Those that are over, the newest first.
    pub recent: Vec<AlertView>,
    /// Who is told.
    pub sinks: Vec<SinkView>,
}

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertView {
    /// The rule's word.
    pub rule: String,
    /// What it is about: `orders`, `orders/10.0.0.1:8080`, a route's pattern, a file.
    pub subject: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in a sentence.
    pub summary: String,
    /// Since when it is so.
    pub since: u64,
    /// When it began to fire; `None` while it is pending.
    #[serde(rename = "firedAt")]
    pub fired_at: Option<u64>,
    /// When it was over.
    #[serde(rename = "endedAt")]
    pub ended_at: Option<u64>,
}

/// One who is told.
#[derive(Debug, Clone, Serialize)]
pub struct SinkView {
    /// Its name in the configuration.
    pub name: String,
    /// `json`, `slack`, `pagerduty`, `alertmanager`, `email` or `command`.
    pub kind: &'static str,
    /// Whether it is quiet now, but for what is critical.
    pub quiet: bool,
    /// Whether a message is under way.
    pub sending: bool,
    /// Messages that have arrived.
    pub delivered: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Messages that were given up.
    #[serde(rename = "givenUp")]
    pub given_up: u64,
    /// When a message last arrived.
    #[serde(rename = "deliveredAt")]
    pub delivered_at: Option<u64>,
    /// When a try last failed.
    #[serde(rename = "failedAt")]
    pub failed_at: Option<u64>,
    /// Why, without what is secret.
    #[serde(rename = "lastError")]
    pub last_error: Option<String>,
}
