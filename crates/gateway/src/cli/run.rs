//! `lockgate run`: the gateway itself.

use std::process::ExitCode;

use super::{ConfigFile, output};
use crate::control::Start;
use crate::source::Source;

/// Run the gateway
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate run -c lockgate.yaml

The file is watched: a change that checks out is live at once, one that does
not is refused and the old configuration stays. SIGHUP reloads and reopens
log files; SIGTERM and SIGINT drain, a second one ends at once; SIGUSR2 hands
over to the program as it is installed now (`lockgate upgrade`).
Its own log goes to stderr; LOCKGATE_LOG sets the level (info).")]
pub(crate) struct Run {
    #[command(flatten)]
    config: ConfigFile,
}

impl Run {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        let mut source = Source::of(self.config.config);
        let checked = match source.load() {
            Ok(checked) => checked,
            Err(report) => return Ok(output::refuse(&report)),
        };
        output::warn(&checked.loaded);
        crate::control::run(Start { checked, source: Some(source), demo: None })
    }
}
