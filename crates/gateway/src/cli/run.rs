//! `lockgate run`: the gateway itself.

use std::process::ExitCode;

use super::{ConfigFile, output};
use crate::control::Start;
use crate::kept::Kept;
use crate::watch::Watch;

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
        let path = self.config.config;
        let mut watch = Watch::new();
        let kept = Kept::open(&path)?;
        let checked = match crate::gateway::load_watched(&path, kept.given(), &mut watch) {
            Ok(checked) => checked,
            Err(report) => return Ok(output::refuse(&report)),
        };
        output::warn(&checked.loaded);
        crate::control::run(Start { checked, kept, file: Some((path, watch)), demo: None })
    }
}
