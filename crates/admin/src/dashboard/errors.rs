//! The last requests that were refused or failed: when, which, why; and a question about the same
//! request at hand.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use lockgate_core::Blame;
use lockgate_telemetry::{Failure, FailureKind};
use serde::Deserialize;

use super::html::{Html, clock, count, date, encoded, ms, seconds};
use super::routes;
use crate::Handles;

const HERE: &str = "/admin/status/errors";
/// Rows of the page, unless all are asked for.
const MOST: usize = 50;
/// Stands for no reason of ours: an upstream's own answer is an error.
const NONE: &str = "-";

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct View {
    /// `failed`, `refused`, or both.
    kind: String,
    reason: String,
    /// Some text of the request, its id or its client's address.
    search: String,
    route: Option<String>,
    all: bool,
}

impl View {
    fn wants(&self, one: &Failure) -> bool {
        let reason = one.reason.as_deref().unwrap_or(NONE);
        let has = |text: &str| text.contains(&self.search);
        (self.reason.is_empty() || reason == self.reason)
            && self.route.as_ref().is_none_or(|route| one.route.as_deref() == Some(route))
            && (self.search.is_empty()
                || has(&format!("{} {}{}", one.method, one.host, one.path))
                || has(&one.id)
                || has(&one.story)
                || has(&one.client_ip.to_string()))
    }

    /// Where the same view with another kind and reason is.
    fn other(&self, kind: &str, reason: &str) -> String {
        let mut to = format!("{HERE}?kind={kind}&reason={}", encoded(reason));
        to.push_str(&format!("&search={}", encoded(&self.search)));
        if let Some(route) = &self.route {
            to.push_str(&format!("&route={}", encoded(route)));
        }
        to
    }
}

pub(super) async fn page(
    State(handles): State<Arc<Handles>>,
    Query(view): Query<View>,
) -> Response {
    let failures = &handles.shared.failures;
    let mut all = Vec::new();
    if view.kind != "refused" {
        all.extend(failures.list(FailureKind::Failed));
    }
    if view.kind != "failed" {
        all.extend(failures.list(FailureKind::Refused));
    }
    all.sort_by_key(|one| Reverse(one.time));
    let reasons = reasons(&all);
    all.retain(|one| view.wants(one));
    let mut html = Html::new();
    form(&mut html, &view);
    if !reasons.is_empty() {
        html.raw("<p class=chips>By reason: ");
        for (reason, number) in reasons {
            let current = reason == view.reason;
            let to = view.other(&view.kind, if current { "" } else { &reason });
            html.raw("<a class=chip href=\"").text(&to).raw("\"");
            html.raw(if current { " aria-current=true>" } else { ">" });
            let name = if reason == NONE { "an upstream's own answer" } else { &reason };
            html.text(name).raw(" <b>").text(&count(number)).raw("</b></a> ");
        }
        html.raw("</p>");
    }
    let most = if view.all { all.len() } else { MOST };
    table(&mut html, "Refused or failed", all.iter().take(most), true);
    if all.len() > most {
        let to = format!("{}&all=true", view.other(&view.kind, &view.reason));
        html.raw("<p>").link(&to, &format!("Show all {}", all.len())).raw("</p>");
    }
    if all.is_empty() {
        html.raw("<p class=none>No such request has been refused or has failed.</p>");
    }
    html.raw(
        "<p class=none>The last 200 that failed and the last 200 that were refused are kept, ",
    );
    html.raw("in memory, without secrets in their queries; the access log has all of them.");
    if let left @ 1.. = failures.left_out() {
        html.text(&format!(" {} more came too fast to be kept.", count(left)));
    }
    html.raw("</p>");
    super::page(&handles, HERE, "Errors", true, html)
}

fn form(html: &mut Html, view: &View) {
    html.raw("<form class=row action=/admin/status/errors role=search><div>");
    html.raw("<label for=kind>What</label><select id=kind name=kind>");
    for (kind, name) in [
        ("", "failed and refused"),
        ("failed", "failed: the gateway's or an upstream's doing"),
        ("refused", "refused: the client's own doing"),
    ] {
        let chosen = if view.kind == kind { " selected" } else { "" };
        html.raw(&format!("<option value=\"{kind}\"{chosen}>{name}"));
    }
    html.raw("</select></div><div><label for=search>Path, id, client or words</label>");
    html.raw("<input id=search name=search type=search value=\"").text(&view.search).raw("\">");
    html.raw("</div><input type=hidden name=reason value=\"").text(&view.reason).raw("\">");
    if let Some(route) = &view.route {
        html.raw("<input type=hidden name=route value=\"").text(route).raw("\">");
    }
    html.raw("<button>Show</button></form>");
    if let Some(route) = &view.route {
        html.raw("<p>Of the route <code>").text(route).raw("</code> alone. ");
        html.link(&View { route: None, ..View::default() }.other(&view.kind, ""), "Of all");
        html.raw("</p>");
    }
}

