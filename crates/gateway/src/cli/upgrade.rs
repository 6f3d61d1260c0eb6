//! `lockgate upgrade`: a newer program takes the place of the running one.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::admin::{self, Admin};
use super::{ConfigFile, say};

/// How often it is asked how it goes.
const PAUSE: Duration = Duration::from_millis(50);
/// Longer than the gateway itself waits for the new process.
const PATIENCE: Duration = Duration::from_secs(75);

/// Replace the running gateway by the program as it is installed now
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate upgrade -c lockgate.yaml
  kill -USR2 PID                      # the same, by a signal

The running gateway starts the program once more, from the same path and with
the same arguments, and hands over its listening sockets and what it knows of
endpoints. When the new process is ready and serves, the old one drains: no
connection is lost, requests under way end. When it does not come up, or is not
ready within a minute, the old one goes on, says why, and the exit code is 1.")]
pub(crate) struct Upgrade {
    #[command(flatten)]
    config: ConfigFile,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Upgrade {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        admin::with(&self.config.config, async |admin| {
            let (old, new) = upgrade(&admin).await?;
            if self.json {
                say(&json!({ "pid": new, "before": old }).to_string());
            } else {
                say(&format!("process {new} serves, process {old} drains"));
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// The old process and the new one, once that serves.
async fn upgrade(admin: &Admin) -> anyhow::Result<(u64, u64)> {
    let begun = admin.ask(Method::POST, "/admin/upgrade").await?;
    let old = number(&begun, "pid");
    let deadline = Instant::now() + PATIENCE;
    let mut state = begun;
    while Instant::now() < deadline {
        let (pid, successor) = (number(&state, "pid"), number(&state, "successor"));
        match state.get("state").and_then(Value::as_str) {
            Some("failed") => {
                let why = state.get("why").and_then(Value::as_str).unwrap_or("no reason given");
                bail!("the upgrade failed, process {pid} goes on: {why}");
            }
            Some("over") => return Ok((old, successor)),
            // The new process answers already.
            Some("serving") if pid != old => return Ok((old, pid)),
            _ => sleep(PAUSE).await,
        }
        // In the moment in which one closes the listener, a question may be lost.
        if let Ok(answer) = admin.ask(Method::GET, "/admin/upgrade").await {
            state = answer;
        }
    }
    bail!("no end of the upgrade within {} s: see the gateway's log", PATIENCE.as_secs())
}

fn number(state: &Value, key: &str) -> u64 {
    state.get(key).and_then(Value::as_u64).unwrap_or_default()
}
