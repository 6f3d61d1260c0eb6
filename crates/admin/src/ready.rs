//! Whether the process lives, and whether requests should be sent to it. A refused configuration
//! does not make a gateway unready: it serves the one before, and all gateways would leave at once.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lockgate_proxy::Snapshot;
use lockgate_upstream::Health;
use serde_json::{Value, json};

use crate::Handles;

/// `GET /admin/live`: it answers, so it lives.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({ "status": "live", "pid": std::process::id() }))
}

/// `GET /admin/ready`: 503 with the reason while it should get no requests.
pub(crate) async fn ready(State(handles): State<Arc<Handles>>) -> (StatusCode, Json<Value>) {
    match why_not(&handles) {
        None => (StatusCode::OK, Json(json!({ "status": "ready" }))),
        Some(why) => {
            let not = json!({ "status": "not_ready", "why": why });
            (StatusCode::SERVICE_UNAVAILABLE, Json(not))
        }
    }
}

fn why_not(handles: &Handles) -> Option<String> {
    if (handles.draining)() {
        return Some("draining".to_owned());
    }
    why_not_ready(&handles.shared.snapshot())
}

/// Why a process with this configuration should get no requests yet.
pub fn why_not_ready(snapshot: &Snapshot) -> Option<String> {
    if snapshot.is_empty() {
        return Some("the configuration has no routes".to_owned());
    }
    if !snapshot.document.admin.wait_for_health {
        return None;
    }
    let waiting = unprobed(snapshot);
    (!waiting.is_empty())
        .then(|| format!("not every endpoint has been probed yet: {}", waiting.join(", ")))
}

/// The upstreams with endpoints whose first probe has not ended, by name.
pub fn unprobed(snapshot: &Snapshot) -> Vec<String> {
    let mut waiting: Vec<String> = Vec::new();
    for (name, upstream) in snapshot.upstreams.iter() {
        let probed = upstream.settings().health.is_some();
        let unknown = |set: &lockgate_upstream::EndpointSet| {
            set.endpoints().iter().any(|endpoint| endpoint.health() == Health::Unknown)
        };
        if probed && unknown(&upstream.set()) {
            waiting.push(name.clone());
        }
    }
    waiting.sort();
    waiting
}
