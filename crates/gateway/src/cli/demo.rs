//! `lockgate demo`: the gateway and five small services behind it in one process; and the larger
//! demos, of processes: a bank, a cluster.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use lockgate_core::Time;

use super::{output, say};
use crate::control::Start;
use crate::demo;
use crate::demo::cluster::Top;
use crate::kept::Kept;
use crate::upgrade::Inherited;

/// Run the gateway with five small services to try it on
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  lockgate demo
  lockgate demo --port-base 13000    when ports are taken
  lockgate demo --print-config       the configuration it runs with
  lockgate demo bank                 a race for money, with and without a lock
  lockgate demo cluster              gateways that share limits and cache")]
pub(crate) struct Demo {
    /// The services listen on the five ports after this one; the gateway's own port and its admin
    /// port move by as much
    #[arg(long, value_name = "PORT", default_value_t = demo::DEFAULT_PORT_BASE)]
    port_base: u16,
    /// Print the configuration and exit
    #[arg(long)]
    print_config: bool,
    #[command(subcommand)]
    larger: Option<Larger>,
}

#[derive(Debug, Subcommand)]
enum Larger {
    Bank(Bank),
    Cluster(Cluster),
    #[command(hide = true)]
    Accounts(Accounts),
    #[command(hide = true)]
    Services(Services),
    #[command(hide = true)]
    Child(Child),
}

/// Race for one account's money through three gateways, without `serialize` and with it
///
/// Three debits of 45 at once, from a balance of 75, by services that read, wait and write. Starts
/// the services, the gateways, one Lockgate above them and, where redis-server is installed, a
/// Redis; prints what became of the balance, and ends. Exit code 0 when both outcomes are as
/// promised.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate demo bank
  lockgate demo bank --json
  lockgate demo bank --memory    one gateway, as if there were no Redis")]
struct Bank {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// One gateway and its own memory, even where redis-server is installed
    #[arg(long)]
    memory: bool,
}

/// Run several gateways that share limits and cache, and one balancer above them
///
/// Everything runs as processes of its own until Ctrl-C, on this machine alone. What is printed can
/// be tried: a cache hit from every gateway, a limit over all of them, killing one, adding one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate demo cluster
  lockgate demo cluster --gateways 5
  lockgate demo cluster --top nginx")]
struct Cluster {
    /// How many gateways; one where redis-server is not installed
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(demo::cluster::MOST)))]
    gateways: u16,
    /// What spreads requests over them
    #[arg(long, value_enum, default_value_t = Top::Lockgate)]
    top: Top,
    /// Where that one listens; all other ports move by as much as this does
    #[arg(long, value_name = "PORT", default_value_t = demo::cluster::DEFAULT_PORT_BASE)]
    port_base: u16,
}

/// One process of the accounts service
#[derive(Debug, clap::Args)]
struct Accounts {
    /// The ledger's file
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Where to listen, on 127.0.0.1; 0 is any port, which it says
    #[arg(long)]
    port: u16,
    /// What X-Served-By says
    #[arg(long, default_value = "accounts")]
    name: String,
    /// The pause between reading a balance and writing it
    #[arg(long, value_name = "TIME", default_value = "50ms")]
    delay: Time,
    /// Heed Lockgate-Fence, and apply each Idempotency-Key once
    #[arg(long)]
    fenced: bool,
}

/// The demo's services alone
#[derive(Debug, clap::Args)]
struct Services {
    /// Where to listen: beyond this machine only inside of a container
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    at: IpAddr,
    #[arg(long, value_name = "PORT", default_value_t = demo::DEFAULT_PORT_BASE)]
    port_base: u16,
}

/// Become another program, which ends with its parent
#[derive(Debug, clap::Args)]
struct Child {
    #[arg(long)]
    parent: u32,
    #[arg(last = true, required = true)]
    words: Vec<String>,
}

impl Demo {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        match self.larger {
            None => self.small(),
            Some(Larger::Bank(Bank { json, memory })) => {
                demo::bank::run(&demo::bank::Bank { json, memory })
            }
            Some(Larger::Cluster(Cluster { gateways, top, port_base })) => {
                demo::cluster::run(demo::cluster::Cluster { gateways, top, port_base })
            }
            Some(Larger::Accounts(Accounts { file, port, name, delay, fenced })) => {
                let delay = delay.0;
                demo::accounts::run(demo::accounts::Accounts { file, port, name, delay, fenced })
            }
            Some(Larger::Services(Services { at, port_base })) => {
                demo::cluster::services(at, port_base)
            }
            Some(Larger::Child(Child { parent, words })) => demo::become_child(parent, &words),
        }
    }

    fn small(self) -> anyhow::Result<ExitCode> {
        let text = demo::config(self.port_base)?;
        if self.print_config {
            say(text.trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        let checked = match crate::gateway::load_str("demo.yaml", &text) {
            Ok(checked) => checked,
            Err(report) => return Ok(output::refuse(&report)),
        };
        lockgate_telemetry::init_tracing().context("setting up the log")?;
        crate::control::run(Start {
            checked,
            kept: Kept::nothing(),
            inherited: Inherited::take()?,
            source: None,
            demo: Some(self.port_base),
        })
    }
}
