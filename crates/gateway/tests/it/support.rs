//! What the themes share: the binary's path, and the configurations that most tests begin with.

use std::net::SocketAddr;

use lockgate_testkit::{Gateway, Launch, Ran};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_lockgate");

/// A gateway about to be started.
pub(crate) fn launch() -> Launch {
    Launch::new(BINARY)
}

/// Starts a gateway with this configuration.
pub(crate) async fn start(config: &str) -> Gateway {
    launch().start(config).await
}

/// Starts a gateway that sends everything to one address, without probes.
pub(crate) async fn start_to(address: SocketAddr) -> Gateway {
    start(&to(address)).await
}

/// A configuration that sends everything to one address, without probes.
pub(crate) fn to(address: SocketAddr) -> String {
    format!("routes:\n  /*: {{ to: \"http://{address}\" }}\n")
}

/// A configuration that sends everything to an upstream `pool` of these endpoints. `settings` are
/// further lines of the upstream; without probes, unless they say otherwise.
pub(crate) fn pool(addresses: &[SocketAddr], settings: &str) -> String {
    let mut text = upstream("pool", addresses, settings);
    text.insert_str(0, "upstreams:\n");
    text + "routes:\n  /*: { to: pool }\n"
}

/// One upstream, as a part of the section `upstreams`.
pub(crate) fn upstream(name: &str, addresses: &[SocketAddr], settings: &str) -> String {
    let quoted: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    let mut text = format!("  {name}:\n    endpoints: [{}]\n", quoted.join(", "));
    if !settings.contains("health:") {
        text.push_str("    health: off\n");
    }
    for line in settings.lines() {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

/// Runs the binary in a directory of its own that has this file as `lockgate.yaml`.
pub(crate) async fn cli_on(config: &str, arguments: &[&str]) -> Ran {
    let dir = lockgate_testkit::Dir::new();
    dir.write("lockgate.yaml", config);
    lockgate_testkit::cli(BINARY, dir.path(), arguments).await
}
