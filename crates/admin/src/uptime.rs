//! How the services were: availability, response times, intervals; and the alerts about them.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::Handles;
use crate::guard::refuse;
use crate::page::Page;

/// `GET /admin/uptime`: every upstream with its endpoints, a page of them, and where the history is
/// kept. Moments are milliseconds since 1970, response times milliseconds.
pub(crate) async fn uptime(
    State(handles): State<Arc<Handles>>,
    page: Result<Query<Page>, QueryRejection>,
) -> Response {
    let page = match page {
        Ok(Query(page)) => page,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "bad_question", &error.body_text()),
    };
    let monitor = &handles.monitor;
    let names = monitor.names().into_iter().filter(|name| page.wants(name));
    let mut told = page.part("upstreams", names, |name| {
        serde_json::to_value(monitor.upstream(&name)).unwrap_or_default()
    });
    if let Some(told) = told.as_object_mut() {
        told.insert("kept".to_owned(), json!(monitor.kept_where()));
        told.insert("leftOut".to_owned(), json!(monitor.left_out()));
    }
    Json(told).into_response()
}

/// `GET /admin/alerts`: what fires, what was over lately, and who is told.
pub(crate) async fn alerts(State(handles): State<Arc<Handles>>) -> Json<Value> {
    Json(serde_json::to_value(handles.monitor.alerts()).unwrap_or_default())
}
