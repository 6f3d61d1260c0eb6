//! The operator's word on an upstream's endpoints: up, down, drain, or nothing.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use lockgate_upstream::Override;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::audit::{Who, audit};
use crate::guard::refuse;
use crate::{Handles, Refused, body};

/// What came of an order to endpoints.
#[derive(Debug)]
pub struct Steered {
    /// How many endpoints it holds for.
    pub changed: usize,
    /// Why it ends with the gateway, where it is not kept beyond.
    pub not_kept: Option<String>,
}

/// Gives an order to an upstream's endpoints, or to one.
pub type Steer = dyn Fn(&str, Override) -> Result<Steered, Refused> + Send + Sync;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    #[serde(rename = "override")]
    word: Word,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Word {
    Up,
    Down,
    Drain,
    Clear,
}

impl Word {
    fn told(self) -> Value {
        json!(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Drain => "drain",
            Self::Clear => "clear",
        })
    }
}

/// `PUT /admin/health/{service}` with `{"override": "up" | "down" | "drain" | "clear"}`. The
/// service is an upstream's name, for all of its endpoints, or one endpoint's `host:port`.
pub(crate) async fn set_override(
    State(handles): State<Arc<Handles>>,
    Extension(who): Extension<Who>,
    service: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Ok(Path(service)) = service else {
        return refuse(StatusCode::BAD_REQUEST, "bad_path", "the service's name is not UTF-8");
    };
    let wanted: Wanted = match body::read(body, "{\"override\": \"down\"} as JSON") {
        Ok(wanted) => wanted,
        Err(refusal) => return *refusal,
    };
    let order = match wanted.word {
        Word::Up => Override::Up,
        Word::Down => Override::Down,
        Word::Drain => Override::Drain,
        Word::Clear => Override::None,
    };
    let done = match order_all(&handles, &service, order).await {
        Ok(done) => done,
        Err(refused) => return refused.into_response(),
    };
    if done.changed == 0 {
        let detail = format!("there is no upstream or endpoint `{service}`");
        return refuse(StatusCode::NOT_FOUND, "no_service", &detail);
    }
    audit(&who.to_string(), &format!("health.{service}"), &Value::Null, &wanted.word.told());
    let mut answer = json!({ "changed": done.changed, "kept": done.not_kept.is_none() });
    if let (Some(why), Some(answer)) = (done.not_kept, answer.as_object_mut()) {
        answer.insert("why".to_owned(), why.into());
    }
    Json(answer).into_response()
}

/// Gives the order to all endpoints that the name stands for.
///
/// # Errors
/// When no orders are taken now.
pub(crate) async fn order_all(
    handles: &Handles,
    service: &str,
    order: Override,
) -> Result<Steered, Refused> {
    let (steer, service) = (Arc::clone(&handles.steer), service.to_owned());
    let done = tokio::task::spawn_blocking(move || steer(&service, order)).await;
    done.unwrap_or_else(|error| Err(Refused::new(500, "internal", error.to_string())))
}
