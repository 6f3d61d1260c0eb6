//! The demo's configuration and what it prints: `examples/demo.yaml` and a list of commands, both
//! with their ports moved when the demo is.

use super::{ADMIN_PORT, DEFAULT_PORT_BASE, GATEWAY_PORT, Ports};

const CONFIG: &str = include_str!("../../../../examples/demo.yaml");
const HINTS: &str = include_str!("hints.txt");

/// The configuration that puts the gateway in front of the services.
///
/// # Errors
/// When a port would fall outside of 1 to 65535.
pub(crate) fn config(port_base: u16) -> anyhow::Result<String> {
    Ok(moved(CONFIG, Ports::new(port_base)?))
}

/// What to try: commands that work while the demo runs, from the folder that it was started in.
pub(crate) fn hints(port_base: u16) -> String {
    // A base that moves nothing has been refused by `config` and `start`.
    let text = Ports::new(port_base).map_or_else(|_| HINTS.to_owned(), |ports| moved(HINTS, ports));
    // Started by cargo it is in no PATH: say the path that it was started by.
    let program = std::env::args().next().unwrap_or_else(|| "lockgate".to_owned());
    text.replace("LOCKGATE", &program)
}

/// Moves every port of the demo in a text, all in one pass: one after the other, a port that was
/// moved onto another's old place would be moved twice.
fn moved(text: &str, ports: Ports) -> String {
    let mut out = String::with_capacity(text.len());
    let mut number = String::new();
    // The end is marked by a character that is no digit, so that a last number is written too.
    for letter in text.chars().chain(['\n']) {
        if letter.is_ascii_digit() {
            number.push(letter);
            continue;
        }
        match number.parse::<u16>() {
            Ok(port) if is_of_the_demo(port) => out.push_str(&ports.moved(port).to_string()),
            _ => out.push_str(&number),
        }
        number.clear();
        out.push(letter);
    }
    out.pop();
    out
}

fn is_of_the_demo(port: u16) -> bool {
    matches!(port, GATEWAY_PORT | ADMIN_PORT)
        || (1..=5).contains(&port.wrapping_sub(DEFAULT_PORT_BASE))
}
