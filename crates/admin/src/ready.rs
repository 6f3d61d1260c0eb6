//! Whether the process lives, and whether requests should be sent to it. A refused configuration
//! does not make a gateway unready: it serves the one before, and all gateways would leave at once.
//! But that it is so is told, for a prober that wants to act.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lockgate_proxy::Snapshot;
use lockgate_upstream::Health;
use serde_json::{Map, Value, json};

use crate::Handles;

/// What is told of a refusal; the whole of it needs a token.
const REFUSED: &str =
    "what the source says now is not in force, but the configuration before it: see /admin/source";

/// `GET /admin/live`: it answers, so it lives.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({ "status": "live", "pid": std::process::id() }))
}

/// `GET /admin/ready`: 503 with the reason while it should get no requests.
pub(crate) async fn ready(State(handles): State<Arc<Handles>>) -> (StatusCode, Json<Value>) {
    let (status, mut answer) = match why_not(&handles) {
        None => (StatusCode::OK, json!({ "status": "ready" })),
        Some(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "not_ready", "why": why }))
        }
    };
    if let Some(answer) = answer.as_object_mut() {
        tell_source(answer, &(handles.source)());
    }
    (status, Json(answer))
}

/// Tells how the configuration's source is, unless it is well. Why is not for everybody: whoever
/// asks this needs no token, and a report has lines of the configuration in it.
fn tell_source(answer: &mut Map<String, Value>, source: &Value) {
    let Some(state) = source.get("state").filter(|state| *state != "well") else { return };
    answer.insert("source".into(), state.clone());
    for key in ["fromCopy", "staleSeconds"] {
        if let Some(value) = source.get(key) {
            answer.insert(key.into(), value.clone());
        }
    }
    if source.get("refused").is_some_and(Value::is_string) {
        answer.insert("refused".into(), REFUSED.into());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_not_well_is_told_without_the_words_of_its_report() {
        let told = |source: Value| {
            let mut answer = Map::new();
            tell_source(&mut answer, &source);
            Value::from(answer)
        };
        assert_eq!(told(json!({ "kind": "built in" })), json!({}));
        assert_eq!(told(json!({ "state": "well", "refused": null, "fromCopy": false })), json!({}));
        let away = json!({ "state": "away", "refused": null, "fromCopy": true,
            "staleSeconds": 7, "lastError": "at 10.0.0.5" });
        let wanted = json!({ "source": "away", "fromCopy": true, "staleSeconds": 7 });
        assert_eq!(told(away), wanted);
        let refused = json!({ "state": "refused", "refused": "error: token: hunter2" });
        assert_eq!(told(refused), json!({ "source": "refused", "refused": REFUSED }));
    }
}
