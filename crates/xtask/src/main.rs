//! The workshop: everything that is done to this repository and not by the gateway. Each command
//! can be run by hand and says what it does; none needs a network but `test`'s set-up.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool speaks on its terminal")]

mod bench;
mod docs;
mod gates;
mod money;
mod new_policy;
mod release;
mod setup;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The tasks of this repository
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    /// The repository, when it is not the one this was built in
    #[arg(long, global = true, hide = true)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every gate: format, lints, tidy, generated docs, dependencies, tests
    Check {
        /// All gates but the tests
        #[arg(long)]
        skip_tests: bool,
    },
    Test(money::Test),
    /// Write what is generated: the reference of policies and errors, the JSON Schema
    Docs {
        /// Write nothing; fail when a file is not as it would be written
        #[arg(long)]
        check: bool,
    },
    /// Hold the tree to the rules that no compiler knows: who may import whom, sizes, names
    Tidy,
    Bench(bench::Bench),
    Release(release::Release),
    /// Write a new policy: its folder, a case that passes, and its place in the list
    NewPolicy {
        /// The word for it in the configuration, in snake case
        name: String,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let root = arguments.root.unwrap_or_else(|| {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        here.ancestors().nth(2).map_or(here.clone(), PathBuf::from)
    });
    let done = match arguments.task {
        Task::Check { skip_tests } => gates::check(&root, skip_tests),
        Task::Test(test) => test.run(&root),
        Task::Docs { check: false } => docs::write(&root),
        Task::Docs { check: true } => docs::check(&root),
        Task::Bench(bench) => bench.run(&root),
        Task::Release(release) => release.run(&root),
        Task::Tidy => tidy::run(&root),
        Task::NewPolicy { name } => new_policy::write(&root, &name),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
