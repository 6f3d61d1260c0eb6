//! Running a program to its end, with a bound on the time that it may take.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Dir;
use crate::wait::until;

/// What a program that ended left behind.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// All it said.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// What it printed as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

/// Runs a program in a directory to its end, with nothing on its input.
///
/// # Panics
/// When it cannot be started, or does not end in time.
pub async fn run<S: AsRef<OsStr>>(program: &str, cwd: &Path, arguments: &[S]) -> Ran {
    let out = Dir::new();
    let open = |name| std::fs::File::create(out.path().join(name)).unwrap();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(cwd).stdin(Stdio::null());
    command.stdout(open("stdout")).stderr(open("stderr"));
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut code = None;
    until("a program to end", async || match child.try_wait() {
        Ok(Some(status)) => {
            code = Some(status.code().unwrap_or(-1));
            true
        }
        _ => false,
    })
    .await;
    Ran { code: code.unwrap_or(-1), stdout: out.read("stdout"), stderr: out.read("stderr") }
}
