//! Upstreams and their endpoints: who is out and why; and an operator's word on them.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use lockgate_upstream::{EndpointView, Override, Phase, UpstreamView};
use serde::Deserialize;

use super::html::{Html, count, encoded, ms, per_second, span};
use crate::Handles;
use crate::audit::Who;
use crate::health::order_all;
use crate::rates::Rate;
use crate::services::{check_all, views};

const HERE: &str = "/admin/status/upstreams";

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct View {
    /// Some text of an upstream's or endpoint's name.
    filter: String,
    /// What a form has just done: a word of [`said`].
    done: String,
}

pub(super) async fn page(
    State(handles): State<Arc<Handles>>,
    Query(view): Query<View>,
) -> Response {
    let (mut upstreams, now) = (views(&handles), handles.history.now());
    // What is not well comes first.
    upstreams.sort_by_key(|one| one.usable > 0 && one.usable == one.endpoints.len());
    let mut html = Html::new();
    if let Some((class, text)) = said(&view.done) {
        html.notice(class, text);
    }
    form(&mut html, &view);
    let filter = view.filter.trim();
    let fits = |one: &&UpstreamView| {
        one.name.contains(filter) || one.endpoints.iter().any(|one| one.address.contains(filter))
    };
    let mut shown = 0;
    for upstream in upstreams.iter().filter(fits) {
        show(&mut html, upstream, now.upstreams.get(&upstream.name));
        shown += 1;
    }
    if upstreams.is_empty() {
        html.raw("<p class=none>No route goes to an upstream.</p>");
    } else if shown == 0 {
        html.raw("<p class=none>No upstream or endpoint has this in its name.</p>");
    }
    super::page(&handles, HERE, "Upstreams", true, html)
}

fn form(html: &mut Html, view: &View) {
    html.raw("<div class=row><form class=row action=/admin/status/upstreams role=search><div>");
    html.raw("<label for=filter>Upstream or address</label>");
    html.raw("<input id=filter name=filter type=search value=\"").text(&view.filter);
    html.raw("\"></div><button>Search</button></form>");
    html.raw("<form class=row method=post action=/admin/status/upstreams/probe>");
    html.raw("<button>Probe all now</button></form></div>");
}

/// What came of a form, by the word that it leads here with.
fn said(word: &str) -> Option<(&'static str, &'static str)> {
    Some(match word {
        "drain" => ("good", "It is drained: it gets no new requests."),
        "down" => ("good", "It is taken out: it gets no new requests."),
        "up" => ("good", "It is held in: it gets requests whatever its health checks say."),
        "clear" => ("good", "It is cleared: its health checks decide again."),
        "probed" => ("good", "All endpoints that have health checks have been probed."),
        "gone" => ("bad", "Nothing was done: there is no such endpoint any more."),
        _ => return None,
    })
}

fn show(html: &mut Html, upstream: &UpstreamView, rate: Option<&Rate>) {
    let rate = rate.copied().unwrap_or_default();
    html.raw("<section><h2 id=\"").text(&upstream.name).raw("\">").text(&upstream.name);
    html.raw("</h2><p>");
    let all = upstream.endpoints.len();
    let class = match upstream.usable {
        0 => "bad",
        usable if usable == all => "good",
        _ => "warn",
    };
    html.raw(&format!("<b class={class}>{} of {all} take requests</b>", upstream.usable));
    html.text(&format!(" · {} requests a second", per_second(rate.requests)));
    if rate.p99_ms > 0.0 {
        html.text(&format!(", p50 {}, p99 {}", ms(rate.p50_ms), ms(rate.p99_ms)));
    }
    html.text(&format!(" · retries in ten seconds: {}", count(upstream.retries)));
    if let Some(breaker) = &upstream.breaker {
        let (class, word) = match breaker.phase {
            Phase::Closed => ("good", "closed"),
            Phase::Open => ("bad", "open: requests are refused"),
            Phase::HalfOpen => ("warn", "half open: trying"),
        };
        html.raw(&format!(" · breaker <b class={class}>{word}</b>"));
        match breaker.opened {
            0 => {}
            1 => drop(html.text(", opened once")),
            more => drop(html.text(&format!(", opened {} times", count(more)))),
        }
    }
    html.raw("</p>");
    let cells = [
        "Endpoint",
        "State",
        "By hand",
        "#In flight",
        "#Connections",
        "#Latency",
        "#Probe",
        "#Ejected",
        "#Weight",
    ];
    html.head(&upstream.name, &cells);
    for one in &upstream.endpoints {
        row(html, one);
    }
    html.tail(all, "It has no endpoints: nothing was discovered, or none is configured.");
    html.raw("</section>");
}

