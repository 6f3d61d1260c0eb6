//! One route: what it does now and did within the hour, what holds for it and where that is
//! written, and a question about a request to it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use lockgate_proxy::Explanation;
use lockgate_telemetry::{PolicyTotals, RouteTotals};
use serde::Deserialize;
use serde_json::Value;

use super::chart::{self, Line, Unit};
use super::html::{Html, bytes, count, encoded, ms, per_second, percent};
use crate::Handles;
use crate::aside::aside;
use crate::config::read_config;
use crate::history::EVERY;
use crate::rates::{EACH, Point};

const HERE: &str = "/admin/status/routes";

#[derive(Deserialize)]
pub(super) struct Which {
    pattern: String,
    /// Show the settings too.
    #[serde(default)]
    settings: bool,
}

pub(super) async fn page(
    State(handles): State<Arc<Handles>>,
    Query(which): Query<Which>,
) -> Response {
    let pattern = which.pattern.as_str();
    let (explain, asked) = (Arc::clone(&handles.explain_pattern), which.pattern.clone());
    let told = aside(move || explain(&asked)).await.unwrap_or_default();
    let rows = handles.shared.metrics.snapshot().routes;
    let row = rows.iter().find(|one| one.route == pattern);
    let mut html = Html::new();
    if told.is_empty() {
        html.notice("warn", "It is not configured any more, or never was.");
    }
    now(&mut html, &handles, pattern, row);
    html.raw("<section><h2>Explain a request</h2>");
    let (method, url) = example(pattern);
    super::explain::form(&mut html, method, &url, "");
    html.raw("</section>");
    let counted = handles.shared.metrics.policies(|_, route| route == pattern);
    for (place, one) in told.iter().enumerate() {
        let title = match told.len() {
            1 => "What holds for it".to_owned(),
            all => format!("What holds for it: choice {} of {all}", place + 1),
        };
        html.raw("<section><h2>").text(&title).raw("</h2>");
        holds(&mut html, one, &counted);
        html.raw("</section>");
    }
    if let Some(row) = row {
        answers(&mut html, row);
    }
    settings(&mut html, &handles, &which).await;
    // With its settings it would cost a reading of the configuration each time.
    super::page(&handles, HERE, pattern, !which.settings, html)
}

async fn settings(html: &mut Html, handles: &Handles, which: &Which) {
    html.raw("<section id=settings><h2>Settings</h2>");
    if !which.settings {
        let pattern = encoded(&which.pattern);
        let to = format!("/admin/status/route?pattern={pattern}&settings=true#settings");
        html.raw("<p>").link(&to, "Show them with every default written out").raw("</p></section>");
        return;
    }
    match read_config(handles).await {
        Ok(config) => {
            let settings = config.get("routes").and_then(|all| all.get(&which.pattern));
            let text = settings.map_or_else(|| "It is not configured.".to_owned(), pretty);
            html.raw("<pre tabindex=0>").text(&text).raw("</pre>");
        }
        Err(why) => {
            html.notice("bad", &why);
        }
    }
    html.raw("</section>");
}

fn now(html: &mut Html, handles: &Handles, pattern: &str, row: Option<&RouteTotals>) {
    let rates = handles.history.now();
    let rate = rates.routes.get(pattern).copied().unwrap_or_default();
    html.raw("<section class=tiles aria-label=Now>");
    html.tile("", &per_second(rate.requests), "requests a second");
    let class = if rate.errors > 0.0 { "bad" } else { "" };
    html.tile(class, &percent(rate.errors, rate.requests), "errors: 500 and above");
    let class = if rate.refused > 0.0 { "warn" } else { "" };
    html.tile(class, &percent(rate.refused, rate.requests), "refusals: 400 to 499");
    html.tile("", &ms(rate.p50_ms), "p50");
    html.tile("", &ms(rate.p99_ms), "p99");
    html.tile("", &count(row.map_or(0, |row| row.requests)), "requests since the start");
    html.tile("", &bytes(row.map_or(0, |row| row.sent_bytes)), "sent since the start");
    html.raw("</section>");
    match handles.history.line(pattern) {
        Some(points) if !points.is_empty() => charts(html, &points),
        Some(_) => {
            html.raw("<p class=none>A line of the last hour begins in a few seconds.</p>");
        }
        None => {
            html.raw("<p class=none>It has no line: it had no request within the hour, or too ");
            html.raw("many other routes had.</p>");
        }
    }
    let to = format!("/admin/status/errors?route={}", encoded(pattern));
    html.raw("<p>").link(&to, "Its last errors").raw("</p>");
}

