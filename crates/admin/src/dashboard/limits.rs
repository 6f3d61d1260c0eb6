//! Limits and quotas: what is refused, and whom it meets.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::html::{Html, bytes, count};
use crate::Handles;
use crate::limits;

const HERE: &str = "/admin/status/limits";

pub(super) async fn page(State(handles): State<Arc<Handles>>) -> Response {
    let axum::Json(stats) = limits::stats(State(Arc::clone(&handles))).await;
    let axum::Json(quotas) = limits::quotas(State(Arc::clone(&handles))).await;
    let mut html = Html::new();
    if let Some(table) = stats.get("table").filter(|table| !table.is_null()) {
        let number = |key: &str| table.get(key).and_then(Value::as_u64).unwrap_or_default();
        html.raw("<p>").text(&format!(
            "{} of {} keys, {} of {}; {} forgotten for want of room.",
            count(number("keys")),
            count(number("max_keys")),
            bytes(number("bytes")),
            bytes(number("maxBytes")),
            count(number("evicted"))
        ));
        html.raw("</p>");
    }
    html.raw("<h2>Limits</h2>");
    let rows = list(&stats, "limits");
    html.head("Limits", &["Limit", "Policy", "Where", "#Refused"]);
    for one in rows {
        let dry = one.get("dryRun") == Some(&Value::Bool(true));
        html.raw("<tr>").cell(&word(one, "limit"));
        html.cell(&format!("{}{}", word(one, "policy"), if dry { " (dry run)" } else { "" }));
        html.cell(&word(one, "place")).number(&count(whole(one, "refused"))).raw("</tr>");
    }
    html.tail(rows.len(), "No limit has refused anything.");
    html.raw("<h2>Refused most</h2>").head("Refused most", &["Limit", "Key", "#Refused"]);
    let rows = list(&stats, "refusedMost");
    for one in rows {
        html.raw("<tr>").cell(&word(one, "limit")).cell(&word(one, "key"));
        html.number(&count(whole(one, "refused"))).raw("</tr>");
    }
    html.tail(rows.len(), "Nobody has been refused.");
    html.raw("<h2>Quotas</h2>").head("Quotas", &["Quota", "Key", "#Used", "#Of"]);
    let rows = quotas.as_array().map(Vec::as_slice).unwrap_or_default();
    for one in rows.iter().take(100) {
        html.raw("<tr>").cell(&word(one, "limit")).cell(&word(one, "key"));
        html.number(&count(whole(one, "used"))).number(&count(whole(one, "of"))).raw("</tr>");
    }
    html.tail(rows.len(), "No quota has been used.");
    super::page(&handles, HERE, "Limits", true, html)
}

fn list<'v>(of: &'v Value, key: &str) -> &'v [Value] {
    of.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn word(of: &Value, key: &str) -> String {
    of.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn whole(of: &Value, key: &str) -> u64 {
    of.get(key).and_then(Value::as_u64).unwrap_or_default()
}