/// How often each has been met, the most frequent first.
fn reasons(all: &[Failure]) -> Vec<(String, u64)> {
    let mut by_reason: BTreeMap<String, u64> = BTreeMap::new();
    for one in all {
        *by_reason.entry(one.reason.as_deref().unwrap_or(NONE).to_owned()).or_default() += 1;
    }
    let mut reasons: Vec<(String, u64)> = by_reason.into_iter().collect();
    reasons.sort_by_key(|(_, number)| Reverse(*number));
    reasons
}

/// The requests as a table. `whole`: with everything that is known of them.
pub(super) fn table<'f>(
    html: &mut Html,
    caption: &str,
    all: impl Iterator<Item = &'f Failure>,
    whole: bool,
) {
    let few = ["Time (UTC)", "Status", "Request, and why"];
    let more = ["Time (UTC)", "Status", "Request, and why", "Route", "Upstream", "#Took", "Client"];
    let mut all = all.peekable();
    if all.peek().is_none() {
        return;
    }
    html.head(caption, if whole { &more } else { &few });
    for one in all {
        row(html, one, whole);
    }
    html.tail(1, "");
}

fn row(html: &mut Html, one: &Failure, whole: bool) {
    let at = seconds(one.time);
    html.raw("<tr><td class=time><time datetime=\"").text(&date(at).replace(' ', "T"));
    html.raw("Z\">").text(&clock(at)).raw("</time></td>");
    let class = if one.status >= 500 { "bad" } else { "warn" };
    html.raw(&format!("<td class={class}>{}</td><td class=request>", one.status));
    request(html, one, whole);
    html.raw("</td>");
    if !whole {
        html.raw("</tr>");
        return;
    }
    html.raw("<td class=route>");
    match one.route.as_deref() {
        Some(route) => routes::link(html, route),
        None => {
            html.raw("<i>no route</i>");
        }
    }
    html.raw("</td><td>").text(one.upstream.as_deref().unwrap_or("–"));
    if let Some(endpoint) = &one.endpoint {
        html.raw("<br><small>").text(endpoint).raw("</small>");
    }
    html.raw("</td>").number(&ms(one.took.as_secs_f64() * 1e3));
    html.cell(&one.client_ip.to_string()).raw("</tr>");
}

/// What was asked for, why it was not had, and where to look further.
fn request(html: &mut Html, one: &Failure, whole: bool) {
    if one.method.is_empty() {
        html.raw("<i>could not be read</i>");
    } else {
        html.raw("<code>").text(&one.method).raw(" ").text(&one.host).text(&one.path);
        html.raw("</code>");
    }
    let story = match one.blame {
        _ if !one.story.is_empty() && whole => one.story.as_str(),
        Some(Blame::Client) => "the client's doing",
        Some(Blame::Gateway) => "the gateway's doing",
        Some(Blame::Upstream) => "the upstream's doing",
        None => "the upstream's own answer",
    };
    html.raw("<br>");
    if let Some(reason) = &one.reason {
        html.raw("<b>").text(reason).raw("</b>: ");
    }
    html.raw("<small>").text(story).raw("</small> ");
    if whole {
        html.raw("<br><small>id <code>").text(&one.id).raw("</code></small> ");
    }
    explain(html, one);
}

/// A link to the same question, without what has been hidden of it.
fn explain(html: &mut Html, one: &Failure) {
    if one.method.is_empty() {
        return;
    }
    let host = if one.host.is_empty() { "localhost" } else { &one.host };
    let url = encoded(&format!("{}://{host}{}", one.scheme, one.path));
    let to = format!("/admin/status/explain?method={}&url={url}", encoded(&one.method));
    html.raw("<a href=\"").text(&to).raw("\" aria-label=\"Explain ");
    html.text(&one.method).raw(" ").text(&one.path).raw("\">Explain</a>");
}
