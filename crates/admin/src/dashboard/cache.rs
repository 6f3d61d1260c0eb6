//! Cached answers: how often one could be given, how many there are, which, and clearing them.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::Form;
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use lockgate_core::BlobStats;
use lockgate_telemetry::{PolicyTotals, redacted_url};
use serde::Deserialize;

use super::html::{Html, bytes, count, percent, span};
use super::routes;
use crate::Handles;
use crate::audit::Who;
use crate::cache::clear_all;

const HERE: &str = "/admin/status/cache";
/// Entries that are shown: the largest.
const MOST: usize = 100;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct View {
    /// How many a form has just cleared.
    cleared: Option<u64>,
}

pub(super) async fn page(
    State(handles): State<Arc<Handles>>,
    Query(view): Query<View>,
) -> Response {
    let mut html = Html::new();
    if let Some(cleared) = view.cleared {
        let are = if cleared == 1 { "answer is" } else { "answers are" };
        html.notice("good", &format!("{} {are} cleared.", count(cleared)));
    }
    show(&mut html, &handles);
    super::page(&handles, HERE, "Cache", true, html)
}

fn show(html: &mut Html, handles: &Handles) {
    let stores = (handles.blobs)();
    if stores.is_empty() {
        html.raw("<p class=none>No route has the policy <code>cache</code>.</p>");
        return;
    }
    let mut stats = BlobStats::default();
    for own in stores.iter().map(|blobs| blobs.stats()) {
        stats.entries += own.entries;
        stats.bytes += own.bytes;
        stats.max_bytes += own.max_bytes;
        stats.evictions += own.evictions;
        stats.purges += own.purges;
    }
    let asked = handles.shared.metrics.policies(|policy, _| policy == "cache");
    let (hits, all) = asked.iter().fold((0, 0), |(hits, all), one| {
        (hits + one.answered, all + one.answered + one.passed + one.refused)
    });
    html.raw("<section class=tiles aria-label=\"Since the start\">");
    html.tile("", &percent(hits as f64, all as f64), "answered from the cache");
    html.tile("", &count(all), "requests to cached routes");
    html.tile("", &count(stats.entries), "answers kept");
    html.tile("", &bytes(stats.bytes), &format!("kept, of {}", bytes(stats.max_bytes)));
    let class = if stats.evictions > 0 { "warn" } else { "" };
    html.tile(class, &count(stats.evictions), "gone for want of room");
    html.tile("", &count(stats.purges), "purges");
    html.raw("</section>");
    form(html);
    by_route(html, asked);
    html.raw("<section><h2>The largest answers</h2>");
    let mut all: Vec<(usize, Box<str>, u64)> = Vec::new();
    for blobs in &*stores {
        blobs.each(&mut |blob, left| all.push((blob.size(), blob.name.clone(), left.as_secs())));
    }
    all.sort_unstable_by(|a, b| (Reverse(a.0), &a.1).cmp(&(Reverse(b.0), &b.1)));
    html.head("The largest answers", &["URL", "#Size", "#Kept for", "Clear"]);
    for (size, name, left) in all.iter().take(MOST) {
        let shown = redacted_url(name);
        html.raw("<tr><td class=request><code>").text(&shown).raw("</code></td>");
        html.number(&bytes(*size as u64)).number(&span(*left));
        html.raw("<td><form method=post action=/admin/status/cache>");
        html.raw("<input type=hidden name=by value=url><input type=hidden name=what value=\"");
        html.text(&format!("http://{}", name.split('?').next().unwrap_or(name)));
        html.raw("\"><button aria-label=\"Clear ")
            .text(&shown)
            .raw("\">Clear</button></form></td>");
        html.raw("</tr>");
    }
    html.tail(all.len(), "Nothing is kept.");
    if all.len() > MOST {
        let more = count((all.len() - MOST) as u64);
        html.raw("<p class=none>").text(&format!("{more} more are smaller.")).raw("</p>");
    }
    html.raw("</section>");
}

fn form(html: &mut Html) {
    html.raw("<section><h2>Clear</h2><form class=row method=post action=/admin/status/cache>");
    html.raw("<div><label for=by>What</label><select id=by name=by>");
    html.raw("<option value=url>a URL or path, with every query");
    html.raw("<option value=pattern>a pattern, as /products/**");
    html.raw("<option value=tag>a tag<option value=all>everything</select></div>");
    html.raw("<div><label for=what>Which</label><input id=what name=what></div>");
    html.raw("<button class=do>Clear</button></form></section>");
}

/// The most asked first.
fn by_route(html: &mut Html, mut asked: Vec<PolicyTotals>) {
    let all = |one: &PolicyTotals| one.answered + one.passed + one.refused;
    asked.sort_by_key(|one| Reverse(all(one)));
    html.raw("<section><h2>By route</h2>");
    html.head("By route", &["Route", "#Requests", "#From the cache", "Share"]);
    for one in asked.iter().take(MOST) {
        html.raw("<tr><td class=route>");
        routes::link(html, &one.route);
        html.raw("</td>").number(&count(all(one))).number(&count(one.answered));
        html.bar("part", one.answered as f64 / all(one).max(1) as f64).raw("</tr>");
    }
    html.tail(asked.len(), "No cached route has had a request.");
    html.raw("</section>");
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    by: String,
    #[serde(default)]
    what: String,
    /// Everything is cleared only when it is said twice.
    #[serde(default)]
    sure: bool,
}

pub(super) async fn purge(
    State(handles): State<Arc<Handles>>,
    Extension(who): Extension<Who>,
    Form(wanted): Form<Wanted>,
) -> Response {
    if wanted.by == "all" && !wanted.sure {
        return ask(&handles);
    }
    match clear_all(&handles, &who, &wanted.by, wanted.what.trim()).await {
        Ok(cleared) => Redirect::to(&format!("{HERE}?cleared={cleared}")).into_response(),
        Err(why) => {
            let mut html = Html::new();
            html.raw("<p class=bad role=alert>").text(&why).raw("</p>");
            html.raw("<p><a href=/admin/status/cache>Back</a></p>");
            super::page(&handles, HERE, "Not cleared", false, html)
        }
    }
}

fn ask(handles: &Handles) -> Response {
    let entries: u64 = (handles.blobs)().iter().map(|blobs| blobs.stats().entries).sum();
    let mut html = Html::new();
    html.raw("<section class=panel><p>All ").text(&count(entries));
    html.raw(" answers are cleared, and the upstreams get every request until they are kept ");
    html.raw("again.</p><form class=row method=post action=/admin/status/cache>");
    html.raw("<input type=hidden name=by value=all><input type=hidden name=sure value=true>");
    html.raw("<button id=confirm class=do>Clear everything</button> ");
    html.raw("<a class=button href=/admin/status/cache>No</a></form></section>");
    super::page(handles, HERE, "Are you sure?", false, html)
}
