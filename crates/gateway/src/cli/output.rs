//! The only place that writes to the terminal. A reader that goes away (`| head`) is no error.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use lockgate_config::{Given, Loaded, Report};

use crate::gateway::Checked;
use crate::source::Held;

/// Prints a line to stdout.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a line to stderr.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Whether stderr shows colours: a terminal, and nobody said `NO_COLOR`.
pub(crate) fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Loads and checks a file as `run` would, its routes' conflicts included. What is wrong has been
/// printed when this gives an exit code instead.
pub(crate) fn load(named: &std::path::Path) -> Result<Checked, ExitCode> {
    let held = Held::of(named).map_err(|report| refuse(&report))?;
    let checked = crate::gateway::load(held.begin(), Given::Nothing, None);
    let checked = checked.map_err(|report| refuse(&report))?;
    warn(&checked.loaded);
    Ok(checked)
}

/// Prints what is doubtful about a configuration that checks out.
pub(crate) fn warn(loaded: &Loaded) {
    if !loaded.warnings.is_empty() {
        let report = Report::new(loaded.warnings.clone());
        complain(report.render(colours()).trim_end());
    }
}

/// Prints a report and gives the exit code that fits it.
pub(crate) fn refuse(report: &Report) -> ExitCode {
    complain(report.render(colours()).trim_end());
    ExitCode::from(if report.is_unreadable() { 2 } else { 1 })
}
