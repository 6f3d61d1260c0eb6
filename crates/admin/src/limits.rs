//! What limits and quotas have counted: who has used how much, what is kept, who is refused.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use lockgate_state::Memory;
use serde_json::{Value, json};

use crate::Handles;
use crate::page::{Page, word};
use crate::question::Question;

/// Most quotas that are looked at for a list.
const MOST: usize = 10_000;
/// Most of those who are refused.
const TOP: usize = 20;

/// `GET /admin/quotas`: what each has used of each quota, in the window that has begun.
pub(crate) async fn quotas(
    State(handles): State<Arc<Handles>>,
    Question(page): Question<Page>,
) -> Response {
    let wants = |one: &Value| page.wants_any([word(one, "limit"), word(one, "key")]);
    page.answer("quotas", all_quotas(&handles).into_iter().filter(wants))
}

/// The quotas that are counted. Of a Redis: what it said when this gateway last asked; it is not
/// asked for the list.
pub(crate) fn all_quotas(handles: &Handles) -> Vec<Value> {
    let listed = |memory: &Memory| json!(memory.listed(MOST));
    let mut all = match (handles.counters)(&listed) {
        Some(Value::Array(all)) => all,
        _ => Vec::new(),
    };
    for counters in (handles.redis_counters)() {
        let room = MOST.saturating_sub(all.len());
        for listed in counters.listed(room) {
            let mut one = json!(listed);
            if let Value::Object(one) = &mut one {
                one.insert("store".to_owned(), counters.store().into());
            }
            all.push(one);
        }
    }
    all
}

/// `GET /admin/ratelimiter/stats`: figures of the table, refusals by limit, and who is refused
/// most. Keys that may be credentials are hashed.
pub(crate) async fn stats(State(handles): State<Arc<Handles>>) -> Json<Value> {
    let read = |memory: &Memory| {
        let mut refused = memory.refused();
        refused.truncate(TOP);
        json!({ "table": memory.figures(), "refusedMost": refused })
    };
    let none = || json!({ "table": null, "refusedMost": [] });
    let mut stats = (handles.counters)(&read).unwrap_or_else(none);
    if let Some(Value::Array(most)) = stats.get_mut("refusedMost") {
        for counters in (handles.redis_counters)() {
            most.extend(counters.refused().into_iter().take(TOP).map(|one| json!(one)));
        }
        most.sort_by_key(|one| Reverse(one.get("refused").and_then(Value::as_u64)));
        most.truncate(TOP);
    }
    let refusals = (handles.refusals)().into_iter().filter_map(|(labels, count)| {
        let [policy, limit, place, dry_run] = labels.as_slice() else { return None };
        Some(json!({
            "policy": policy, "limit": limit, "place": place,
            "dryRun": dry_run == "true", "refused": count,
        }))
    });
    if let Value::Object(stats) = &mut stats {
        stats.insert("limits".to_owned(), refusals.collect());
    }
    Json(stats)
}
