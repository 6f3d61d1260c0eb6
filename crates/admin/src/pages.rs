//! Read-only answers: health, metrics, upstreams, explain.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lockgate_proxy::Asked;
use lockgate_telemetry::Form;
use lockgate_upstream::UpstreamView;
use serde_json::{Value, json};

use crate::Handles;
use crate::aside::aside;
use crate::guard::refuse;
use crate::page::Page;
use crate::question::Question;
use crate::services::views;

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

/// `GET /admin/upstreams`: every upstream with its endpoints; `filter` is looked for in the names
/// of both, and in addresses.
pub(crate) async fn upstreams(
    State(handles): State<Arc<Handles>>,
    Question(page): Question<Page>,
) -> Response {
    let wanted = |one: &UpstreamView| {
        let endpoints = one.endpoints.iter().flat_map(|one| [one.name.as_str(), &one.address]);
        page.wants_any([one.name.as_str()].into_iter().chain(endpoints))
    };
    page.answer("upstreams", views(&handles).into_iter().filter(wanted).map(|one| json!(one)))
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
