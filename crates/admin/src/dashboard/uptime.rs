//! How upstreams and endpoints were: day by day, over a day to a quarter, and when they were not
//! well.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use lockgate_core::Standing;
use lockgate_monitor::{KeptWhere, Past, Span, UpstreamUptime};
use serde::Deserialize;

use super::html::{Html, count, date, ms, span};
use crate::Handles;

const HERE: &str = "/admin/status/uptime";
/// Upstreams of a page: a search finds the rest.
const MOST: usize = 50;
/// Times that something was not well, of each.
const TIMES: usize = 5;
/// From these shares of a day on it was well, or nearly.
const WELL: f64 = 0.9995;
const NEARLY: f64 = 0.95;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct View {
    filter: String,
}

pub(super) async fn page(
    State(handles): State<Arc<Handles>>,
    Query(view): Query<View>,
) -> Response {
    let monitor = &handles.monitor;
    let filter = view.filter.trim();
    let names = monitor.names();
    let wanted: Vec<_> = names.iter().filter(|name| name.contains(filter)).collect();
    let mut html = Html::new();
    html.raw("<form class=row action=/admin/status/uptime role=search><div>");
    html.raw("<label for=filter>Upstream</label><input id=filter name=filter type=search value=\"");
    html.text(&view.filter).raw("\"></div><button>Search</button></form>");
    for upstream in wanted.iter().take(MOST).filter_map(|name| monitor.upstream(name)) {
        show(&mut html, &upstream);
    }
    if names.is_empty() {
        html.raw("<p class=none>No route goes to an upstream.</p>");
    } else if wanted.is_empty() {
        html.raw("<p class=none>No upstream has this in its name.</p>");
    }
    if wanted.len() > MOST {
        let more = format!("{} more: search for them.", wanted.len() - MOST);
        html.raw("<p class=none>").text(&more).raw("</p>");
    }
    html.raw("<p class=none>");
    match monitor.kept_where() {
        KeptWhere::Disk { directory } => html.text(&format!("Kept in {directory}.")),
        KeptWhere::Memory { why } => {
            html.text(&format!("Kept in memory, and forgotten with this process: {why}."))
        }
    };
    if let left @ 1.. = monitor.left_out() {
        html.text(&format!(" {} have no history: there are too many.", count(left as u64)));
    }
    html.raw("</p>");
    super::page(&handles, HERE, "Uptime", true, html)
}

fn show(html: &mut Html, upstream: &UpstreamUptime) {
    html.raw("<section><h2>").text(&upstream.name).raw("</h2>");
    let cells = [
        "What",
        "Now",
        "The last 90 days",
        "#24 h",
        "#7 d",
        "#30 d",
        "#90 d",
        "#p50, 24 h",
        "#p99",
    ];
    html.head(&upstream.name, &cells);
    row(html, &upstream.name, true, &upstream.past);
    for one in &upstream.endpoints {
        row(html, &one.address, false, &one.past);
    }
    html.tail(1, "");
    times(html, upstream);
    html.raw("</section>");
}

fn row(html: &mut Html, name: &str, whole: bool, past: &Past) {
    html.raw("<tr><td>");
    match whole {
        true => html.raw("<b>").text(name).raw("</b>"),
        false => html.text(name),
    };
    html.raw("</td><td>");
    match past.standing {
        None => drop(html.raw("<span class=none>not looked at yet</span>")),
        Some(standing) => {
            badge(html, standing);
            if let Some(since) = past.since {
                html.raw("<br><small>for ").text(&span(ago(since))).raw("</small>");
            }
        }
    }
    html.raw("</td><td class=days>");
    days(html, &past.days);
    html.raw("</td>");
    for window in ["24h", "7d", "30d", "90d"] {
        let of = past.windows.iter().find(|one| one.window == window);
        let (class, text) = match of.and_then(|one| one.availability) {
            None => ("", "–".to_owned()),
            Some(share) => (class_of(share), told(share)),
        };
        html.raw(&format!("<td class=\"num {class}\">")).text(&text).raw("</td>");
    }
    let day = past.windows.iter().find(|one| one.window == "24h").map(|one| one.response);
    let day = day.unwrap_or_default();
    html.number(&ms(day.p50_ms)).number(&ms(day.p99_ms)).raw("</tr>");
}