fn row(html: &mut Html, one: &EndpointView) {
    html.raw("<tr><td>").text(&one.name);
    if one.name != one.address {
        html.raw("<br><small>").text(&one.address).raw("</small>");
    }
    if let Some(zone) = &one.zone {
        html.raw("<br><small>zone ").text(zone).raw("</small>");
    }
    html.raw("</td><td class=why>");
    match (&one.reason, one.ordered) {
        (None, Override::Up) => html.raw("<b class=warn>up</b>, held in by an operator"),
        (None, _) => html.raw("<b class=good>up</b>"),
        (Some(why), _) => html.raw("<b class=bad>out</b>: ").text(why),
    };
    if let Some(left) = one.ejected_for_ms {
        html.text(&format!(", for {} more", span(left / 1000)));
    }
    let told = |error: &&str| one.reason.as_ref().is_some_and(|why| why.contains(*error));
    let error = one.last_error.as_deref().filter(|error| !told(error));
    if let Some(error) = error.filter(|_| one.consecutive_failures > 0) {
        html.raw("<br><small>").text(error).raw("</small>");
    }
    if one.consecutive_request_failures > 0 {
        let failed = one.consecutive_request_failures;
        html.raw(&format!("<br><small>{failed} requests failed in a row</small>"));
    }
    html.raw("</td><td class=acts>");
    acts(html, one);
    html.raw("</td>").number(&count(one.in_flight.into())).number(&count(one.connections.into()));
    html.number(&one.latency_ms.map_or("–".to_owned(), ms));
    html.number(&one.response_time_ms.map_or("–".to_owned(), ms));
    html.number(&count(one.ejections)).number(&one.weight.to_string()).raw("</tr>");
}

/// What can be said of it by hand.
fn acts(html: &mut Html, one: &EndpointView) {
    let words: &[&str] = match one.ordered {
        Override::None => &["drain", "down", "up"],
        _ => &["clear"],
    };
    for word in words {
        let query = format!("service={}&amp;word={word}", encoded(&one.address));
        html.raw(&format!("<a class=button href=\"{HERE}/confirm?{query}\" aria-label=\""));
        html.text(&format!("{} {}", name(word), one.address)).raw("\">");
        html.raw(name(word)).raw("</a> ");
    }
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
    html.raw("<code>").text(&wanted.service).raw("</code>? ").text(what).raw("</p>");
    if matches!(wanted.word.as_str(), "drain" | "down") {
        left(&mut html, &views(&handles), &wanted.service);
    }
    html.raw("<form class=row method=post action=/admin/status/upstreams>");
    html.raw("<input type=hidden name=service value=\"").text(&wanted.service).raw("\">");
    html.raw("<input type=hidden name=word value=\"").text(&wanted.word).raw("\">");
    html.raw("<button id=confirm class=do>").text(name(&wanted.word)).raw("</button> ");
    html.raw("<a class=button href=/admin/status/upstreams>No</a></form>");
    html.raw(
        "<p><small>It holds until it is cleared, and over a restart where \
         <code>admin.state_dir</code> is set.</small></p></section>",
    );
    super::page(&handles, HERE, "Are you sure?", false, html)
}

/// What would be left of the upstreams that have this endpoint.
fn left(html: &mut Html, upstreams: &[UpstreamView], service: &str) {
    for upstream in upstreams {
        // An upstream's name stands for all of its endpoints.
        let whole = upstream.name == service;
        let is = |one: &EndpointView| whole || one.address == service || one.name == service;
        if !upstream.endpoints.iter().any(is) {
            continue;
        }
        let others = upstream.endpoints.iter().filter(|one| one.usable && !is(one)).count();
        if others == 0 {
            html.raw("<p class=bad role=alert><b>").text(&upstream.name);
            html.raw("</b> has no other endpoint that takes requests: it will answer 503.</p>");
        } else {
            html.raw("<p><b>").text(&upstream.name).raw("</b> keeps ");
            html.text(&format!("{others} of {}.", upstream.endpoints.len())).raw("</p>");
        }
    }
}

pub(super) async fn order(
    State(handles): State<Arc<Handles>>,
    Extension(who): Extension<Who>,
    Form(wanted): Form<Wanted>,
) -> Response {
    let order = match wanted.word.as_str() {
        "drain" => Override::Drain,
        "down" => Override::Down,
        "up" => Override::Up,
        "clear" => Override::None,
        _ => return Redirect::to(HERE).into_response(),
    };
    let done = match order_all(&handles, &who, &wanted.service, order).await {
        Ok(done) if done.changed == 0 => "gone",
        Ok(_) => &wanted.word,
        Err(refused) => return refused.into_response(),
    };
    Redirect::to(&format!("{HERE}?done={done}")).into_response()
}

/// Probes everything that has health checks, and waits for what is found.
pub(super) async fn probe(State(handles): State<Arc<Handles>>) -> Response {
    check_all(&handles, None).await;
    Redirect::to(&format!("{HERE}?done=probed")).into_response()
}
