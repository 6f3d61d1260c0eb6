//! Looks after a store on the control runtime: says that this gateway is alive, and asks servers
//! that are not well until they are, so that no request has to find out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::find::{is_connected, is_master};
use super::inner::{Inner, PATIENCE, Sought};
use super::link::{Asked, Lane, Node};
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
/// At most, between a word that the servers may be others and the look for them, while looks find
/// nothing new: a slot that nobody has is asked for again and again.
const HARDLY: Duration = Duration::from_millis(160);

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
    let (mut pause, mut soon) = (SOON, SOON);
    loop {
        let sought = inner.seek().await;
        let is_found = sought != Sought::Nothing;
        let is_well = is_found && inner.nodes().iter().all(|node| node.lets(Lane::Small));
        pause = if is_well { NOW_AND_THEN } else { (pause * 2).clamp(SOON, LATER) };
        let rested = sleep(pause.mul_f64(0.8 + 0.4 * fastrand::f64()));
        if sought == Sought::Others {
            soon = SOON;
        }
        if is_found {
            tokio::select! {
                () = rested => soon = SOON,
                () = inner.stale.notified() => {
                    sleep(soon).await;
                    soon = (soon * 2).min(HARDLY);
                }
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
        for lane in Lane::ALL {
            if node.begin_probing(lane) {
                let (inner, node, mut gone) = (Arc::clone(inner), Arc::clone(&node), there.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = nurse(&inner, &node, lane) => {}
                        _ = gone.changed() => {}
                    }
                });
            }
        }
    }
}

/// Asks a server, less and less often, until it is well.
async fn nurse(inner: &Inner, node: &Arc<Node>, lane: Lane) {
    let (store, server) = (&*inner.name, &node.address);
    // What the server does not do at all is told once.
    let told = lane == Lane::Small || node.lets(Lane::Small);
    match lane {
        Lane::Small => tracing::warn!(
            store, %server, "the store {}: it is asked no more until it is well", node.why(lane)
        ),
        Lane::Large if told => tracing::warn!(
            store, %server,
            "the store {}: it is asked for no kept answers until it gives them", node.why(lane)
        ),
        Lane::Large => {}
    }
    let since = Instant::now();
    loop {
        sleep(node.pause(lane)).await;
        if !inner.has(node) {
            // Another has taken its place.
            return;
        }
        let asked = lane == Lane::Small || node.lets(Lane::Small);
        if asked && is_well(inner, node, lane).await {
            break;
        }
    }
    node.end_probing(lane);
    node.well(lane);
    match lane {
        Lane::Small => {
            tracing::info!(store, %server, after = ?since.elapsed(), "the store is well again");
            inner.beat().await;
        }
        Lane::Large if told => tracing::info!(
            store, %server, after = ?since.elapsed(), "the store is asked for kept answers again"
        ),
        Lane::Large => {}
    }
}

/// Whether it does what it is there for, and soon enough; opening a connection may take longer.
async fn is_well(inner: &Inner, node: &Node, lane: Lane) -> bool {
    let mut command = redis::cmd(match inner.servers {
        Servers::One(_) => "PING",
        Servers::Sentinel { .. } => "ROLE",
        Servers::Cluster(_) => "CLUSTER",
    });
    if matches!(inner.servers, Servers::Cluster(_)) {
        command.arg("INFO");
    }
    let of = match lane {
        Lane::Small => Use::Link,
        Lane::Large => Use::Blobs,
    };
    for patience in [PATIENCE, WELL] {
        let asked = Instant::now();
        let question = Asked::new(of, &command);
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
