//! Read-only answers: health, metrics, upstreams, explain.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use lockgate_proxy::Asked;
use serde_json::{Value, json};

use crate::Handles;
use crate::guard::refuse;

pub(crate) async fn health(State(handles): State<Arc<Handles>>) -> (StatusCode, Json<Value>) {
    let (status, word) = match (handles.draining)() {
        true => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        false => (StatusCode::OK, "ok"),
    };
    let generation = handles.shared.snapshot().generation;
    (status, Json(json!({ "status": word, "generation": generation })))
}

pub(crate) async fn metrics(State(handles): State<Arc<Handles>>) -> Response {
    if !handles.shared.snapshot().document.telemetry.metrics {
        return refuse(
            StatusCode::NOT_FOUND,
            "metrics_off",
            "metrics are off (`telemetry.metrics`)",
        );
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, handles.shared.metrics.render()).into_response()
}

pub(crate) async fn upstreams(State(handles): State<Arc<Handles>>) -> Json<Value> {
    let snapshot = handles.shared.snapshot();
    let mut names: Vec<&String> = snapshot.upstreams.keys().collect();
    names.sort();
    let views: Vec<_> = names
        .into_iter()
        .filter_map(|name| snapshot.upstreams.get(name).map(|upstream| upstream.view()))
        .collect();
    Json(json!(views))
}

/// `GET /admin/source`: where the configuration comes from, and since when that has not answered.
pub(crate) async fn source(State(handles): State<Arc<Handles>>) -> Json<Value> {
    Json((handles.source)())
}

/// `?method=GET&url=http://host/path&header=k:v&header=…`, percent-encoded.
pub(crate) async fn explain(
    State(handles): State<Arc<Handles>>,
    RawQuery(query): RawQuery,
) -> Response {
    match Asked::from_query(query.as_deref().unwrap_or_default()) {
        Ok(asked) => Json((handles.explain)(&asked)).into_response(),
        Err(error) => refuse(StatusCode::BAD_REQUEST, "bad_question", &error),
    }
}

pub(crate) async fn not_this_method() -> Response {
    let detail = "/admin/health/{service}, /admin/routes/{pattern} and /admin/config take PUT; \
                  /admin/routes/{pattern} and /admin/config/changes DELETE; /admin/health/check, \
                  /admin/cache/clear, /admin/config/rollback, /admin/reload and /admin/upgrade \
                  POST; the other pages GET";
    refuse(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

pub(crate) async fn nothing() -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        "no_page",
        "there is /health, /metrics, /admin/status (the dashboard), /admin/live, \
         /admin/ready, /admin/health, /admin/health/services, /admin/health/check, \
         /admin/health/{service}, /admin/metrics, /admin/history, /admin/events, \
         /admin/upstreams, /admin/loadbalancer/stats, /admin/connections, /admin/certs, \
         /admin/config, /admin/config/changes, /admin/config/diff, /admin/config/export, \
         /admin/config/history, /admin/config/rollback, /admin/routes, /admin/routes/{pattern}, \
         /admin/consumers, /admin/explain, /admin/source, /admin/quotas, \
         /admin/ratelimiter/stats, /admin/cache/stats, /admin/cache/details, \
         /admin/cache/clear, /admin/reload, /admin/upgrade",
    )
}
