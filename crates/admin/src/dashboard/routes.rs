//! Routes: what each has answered, and what is configured for one of them.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use lockgate_telemetry::RouteTotals;
use serde::Deserialize;
use serde_json::Value;

use super::html::{Html, bytes, count, encoded, ms};
use crate::Handles;
use crate::config::read_config;
use crate::history::failed;

const HERE: &str = "/admin/status/routes";
/// Most rows of a page: a search finds the rest.
const MOST: usize = 500;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct View {
    filter: String,
    sort: String,
}

/// By which column, and how.
const SORTS: [(&str, &str); 5] = [
    ("route", "Route"),
    ("requests", "#Requests"),
    ("errors", "#Errors"),
    ("p99", "#p99"),
    ("sent", "#Sent"),
];

pub(super) async fn page(
    State(handles): State<Arc<Handles>>,
    Query(view): Query<View>,
) -> Response {
    let mut rows = handles.shared.metrics.snapshot().routes;
    rows.retain(|one| one.route.contains(&view.filter));
    sort(&mut rows, &view.sort);
    let mut html = Html::new();
    html.raw("<form class=row action=/admin/status/routes role=search><div>");
    html.raw("<label for=filter>Search</label><input id=filter name=filter type=search value=\"");
    html.text(&view.filter).raw("\"></div><input type=hidden name=sort value=\"");
    html.text(&view.sort).raw("\"><button>Search</button></form>");
    html.raw("<div class=wide><table><caption class=unseen>Routes</caption><thead><tr>");
    for (key, title) in SORTS {
        let (class, title) = match title.strip_prefix('#') {
            Some(title) => (" class=num", title),
            None => ("", title),
        };
        let sorted = if view.sort == key { " aria-sort=descending" } else { "" };
        html.raw(&format!("<th scope=col{class}{sorted}><a href=\"{HERE}?sort={key}&amp;filter="));
        html.raw(&encoded(&view.filter)).raw("\">").raw(title).raw("</a></th>");
    }
    html.raw("<th scope=col>Refused or failed</th></tr></thead><tbody>");
    for one in rows.iter().take(MOST) {
        row(&mut html, one);
    }
    html.tail(rows.len(), "No route of this name has had a request yet.");
    if rows.len() > MOST {
        html.raw("<p class=none>").text(&format!("{} more: search for them.", rows.len() - MOST));
        html.raw("</p>");
    }
    super::page(&handles, HERE, "Routes", true, html)
}

fn sort(rows: &mut [RouteTotals], by: &str) {
    match by {
        "route" => rows.sort_by(|a, b| a.route.cmp(&b.route)),
        "errors" => rows.sort_by_key(|one| Reverse(failed(&one.by_status))),
        "p99" => rows.sort_by(|a, b| b.latency.p99_ms.total_cmp(&a.latency.p99_ms)),
        "sent" => rows.sort_by_key(|one| Reverse(one.sent_bytes)),
        _ => rows.sort_by_key(|one| Reverse(one.requests)),
    }
}

fn row(html: &mut Html, one: &RouteTotals) {
    html.raw("<tr><td>");
    if one.route.is_empty() {
        html.raw("<i>no route</i>");
    } else {
        html.raw("<a href=\"/admin/status/route?pattern=")
            .raw(&encoded(&one.route))
            .raw("\"><code>");
        html.text(&one.route).raw("</code></a>");
    }
    let errors = failed(&one.by_status);
    html.raw("</td>").number(&count(one.requests));
    let class = if errors > 0 { "num bad" } else { "num" };
    html.raw(&format!("<td class=\"{class}\">")).text(&count(errors)).raw("</td>");
    html.number(&ms(one.latency.p99_ms)).number(&bytes(one.sent_bytes));
    let mut reasons: Vec<(&String, &u64)> = one.by_reason.iter().collect();
    reasons.sort_by_key(|(_, count)| Reverse(**count));
    let said =
        reasons.iter().take(3).map(|(reason, number)| format!("{reason} {}", count(**number)));
    html.cell(&said.collect::<Vec<_>>().join(", ")).raw("</tr>");
}

#[derive(Deserialize)]
pub(super) struct Which {
    pattern: String,
}

/// One route: its figures, its settings with what it inherits, and a question about it.
pub(super) async fn one(
    State(handles): State<Arc<Handles>>,
    Query(which): Query<Which>,
) -> Response {
    let mut html = Html::new();
    let rows = handles.shared.metrics.snapshot().routes;
    if let Some(one) = rows.iter().find(|one| one.route == which.pattern) {
        html.head("Answers", &["Status", "#Answers"]);
        for (status, number) in &one.by_status {
            html.raw("<tr>").cell(status).number(&count(*number)).raw("</tr>");
        }
        html.tail(one.by_status.len(), "No answers yet.");
        if !one.by_reason.is_empty() {
            html.raw("<h2>Refused or failed</h2>").head("Reasons", &["Reason", "#Requests"]);
            for (reason, number) in &one.by_reason {
                html.raw("<tr>").cell(reason).number(&count(*number)).raw("</tr>");
            }
            html.tail(1, "");
        }
    } else {
        html.raw("<p class=none>It has had no request yet.</p>");
    }
    html.raw("<h2>Explain a request</h2>");
    super::explain::form(&mut html, "GET", &example(&which.pattern), "");
    html.raw("<h2>Settings</h2>");
    match read_config(&handles).await {
        Ok(config) => {
            let settings = config.get("routes").and_then(|all| all.get(&which.pattern));
            let text =
                settings.map(pretty).unwrap_or_else(|| "It is not configured any more.".to_owned());
            html.raw("<pre>").text(&text).raw("</pre>");
        }
        Err(why) => {
            html.raw("<p class=bad>").text(&why).raw("</p>");
        }
    }
    super::page(&handles, HERE, &which.pattern, false, html)
}

/// A URL that a pattern might take.
fn example(pattern: &str) -> String {
    let target = pattern.rsplit(' ').next().unwrap_or(pattern);
    let target = target.replace("/**", "/1").replace('*', "1");
    let target: String = target.chars().filter(|one| !matches!(one, '{' | '}')).collect();
    if target.starts_with('/') {
        format!("http://localhost{target}")
    } else {
        format!("http://{target}")
    }
}

pub(super) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
