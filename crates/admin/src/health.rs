//! The operator's word on an upstream's endpoints: up, down, drain, or nothing.

use std::collections::BTreeSet;
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
use crate::{Handles, body};

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
    let changed = order_all(&handles, &service, order);
    if changed == 0 {
        let detail = format!("there is no upstream or endpoint `{service}`");
        return refuse(StatusCode::NOT_FOUND, "no_service", &detail);
    }
    audit(&who.to_string(), &format!("health.{service}"), &Value::Null, &wanted.word.told());
    Json(json!({ "changed": changed })).into_response()
}

/// Gives the order to all endpoints that the name stands for: how many those are.
pub(crate) fn order_all(handles: &Handles, service: &str, order: Override) -> usize {
    let snapshot = handles.shared.snapshot();
    let mut changed = 0;
    for (name, upstream) in snapshot.upstreams.iter() {
        if *name == *service {
            let names: BTreeSet<_> =
                upstream.set().endpoints().iter().map(|e| Arc::clone(e.name())).collect();
            changed += names.iter().map(|name| upstream.order(name, order)).sum::<usize>();
        } else {
            changed += upstream.order(service, order);
        }
    }
    changed
}
