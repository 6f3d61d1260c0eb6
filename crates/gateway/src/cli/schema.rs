//! `lockgate schema`: the JSON Schema of the configuration, for editors.

use std::process::ExitCode;

use super::say;

/// Print the JSON Schema of the configuration file
#[derive(Debug, clap::Args)]
#[command(after_help = "Example, for editors that speak the YAML language server:
  lockgate schema > lockgate.schema.json
  # then, as the configuration's first line:
  # yaml-language-server: $schema=./lockgate.schema.json")]
pub(crate) struct Schema {}

impl Schema {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        let schema = lockgate_config::schema(lockgate_plugins::ALL);
        say(&serde_json::to_string_pretty(&schema)?);
        Ok(ExitCode::SUCCESS)
    }
}
