//! The operator's word on an upstream's endpoints: up, down, drain, or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use lockgate_upstream::Override;
use serde::Deserialize;
use serde_json::json;

use crate::audit::{Outcome, Who, audit};
use crate::guard::refuse;
use crate::named::Named;
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

/// `PUT /admin/health/{service}` with `{"override": "up" | "down" | "drain" | "clear"}`. The
/// service is an upstream's name, for all of its endpoints, or one endpoint's: `host:port`, or a
/// URL of it.
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
    let changed = order_all(&handles, &who, &service, order);
    if changed == 0 {
        let detail = format!("there is no upstream or endpoint `{service}`");
        return refuse(StatusCode::NOT_FOUND, "no_service", &detail);
    }
    Json(json!({ "changed": changed })).into_response()
}

/// Gives the order to all endpoints that the name stands for, and writes in the audit log what was
/// said of each before: how many those are.
pub(crate) fn order_all(handles: &Handles, who: &Who, service: &str, order: Override) -> usize {
    let service = Named::of(service);
    let snapshot = handles.shared.snapshot();
    let mut before: BTreeMap<String, BTreeMap<String, Override>> = BTreeMap::new();
    let mut changed = 0;
    for (name, upstream) in snapshot.upstreams.iter() {
        let is_whole = service.is_upstream(name);
        let set = upstream.set();
        let meant = set
            .endpoints()
            .iter()
            .filter(|one| is_whole || service.is_endpoint(one.name(), one.label()));
        let mut names = BTreeSet::new();
        for one in meant {
            let own = before.entry(name.to_string()).or_default();
            own.insert(one.label().to_string(), one.ordered());
            changed += 1;
            if is_whole {
                names.insert(Arc::clone(one.name()));
            }
        }
        for name in names {
            upstream.order(&name, order);
        }
        for spelling in service.spellings().filter(|_| !is_whole) {
            upstream.order(spelling, order);
        }
    }
    if changed > 0 {
        let is_new = before.values().flat_map(BTreeMap::values).any(|word| *word != order);
        let outcome = if is_new { Outcome::Changed } else { Outcome::Unchanged };
        let what = format!("health.{}", service.given());
        audit(outcome, &who.to_string(), &what, &json!(before), &json!(order));
    }
    changed
}
