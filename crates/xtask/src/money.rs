//! `cargo xtask test`: all tests, or one of those alone that can be made as large as one likes: the
//! money test, and changes of the configuration at size.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{gates, setup};

/// Install what the tests need, and run all of them
#[derive(clap::Args)]
pub(crate) struct Test {
    /// The money test alone, in full: transfers through three gateways while things die
    #[arg(long)]
    money: bool,
    /// How many movements each of its parts has
    #[arg(long, value_name = "N", requires = "money", default_value_t = 3_000)]
    rounds: u32,
    /// Replay what this seed does; without it there is a new one, which is printed
    #[arg(long, value_name = "N", requires = "money")]
    seed: Option<u64>,
    /// The test of changes at size alone, in full: 5,000 routes, 50 changes a second, 10,000 idle
    /// connections, 500 WebSockets, under load. Each connection takes four file descriptors
    #[arg(long, conflicts_with = "money")]
    reload: bool,
    /// How many routes it has
    #[arg(long, value_name = "N", requires = "reload", default_value_t = 5_000)]
    routes: u32,
    /// For how many seconds
    #[arg(long, value_name = "N", requires = "reload", default_value_t = 20)]
    seconds: u32,
    /// How many idle connections it has
    #[arg(long, value_name = "N", requires = "reload", default_value_t = 10_000)]
    idle: u32,
    /// In a release build, whose times say something
    #[arg(long, requires = "reload")]
    release: bool,
}

impl Test {
    /// Runs them.
    ///
    /// # Errors
    /// What is missing and cannot be installed, or that a test failed.
    pub(crate) fn run(self, root: &Path) -> Result<()> {
        if self.money {
            setup::tools()?;
            let mut command = alone(root, "money::", &[]);
            command.env("LOCKGATE_MONEY_ROUNDS", self.rounds.to_string());
            if let Some(seed) = self.seed {
                command.env("LOCKGATE_MONEY_SEED", seed.to_string());
            }
            let status = command.status()?;
            if !status.success() {
                bail!("the money test ended with {status}; the seed to replay stands above");
            }
            return Ok(());
        }
        if !self.reload {
            return gates::test(root);
        }
        let build: &[&str] = if self.release { &["--release"] } else { &[] };
        let mut command = alone(root, "reload_at_size::", build);
        command.env("LOCKGATE_RELOAD_ROUTES", self.routes.to_string());
        command.env("LOCKGATE_RELOAD_SECONDS", self.seconds.to_string());
        command.env("LOCKGATE_RELOAD_IDLE", self.idle.to_string());
        command.env("LOCKGATE_RELOAD_SOCKETS", "500");
        let status = command.status()?;
        if !status.success() {
            bail!("changes at size were noticed: {status}");
        }
        Ok(())
    }
}

/// One of the end-to-end tests, one part at a time and with all that it prints.
fn alone(root: &Path, test: &str, build: &[&str]) -> Command {
    let words = ["test", "-p", "lockgate", "--test", "it", test];
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).args(build).args(["--", "--nocapture", "--test-threads", "1"]);
    command.current_dir(root);
    println!("$ cargo {} -- --nocapture --test-threads 1", [&words, build].concat().join(" "));
    command
}
