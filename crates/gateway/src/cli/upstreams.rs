//! `lockgate upstreams`: the endpoints of a running gateway, and why one is out.

use std::process::ExitCode;

use serde_json::Value;

use super::status::plain;
use super::{ConfigFile, admin, say};

/// List the running gateway's upstreams and endpoints
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate upstreams -c lockgate.yaml
  lockgate upstreams --json | jq '.[] | select(.usable == 0).name'")]
pub(crate) struct Upstreams {
    #[command(flatten)]
    config: ConfigFile,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Upstreams {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        admin::with(&self.config.config, async |admin| {
            let (upstreams, _) = admin.list("/admin/upstreams", "upstreams").await?;
            if self.json {
                say(&Value::from(upstreams).to_string());
            } else {
                print(&upstreams);
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn print(upstreams: &[Value]) {
    let title = ["UPSTREAM", "ENDPOINT", "STATE", "FLIGHT", "LATENCY"].map(str::to_owned);
    let mut rows: Vec<[String; 5]> = vec![title];
    for upstream in upstreams {
        let endpoints = upstream.get("endpoints").and_then(Value::as_array);
        for endpoint in endpoints.into_iter().flatten() {
            let get = |key: &str| endpoint.get(key).cloned().unwrap_or_default();
            let state = match get("reason") {
                Value::String(why) => why,
                _ if get("override") == "up" => "up, by an operator".to_owned(),
                _ => "up".to_owned(),
            };
            let latency = get("latencyMs").as_f64().map(|ms| format!("{ms:.2} ms"));
            rows.push([
                upstream.get("name").map(plain).unwrap_or_default(),
                plain(&get("name")),
                state,
                plain(&get("inFlight")),
                latency.unwrap_or_else(|| "-".to_owned()),
            ]);
        }
    }
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        say(line.trim_end());
    }
}
