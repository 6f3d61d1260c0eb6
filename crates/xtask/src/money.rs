//! `cargo xtask test`: all tests, or the money test alone with as many movements as one likes.

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
}

impl Test {
    /// Runs them.
    ///
    /// # Errors
    /// What is missing and cannot be installed, or that a test failed.
    pub(crate) fn run(self, root: &Path) -> Result<()> {
        if !self.money {
            return gates::test(root);
        }
        setup::tools()?;
        let words = ["test", "-p", "lockgate", "--test", "it", "money::", "--"];
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(words).args(["--nocapture", "--test-threads", "1"]).current_dir(root);
        command.env("LOCKGATE_MONEY_ROUNDS", self.rounds.to_string());
        if let Some(seed) = self.seed {
            command.env("LOCKGATE_MONEY_SEED", seed.to_string());
        }
        println!("$ cargo {} --nocapture --test-threads 1", words.join(" "));
        let status = command.status()?;
        if !status.success() {
            bail!("the money test ended with {status}; the seed to replay stands above");
        }
        Ok(())
    }
}
