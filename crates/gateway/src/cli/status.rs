//! `lockgate status`: how a running gateway is, on one screen.

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use super::admin;
use super::{ConfigFile, say};

/// Show how the running gateway is
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate status -c lockgate.yaml
  lockgate status --json | jq .health.status

The exit code is 0 when every upstream has an endpoint that takes requests, 1
when one has none, or when no gateway answers.")]
pub(crate) struct Status {
    #[command(flatten)]
    config: ConfigFile,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        admin::with(&self.config.config, async |admin| {
            let health = admin.ask(Method::GET, "/admin/health").await?;
            let metrics = admin.ask(Method::GET, "/admin/metrics").await?;
            let well = health.get("status").and_then(Value::as_str) != Some("unhealthy");
            if self.json {
                say(&json!({ "health": health, "metrics": metrics }).to_string());
            } else {
                lines(&health, &metrics).iter().for_each(|line| say(line));
            }
            Ok(ExitCode::from(u8::from(!well)))
        })
    }
}

fn lines(health: &Value, metrics: &Value) -> Vec<String> {
    let word = |of: &Value, key: &str| of.get(key).map(plain).unwrap_or_default();
    let latency = metrics.get("latencyStats").cloned().unwrap_or_default();
    let ms = |key: &str| latency.get(key).and_then(Value::as_f64).unwrap_or_default();
    let mut lines = vec![
        format!("status       {}", word(health, "status")),
        format!(
            "endpoints    {} of {} take requests",
            word(health, "healthyEndpoints"),
            word(health, "endpoints")
        ),
        format!("generation   {}", word(health, "generation")),
        format!(
            "requests     {} ({} in flight), {} with a status of 500 or above",
            word(metrics, "totalRequests"),
            word(metrics, "requestsInFlight"),
            word(metrics, "totalErrors")
        ),
        format!("connections  {}", word(metrics, "connections")),
        format!(
            "latency      p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms",
            ms("p50"),
            ms("p90"),
            ms("p99")
        ),
    ];
    let dead = health.get("upstreamsWithoutEndpoint").and_then(Value::as_array);
    for name in dead.into_iter().flatten() {
        lines.push(format!("no endpoint  {}: see `lockgate upstreams`", plain(name)));
    }
    if health.get("draining") == Some(&Value::Bool(true)) {
        lines.push("draining     it ends when what is under way has".to_owned());
    }
    lines
}

/// Text without its quotes.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
