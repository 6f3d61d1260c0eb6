//! Looks after a store on the control runtime: says that this gateway is alive, and asks servers
//! that are not well until they are, so that no request has to find out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::inner::{Inner, PATIENCE};
use super::link::Node;
use super::script::Use;

/// How often a gateway says that it is alive.
const BEAT: Duration = Duration::from_secs(3);
/// How soon a server must answer to count as well.
const WELL: Duration = Duration::from_millis(50);

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
        _ = gone.changed() => {}
    }
}

/// Sees to it that every server that is not well is looked after.
fn look(inner: &Arc<Inner>, there: &watch::Receiver<()>) {
    for node in inner.nodes() {
        if node.begin_probing() {
            let (inner, node, mut gone) = (Arc::clone(inner), Arc::clone(node), there.clone());
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
async fn nurse(inner: &Inner, node: &Node) {
    tracing::warn!(
        store = &*inner.name, server = %node.address,
        "the store {}: it is asked no more until it is well", node.why()
    );
    let since = Instant::now();
    loop {
        sleep(node.pause()).await;
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

/// Whether it answers, and soon enough; opening a connection may take longer.
async fn is_well(inner: &Inner, node: &Node) -> bool {
    let ping = redis::cmd("PING");
    for patience in [PATIENCE, WELL] {
        let asked = Instant::now();
        if node.ask(&inner.dialer, Use::Link, &ping, asked + patience).await.is_err() {
            return false;
        }
        if asked.elapsed() <= WELL {
            return true;
        }
    }
    true
}
