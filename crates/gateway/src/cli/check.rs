//! `lockgate check`: everything that is wrong with a configuration, at once.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lockgate_config::{Given, Report};

use super::{output, say};
use crate::gateway::Checked;
use crate::source::Held;

/// Check a configuration, and say everything that is wrong with it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate check lockgate.yaml
  lockgate check lockgate.yaml --json | jq '.problems[]'
  lockgate check new.yaml --against old.yaml    what a reload would change
  lockgate check conf.d --against etcd://10.0.0.5:2379/lockgate/

Exit codes: 0 well, 1 errors, 2 the file cannot be read.")]
pub(crate) struct Check {
    /// The configuration: a file, a directory or a URL
    #[arg(default_value = "lockgate.yaml", env = "LOCKGATE_CONFIG")]
    file: PathBuf,
    /// Compare with this file, and name what needs a restart
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        let loaded = match read(&self.file) {
            Ok(checked) => checked.loaded,
            Err(report) if self.json => {
                say(&report.to_json().to_string());
                return Ok(ExitCode::from(if report.is_unreadable() { 2 } else { 1 }));
            }
            Err(report) => return Ok(output::refuse(&report)),
        };
        let changes = match &self.against {
            None => None,
            Some(old) => match read(old) {
                Ok(old) => Some(lockgate_config::diff(&old.loaded.document, &loaded.document)),
                Err(report) => return Ok(output::refuse(&report)),
            },
        };
        if self.json {
            let mut report = Report::new(loaded.warnings).to_json();
            if let (Some(changes), Some(report)) = (changes, report.as_object_mut()) {
                report.insert("changes".into(), serde_json::to_value(changes)?);
            }
            say(&report.to_string());
            return Ok(ExitCode::SUCCESS);
        }
        output::warn(&loaded);
        for change in changes.iter().flatten() {
            say(&change.to_string());
        }
        let document = &loaded.document;
        say(&format!(
            "{}: well ({} routes, {} upstreams, {} listeners)",
            self.file.display(),
            document.routes.len(),
            document.upstreams.len(),
            document.listeners.len()
        ));
        Ok(ExitCode::SUCCESS)
    }
}

fn read(named: &Path) -> Result<Checked, Box<Report>> {
    let held = Held::of(named)?;
    Ok(crate::gateway::load(held.begin(), Given::Nothing, None)?)
}
