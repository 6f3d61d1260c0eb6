//! `lockgate reload`: the running gateway reads its configuration again, and says how that went.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::status::plain;
use super::{ConfigFile, admin, say};

/// Make the running gateway read its configuration again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate reload -c lockgate.yaml

A change of the file is noticed without this; here the answer is waited for.
The exit code is 1, with all that is wrong, when the file is refused: the
configuration in force stays.")]
pub(crate) struct Reload {
    #[command(flatten)]
    config: ConfigFile,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Reload {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        admin::with(&self.config.config, async |admin| {
            let answer = admin.ask(Method::POST, "/admin/reload").await?;
            if self.json {
                say(&answer.to_string());
                return Ok(ExitCode::SUCCESS);
            }
            let get = |key: &str| answer.get(key).map(plain).unwrap_or_default();
            let (generation, changes) = (get("generation"), get("changes"));
            say(&format!("generation {generation} is in force, {changes} changes"));
            let restart = answer.get("needsRestart").and_then(Value::as_array);
            for change in restart.into_iter().flatten() {
                say(&plain(change));
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}
