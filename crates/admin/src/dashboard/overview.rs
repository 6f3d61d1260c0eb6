//! The first page: what is wrong, then what goes on.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use lockgate_telemetry::{FailureKind, Totals};
use lockgate_upstream::UpstreamView;

use super::chart::{self, Line, Unit};
use super::html::{Html, count, ms, per_second, percent, since, span};
use super::{errors, problems, routes};
use crate::Handles;
use crate::history::{EVERY, Sample};
use crate::rates::{Now, Rate};
use crate::services::views;

/// Routes and failures that are shown here; their own pages have the rest.
const FEW: usize = 5;

pub(super) async fn page(State(handles): State<Arc<Handles>>) -> Response {
    let content = content(&handles);
    super::page(&handles, "/admin/status", "Overview", true, content)
}

fn content(handles: &Handles) -> Html {
    let (totals, upstreams) = (handles.shared.metrics.snapshot(), views(handles));
    let (samples, now) = (handles.history.samples(), handles.history.now());
    let last = samples.last().copied().unwrap_or_default();
    let mut html = Html::new();
    problems::show(&mut html, &problems::found(handles, &upstreams));
    tiles(&mut html, handles, &totals, &last);
    charts(&mut html, &samples);
    html.raw("<div class=\"halves four\"><section><h2>Busiest routes</h2>");
    busiest(&mut html, &now);
    html.raw("</section><section><h2>Last failures</h2>");
    let failed = handles.shared.failures.list(FailureKind::Failed);
    errors::table(&mut html, "Last failures", failed.iter().take(FEW), false);
    if failed.is_empty() {
        html.raw("<p class=none>Nothing has failed.</p>");
    }
    html.raw("</section><section><h2>Upstreams</h2>");
    summary(&mut html, &upstreams, &now);
    html.raw("</section><section><h2>Workers</h2>");
    workers(&mut html, &totals, &now);
    html.raw("</section></div>");
    html
}

fn tiles(html: &mut Html, handles: &Handles, totals: &Totals, last: &Sample) {
    let snapshot = handles.shared.snapshot();
    let age = span(since(snapshot.loaded));
    let (config, class) = match handles.shared.metrics.config_refused() {
        None => (format!("configuration in force, read {age} ago"), ""),
        Some(_) => (format!("configuration in force, {age} old: a newer one was refused"), "bad"),
    };
    let class_of = |share: f64, class| if share > 0.01 { class } else { "" };
    let part = |of: f64| if last.requests > 0.0 { of / last.requests } else { 0.0 };
    html.raw("<section class=tiles aria-label=Now>");
    html.tile("", &per_second(last.requests), "requests a second");
    let errors = percent(last.errors, last.requests);
    html.tile(class_of(part(last.errors), "bad"), &errors, "errors: 500 and above");
    let refused = percent(last.refused, last.requests);
    html.tile(class_of(part(last.refused), "warn"), &refused, "refusals: 400 to 499");
    html.tile("", &ms(last.p50_ms), "p50: half were faster");
    html.tile("", &ms(last.p99_ms), "p99: of 100, 99 were faster");
    let connections = count(totals.connections);
    html.tile("", &count(totals.in_flight), &format!("in flight; connections: {connections}"));
    html.tile("", &count(totals.requests), "requests since the start");
    html.tile(class, &snapshot.generation.to_string(), &config);
    html.raw("</section>");
}

fn charts(html: &mut Html, samples: &[Sample]) {
    let line = |name, class, pick: fn(&Sample) -> f64| {
        let values = samples.iter().map(pick).collect();
        Line { name, class, values }
    };
    let every = usize::try_from(EVERY.as_secs()).unwrap_or(1);
    html.raw("<section class=charts aria-label=\"The last hour\">");
    chart::draw(
        html,
        "Requests",
        Unit::PerSecond,
        every,
        &[line("", "requests", |one| one.requests)],
    );
    chart::draw(
        html,
        "Not served",
        Unit::PerSecond,
        every,
        &[line("5xx", "errors", |one| one.errors), line("4xx", "refused", |one| one.refused)],
    );
    chart::draw(
        html,
        "Latency",
        Unit::Milliseconds,
        every,
        &[line("p99", "p99", |one| one.p99_ms), line("p50", "p50", |one| one.p50_ms)],
    );
    chart::draw(
        html,
        "In flight",
        Unit::Count,
        every,
        &[line("", "flight", |one| one.in_flight as f64)],
    );
    html.raw("</section>");
}

fn busiest(html: &mut Html, now: &Now) {
    let mut all: Vec<(&String, &Rate)> = now.routes.iter().collect();
    all.sort_by(|a, b| b.1.requests.total_cmp(&a.1.requests).then(a.0.cmp(b.0)));
    html.head("Busiest routes", &["Route", "#Requests/s", "#4xx", "#5xx", "#p99"]);
    for (route, rate) in all.iter().take(FEW) {
        html.raw("<tr><td class=route>");
        routes::link(html, route);
        html.raw("</td>").number(&per_second(rate.requests));
        share(html, "warn", rate.refused, rate.requests);
        share(html, "bad", rate.errors, rate.requests);
        html.number(&ms(rate.p99_ms)).raw("</tr>");
    }
    html.tail(all.len(), "No request in the last seconds.");
}

/// A cell of a share, which stands out when there is any.
pub(super) fn share(html: &mut Html, class: &str, part: f64, whole: f64) {
    let class = if part > 0.0 { class } else { "" };
    html.raw(&format!("<td class=\"num {class}\">")).text(&percent(part, whole)).raw("</td>");
}

/// The worst first.
fn summary(html: &mut Html, upstreams: &[UpstreamView], now: &Now) {
    let mut all: Vec<&UpstreamView> = upstreams.iter().collect();
    all.sort_by_key(|one| Reverse(one.endpoints.len() - one.usable));
    html.head("Upstreams", &["Upstream", "Endpoints up", "#In flight", "#Requests/s", "#p99"]);
    for one in &all {
        let rate = now.upstreams.get(&one.name).copied().unwrap_or_default();
        let class = match one.endpoints.len() - one.usable {
            0 if one.usable > 0 => "good",
            _ if one.usable > 0 => "warn",
            _ => "bad",
        };
        html.raw("<tr><td><a href=\"/admin/status/upstreams#").text(&one.name).raw("\">");
        html.text(&one.name).raw(&format!("</a></td><td class={class}>"));
        html.text(&format!("{} of {}", one.usable, one.endpoints.len())).raw("</td>");
        let in_flight: u64 = one.endpoints.iter().map(|one| u64::from(one.in_flight)).sum();
        html.number(&count(in_flight)).number(&per_second(rate.requests));
        html.number(&ms(rate.p99_ms)).raw("</tr>");
    }
    html.tail(all.len(), "No route goes to an upstream.");
}

fn workers(html: &mut Html, totals: &Totals, now: &Now) {
    let all: f64 = now.workers.iter().sum();
    let cells = ["Worker", "#Requests/s", "Share", "#In flight", "#Connections"];
    html.head("Workers", &cells);
    for (place, one) in totals.workers.iter().enumerate() {
        let rate = now.workers.get(place).copied().unwrap_or_default();
        html.raw("<tr>").cell(&one.worker.to_string()).number(&per_second(rate));
        html.bar("part", if all > 0.0 { rate / all } else { 0.0 });
        html.number(&count(one.in_flight)).number(&count(one.connections)).raw("</tr>");
    }
    html.tail(totals.workers.len(), "No workers.");
}
