//! Routes: all that are configured, with what each has just done, to be sorted and searched.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use lockgate_proxy::{RouteView, Snapshot};
use lockgate_telemetry::RouteTotals;
use serde::Deserialize;

use super::html::{Html, count, encoded, ms, per_second};
use super::overview::share;
use crate::Handles;
use crate::rates::{Now, Rate};

const HERE: &str = "/admin/status/routes";
/// Rows of a page.
const MOST: usize = 200;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct View {
    filter: String,
    sort: String,
    /// `up` or `down`; each column has its own when nothing is said.
    order: String,
    page: usize,
}

/// The columns that can be sorted by; one that begins with `#` is of numbers, the largest first.
const SORTS: [(&str, &str); 6] = [
    ("route", "Route"),
    ("rate", "#Requests/s"),
    ("refused", "#4xx"),
    ("errors", "#5xx"),
    ("p99", "#p99"),
    ("requests", "#Since start"),
];

/// What a row is made of.
struct Row<'a> {
    /// Empty: what no route matched.
    pattern: &'a str,
    view: Option<RouteView<'a>>,
    rate: Rate,
    requests: u64,
}

pub(super) async fn page(
    State(handles): State<Arc<Handles>>,
    Query(view): Query<View>,
) -> Response {
    let snapshot = handles.shared.snapshot();
    let (totals, now) = (handles.shared.metrics.snapshot().routes, handles.history.now());
    let mut rows = rows(&snapshot, &totals, &now, view.filter.trim());
    let column = SORTS.iter().find(|(key, _)| *key == view.sort).map_or("rate", |(key, _)| *key);
    let down = if view.order.is_empty() { column != "route" } else { view.order == "down" };
    rows.sort_by(|a, b| {
        let order = compare(column, a, b);
        if down { order.reverse() } else { order }.then(a.pattern.cmp(b.pattern))
    });
    let mut html = Html::new();
    form(&mut html, &view);
    html.wide("Routes").raw("<table><caption class=unseen>Routes</caption><thead><tr>");
    for (key, title) in SORTS {
        head(&mut html, &view, (key, title), (key == column).then_some(down));
    }
    html.raw("<th scope=col>Policies</th><th scope=col>To</th></tr></thead><tbody>");
    let pages = rows.len().div_ceil(MOST).max(1);
    let page = view.page.min(pages - 1);
    for one in rows.iter().skip(page * MOST).take(MOST) {
        row(&mut html, one);
    }
    let none = match view.filter.is_empty() {
        true => "No route is configured.",
        false => "No route has this in its pattern, its policies or its targets.",
    };
    html.tail(rows.len(), none);
    turn(&mut html, &view, page, pages, rows.len());
    super::page(&handles, HERE, "Routes", true, html)
}

/// Everything that is configured; and what no route matched, when there was such.
fn rows<'a>(
    snapshot: &'a Snapshot,
    totals: &[RouteTotals],
    now: &Now,
    filter: &str,
) -> Vec<Row<'a>> {
    let counted: HashMap<&str, u64> =
        totals.iter().map(|one| (one.route.as_str(), one.requests)).collect();
    let row = |pattern: &'a str, view| Row {
        pattern,
        view,
        rate: now.routes.get(pattern).copied().unwrap_or_default(),
        requests: counted.get(pattern).copied().unwrap_or_default(),
    };
    let wanted = |view: &RouteView<'_>| {
        filter.is_empty()
            || view.pattern.contains(filter)
            || view.targets().iter().any(|name| name.contains(filter))
            || view.policies().iter().any(|name| name.contains(filter))
    };
    let configured = snapshot.routes().filter(wanted).map(|view| row(view.pattern, Some(view)));
    let mut rows: Vec<Row<'a>> = configured.collect();
    if counted.contains_key("") && filter.is_empty() {
        rows.push(row("", None));
    }
    rows
}

