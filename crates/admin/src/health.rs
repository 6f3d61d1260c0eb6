//! The operator's word on an upstream's endpoints: up, down, drain, or nothing.

use std::collections::BTreeMap;
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
use crate::{Handles, Refused, body};

/// What came of an order to endpoints.
#[derive(Debug, Default)]
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
    let done = match order_all(&handles, &who, &service, order).await {
        Ok(done) => done,
        Err(refused) => return refused.into_response(),
    };
    if done.changed == 0 {
        let detail = format!("there is no upstream or endpoint `{service}`");
        return refuse(StatusCode::NOT_FOUND, "no_service", &detail);
    }
    let mut answer = json!({ "changed": done.changed, "kept": done.not_kept.is_none() });
    if let (Some(why), Some(answer)) = (done.not_kept, answer.as_object_mut()) {
        answer.insert("why".to_owned(), why.into());
    }
    Json(answer).into_response()
}

/// Gives the order to all endpoints that the name stands for, and writes in the audit log what was
/// said of each before.
///
/// # Errors
/// When no orders are taken now.
pub(crate) async fn order_all(
    handles: &Handles,
    who: &Who,
    service: &str,
    order: Override,
) -> Result<Steered, Refused> {
    let service = Named::of(service);
    let before = said(handles, &service);
    // What is no upstream as it was given is none in another spelling either.
    let snapshot = handles.shared.snapshot();
    let mut names = service.names();
    names.retain(|name| name == service.given() || !snapshot.upstreams.contains_key(name.as_str()));
    let (steer, who) = (Arc::clone(&handles.steer), who.to_string());
    // All of it there: whoever asked may be gone before it is done.
    let done = tokio::task::spawn_blocking(move || {
        let what = format!("health.{}", service.given());
        let done = names.iter().try_fold(Steered::default(), |all, name| {
            let done = steer(name, order)?;
            let (changed, not_kept) = (all.changed + done.changed, done.not_kept.or(all.not_kept));
            Ok(Steered { changed, not_kept })
        });
        match &done {
            Ok(done) if done.changed == 0 => {}
            Ok(_) => {
                let is_new = before.values().flat_map(BTreeMap::values).any(|word| *word != order);
                let outcome = if is_new { Outcome::Changed } else { Outcome::Unchanged };
                audit(outcome, &who, &what, &json!(before), &json!(order));
            }
            Err(Refused { reason, .. }) => {
                audit(Outcome::Refused, &who, &what, &json!(before), &json!(reason));
            }
        }
        done
    });
    done.await.unwrap_or_else(|error| Err(Refused::new(500, "internal", error.to_string())))
}

/// What is said of each endpoint that the name stands for, by upstream.
fn said(handles: &Handles, service: &Named) -> BTreeMap<String, BTreeMap<String, Override>> {
    let mut said: BTreeMap<String, BTreeMap<String, Override>> = BTreeMap::new();
    for (name, upstream) in handles.shared.snapshot().upstreams.iter() {
        let is_whole = service.is_upstream(name);
        for one in upstream.set().endpoints() {
            if is_whole || service.is_endpoint(one.name(), one.label()) {
                let own = said.entry(name.to_string()).or_default();
                own.insert(one.label().to_string(), one.ordered());
            }
        }
    }
    said
}