pub(super) fn badge(html: &mut Html, standing: Standing) {
    let class = match standing {
        Standing::Up => "good",
        Standing::Degraded => "warn",
        Standing::Down => "bad",
        Standing::Out => "",
    };
    html.raw(&format!("<b class=\"{class}\">{}</b>", standing.word()));
}

/// Never rounded up to what it is not.
fn told(share: f64) -> String {
    let percent = (share * 100_000.0).floor() / 1000.0;
    if percent >= 100.0 { "100 %".to_owned() } else { format!("{percent:.3} %") }
}

fn class_of(share: f64) -> &'static str {
    match share {
        WELL.. => "good",
        NEARLY.. => "warn",
        _ => "bad",
    }
}

/// A stroke for each day.
fn days(html: &mut Html, days: &[Option<f64>]) {
    let known = days.iter().flatten().count();
    let bad = days.iter().flatten().filter(|share| **share < WELL).count();
    html.raw("<svg viewBox=\"0 0 90 12\" preserveAspectRatio=none role=img aria-label=\"");
    html.text(&format!("{known} of 90 days are known; on {bad} of them it was away for a time"));
    html.raw("\">");
    let first = 90_usize.saturating_sub(days.len());
    for (place, share) in days.iter().enumerate() {
        let class = share.map_or("none", class_of);
        // What was worse is lower: colours alone do not tell.
        let height = match class {
            "good" => 12,
            "warn" => 8,
            "bad" => 5,
            _ => 2,
        };
        let (x, y) = (first + place, 12 - height);
        html.raw(&format!("<rect class={class} x={x} y={y} width=.8 height={height} />"));
    }
    html.raw("</svg>");
}

/// When it was not well, the newest first.
fn times(html: &mut Html, upstream: &UpstreamUptime) {
    let named = std::iter::once((&*upstream.name, &upstream.past))
        .chain(upstream.endpoints.iter().map(|one| (&*one.address, &one.past)));
    let mut all: Vec<(&str, Span)> = Vec::new();
    for (name, past) in named {
        let unwell = past.intervals.iter().filter(|one| one.standing != Standing::Up);
        all.extend(unwell.take(TIMES).map(|one| (name, *one)));
    }
    if all.is_empty() {
        return;
    }
    all.sort_by_key(|(_, one)| std::cmp::Reverse(one.from));
    html.raw("<details><summary>When it was not well</summary>");
    html.head("When it was not well", &["From (UTC)", "What", "How", "#For"]);
    for (name, one) in all {
        html.raw("<tr><td class=time>").text(&date(one.from / 1000)).raw("</td>").cell(name);
        html.raw("<td>");
        badge(html, one.standing);
        html.raw("</td>").number(&span(one.to.saturating_sub(one.from) / 1000)).raw("</tr>");
    }
    html.tail(1, "").raw("</details>");
}

/// How many seconds ago a moment in milliseconds since 1970 was.
pub(super) fn ago(moment: u64) -> u64 {
    super::html::seconds(std::time::SystemTime::now()).saturating_sub(moment / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_told_better_than_it_is() {
        assert_eq!(told(1.0), "100 %");
        assert_eq!(told(0.999_999), "99.999 %");
        assert_eq!(told(0.5), "50.000 %");
    }

    #[test]
    fn a_short_history_stands_at_the_right() {
        let mut html = Html::new();
        days(&mut html, &[None, Some(0.5), Some(1.0)]);
        let html = html.into_string();
        assert!(html.contains("<rect class=good x=89 y=0"), "{html}");
        assert!(html.contains("<rect class=bad x=88 y=7"), "{html}");
        assert!(html.contains("2 of 90 days are known; on 1 of them"), "{html}");
    }
}
