//! The services behind the gateway: how they are, endpoint by endpoint, and a check at once.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use lockgate_upstream::{EndpointView, Upstream, UpstreamView};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::guard::refuse;
use crate::named::Named;
use crate::page::Page;
use crate::question::Question;
use crate::{Handles, body};

/// `GET /admin/health`: `healthy` when every endpoint takes requests, `degraded` when every
/// upstream has one that does, `unhealthy` (503) when one has none.
pub(crate) async fn overall(State(handles): State<Arc<Handles>>) -> (StatusCode, Json<Value>) {
    let views = views(&handles);
    let dead: Vec<&str> = views
        .iter()
        .filter(|view| view.usable == 0 && !view.endpoints.is_empty())
        .map(|view| view.name.as_str())
        .collect();
    let endpoints: usize = views.iter().map(|view| view.endpoints.len()).sum();
    let usable: usize = views.iter().map(|view| view.usable).sum();
    let (status, word) = match (dead.is_empty(), usable == endpoints) {
        (true, true) => (StatusCode::OK, "healthy"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
    };
    let snapshot = handles.shared.snapshot();
    let loaded = snapshot.loaded.duration_since(UNIX_EPOCH).unwrap_or_default();
    let told = json!({
        "status": word,
        "draining": (handles.draining)(),
        "upstreams": views.len(),
        "upstreamsWithoutEndpoint": dead,
        "endpoints": endpoints,
        "healthyEndpoints": usable,
        "generation": snapshot.generation,
        "loadedAt": millis(loaded.as_millis()),
    });
    (status, Json(told))
}

/// `GET /admin/health/services`: every endpoint of every upstream.
pub(crate) async fn list(
    State(handles): State<Arc<Handles>>,
    Question(page): Question<Page>,
) -> Response {
    let views = views(&handles);
    let wanted = views.iter().flat_map(|view| {
        view.endpoints
            .iter()
            .filter(|one| page.wants(&view.name) || page.wants(&one.name))
            .map(|one| service(&view.name, one))
    });
    page.answer("services", wanted)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Which {
    service: Option<String>,
}

/// `POST /admin/health/check` with nothing, or `{"service": …}` for one upstream or endpoint:
/// probes now, waits for the answers, and shows what was found.
pub(crate) async fn check(
    State(handles): State<Arc<Handles>>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let which: Which = match body::read_or_default(body, "{\"service\": \"…\"} as JSON") {
        Ok(which) => which,
        Err(refusal) => return *refusal,
    };
    let wanted = which.service.as_deref().map(Named::of);
    let wanted = wanted.as_ref();
    let checked = check_all(&handles, wanted).await;
    if let (Some(wanted), 0) = (wanted, checked) {
        let given = wanted.given();
        let detail = format!("no upstream or endpoint `{given}` has health checks");
        return refuse(StatusCode::NOT_FOUND, "no_service", &detail);
    }
    let services: Vec<Value> = views(&handles)
        .iter()
        .flat_map(|view| view.endpoints.iter().map(|one| (view.name.clone(), one.clone())))
        .filter(|(name, one)| {
            wanted.is_none_or(|wanted| {
                wanted.is_upstream(name) || wanted.is_endpoint(&one.name, &one.address)
            })
        })
        .map(|(name, one)| service(&name, &one))
        .collect();
    Json(json!({ "checked": checked, "services": services })).into_response()
}

/// Probes all endpoints, or those that a name stands for, and waits for the answers: how many have
/// been probed.
pub(crate) async fn check_all(handles: &Handles, wanted: Option<&Named>) -> usize {
    let snapshot = handles.shared.snapshot();
    let mut checks = tokio::task::JoinSet::new();
    for (name, upstream) in snapshot.upstreams.iter() {
        let upstream: Arc<Upstream> = Arc::clone(upstream);
        let endpoints: Vec<Option<String>> = match wanted {
            Some(wanted) if !wanted.is_upstream(name) => {
                wanted.spellings().map(|one| Some(one.to_owned())).collect()
            }
            _ => vec![None],
        };
        for endpoint in endpoints {
            let upstream = Arc::clone(&upstream);
            checks.spawn(async move { upstream.check_now(endpoint.as_deref()).await });
        }
    }
    let mut checked = 0;
    while let Some(count) = checks.join_next().await {
        checked += count.unwrap_or_default();
    }
    checked
}

/// Every upstream in force, by name.
pub(crate) fn views(handles: &Handles) -> Vec<UpstreamView> {
    let snapshot = handles.shared.snapshot();
    let mut views: Vec<UpstreamView> =
        snapshot.upstreams.values().map(|upstream| upstream.view()).collect();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    views
}

/// Times are milliseconds since 1970.
fn service(upstream: &str, endpoint: &EndpointView) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let until = endpoint.ejected_for_ms.map(|left| millis(now.as_millis()) + left);
    json!({
        "service": upstream,
        "endpoint": endpoint.name,
        "address": endpoint.address,
        "healthy": endpoint.usable,
        "health": endpoint.health,
        "reason": endpoint.reason,
        "lastChecked": endpoint.last_checked_ms,
        "consecutiveFailures": endpoint.consecutive_failures,
        "lastFailureTime": endpoint.last_failure_ms,
        "lastError": endpoint.last_error,
        "responseTime": endpoint.response_time_ms,
        "override": endpoint.ordered,
        "ejectedUntil": until,
    })
}

fn millis(time: u128) -> u64 {
    u64::try_from(time).unwrap_or(u64::MAX)
}
