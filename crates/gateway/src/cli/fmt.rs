//! `lockgate fmt`: one way to write a configuration, short or long.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::{complain, output, say};
use crate::source::Held;

/// Format a configuration, or print its long form
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate fmt lockgate.yaml            rewrite the file in the one form
  lockgate fmt --check lockgate.yaml    exit 1 when it is not in that form
  lockgate fmt --long lockgate.yaml     print every default and short form
                                        written out; the file stays as it is")]
pub(crate) struct Fmt {
    /// The configuration file
    #[arg(default_value = "lockgate.yaml", env = "LOCKGATE_CONFIG")]
    file: PathBuf,
    /// Print the long form of everything, defaults included
    #[arg(long, conflicts_with = "check")]
    long: bool,
    /// Only say whether the file would change
    #[arg(long)]
    check: bool,
}

impl Fmt {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        if self.long {
            let held = match Held::of(&self.file) {
                Ok(held) => held,
                Err(report) => return Ok(output::refuse(&report)),
            };
            match lockgate_config::long(held.begin(), lockgate_plugins::ALL) {
                Ok(text) => say(text.trim_end()),
                Err(report) => return Ok(output::refuse(&report)),
            }
            return Ok(ExitCode::SUCCESS);
        }
        let name = self.file.display().to_string();
        let Ok(text) = std::fs::read_to_string(&self.file) else {
            complain(&format!("lockgate: {name} cannot be read"));
            return Ok(ExitCode::from(2));
        };
        let formatted = match lockgate_config::format(&name, &text) {
            Ok(formatted) => formatted,
            Err(refusal) => {
                complain(&format!("lockgate: {refusal}"));
                return Ok(ExitCode::from(1));
            }
        };
        if formatted == text {
            return Ok(ExitCode::SUCCESS);
        }
        if self.check {
            say(&format!("{name} would be formatted"));
            return Ok(ExitCode::from(1));
        }
        std::fs::write(&self.file, formatted).with_context(|| format!("writing {name}"))?;
        say(&format!("{name} formatted"));
        Ok(ExitCode::SUCCESS)
    }
}
