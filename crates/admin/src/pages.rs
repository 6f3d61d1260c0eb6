//! Read-only answers: health, metrics, upstreams, explain.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lockgate_proxy::Asked;
use lockgate_telemetry::Form;
use serde_json::{Value, json};

use crate::Handles;
use crate::aside::aside;
use crate::guard::refuse;

pub(crate) async fn health(State(handles): State<Arc<Handles>>) -> (StatusCode, Json<Value>) {
    let (status, word) = match (handles.draining)() {
        true => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        false => (StatusCode::OK, "ok"),
    };
    let generation = handles.shared.snapshot().generation;
    (status, Json(json!({ "status": word, "generation": generation })))
}

pub(crate) async fn metrics(State(handles): State<Arc<Handles>>, headers: HeaderMap) -> Response {
    if !handles.shared.snapshot().document.telemetry.metrics {
        return refuse(
            StatusCode::NOT_FOUND,
            "metrics_off",
            "metrics are off (`telemetry.metrics`)",
        );
    }
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let form = Form::asked(accept.unwrap_or_default());
    let kind = [(header::CONTENT_TYPE, form.content_type())];
    (kind, handles.shared.metrics.render(form)).into_response()
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
        Ok(asked) => {
            let explain = Arc::clone(&handles.explain);
            match aside(move || explain(&asked)).await {
                Ok(told) => Json(told).into_response(),
                Err(why) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", &why),
            }
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, "bad_question", &error),
    }
}

/// `GET /admin/openapi.json`.
pub(crate) async fn openapi() -> Json<Value> {
    Json(crate::operations::openapi())
}
