//! What would become of a request.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use lockgate_proxy::{Asked, Explanation};
use serde::Deserialize;

use super::html::Html;
use crate::Handles;
use crate::aside::aside;

const HERE: &str = "/admin/status/explain";

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Question {
    method: String,
    url: String,
    headers: String,
}

pub(super) async fn page(
    State(handles): State<Arc<Handles>>,
    Query(question): Query<Question>,
) -> Response {
    let mut html = Html::new();
    let method = if question.method.is_empty() { "GET" } else { &question.method };
    form(&mut html, method, &question.url, &question.headers);
    if !question.url.is_empty() {
        let lines = question.headers.lines().map(str::trim).filter(|line| !line.is_empty());
        let headers: Vec<String> = lines.map(str::to_owned).collect();
        match Asked::new(method, &question.url, &headers) {
            Ok(asked) => {
                let explain = Arc::clone(&handles.explain);
                aside(move || explain(&asked)).await.map(|told| show(&mut html, &told))
            }
            Err(why) => Err(why),
        }
        .unwrap_or_else(|why| {
            html.raw("<p class=bad role=alert>").text(&why).raw("</p>");
        });
    }
    super::page(&handles, HERE, "Explain", false, html)
}

pub(super) fn form(html: &mut Html, method: &str, url: &str, headers: &str) {
    html.raw("<form action=/admin/status/explain class=panel><div class=row><div>");
    html.raw("<label for=method>Method</label><input id=method name=method size=8 value=\"");
    html.text(method).raw("\"></div><div class=grow><label for=url>URL</label>");
    html.raw("<input id=url name=url placeholder=\"http://shop.example/orders/7\" value=\"");
    html.text(url).raw("\"></div></div><label for=headers>Headers, one a line</label>");
    html.raw("<textarea id=headers name=headers placeholder=\"Accept: application/json\">");
    html.text(headers).raw("</textarea><p><button class=do>Explain</button></p></form>");
}

fn show(html: &mut Html, told: &Explanation) {
    html.raw("<h2>Request</h2><p class=request><code>").text(&told.request).raw("</code></p>");
    if let Some(answer) = &told.answer {
        html.raw("<p class=\"notice warn\">The gateway itself answers: <b>").text(answer);
        html.raw("</b></p>");
    }
    html.raw("<h2>Routes looked at</h2>").head("Routes", &["Route", "Where", "Verdict"]);
    for one in &told.candidates {
        let class = if one.matched { "good" } else { "" };
        html.raw("<tr><td><code>").text(&one.pattern).raw("</code></td>");
        html.cell(one.place.as_deref().unwrap_or_default());
        html.raw(&format!("<td class=\"{class}\">")).text(&one.verdict).raw("</td></tr>");
    }
    html.tail(told.candidates.len(), "None.");
    html.raw("<h2>Policies, in their order</h2>")
        .head("Policies", &["Stage", "Policy", "Says", "From"]);
    for one in &told.policies {
        html.raw("<tr>").cell(&one.stage).cell(&one.name).cell(&one.values);
        html.cell(one.place.as_deref().unwrap_or_default()).raw("</tr>");
    }
    html.tail(told.policies.len(), "None.");
    let then: Vec<&String> =
        told.rewrite.iter().chain(&told.target).chain(&told.endpoints).collect();
    if !then.is_empty() {
        html.raw("<h2>Then</h2><ul>");
        for line in then {
            html.raw("<li>").text(line).raw("</li>");
        }
        html.raw("</ul>");
    }
}
