//! `lockgate demo bank`: the race for one account's money, through three gateways to services that
//! cannot be changed, once without `serialize` and once with it. Starts everything, shows both
//! outcomes, and ends everything.

mod race;
mod table;

use std::process::ExitCode;

use anyhow::Context;

use super::processes::{Processes, free_port, installed};
use crate::signals::Signals;
use race::{Outcome, Race};

const GATEWAY: &str = include_str!("../../../../../examples/bank/gateway.yaml");
const TOP: &str = include_str!("../../../../../examples/bank/top.yaml");

/// The addresses that the examples are written with: those of the services, then of the gateways.
const SERVICES: [(&str, &str); 4] = [
    ("accounts-a-1", "127.0.0.1:3101"),
    ("accounts-a-2", "127.0.0.1:3102"),
    ("accounts-b-1", "127.0.0.1:3103"),
    ("accounts-b-2", "127.0.0.1:3104"),
];
const GATEWAYS: [(&str, &str); 3] = [
    ("gateway-1", "127.0.0.1:8091"),
    ("gateway-2", "127.0.0.1:8092"),
    ("gateway-3", "127.0.0.1:8093"),
];
/// What a service waits for between reading and writing: long enough for a race to be sure.
const DELAY: &str = "200ms";

/// How the demo is run.
pub(crate) struct Bank {
    /// Print JSON.
    pub(crate) json: bool,
    /// One gateway and its own memory, even where Redis is installed.
    pub(crate) memory: bool,
}

/// Where the gateways keep their leases and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Redis,
    Memory { asked: bool },
}

/// Runs the race. 0: both outcomes are as promised.
///
/// # Errors
/// What kept it from running.
pub(crate) fn run(bank: &Bank) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen().context("listening to signals")?;
        let mut processes = Processes::new("bank")?;
        let raced = tokio::select! {
            raced = both(bank, &mut processes) => Some(raced),
            () = signals.stop() => None,
        };
        let killed = processes.end().await;
        let Some(raced) = raced else {
            crate::cli::complain("interrupted; every process has ended");
            return Ok(ExitCode::from(130));
        };
        let (store, outcome) = raced?;
        crate::cli::say(&if bank.json {
            table::json(store, &outcome).to_string()
        } else {
            table::text(store, &outcome)
        });
        if killed > 0 {
            crate::cli::complain(&format!("{killed} processes had to be killed"));
        }
        Ok(ExitCode::from(u8::from(!outcome.is_as_promised() || killed > 0)))
    })
}

async fn both(bank: &Bank, processes: &mut Processes) -> anyhow::Result<(Store, Outcome)> {
    let (store, url) = start_store(bank, processes).await?;
    let moved = start_services(processes).await?;
    let top = start_gateways(processes, store, &url, moved.clone()).await?;
    let service = moved.first().map_or(0, |(_, port)| *port);
    let mut race = Race { service, top };
    let without = race.run("without", "/unguarded").await?;
    let with = race.run("with", "").await?;
    Ok((store, Outcome { without, with }))
}

async fn start_store(bank: &Bank, processes: &mut Processes) -> anyhow::Result<(Store, String)> {
    let memory = |asked| Ok((Store::Memory { asked }, "memory".to_owned()));
    if bank.memory {
        return memory(true);
    }
    let Some(redis) = installed("redis-server") else { return memory(false) };
    let port = free_port()?;
    start_redis(processes, &redis.display().to_string(), port).await?;
    Ok((Store::Redis, format!("redis://127.0.0.1:{port}")))
}

/// Starts a Redis of the demo's own, which keeps nothing when it ends.
pub(super) async fn start_redis(
    processes: &mut Processes,
    program: &str,
    port: u16,
) -> anyhow::Result<()> {
    let number = port.to_string();
    let words = [program, "--port", &number, "--bind", "127.0.0.1", "--save", ""];
    processes.start("redis", port, &words, &[]).await
}

