//! Upstreams and their endpoints: who is out and why; and an operator's word on them.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use lockgate_upstream::{EndpointView, Override, Phase, UpstreamView};
use serde::Deserialize;

use super::html::{Html, count, encoded, ms, span};
use crate::Handles;
use crate::health::order_all;
use crate::services::views;

const HERE: &str = "/admin/status/upstreams";

pub(super) async fn page(State(handles): State<Arc<Handles>>) -> Response {
    let mut html = Html::new();
    let upstreams = views(&handles);
    for upstream in &upstreams {
        show(&mut html, upstream);
    }
    if upstreams.is_empty() {
        html.raw("<p class=none>No route goes to an upstream.</p>");
    }
    super::page(&handles, HERE, "Upstreams", true, html)
}

fn show(html: &mut Html, upstream: &UpstreamView) {
    html.raw("<h2>").text(&upstream.name).raw("</h2><p>");
    let all = upstream.endpoints.len();
    let class = if upstream.usable == all { "good" } else { "bad" };
    html.raw(&format!("<span class={class}>{} of {all} take requests</span>", upstream.usable));
    html.text(&format!(
        " · {} requests and {} retries in ten seconds",
        upstream.requests, upstream.retries
    ));
    if let Some(breaker) = &upstream.breaker {
        let (class, word) = match breaker.phase {
            Phase::Closed => ("good", "closed"),
            Phase::Open => ("bad", "open: requests are refused"),
            Phase::HalfOpen => ("warn", "half open: trying"),
        };
        html.raw(&format!(" · breaker <span class={class}>{word}</span>"));
        html.text(&format!(", opened {} times", breaker.opened));
    }
    html.raw("</p>");
    let cells = ["Endpoint", "State", "#In flight", "#Latency", "#Probe", "#Weight", "By hand"];
    html.head(&upstream.name, &cells);
    for one in &upstream.endpoints {
        row(html, one);
    }
    html.tail(all, "It has no endpoints: nothing was discovered, or none is configured.");
}

fn row(html: &mut Html, one: &EndpointView) {
    html.raw("<tr><td>").text(&one.name);
    if one.name != one.address {
        html.raw("<br><small>").text(&one.address).raw("</small>");
    }
    html.raw("</td><td>");
    match &one.reason {
        None => html.raw("<span class=good>up</span>"),
        Some(why) => html.raw("<span class=bad>out</span>: ").text(why),
    };
    if let Some(left) = one.ejected_for_ms {
        html.text(&format!(", for {} more", span(left / 1000)));
    }
    if let Some(error) = one.last_error.as_deref().filter(|_| one.consecutive_failures > 0) {
        html.raw("<br><small>").text(error).raw("</small>");
    }
    html.raw("</td>").number(&count(one.in_flight.into()));
    html.number(&one.latency_ms.map_or("–".to_owned(), ms));
    html.number(&one.response_time_ms.map_or("–".to_owned(), ms));
    html.number(&one.weight.to_string()).raw("<td class=acts>");
    let words: &[&str] = match one.ordered {
        Override::None => &["drain", "down", "up"],
        _ => &["clear"],
    };
    for word in words {
        let query = format!("service={}&word={word}", encoded(&one.address));
        html.raw(&format!("<a class=button href=\"{HERE}/confirm?{query}\">{}</a> ", name(word)));
    }
    html.raw("</td></tr>");
}

fn name(word: &str) -> &'static str {
    match word {
        "drain" => "Drain",
        "down" => "Take out",
        "up" => "Hold in",
        _ => "Clear",
    }
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    service: String,
    word: String,
}

/// What it would do, and a button.
pub(super) async fn confirm(
    State(handles): State<Arc<Handles>>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let what = match wanted.word.as_str() {
        "drain" => "It gets no new requests; those under way end.",
        "down" => "It gets no new requests, as if it were dead.",
        "up" => "It gets requests whatever its health checks say.",
        _ => "Its health checks decide again.",
    };
    let mut html = Html::new();
    html.raw("<section class=panel><p><b>").text(name(&wanted.word)).raw("</b> ");
    html.raw("<code>").text(&wanted.service).raw("</code>? ").text(what);
    html.raw("</p><form class=row method=post action=/admin/status/upstreams>");
    html.raw("<input type=hidden name=service value=\"").text(&wanted.service).raw("\">");
    html.raw("<input type=hidden name=word value=\"").text(&wanted.word).raw("\">");
    html.raw("<button id=confirm class=do>").text(name(&wanted.word)).raw("</button> ");
    html.raw("<a class=button href=/admin/status/upstreams>No</a></form>");
    html.raw("<p><small>It holds until it is cleared, or the gateway ends.</small></p></section>");
    super::page(&handles, HERE, "Are you sure?", false, html)
}

pub(super) async fn order(
    State(handles): State<Arc<Handles>>,
    Form(wanted): Form<Wanted>,
) -> Response {
    let order = match wanted.word.as_str() {
        "drain" => Override::Drain,
        "down" => Override::Down,
        "up" => Override::Up,
        "clear" => Override::None,
        _ => return Redirect::to(HERE).into_response(),
    };
    order_all(&handles, &wanted.service, order);
    Redirect::to(HERE).into_response()
}
