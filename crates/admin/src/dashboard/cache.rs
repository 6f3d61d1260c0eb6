//! Cached answers: how many, which, and clearing them.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use lockgate_core::BlobStats;
use serde::Deserialize;

use super::html::{Html, bytes, count, span};
use crate::Handles;
use crate::cache::clear_all;

const HERE: &str = "/admin/status/cache";
/// Entries that are shown: the largest.
const MOST: usize = 100;

pub(super) async fn page(State(handles): State<Arc<Handles>>) -> Response {
    let mut html = Html::new();
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
    html.raw("<section class=tiles>");
    for (value, name) in [
        (count(stats.entries), "entries".to_owned()),
        (bytes(stats.bytes), format!("of {}", bytes(stats.max_bytes))),
        (count(stats.evictions), "gone for want of room".to_owned()),
        (count(stats.purges), "purges".to_owned()),
    ] {
        html.raw("<div class=tile><b>").text(&value).raw("</b><span>").text(&name);
        html.raw("</span></div>");
    }
    html.raw("</section><h2>Clear</h2><form class=row method=post action=/admin/status/cache>");
    html.raw("<div><label for=by>What</label><select id=by name=by>");
    html.raw("<option value=url>a URL or path<option value=pattern>a pattern, as /products/**");
    html.raw("<option value=tag>a tag<option value=all>everything</select></div>");
    html.raw("<div><label for=what>Which</label><input id=what name=what size=40></div>");
    html.raw("<button class=do>Clear</button></form><h2>The largest</h2>");
    let mut all: Vec<(usize, Box<str>, u64)> = Vec::new();
    for blobs in &*stores {
        blobs.each(&mut |blob, left| all.push((blob.size(), blob.name.clone(), left.as_secs())));
    }
    all.sort_unstable_by_key(|(size, ..)| Reverse(*size));
    html.head("The largest entries", &["URL", "#Size", "#Kept for"]);
    for (size, name, left) in all.iter().take(MOST) {
        html.raw("<tr><td><code>").text(name).raw("</code></td>");
        html.number(&bytes(*size as u64)).number(&span(*left)).raw("</tr>");
    }
    html.tail(all.len(), "Nothing is kept.");
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    by: String,
    #[serde(default)]
    what: String,
}

pub(super) async fn purge(
    State(handles): State<Arc<Handles>>,
    Form(wanted): Form<Wanted>,
) -> Response {
    match clear_all(&handles, &wanted.by, wanted.what.trim()).await {
        Ok(_) => Redirect::to(HERE).into_response(),
        Err(why) => {
            let mut html = Html::new();
            html.raw("<p class=bad role=alert>").text(&why).raw("</p>");
            html.raw("<p><a href=/admin/status/cache>Back</a></p>");
            super::page(&handles, HERE, "Not cleared", false, html)
        }
    }
}