fn charts(html: &mut Html, points: &[Point]) {
    let every = EACH * usize::try_from(EVERY.as_secs()).unwrap_or(1);
    let line = |name, class, pick: fn(&Point) -> f32| {
        let values = points.iter().map(|one| f64::from(pick(one))).collect();
        Line { name, class, values }
    };
    html.raw("<section class=\"charts three\" aria-label=\"The last hour\">");
    let requests = [line("", "requests", |one| one.requests)];
    chart::draw(html, "Requests", Unit::PerSecond, every, &requests);
    let not = [line("5xx", "errors", |one| one.errors), line("4xx", "refused", |one| one.refused)];
    chart::draw(html, "Not served", Unit::PerSecond, every, &not);
    let latency = [line("p99", "p99", |one| one.p99_ms), line("p50", "p50", |one| one.p50_ms)];
    chart::draw(html, "Latency", Unit::Milliseconds, every, &latency);
    html.raw("</section>");
}

/// Policies in their order and with their origin, then where requests go.
fn holds(html: &mut Html, told: &Explanation, counted: &[PolicyTotals]) {
    let cells = ["Stage", "Policy", "Says", "Written at", "#Passed", "#Answered", "#Refused"];
    html.head("Policies", &cells);
    for one in &told.policies {
        let ran = counted.iter().find(|ran| ran.policy == one.name);
        let number = |pick: fn(&PolicyTotals) -> u64| count(ran.map_or(0, pick));
        html.raw("<tr>").cell(&one.stage).cell(&one.name).cell(&one.values);
        html.raw("<td><code>").text(one.place.as_deref().unwrap_or("built in"));
        html.raw("</code></td>").number(&number(|ran| ran.passed));
        html.number(&number(|ran| ran.answered)).number(&number(|ran| ran.refused)).raw("</tr>");
    }
    html.tail(told.policies.len(), "It has no policies.").raw("<ul>");
    for line in told.rewrite.iter().chain(&told.target).chain(&told.endpoints) {
        html.raw("<li>").text(line).raw("</li>");
    }
    html.raw("</ul>");
}

fn answers(html: &mut Html, row: &RouteTotals) {
    html.raw("<div class=halves><section><h2>Answers since the start</h2>");
    numbers(html, "Answers", ["Status", "#Answers"], &row.by_status);
    html.raw("</section><section><h2>Reasons since the start</h2>");
    numbers(html, "Reasons", ["Reason", "#Requests"], &row.by_reason);
    if row.by_reason.is_empty() {
        html.raw("<p class=none>Nothing has been refused or has failed.</p>");
    }
    html.raw("</section></div>");
}

fn numbers(html: &mut Html, caption: &str, cells: [&str; 2], of: &BTreeMap<String, u64>) {
    let mut all: Vec<(&String, &u64)> = of.iter().collect();
    all.sort_by_key(|(_, number)| Reverse(**number));
    html.head(caption, &cells);
    for (name, number) in all {
        html.raw("<tr>").cell(name).number(&count(*number)).raw("</tr>");
    }
    html.tail(1, "");
}

/// A method and URL that a pattern might take.
fn example(pattern: &str) -> (&str, String) {
    let (method, target) = pattern.rsplit_once(' ').unwrap_or(("GET", pattern));
    let target = target.replace("/**", "/1").replace('*', "1").replace("...", "");
    let target: String = target.chars().filter(|one| !matches!(one, '{' | '}')).collect();
    let host = if target.starts_with('/') { "localhost" } else { "" };
    (method.trim(), format!("http://{host}{target}"))
}

pub(super) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::example;

    #[test]
    fn a_pattern_has_an_example() {
        for (pattern, method, url) in [
            ("/a/*", "GET", "http://localhost/a/1"),
            ("POST /a/{id}/b", "POST", "http://localhost/a/id/b"),
            ("shop.example/{rest...}", "GET", "http://shop.example/rest"),
        ] {
            assert_eq!(example(pattern), (method, url.to_owned()));
        }
    }
}
