//! The upgrade of the running gateway: begin it, and ask how it goes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;

use crate::Handles;

/// `POST /admin/upgrade`: starts the program once more and hands over to it. It has only begun
/// with the answer.
pub(crate) async fn begin(State(handles): State<Arc<Handles>>) -> (StatusCode, Json<Value>) {
    (StatusCode::ACCEPTED, Json((handles.upgrade)(true).await))
}

/// `GET /admin/upgrade`: how it goes, by whichever process answers.
pub(crate) async fn state(State(handles): State<Arc<Handles>>) -> Json<Value> {
    Json((handles.upgrade)(false).await)
}
