//! The operator's word on an upstream's endpoints: up, down, drain, or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use lockgate_upstream::{Override, Upstreams};
use serde::Deserialize;
use serde_json::json;

use crate::audit::{Outcome, Who, audit};
use crate::guard::refuse;
use crate::named::Named;
use crate::{Handles, Refused, body};

/// What came of an order to endpoints.
#[derive(Debug)]
pub struct Steered {
    /// How many endpoints it holds for.
    pub changed: usize,
    /// Why it ends with the gateway, where it is not kept beyond.
    pub not_kept: Option<String>,
}

/// Has orders given to endpoints, to those of these upstreams that are meant, and keeps what comes of
/// it: how many endpoints were given the order, or why none is given now.
pub type Steer =
    dyn Fn(Override, &mut dyn FnMut(&Upstreams) -> usize) -> Result<Steered, Refused> + Send + Sync;

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

/// What was said of endpoints by their addresses, upstream by upstream.
type Words = BTreeMap<String, BTreeMap<String, Override>>;

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
    let (steer, named) = (Arc::clone(&handles.steer), Named::of(service));
    let done = tokio::task::spawn_blocking(move || {
        let mut before = Words::new();
        let done = steer(order, &mut |upstreams| give(upstreams, &named, order, &mut before));
        (done, before)
    });
    let (done, before) = done.await.unwrap_or_else(|error| {
        (Err(Refused::new(500, "internal", error.to_string())), Words::new())
    });
    let is_new = before.values().flat_map(BTreeMap::values).any(|word| *word != order);
    let outcome = match &done {
        Err(_) => Outcome::Refused,
        Ok(_) if is_new => Outcome::Changed,
        Ok(_) => Outcome::Unchanged,
    };
    if !matches!(&done, Ok(Steered { changed: 0, .. })) {
        let what = format!("health.{service}");
        audit(outcome, &who.to_string(), &what, &json!(before), &json!(order));
    }
    done
}

/// To how many endpoints it was given, and what was said of them `before`.
fn give(upstreams: &Upstreams, service: &Named, order: Override, before: &mut Words) -> usize {
    let mut changed = 0;
    for (name, upstream) in upstreams {
        let is_whole = service.is_upstream(name);
        let set = upstream.set();
        let meant = set
            .endpoints()
            .iter()
            .filter(|one| is_whole || service.is_endpoint(one.name(), one.label()));
        let mut names = BTreeSet::new();
        for one in meant {
            let own = before.entry(name.clone()).or_default();
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
    changed
}
