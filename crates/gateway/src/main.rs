//! The binary `lockgate`: the command line, and the wiring of the rooms into a running gateway.

mod asking;
mod change;
mod cli;
mod collect;
mod control;
mod demo;
mod explain;
mod exporters;
mod figures;
mod gateway;
mod kept;
mod listeners;
mod mounted;
mod orders;
mod outbound;
mod priority;
mod provide;
mod rest;
mod running;
mod shared_cache;
mod sight;
mod signals;
mod source;
mod stores;
mod systemd;
mod taken;
mod together;
mod upgrade;
mod watch;
mod worker;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::main()
}
