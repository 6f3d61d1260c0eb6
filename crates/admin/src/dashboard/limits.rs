//! Limits and quotas: what is refused, whom it meets, and who is close to it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::html::{Html, bytes, count, span};
use crate::Handles;
use crate::limits;

const HERE: &str = "/admin/status/limits";
/// Most quotas that are shown: those that are used up most.
const MOST: usize = 100;
/// From this share on a quota is nearly used up.
const NEARLY: f64 = 0.8;

pub(super) async fn page(State(handles): State<Arc<Handles>>) -> Response {
    let axum::Json(stats) = limits::stats(State(Arc::clone(&handles))).await;
    let mut html = Html::new();
    tiles(&mut html, &stats);
    let most = list(&stats, "refusedMost");
    let all = most.iter().map(|one| whole(one, "refused")).max().unwrap_or_default();
    html.raw("<section><h2>Refused most</h2>");
    html.head("Refused most", &["Key", "Limit", "#Refused", "Beside the first"]);
    for one in most {
        let refused = whole(one, "refused");
        html.raw("<tr><td><code>").text(&word(one, "key")).raw("</code></td>");
        html.cell(&word(one, "limit")).number(&count(refused));
        html.bar("warn", refused as f64 / all.max(1) as f64).raw("</tr>");
    }
    html.tail(most.len(), "Nobody has been refused.");
    html.raw("</section><section><h2>Limits</h2>");
    let rows = list(&stats, "limits");
    html.head("Limits", &["Limit", "Policy", "Written at", "#Refused"]);
    for one in rows {
        let dry = one.get("dryRun") == Some(&Value::Bool(true));
        html.raw("<tr>").cell(&word(one, "limit"));
        html.cell(&format!("{}{}", word(one, "policy"), if dry { " (dry run)" } else { "" }));
        html.raw("<td><code>").text(&word(one, "place")).raw("</code></td>");
        html.number(&count(whole(one, "refused"))).raw("</tr>");
    }
    html.tail(rows.len(), "No route has a limit.");
    html.raw("</section><section><h2>Quotas</h2>");
    show_quotas(&mut html, &limits::all_quotas(&handles));
    html.raw("</section>");
    super::page(&handles, HERE, "Limits", true, html)
}

fn tiles(html: &mut Html, stats: &Value) {
    let Some(table) = stats.get("table").filter(|table| !table.is_null()) else { return };
    let number = |key: &str| whole(table, key);
    let evicted = number("evicted");
    html.raw("<section class=tiles aria-label=\"Keys in memory\">");
    html.tile("", &count(number("keys")), &format!("keys, of {}", count(number("maxKeys"))));
    html.tile("", &bytes(number("bytes")), &format!("of {}", bytes(number("maxBytes"))));
    let class = if evicted > 0 { "bad" } else { "" };
    html.tile(class, &count(evicted), "forgotten for want of room");
    let refused = list(stats, "limits").iter().map(|one| whole(one, "refused")).sum();
    html.tile("", &count(refused), "refused since the start");
    html.raw("</section>");
}

/// Those first that are nearly used up.
fn show_quotas(html: &mut Html, quotas: &[Value]) {
    let used = |one: &Value| whole(one, "used") as f64 / whole(one, "of").max(1) as f64;
    let mut all: Vec<&Value> = quotas.iter().collect();
    all.sort_by(|a, b| used(b).total_cmp(&used(a)));
    html.head("Quotas", &["Key", "Quota", "#Used", "#Of", "Used up", "#Anew in"]);
    for one in all.iter().take(MOST) {
        html.raw("<tr><td><code>").text(&word(one, "key")).raw("</code></td>");
        html.cell(&word(one, "limit")).number(&count(whole(one, "used")));
        html.number(&count(whole(one, "of")));
        html.bar(if used(one) >= NEARLY { "warn" } else { "part" }, used(one));
        html.number(&span(whole(one, "resetsInSeconds"))).raw("</tr>");
    }
    html.tail(all.len(), "No quota has been used.");
    if all.len() > MOST {
        let more = count((all.len() - MOST) as u64);
        html.raw("<p class=none>").text(&format!("{more} more are used less."));
        html.raw("</p>");
    }
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
