//! What the configuration in force says: as a whole, its routes, its consumers. Secrets are shown
//! as the references that the file has for them, or not at all.

use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::Handles;
use crate::aside::aside;
use crate::guard::refuse;
use crate::page::Page;

/// `GET /admin/config`: the long form, with every default written out. Its `ETag` is the
/// configuration's generation in this process.
pub(crate) async fn effective(State(handles): State<Arc<Handles>>, headers: HeaderMap) -> Response {
    let Ok(tag) = HeaderValue::from_str(&tag_of(handles.shared.snapshot().generation)) else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no tag can be made");
    };
    if headers.get(header::IF_NONE_MATCH) == Some(&tag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    match read(&handles).await {
        Ok(config) => ([(header::ETAG, tag)], Json(config)).into_response(),
        Err(refusal) => *refusal,
    }
}

/// What tells a configuration in force from the others: the process, by a random word, as in a
/// container its number is always the same; and its generation.
fn tag_of(generation: u64) -> String {
    format!("\"{}-{generation}\"", process())
}

fn process() -> &'static str {
    static WORD: OnceLock<String> = OnceLock::new();
    WORD.get_or_init(|| {
        let mut bytes = [0; 8];
        // Without random numbers there is still the process's own.
        if getrandom::fill(&mut bytes).is_err() {
            bytes = u64::from(std::process::id()).to_le_bytes();
        }
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    })
}

/// The generation that a tag of this process tells.
pub(crate) fn generation_of(tag: &str) -> Option<u64> {
    let (process, generation) = tag.trim().strip_prefix('"')?.strip_suffix('"')?.split_once('-')?;
    generation.parse().ok().filter(|_| process == self::process())
}

/// `GET /admin/routes`: every route, with what it inherits.
pub(crate) async fn routes(
    State(handles): State<Arc<Handles>>,
    page: Result<Query<Page>, QueryRejection>,
) -> Response {
    list(&handles, page, "routes", "pattern").await
}

/// `GET /admin/consumers`: the configured ones, without their keys.
pub(crate) async fn consumers(
    State(handles): State<Arc<Handles>>,
    page: Result<Query<Page>, QueryRejection>,
) -> Response {
    list(&handles, page, "consumers", "name").await
}

/// One section, a page of it.
async fn list(
    handles: &Handles,
    page: Result<Query<Page>, QueryRejection>,
    section: &str,
    key: &str,
) -> Response {
    let page = match page {
        Ok(Query(page)) => page,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "bad_question", &error.body_text()),
    };
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
