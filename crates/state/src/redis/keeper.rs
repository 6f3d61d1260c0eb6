//! Looks after a store on the control runtime: says that this gateway is alive, and asks servers
//! that are not well until they are, so that no request has to find out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::find::{is_connected, is_master};
use super::inner::{Inner, PATIENCE};
use super::link::{Asked, Node};
use super::script::Use;
use super::settings::Servers;

/// How often a gateway says that it is alive.
const BEAT: Duration = Duration::from_secs(3);
/// How soon a server must answer to count as well.
const WELL: Duration = Duration::from_millis(50);

/// Between two looks for the servers: while all is well, and at least and at most while it is not.
const NOW_AND_THEN: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_millis(500);

/// Runs until the store is dropped.
pub(super) async fn keep(inner: Arc<Inner>, there: watch::Receiver<()>) {
    let mut gone = there.clone();
    let beats = async {
        loop {
            inner.beat().await;
            // Not all gateways at once.
            sleep(BEAT.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
        }
    };
    let looks = async {
        loop {
            inner.wrong.notified().await;
            look(&inner, &there);
        }
    };
    tokio::select! {
        () = beats => {}
        () = looks => {}
        () = follow(&inner) => {}
        _ = gone.changed() => {}
    }
}

/// Looks for the servers of a store that can change: now and then, and soon when something is
/// wrong.
async fn follow(inner: &Inner) {
    if matches!(inner.servers, Servers::One(_)) {
        std::future::pending::<()>().await;
    }
    let mut pause = SOON;
    loop {
        let is_found = inner.seek().await;
        let is_well = is_found && inner.nodes().iter().all(|node| node.lets());
        pause = if is_well { NOW_AND_THEN } else { (pause * 2).clamp(SOON, LATER) };
        let rested = sleep(pause.mul_f64(0.8 + 0.4 * fastrand::f64()));
        if is_found {
            tokio::select! {
                () = rested => {}
                () = inner.stale.notified() => sleep(SOON).await,
            }
        } else {
            // Whoever misses the servers need not hurry those who do not know them.
            rested.await;
        }
        if is_well {
            pause = SOON;
        }
    }
}

/// Sees to it that every server that is not well is looked after.
fn look(inner: &Arc<Inner>, there: &watch::Receiver<()>) {
    for node in inner.nodes() {
        if node.begin_probing() {
            let (inner, mut gone) = (Arc::clone(inner), there.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = nurse(&inner, &node) => {}
                    _ = gone.changed() => {}
                }
            });
        }
    }
}

/// Asks a server, less and less often, until it is well.
async fn nurse(inner: &Inner, node: &Arc<Node>) {
    tracing::warn!(
        store = &*inner.name, server = %node.address,
        "the store {}: it is asked no more until it is well", node.why()
    );
    let since = Instant::now();
    loop {
        sleep(node.pause()).await;
        if !inner.has(node) {
            // Another has taken its place.
            return;
        }
        if is_well(inner, node).await {
            break;
        }
    }
    node.end_probing();
    node.well();
    tracing::info!(
        store = &*inner.name, server = %node.address, after = ?since.elapsed(),
        "the store is well again"
    );
    inner.beat().await;
}

/// Whether it does what it is there for, and soon enough; opening a connection may take longer.
async fn is_well(inner: &Inner, node: &Node) -> bool {
    let mut command = redis::cmd(match inner.servers {
        Servers::One(_) => "PING",
        Servers::Sentinel { .. } => "ROLE",
        Servers::Cluster(_) => "CLUSTER",
    });
    if matches!(inner.servers, Servers::Cluster(_)) {
        command.arg("INFO");
    }
    for patience in [PATIENCE, WELL] {
        let asked = Instant::now();
        let question = Asked::new(Use::Link, &command);
        let answer = node.ask(&inner.dialer, &question, asked + patience).await;
        let serves = match (&inner.servers, answer) {
            (Servers::One(_), answer) => answer.is_ok(),
            (Servers::Sentinel { .. }, Ok(role)) => is_master(&role),
            (Servers::Cluster(_), Ok(state)) => is_connected(&state),
            (_, Err(_)) => false,
        };
        if !serves {
            return false;
        }
        if asked.elapsed() <= WELL {
            return true;
        }
    }
    true
}
