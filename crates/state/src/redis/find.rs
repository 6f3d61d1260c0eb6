//! Finding a store's servers: who the master is, by the sentinels; who has which slot, by any
//! server of the Cluster that is itself connected to most of it. On the control runtime alone.

use std::sync::Arc;
use std::time::Duration;

use redis::{AsyncConnectionConfig, Cmd, Value};
use tokio::time::timeout;

use super::key::SLOTS;
use super::link::{Dialer, Lane, Node};
use super::map::{Map, Range};
use super::settings::{Address, Login, Servers};

/// How long one server is asked.
const ONE: Duration = Duration::from_millis(500);
/// Servers that are asked in one round at most.
const ROUND: usize = 16;

/// The map as it is now, if somebody can say.
pub(super) async fn find(servers: &Servers, dialer: &Dialer, known: &Map) -> Option<Map> {
    match servers {
        Servers::One(_) => None,
        Servers::Cluster(seeds) => cluster(seeds, dialer, known).await,
        Servers::Sentinel { master, sentinels, login } => {
            sentinel(master, sentinels, login, dialer, known).await
        }
    }
}

async fn sentinel(
    master: &str,
    sentinels: &[Address],
    login: &Login,
    dialer: &Dialer,
    known: &Map,
) -> Option<Map> {
    let theirs = dialer.for_sentinels(login);
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let first = fastrand::usize(..sentinels.len().max(1));
    for sentinel in sentinels.iter().cycle().skip(first).take(sentinels.len().min(ROUND)) {
        let Some(Value::Array(parts)) = ask(&theirs, sentinel, &question).await else { continue };
        let [host, port] = &*parts else { continue };
        let Some(at) = address(host, port, sentinel) else { continue };
        if let Some(node) = known.nodes().first().filter(|node| node.address == at) {
            return Some(Map::one(Arc::clone(node)));
        }
        // A sentinel may be the last to learn of a new master.
        if ask(dialer, &at, &redis::cmd("ROLE")).await.is_some_and(|role| is_master(&role)) {
            return Some(Map::one(Arc::new(Node::new(at))));
        }
    }
    None
}

async fn cluster(seeds: &[Address], dialer: &Dialer, known: &Map) -> Option<Map> {
    let mut candidates: Vec<&Address> =
        known.nodes().iter().filter(|node| node.lets(Lane::Small)).map(|n| &n.address).collect();
    fastrand::shuffle(&mut candidates);
    candidates.extend(seeds);
    candidates.extend(known.nodes().iter().map(|node| &node.address));
    let mut info = redis::cmd("CLUSTER");
    info.arg("INFO");
    let mut slots = redis::cmd("CLUSTER");
    slots.arg("SLOTS");
    for at in candidates.into_iter().take(ROUND) {
        // A server that has lost sight of most others knows nothing new.
        if !ask(dialer, at, &info).await.is_some_and(|state| is_connected(&state)) {
            continue;
        }
        let Some(Value::Array(rows)) = ask(dialer, at, &slots).await else { continue };
        let ranges: Vec<Range> = rows.iter().filter_map(|row| range(row, at)).collect();
        if !ranges.is_empty() {
            return Some(Map::cluster(&ranges, known));
        }
    }
    None
}

/// Whether `ROLE` says that the server takes writes.
pub(super) fn is_master(role: &Value) -> bool {
    let Value::Array(parts) = role else { return false };
    parts.first().is_some_and(|role| text(role) == Some("master"))
}

/// Whether `CLUSTER INFO` says that the server serves its slots.
pub(super) fn is_connected(state: &Value) -> bool {
    text(state).is_some_and(|text| text.contains("cluster_state:ok"))
}

/// `[from, to, [host, port, ..], replicas ..]`.
fn range(row: &Value, asked: &Address) -> Option<Range> {
    let Value::Array(parts) = row else { return None };
    let [Value::Int(from), Value::Int(to), Value::Array(master), ..] = &**parts else {
        return None;
    };
    let [host, port, ..] = &**master else { return None };
    let slot = |number: &i64| u16::try_from(*number).ok().filter(|slot| *slot < SLOTS);
    Some(Range { from: slot(from)?, to: slot(to)?, at: address(host, port, asked)? })
}

/// Where a server is. One that does not know its own name is where it was asked.
fn address(host: &Value, port: &Value, asked: &Address) -> Option<Address> {
    let port = match port {
        Value::Int(port) => u16::try_from(*port).ok()?,
        other => text(other)?.parse().ok()?,
    };
    match text(host) {
        None | Some("") => Some(Address::new(&asked.host, port)),
        Some("?") => None,
        Some(host) => Some(Address::new(host, port)),
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// Reads anything as an answer.
pub(super) fn fuzz(answer: &Value) {
    let at = Address::new("a.test", 6379);
    let _ = (is_master(answer), is_connected(answer), range(answer, &at));
    if let Value::Array(rows) = answer {
        let ranges: Vec<Range> = rows.iter().filter_map(|row| range(row, &at)).collect();
        let map = Map::cluster(&ranges, &Map::default());
        assert!(map.nodes().len() <= ranges.len(), "there are no servers but those named");
    }
}

/// One question, on a connection of its own.
async fn ask(dialer: &Dialer, at: &Address, command: &Cmd) -> Option<Value> {
    let asked = timeout(ONE, async {
        let (mut connection, driver) = dialer.open(at, AsyncConnectionConfig::new()).await.ok()?;
        tokio::select! {
            () = driver => None,
            answer = connection.send_packed_command(command) => answer.ok(),
        }
    });
    asked.await.ok().flatten()
}
