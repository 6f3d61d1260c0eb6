//! The command line: what can be asked for, and the exit code that answers. Output goes to
//! stdout, complaints to stderr; 0 is well, 1 is an error, 2 is a file that cannot be read or a
//! command line that makes no sense.

mod admin;
mod check;
mod config;
mod demo;
mod drain;
mod explain;
mod fmt;
mod keys;
mod output;
mod purge;
mod reload;
mod routes;
mod run;
mod schema;
mod status;
#[cfg(feature = "top")]
mod top;
mod upgrade;
mod upstreams;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use output::{complain, say};

/// API gateway and load balancer: one binary, one file, and a reason for every refusal.
#[derive(Debug, Parser)]
#[command(name = "lockgate", version, propagate_version = true, max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Explain(explain::Explain),
    Routes(routes::Routes),
    Schema(schema::Schema),
    Fmt(fmt::Fmt),
    Keys(keys::Keys),
    Demo(demo::Demo),
    Config(config::Config),
    Export(config::Export),
    Status(status::Status),
    #[cfg(feature = "top")]
    Top(top::Top),
    Upstreams(upstreams::Upstreams),
    Drain(drain::Drain),
    Purge(purge::Purge),
    Reload(reload::Reload),
    Upgrade(upgrade::Upgrade),
    /// Print the version
    Version {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Where the configuration is, for every command that reads one.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration: a file, a directory, or the URL of an etcd or a Redis
    #[arg(short, long = "config", value_name = "SOURCE", default_value = "lockgate.yaml")]
    #[arg(env = "LOCKGATE_CONFIG", global = true)]
    config: PathBuf,
}

/// Parses the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(run) => run.main(),
        Command::Check(check) => check.main(),
        Command::Explain(explain) => explain.main(),
        Command::Routes(routes) => routes.main(),
        Command::Schema(schema) => schema.main(),
        Command::Fmt(fmt) => fmt.main(),
        Command::Keys(keys) => keys.main(),
        Command::Demo(demo) => demo.main(),
        Command::Config(config) => config.main(),
        Command::Export(export) => export.main(),
        Command::Status(status) => status.main(),
        #[cfg(feature = "top")]
        Command::Top(top) => top.main(),
        Command::Upstreams(upstreams) => upstreams.main(),
        Command::Drain(drain) => drain.main(),
        Command::Purge(purge) => purge.main(),
        Command::Reload(reload) => reload.main(),
        Command::Upgrade(upgrade) => upgrade.main(),
        Command::Version { json } => version(json),
    };
    result.unwrap_or_else(|error| {
        complain(&format!("lockgate: {error:#}"));
        ExitCode::from(1)
    })
}

fn version(json: bool) -> anyhow::Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        say(&serde_json::json!({ "name": "lockgate", "version": version }).to_string());
    } else {
        say(&format!("lockgate {version}"));
    }
    Ok(ExitCode::SUCCESS)
}