/// Starts the services, one after the other: the first makes the ledger. Where each is written in
/// the examples, and its port.
async fn start_services(processes: &mut Processes) -> anyhow::Result<Vec<(&'static str, u16)>> {
    let mut moved = Vec::new();
    for (name, written) in SERVICES {
        let port = free_port()?;
        let number = port.to_string();
        let words = ["demo", "accounts", "--file", "bank.db", "--delay", DELAY];
        let own = ["--name", name, "--port", &number];
        processes.start_own(name, port, &[&words[..], &own[..]].concat(), &[]).await?;
        moved.push((written, port));
    }
    Ok(moved)
}

/// Starts the gateways and the one above them; the port of that one.
async fn start_gateways(
    processes: &mut Processes,
    store: Store,
    url: &str,
    mut moved: Vec<(&'static str, u16)>,
) -> anyhow::Result<u16> {
    processes.write("gateway.yaml", &with_ports(GATEWAY, &moved))?;
    moved.clear();
    let count = if store == Store::Redis { GATEWAYS.len() } else { 1 };
    for (name, written) in GATEWAYS.iter().take(count) {
        let (port, admin) = (free_port()?, free_port()?);
        let env = [
            ("NAME", (*name).to_owned()),
            ("PORT", port.to_string()),
            ("ADMIN_PORT", admin.to_string()),
            ("STORE", url.to_owned()),
        ];
        processes.start_own(name, port, &["run", "-c", "gateway.yaml"], &env).await?;
        moved.push((*written, port));
    }
    let (port, admin) = (free_port()?, free_port()?);
    moved.extend([("127.0.0.1:8090", port), ("127.0.0.1:9910", admin)]);
    processes.write("top.yaml", &with_ports(&only(TOP, count), &moved))?;
    processes.start_own("top", port, &["run", "-c", "top.yaml"], &[]).await?;
    Ok(port)
}

/// Puts other ports in the places of those that an example is written with.
fn with_ports(text: &str, moved: &[(&str, u16)]) -> String {
    let mut text = text.to_owned();
    for (written, port) in moved {
        // No address is the beginning of another: all have four digits. The mark keeps a port that
        // was moved onto another's old place from being moved again.
        text = text.replace(written, &format!("127.0.0.1:\u{0}{port}"));
    }
    text.replace('\u{0}', "")
}

/// The example of the one above with the first gateways alone.
fn only(text: &str, count: usize) -> String {
    let left = GATEWAYS.iter().skip(count);
    left.fold(text.to_owned(), |text, (_, written)| text.replace(&format!(", \"{written}\""), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_the_examples_is_moved() {
        let all: Vec<(&str, u16)> = SERVICES
            .iter()
            .chain(&GATEWAYS)
            .map(|(_, written)| *written)
            .chain(["127.0.0.1:8090", "127.0.0.1:9910"])
            .zip(50_000..)
            .collect();
        for text in [GATEWAY, TOP] {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let moved = with_ports(&lines.collect::<Vec<_>>().join("\n"), &all);
            let ports: Vec<&str> = moved.split("127.0.0.1:").skip(1).collect();
            let left = ports.iter().find(|rest| !rest.starts_with("50") && !rest.starts_with("${"));
            assert_eq!(left, None, "{moved}");
        }
    }

    #[test]
    fn a_port_that_is_another_place_is_moved_once() {
        let moved = [("127.0.0.1:3101", 3102), ("127.0.0.1:3102", 9)];
        assert_eq!(
            with_ports("127.0.0.1:3101 127.0.0.1:3102", &moved),
            "127.0.0.1:3102 127.0.0.1:9"
        );
    }

    #[test]
    fn one_gateway_is_all_that_the_one_above_knows() {
        let text = only(TOP, 1);
        assert!(
            text.contains("8091") && !text.contains("8092") && !text.contains("8093"),
            "{text}"
        );
    }
}
