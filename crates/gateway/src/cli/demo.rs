//! `lockgate demo`: the gateway and five small services behind it, in one process.

use std::process::ExitCode;

use super::{output, say};
use crate::control::Start;
use crate::demo;

/// Run the gateway with five small services to try it on
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate demo
  lockgate demo --port-base 13000    when ports are taken
  lockgate demo --print-config       the configuration it runs with")]
pub(crate) struct Demo {
    /// The services listen on the five ports after this one; the gateway's own port and its admin
    /// port move by as much
    #[arg(long, value_name = "PORT", default_value_t = demo::DEFAULT_PORT_BASE)]
    port_base: u16,
    /// Print the configuration and exit
    #[arg(long)]
    print_config: bool,
}

impl Demo {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        let text = demo::config(self.port_base)?;
        if self.print_config {
            say(text.trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        let checked = match crate::gateway::load_str("demo.yaml", &text) {
            Ok(checked) => checked,
            Err(report) => return Ok(output::refuse(&report)),
        };
        crate::control::run(Start { checked, file: None, demo: Some(self.port_base) })
    }
}
