//! What the configuration in force says: as a whole, its routes, its consumers. Secrets are shown
//! as the references that the file has for them, or not at all.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::Handles;
use crate::aside::aside;
use crate::conditions::{tag_of, unmet};
use crate::guard::refuse;
use crate::page::Page;
use crate::question::Question;

/// `GET /admin/config`: the long form, with every default written out. Its `ETag` is the
/// configuration's generation in this process.
pub(crate) async fn effective(State(handles): State<Arc<Handles>>, headers: HeaderMap) -> Response {
    let generation = handles.shared.snapshot().generation;
    let Some(tag) = tag_of(generation) else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no tag can be made");
    };
    match unmet(&headers, generation) {
        Some(StatusCode::NOT_MODIFIED) => {
            return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
        }
        Some(status) => {
            let text = format!("generation {generation} is in force");
            return refuse(status, "changed_meanwhile", &text);
        }
        None => {}
    }
    match read(&handles).await {
        Ok(config) => ([(header::ETAG, tag)], Json(config)).into_response(),
        Err(refusal) => *refusal,
    }
}

/// `GET /admin/routes`: every route, with what it inherits.
pub(crate) async fn routes(
    State(handles): State<Arc<Handles>>,
    Question(page): Question<Page>,
) -> Response {
    list(&handles, &page, "routes", "pattern").await
}

/// `GET /admin/consumers`: the configured ones, without their keys.
pub(crate) async fn consumers(
    State(handles): State<Arc<Handles>>,
    Question(page): Question<Page>,
) -> Response {
    list(&handles, &page, "consumers", "name").await
}

/// One section, a page of it.
async fn list(handles: &Handles, page: &Page, section: &str, key: &str) -> Response {
    let mut config = match read(handles).await {
        Ok(config) => config,
        Err(refusal) => return *refusal,
    };
    let entries = match config.get_mut(section).map(Value::take) {
        Some(Value::Object(entries)) => entries,
        _ => Map::new(),
    };
    let wanted = entries.into_iter().filter(|(name, _)| page.wants(name));
    page.answer(section, wanted.map(|(name, settings)| json!({ key: name, "settings": settings })))
}

async fn read(handles: &Handles) -> Result<Value, Box<Response>> {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    read_config(handles).await.map_err(|why| Box::new(refuse(status, "config_unreadable", &why)))
}

/// Reads the configuration in force once more, off the runtime.
pub(crate) async fn read_config(handles: &Handles) -> Result<Value, String> {
    let config = Arc::clone(&handles.config);
    aside(move || config()).await.flatten()
}
