//! The last requests that did not go well.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use lockgate_core::Blame;
use lockgate_telemetry::{Failure, FailureKind, rfc3339};
use serde_json::{Value, json};

use crate::Handles;
use crate::page::Page;
use crate::question::Question;

/// `GET /admin/errors`: the newest first, those that failed and those that were refused; `filter`
/// is looked for in reasons, paths, routes and ids.
pub(crate) async fn list(
    State(handles): State<Arc<Handles>>,
    Question(page): Question<Page>,
) -> Response {
    let failures = &handles.shared.failures;
    let mut all = failures.list(FailureKind::Failed);
    all.extend(failures.list(FailureKind::Refused));
    all.sort_by_key(|one| std::cmp::Reverse(one.time));
    let wanted = all.into_iter().filter(|one| {
        let words = [Some(&one.id), Some(&one.path), one.reason.as_ref(), one.route.as_ref()];
        page.wants_any(words.into_iter().flatten().map(String::as_str))
    });
    let mut told = page.part("errors", wanted, |one| shown(&one));
    if let Some(told) = told.as_object_mut() {
        told.insert("leftOut".to_owned(), failures.left_out().into());
    }
    Json(told).into_response()
}

fn shown(one: &Failure) -> Value {
    let blame = one.blame.map(|blame| match blame {
        Blame::Client => "client",
        Blame::Gateway => "gateway",
        Blame::Upstream => "upstream",
    });
    json!({
        "time": rfc3339(one.time), "id": one.id, "client": one.client_ip, "scheme": one.scheme,
        "method": one.method, "host": one.host, "path": one.path, "status": one.status,
        "reason": one.reason, "blame": blame, "story": one.story, "route": one.route,
        "upstream": one.upstream, "endpoint": one.endpoint,
        "tookMs": one.took.as_secs_f64() * 1e3,
    })
}
