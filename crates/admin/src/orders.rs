//! Orders to whoever runs the gateway: read the configuration again, or hand over to a newer
//! program.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::guard::refuse;
use crate::{Handles, Order};

/// `POST /admin/upgrade`: starts the program once more and hands over to it. It has only begun
/// with the answer.
pub(crate) async fn begin(State(handles): State<Arc<Handles>>) -> (StatusCode, Json<Value>) {
    (StatusCode::ACCEPTED, Json((handles.order)(Order::Upgrade).await))
}

/// `GET /admin/upgrade`: how it goes, by whichever process answers.
pub(crate) async fn state(State(handles): State<Arc<Handles>>) -> Json<Value> {
    Json((handles.order)(Order::Tell).await)
}

/// `POST /admin/reload`: reads the configuration again; 422 with all that is wrong when it is
/// refused, and the old one then stays.
pub(crate) async fn reload(State(handles): State<Arc<Handles>>) -> Response {
    let answer = (handles.order)(Order::Reload).await;
    match answer.get("refused").and_then(Value::as_str) {
        Some(why) => refuse(StatusCode::UNPROCESSABLE_ENTITY, "config_refused", why),
        None => Json(answer).into_response(),
    }
}
