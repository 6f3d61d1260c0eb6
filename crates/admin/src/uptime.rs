//! How the services were: availability, response times, intervals; and the alerts about them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use lockgate_monitor::AlertView;
use serde_json::{Map, Value, json};

use crate::Handles;
use crate::page::Page;
use crate::question::Question;

/// `GET /admin/uptime`: every upstream with its endpoints, a page of them, and where the history is
/// kept. Moments are milliseconds since 1970, response times milliseconds.
pub(crate) async fn uptime(
    State(handles): State<Arc<Handles>>,
    Question(page): Question<Page>,
) -> Response {
    let monitor = &handles.monitor;
    let names = monitor.names().into_iter().filter(|name| page.wants(name));
    let mut told = page.part("upstreams", names, |name| {
        serde_json::to_value(monitor.upstream(&name)).unwrap_or_default()
    });
    if let Some(told) = told.as_object_mut() {
        told.insert("kept".to_owned(), json!(monitor.kept_where()));
        told.insert("leftOut".to_owned(), json!(monitor.left_out()));
    }
    Json(told).into_response()
}

/// `GET /admin/alerts`: what fires, what was over lately, and who is told. A page is one of each of
/// the lists of alerts.
pub(crate) async fn alerts(
    State(handles): State<Arc<Handles>>,
    Question(page): Question<Page>,
) -> Json<Value> {
    let alerts = handles.monitor.alerts();
    let mut total = Map::new();
    let mut part = |name: &str, all: &[AlertView]| {
        let wants = |one: &&AlertView| {
            page.wants_any([one.rule.as_str(), one.subject.as_str(), one.summary.as_str()])
        };
        let (count, shown) = page.cut(all.iter().filter(wants), |one| json!(one));
        total.insert(name.to_owned(), count.into());
        shown
    };
    let firing = part("firing", &alerts.firing);
    let pending = part("pending", &alerts.pending);
    let recent = part("recent", &alerts.recent);
    Json(json!({
        "total": total, "offset": page.offset(), "firing": firing, "pending": pending,
        "recent": recent, "sinks": alerts.sinks,
    }))
}
