//! The first page: what is wrong, then what goes on.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::Response;
use lockgate_telemetry::Totals;
use lockgate_upstream::{Phase, UpstreamView};

use super::chart;
use super::html::{Html, count, ms, span};
use crate::Handles;
use crate::history::Sample;
use crate::services::views;

/// A certificate is a problem from so many days before its end.
const EXPIRES_SOON: i64 = 14 * 86_400;
/// A share of errors that is one.
const MANY_ERRORS: f64 = 0.05;

fn content(handles: &Handles) -> Html {
    let (totals, upstreams) = (handles.shared.metrics.snapshot(), views(handles));
    let samples = handles.history.samples();
    let last = samples.last().copied().unwrap_or_default();
    let mut html = Html::new();
    problems(&mut html, &found(handles, &totals, &upstreams, &last));
    tiles(&mut html, handles, &totals, &last);
    html.raw("<section class=charts aria-label=\"The last hour\">");
    let line = |pick: fn(&Sample) -> f64| samples.iter().map(pick).collect::<Vec<_>>();
    chart::line(&mut html, "Requests", "/s", "requests", &line(|one| one.requests));
    chart::line(&mut html, "Errors", "/s", "errors", &line(|one| one.errors));
    chart::line(&mut html, "Latency p99", "ms", "latency", &line(|one| one.p99_ms));
    chart::line(&mut html, "In flight", "", "flight", &line(|one| one.in_flight as f64));
    html.raw("</section><h2>Workers</h2>");
    html.head("Workers", &["Worker", "#Requests", "#In flight", "#Connections"]);
    for one in &totals.workers {
        html.raw("<tr>").cell(&one.worker.to_string()).number(&count(one.requests));
        html.number(&count(one.in_flight)).number(&count(one.connections)).raw("</tr>");
    }
    html.tail(totals.workers.len(), "No workers.");
    html
}

pub(super) async fn page(State(handles): State<Arc<Handles>>) -> Response {
    let content = content(&handles);
    super::page(&handles, "/admin/status", "Overview", true, content)
}

/// What somebody should look at, in words.
fn found(
    handles: &Handles,
    totals: &Totals,
    upstreams: &[UpstreamView],
    last: &Sample,
) -> Vec<String> {
    let mut found = Vec::new();
    if (handles.draining)() {
        found.push("This gateway drains: it takes no new connections.".to_owned());
    }
    if !totals.config_taken {
        found.push(
            "The last configuration was refused; the one before is in force. \
                    The gateway's log says what is wrong."
                .to_owned(),
        );
    }
    for upstream in upstreams {
        let name = &upstream.name;
        let all = upstream.endpoints.len();
        if all > 0 && upstream.usable == 0 {
            found.push(format!("{name}: no endpoint takes requests."));
        } else if upstream.usable < all {
            let out = all - upstream.usable;
            found.push(format!("{name}: {out} of {all} endpoints are out."));
        }
        if upstream.breaker.as_ref().is_some_and(|breaker| breaker.phase != Phase::Closed) {
            found.push(format!("{name}: its circuit breaker is not closed."));
        }
    }
    if last.requests > 0.0 && last.errors / last.requests > MANY_ERRORS {
        let share = 100.0 * last.errors / last.requests;
        found.push(format!("{share:.0} % of answers are errors (500 and above)."));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    for one in (handles.certificates)() {
        let name = one.names.first().map_or("(no name)", String::as_str);
        if one.not_after < now {
            found.push(format!("The certificate of {name} has expired."));
        } else if one.not_after - now < EXPIRES_SOON {
            let days = (one.not_after - now) / 86_400;
            found.push(format!("The certificate of {name} expires in {days} days."));
        }
    }
    if totals.panics > 0 {
        found.push(format!("{} requests ended in a bug of the gateway.", totals.panics));
    }
    found
}

fn problems(html: &mut Html, found: &[String]) {
    if found.is_empty() {
        html.raw("<section class=\"problems well\"><b class=good>All is well.</b></section>");
        return;
    }
    html.raw("<section class=problems role=status><b class=bad>To look at</b><ul>");
    for one in found {
        html.raw("<li>").text(one).raw("</li>");
    }
    html.raw("</ul></section>");
}

fn tiles(html: &mut Html, handles: &Handles, totals: &Totals, last: &Sample) {
    let snapshot = handles.shared.snapshot();
    let age = SystemTime::now().duration_since(snapshot.loaded).unwrap_or_default().as_secs();
    let errors = if last.requests > 0.0 { 100.0 * last.errors / last.requests } else { 0.0 };
    html.raw("<section class=tiles aria-label=Now>");
    for (value, name) in [
        (format!("{:.1}", last.requests), "requests a second".to_owned()),
        (format!("{errors:.2} %"), "errors".to_owned()),
        (ms(last.p50_ms), "p50".to_owned()),
        (ms(last.p99_ms), "p99".to_owned()),
        (count(totals.in_flight), "in flight".to_owned()),
        (count(totals.connections), "connections".to_owned()),
        (count(totals.requests), "requests since the start".to_owned()),
        (snapshot.generation.to_string(), format!("configuration, {} old", span(age))),
    ] {
        html.raw("<div class=tile><b>").text(&value).raw("</b><span>").text(&name);
        html.raw("</span></div>");
    }
    html.raw("</section>");
}