fn compare(column: &str, a: &Row<'_>, b: &Row<'_>) -> Ordering {
    let of = |pick: fn(&Rate) -> f64| pick(&a.rate).total_cmp(&pick(&b.rate));
    match column {
        "route" => a.pattern.cmp(b.pattern),
        "refused" => of(|rate| rate.refused),
        "errors" => of(|rate| rate.errors),
        "p99" => of(|rate| rate.p99_ms),
        "requests" => a.requests.cmp(&b.requests),
        _ => of(|rate| rate.requests).then(a.requests.cmp(&b.requests)),
    }
}

fn form(html: &mut Html, view: &View) {
    html.raw("<form class=row action=/admin/status/routes role=search><div>");
    html.raw("<label for=filter>Pattern, policy or target</label>");
    html.raw("<input id=filter name=filter type=search value=\"").text(&view.filter);
    html.raw("\"></div><input type=hidden name=sort value=\"").text(&view.sort);
    html.raw("\"><input type=hidden name=order value=\"").text(&view.order);
    html.raw("\"><button>Search</button></form>");
}

/// A column's head, which sorts by it, and the other way round the second time.
fn head(html: &mut Html, view: &View, (key, title): (&str, &str), sorted: Option<bool>) {
    let (class, title) = match title.strip_prefix('#') {
        Some(title) => (" class=num", title),
        None => ("", title),
    };
    let (sort, mark) = match sorted {
        Some(true) => (" aria-sort=descending", " ▾"),
        Some(false) => (" aria-sort=ascending", " ▴"),
        None => ("", ""),
    };
    let order = match sorted {
        Some(true) => "up",
        Some(false) => "down",
        None => "",
    };
    html.raw(&format!("<th scope=col{class}{sort}><a href=\"{HERE}?sort={key}&amp;order={order}"));
    html.raw("&amp;filter=").raw(&encoded(&view.filter)).raw("\">").raw(title).raw(mark);
    html.raw("</a></th>");
}

fn row(html: &mut Html, one: &Row<'_>) {
    html.raw("<tr><td class=route>");
    link(html, one.pattern);
    if let Some(choices @ 2..) = one.view.map(|view| view.choices()) {
        html.raw(&format!(" <small>{choices} choices</small>"));
    }
    html.raw("</td>").number(&per_second(one.rate.requests));
    share(html, "warn", one.rate.refused, one.rate.requests);
    share(html, "bad", one.rate.errors, one.rate.requests);
    html.number(&ms(one.rate.p99_ms)).number(&count(one.requests));
    let policies = one.view.map(|view| view.policies().join(", ")).unwrap_or_default();
    let targets = one.view.map(|view| view.targets().join(", ")).unwrap_or_default();
    html.cell(if policies.is_empty() { "–" } else { &policies });
    html.cell(if targets.is_empty() { "–" } else { &targets }).raw("</tr>");
}

/// Where the rest is.
fn turn(html: &mut Html, view: &View, page: usize, pages: usize, all: usize) {
    if pages == 1 {
        html.raw("<p class=none>")
            .text(&format!("{} in all; rates of the last five seconds.", all));
        html.raw("</p>");
        return;
    }
    let to = |page: usize| {
        let (sort, order, filter) = (&view.sort, &view.order, encoded(&view.filter));
        let (sort, order) = (encoded(sort), encoded(order));
        format!("{HERE}?sort={sort}&order={order}&filter={filter}&page={page}")
    };
    html.raw("<nav aria-label=\"Pages of the list\" class=turn>");
    if page > 0 {
        html.link(&to(page - 1), "Before");
    }
    html.text(&format!(" {} of {pages}, {} routes in all ", page + 1, count(all as u64)));
    if page + 1 < pages {
        html.link(&to(page + 1), "After");
    }
    html.raw("</nav>");
}

/// A route's name, which leads to its page.
pub(super) fn link(html: &mut Html, pattern: &str) {
    if pattern.is_empty() {
        html.raw("<a href=\"/admin/status/errors?reason=no_route\"><i>no route</i></a>");
        return;
    }
    html.raw("<a href=\"/admin/status/route?pattern=").raw(&encoded(pattern)).raw("\"><code>");
    html.text(pattern).raw("</code></a>");
}
