//! The gates that a change passes, quick ones first. Each runs as its own process with its output
//! streaming; the first that fails ends the run with its name.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{docs, setup, tidy};

/// Runs every gate.
///
/// # Errors
/// The first gate that fails.
pub(crate) fn check(root: &Path, skip_tests: bool) -> Result<()> {
    step("format", || cargo(root, &["fmt", "--all", "--check"]))?;
    step("tidy", || tidy::run(root))?;
    step("generated docs", || docs::check(root))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    step("lints", || cargo(root, &clippy))?;
    deny(root)?;
    if skip_tests {
        println!("\n== all gates but the tests are passed");
        return Ok(());
    }
    test(root)
}

/// Installs what tests need, and runs them all: unit, integration and documentation tests.
///
/// # Errors
/// What is missing and cannot be installed, or that a test failed.
pub(crate) fn test(root: &Path) -> Result<()> {
    step("what the tests need", setup::tools)?;
    step("an OpenID provider", || setup::provider(root))?;
    step("an OTLP collector", || setup::collector(root))?;
    step("tests", || cargo(root, &["test", "--workspace"]))?;
    println!("\n== all tests passed");
    Ok(())
}

/// Licences, sources and bans of dependencies. cargo-deny is optional: `tidy` holds the bans too.
fn deny(root: &Path) -> Result<()> {
    let installed = Command::new("cargo-deny")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !installed {
        println!(
            "\n== SKIPPED: cargo-deny is not installed, so licences and sources are not checked \
             (tidy has checked the bans). Install it: cargo install --locked cargo-deny"
        );
        return Ok(());
    }
    step("dependencies", || cargo(root, &["deny", "check", "bans", "licenses", "sources"]))
}

#[allow(clippy::disallowed_methods, reason = "a tool measures real time")]
fn step(name: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n== {name}");
    let begin = Instant::now();
    run().with_context(|| format!("the gate `{name}` is not passed"))?;
    println!("== {name}: fine ({:.1} s)", begin.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    println!("$ cargo {}", arguments.join(" "));
    let status = Command::new(program).args(arguments).current_dir(root).status()?;
    if !status.success() {
        bail!("`cargo {}` ended with {status}", arguments.join(" "));
    }
    Ok(())
}
