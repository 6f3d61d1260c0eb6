//! What happened when, for a reader: the blows, what gateways said of their store, and what clients
//! were told. All by the same clock, so that one can be held beside the other.

use std::time::{SystemTime, UNIX_EPOCH};

use super::bank::Bank;
use super::client::{End, Told};

/// One try of a client.
#[derive(Debug, Clone)]
pub(super) struct Try {
    pub(super) at: SystemTime,
    /// Its place among the gateways.
    pub(super) gateway: usize,
    pub(super) said: String,
}

/// The time of the day (UTC), as logs have it.
pub(super) fn clock(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs() % 86_400, since.subsec_millis());
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Tells of a blow.
pub(super) fn blow(what: &str) {
    eprintln!("{} {what}", clock(SystemTime::now()));
}

/// Prints of every key whose clients were told different things what each of them was told when,
/// and what the gateways have said of their store: only where the store could not be told of an end
/// may an answer stand beside `unknown_outcome`.
pub(super) fn told_apart(test: &str, told: &[Told], bank: &Bank) {
    let apart: Vec<&Told> = told.iter().filter(|one| one.is_apart()).collect();
    eprintln!("{test}: {} keys whose clients were told different things", apart.len());
    for one in &apart {
        eprintln!("  {} {} of {}: {:?}", one.key, one.change, one.account, one.ends);
        let mut all: Vec<&Try> = one.tries.iter().collect();
        all.sort_by_key(|one| one.at);
        for Try { at, gateway, said } in all {
            eprintln!("    {} gateway {gateway}: {said}", clock(*at));
        }
    }
    if apart.is_empty() {
        return;
    }
    for (number, gateway) in bank.gateways.iter().enumerate() {
        let said = gateway.said();
        for line in said.lines().filter(|line| line.contains("store")) {
            eprintln!("    gateway {number}: {line}");
        }
    }
}

impl Told {
    /// Whether its clients were told different things.
    pub(super) fn is_apart(&self) -> bool {
        self.ends.iter().any(|end| *end != self.end)
    }
}

impl End {
    pub(super) fn is_unknown(self) -> bool {
        self == Self::Unknown
    }
}
