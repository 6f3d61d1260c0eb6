//! `lockgate drain`: an operator's word on an endpoint.

use std::process::ExitCode;

use http::Method;
use lockgate_proxy::percent_encoded;
use serde_json::{Value, json};

use super::{ConfigFile, admin, complain, say};

/// Send no new requests to an endpoint of the running gateway
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate drain 10.0.0.2:8080          # requests under way end, no new ones
  lockgate drain orders                 # all endpoints of an upstream
  lockgate drain 10.0.0.2:8080 --clear  # back to what health checks say
  lockgate drain 10.0.0.2:8080 --up     # in, whatever health checks say

It holds until it is cleared: over reloads and upgrades, and where
`admin.state_dir` says where to keep it, over a restart too.")]
pub(crate) struct Drain {
    /// An endpoint (`host:port`), or an upstream's name
    service: String,
    /// Leave it to the health checks again
    #[arg(long, group = "word")]
    clear: bool,
    /// Hold it in
    #[arg(long, group = "word")]
    up: bool,
    /// Take it out as if it were dead
    #[arg(long, group = "word")]
    down: bool,
    #[command(flatten)]
    config: ConfigFile,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Drain {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        let word = match (self.clear, self.up, self.down) {
            (true, ..) => "clear",
            (_, true, _) => "up",
            (.., true) => "down",
            _ => "drain",
        };
        admin::with(&self.config.config, async |admin| {
            let path = format!("/admin/health/{}", percent_encoded(&self.service, b""));
            let order = Some(json!({ "override": word }));
            let answer = admin.order(Method::PUT, &path, order).await?;
            if self.json {
                say(&answer.to_string());
            } else {
                let count = answer.get("changed").and_then(Value::as_u64).unwrap_or_default();
                let many = if count == 1 { "endpoint" } else { "endpoints" };
                say(&format!("{}: {word}, {count} {many}", self.service));
                if let Some(why) = answer.get("why").and_then(Value::as_str) {
                    complain(&format!("It is forgotten when the gateway ends: {why}"));
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}
