//! `lockgate demo cluster`: several gateways below one that spreads requests, and the demo's
//! services below them, all as processes. It stays until it is told to end; whoever kills a gateway
//! of it sees what the others do.

mod top;

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::sleep;

use super::Services;
use super::processes::{Processes, installed};
use crate::cli::{complain, say};
use crate::signals::Signals;

pub(crate) use top::Top;

const GATEWAY: &str = include_str!("../../../../../examples/cluster/gateway.yaml");
const HINTS: &str = include_str!("hints.txt");

/// The most gateways, and the port of the one above, from which all others are counted.
pub(crate) const MOST: u16 = 9;
pub(crate) const DEFAULT_PORT_BASE: u16 = 8080;
/// The ports as the examples have them.
const FIRST_SERVICE: u16 = 3001;
const LAST_SERVICE: u16 = 3005;
const TOP_ADMIN: u16 = 9910;
const REDIS: u16 = 6390;
/// How often is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(100);

/// How the demo is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cluster {
    pub(crate) gateways: u16,
    pub(crate) top: Top,
    pub(crate) port_base: u16,
}

impl Cluster {
    /// Where a port of the examples stands in this cluster.
    fn moved(self, port: u16) -> u16 {
        port.wrapping_add(self.port_base.wrapping_sub(DEFAULT_PORT_BASE))
    }

    fn check(self) -> anyhow::Result<()> {
        // The lowest of all ports, and the highest.
        let least = 1 + DEFAULT_PORT_BASE - FIRST_SERVICE;
        let most = u16::MAX - (TOP_ADMIN + MOST - DEFAULT_PORT_BASE);
        if !(least..=most).contains(&self.port_base) {
            bail!("--port-base {}: expected a number from {least} to {most}", self.port_base);
        }
        Ok(())
    }

    /// Moves every address of this machine in a text, all in one pass.
    fn with_ports(self, text: &str) -> String {
        let mut pieces = text.split("127.0.0.1:");
        let mut out = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let end = piece.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(piece.len());
            let (number, rest) = piece.split_at(end);
            out.push_str("127.0.0.1:");
            match number.parse() {
                Ok(port) => out.push_str(&self.moved(port).to_string()),
                Err(_) => out.push_str(number),
            }
            out.push_str(rest);
        }
        out
    }
}

/// Runs the cluster until it is told to end.
///
/// # Errors
/// What kept it from starting.
pub(crate) fn run(cluster: Cluster) -> anyhow::Result<ExitCode> {
    cluster.check()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen().context("listening to signals")?;
        let mut processes = Processes::new("cluster")?;
        let done = tokio::select! {
            done = serve(cluster, &mut processes) => done,
            () = signals.stop() => Ok(()),
        };
        let count = processes.list().count();
        let killed = processes.end().await;
        done?;
        if killed > 0 {
            bail!("{killed} of {count} processes did not end by themselves, and were killed");
        }
        say(&format!("All {count} processes have ended."));
        Ok(ExitCode::SUCCESS)
    })
}

/// Serves the demo's services alone until a signal ends it.
///
/// # Errors
/// When a port is taken.
pub(crate) fn services(at: IpAddr, port_base: u16) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen().context("listening to signals")?;
        let _services = Services::start(at, port_base).await?;
        signals.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Starts everything, says what to try, and then tells of each process that ends.
async fn serve(cluster: Cluster, processes: &mut Processes) -> anyhow::Result<()> {
    let (store, count) = match installed("redis-server") {
        Some(redis) => {
            let port = cluster.moved(REDIS);
            super::bank::start_redis(processes, &redis.display().to_string(), port).await?;
            (format!("redis://{}:{port}", Ipv4Addr::LOCALHOST), cluster.gateways)
        }
        None => ("memory".to_owned(), 1),
    };
    let base = cluster.moved(FIRST_SERVICE - 1).to_string();
    let first = cluster.moved(LAST_SERVICE);
    let words = ["demo", "services", "--port-base", &base];
    processes.start_own("services", first, &words, &[]).await?;
    processes.write("gateway.yaml", &cluster.with_ports(GATEWAY))?;
    for number in 1..=count {
        let env = environment(cluster, number, &store);
        let (name, port) = (format!("gateway-{number}"), gateway_port(cluster, number));
        processes.start_own(&name, port, &["run", "-c", "gateway.yaml"], &env).await?;
    }
    top::start(cluster, count, processes).await?;
    say(&hints(cluster, count, &store, processes));
    loop {
        if let Some(name) = processes.ended() {
            complain(&format!("{name} has ended; the others go on"));
        }
        sleep(LOOK).await;
    }
}

fn gateway_port(cluster: Cluster, number: u16) -> u16 {
    cluster.moved(DEFAULT_PORT_BASE + number)
}

fn environment(cluster: Cluster, number: u16, store: &str) -> [(&'static str, String); 4] {
    [
        ("NAME", format!("gateway-{number}")),
        ("PORT", gateway_port(cluster, number).to_string()),
        ("ADMIN_PORT", cluster.moved(TOP_ADMIN + number).to_string()),
        ("STORE", store.to_owned()),
    ]
}

/// What runs where, and what to try.
fn hints(cluster: Cluster, count: u16, store: &str, processes: &Processes) -> String {
    let gateways: Vec<String> =
        (1..=count).map(|number| gateway_port(cluster, number).to_string()).collect();
    let shared = match store {
        "memory" => "redis-server is not installed: ONE gateway, with limits and cache of its own",
        _ => "Limits and cache are shared by a Redis, started for this",
    };
    let next = environment(cluster, count + 1, store);
    let next: Vec<String> = next.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let folder = processes.folder().display().to_string();
    let program = std::env::args().next().unwrap_or_else(|| "lockgate".to_owned());
    let ids: Vec<String> = processes.list().map(|(name, id)| format!("{name} {id}")).collect();
    HINTS
        .replace("TOP", cluster.top.name())
        .replace("BASE", &cluster.port_base.to_string())
        .replace("GATEWAYS", &gateways.join(", "))
        .replace("ADMIN", &cluster.moved(TOP_ADMIN + 1).to_string())
        .replace("SHARED", shared)
        .replace("ADD", &cluster.top.add(cluster, count, processes))
        .replace("NEXT", &next.join(" "))
        .replace("FOLDER", &folder)
        .replace("LOCKGATE", &program)
        .replace("IDS", &ids.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(port_base: u16) -> Cluster {
        Cluster { gateways: 3, top: Top::Lockgate, port_base }
    }

    #[test]
    fn every_port_is_moved_by_the_same_distance() {
        let moved = cluster(18080).with_ports("a 127.0.0.1:3001, 127.0.0.1:8081\n127.0.0.1:${x}");
        assert_eq!(moved, "a 127.0.0.1:13001, 127.0.0.1:18081\n127.0.0.1:${x}");
        for text in [GATEWAY, top::LOCKGATE, top::NGINX, top::HAPROXY] {
            assert_eq!(cluster(DEFAULT_PORT_BASE).with_ports(text), text);
        }
    }

    #[test]
    fn a_base_that_leaves_no_room_is_refused() {
        for base in [0, 5079, 63_697, u16::MAX] {
            let error = cluster(base).check().unwrap_err().to_string();
            assert!(error.contains("5080 to 63696"), "{error}");
        }
        for base in [5080, DEFAULT_PORT_BASE, 63_696] {
            assert!(cluster(base).check().is_ok(), "{base}");
        }
    }
}
