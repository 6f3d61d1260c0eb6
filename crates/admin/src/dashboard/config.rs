//! The configuration in force, what was changed over its files, the versions before it, and the
//! way back to one: after a question that shows what it would change.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::Value;

use super::html::{Html, count, date, since, span};
use super::route::pretty;
use crate::audit::Who;
use crate::changes::text_of;
use crate::config::read_config;
use crate::orders::read_again;
use crate::{Change, Handles, Only, Order, Refused, Version, What, changes};

const HERE: &str = "/admin/status/config";
/// Versions that are shown; the admin interface has the rest.
const MOST: usize = 50;
/// Things of a version that are named.
const NAMED: usize = 3;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct View {
    /// Show all of it.
    whole: bool,
    /// What a form has just done: a word of [`said`].
    done: String,
}

pub(super) async fn page(
    State(handles): State<Arc<Handles>>,
    Query(view): Query<View>,
) -> Response {
    let mut html = Html::new();
    if let Some(text) = said(&view.done) {
        html.notice("good", text);
    }
    if let Some(at) = handles.shared.metrics.config_refused() {
        let text = format!(
            "The configuration read at {} UTC was refused, and the one before stays in force: \
             the gateway's log says what is wrong, and reading it again here does.",
            date(at)
        );
        html.notice("bad", &text);
    }
    let snapshot = handles.shared.snapshot();
    let age = span(since(snapshot.loaded));
    html.raw("<p>").text(&format!("Generation {}, in force for {age}.", snapshot.generation));
    html.raw("</p><form class=row method=post action=/admin/status/reload>");
    html.raw("<button>Read the files again</button></form>");
    over_the_files(&mut html, &handles).await;
    html.raw("<section><h2>Versions</h2>");
    let all = handles.versions.list();
    let kept = match all.first() {
        Some(newest) => text_of(&handles, newest.number).await,
        None => Ok(String::new()),
    };
    versions(&mut html, &all, kept.is_ok());
    if let Err(why) = kept {
        let text = format!("What they said cannot be looked at, nor gone back to: {why}.");
        html.raw("<p class=none>").text(&text).raw("</p>");
    }
    html.raw("</section><section id=whole><h2>All of it</h2>");
    if view.whole {
        whole(&mut html, &handles).await;
    } else {
        let to = format!("{HERE}?whole=true#whole");
        html.raw("<p>").link(&to, "Show it with every default written out").raw("</p>");
    }
    html.raw("</section>");
    super::page(&handles, HERE, "Config", false, html)
}

/// What came of a form, by the word that it leads here with.
fn said(word: &str) -> Option<&'static str> {
    Some(match word {
        "read" => "The files have been read, and are in force.",
        "back" => "That version is in force again, as a change over the files.",
        "files" => "The files say it all again.",
        _ => return None,
    })
}

async fn over_the_files(html: &mut Html, handles: &Arc<Handles>) {
    let told = changes::changed(handles).await.unwrap_or_default();
    let all = told.get("changes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return;
    }
    let word = |one: &Value, key| one.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    html.raw("<section><h2>Changed over the files</h2>");
    html.head("Changed over the files", &["Section", "Name", "How"]);
    for one in all {
        let is = |key| one.get(key) == Some(&Value::Bool(true));
        let how = match (is("removed"), is("inFiles")) {
            (true, _) => "taken away",
            (false, true) => "in place of what the files say",
            (false, false) => "added",
        };
        html.raw("<tr>").cell(&word(one, "section")).raw("<td><code>");
        html.text(&word(one, "name")).raw("</code></td>").cell(how).raw("</tr>");
    }
    html.tail(all.len(), "").raw("<p><a class=button href=/admin/status/config/files>");
    html.raw("Let the files say it all again</a></p></section>");
}

/// `kept`: what they said is there.
fn versions(html: &mut Html, all: &[Version], kept: bool) {
    html.head(
        "Versions",
        &["#Version", "In force from (UTC)", "By", "What differs", "Look", "Back"],
    );
    let newest = all.first().map_or(0, |one| one.number);
    for (place, one) in all.iter().enumerate().take(MOST) {
        html.raw(&format!("<tr><td class=num>{}</td><td class=time>", one.number));
        html.text(&date(one.at_ms / 1000)).raw("</td><td>").text(&one.via);
        if !one.who.is_empty() {
            html.raw("<br><small>").text(&one.who).raw("</small>");
        }
        html.raw("</td><td><code>").text(&what(one)).raw("</code></td><td>");
        if !kept {
            html.raw("–</td><td>").raw(if one.number == newest { "in force" } else { "–" });
            html.raw("</td></tr>");
            continue;
        }
        html.raw(&format!("<a href=\"{HERE}/version?number={0}\">Text</a> ", one.number));
        if let Some(before) = all.get(place + 1) {
            let (from, to) = (before.number, one.number);
            html.raw(&format!("<a href=\"{HERE}/diff?from={from}&amp;to={to}\">Its change</a> "));
        }
        if one.number != newest {
            let from = one.number;
            html.raw(&format!("<a href=\"{HERE}/diff?from={from}&amp;to={newest}\">Since then"));
            html.raw("</a></td><td><a class=button aria-label=\"Go back to version ");
            html.raw(&format!("{from}\" href=\"{HERE}/back?number={from}\">Go back</a></td></tr>"));
        } else {
            html.raw("</td><td class=good>in force</td></tr>");
        }
    }
    html.tail(all.len(), "No version is known yet.");
    if all.len() > MOST {
        html.raw("<p class=none>").text(&format!("{} more are older.", all.len() - MOST));
        html.raw("</p>");
    }
}

fn what(of: &Version) -> String {
    let mut text = of.what.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if of.what.len() > NAMED {
        text.push_str(&format!(" and {} more", count((of.what.len() - NAMED) as u64)));
    }
    if text.is_empty() { "–".to_owned() } else { text }
}

async fn whole(html: &mut Html, handles: &Handles) {
    html.raw("<p class=none>Secrets are shown as the references that the file has for them, or ");
    html.raw("not at all.</p>");
    match read_config(handles).await {
        Ok(config) => html.raw("<pre tabindex=0>").text(&pretty(&config)).raw("</pre>"),
        Err(why) => html.notice("bad", &why),
    };
}

#[derive(Deserialize)]
pub(super) struct Two {
    from: u64,
    to: u64,
}

/// The lines that differ between two versions.
pub(super) async fn difference(
    State(handles): State<Arc<Handles>>,
    Query(two): Query<Two>,
) -> Response {
    let mut html = Html::new();
    if let Err(why) = differs(&mut html, &handles, two.from, two.to).await {
        html.notice("bad", &why);
    }
    html.raw("<p><a href=/admin/status/config>Back to the versions</a></p>");
    let title = format!("From version {} to {}", two.from, two.to);
    super::page(&handles, HERE, &title, false, html)
}

async fn differs(html: &mut Html, handles: &Handles, from: u64, to: u64) -> Result<(), String> {
    let text = changes::difference(handles, from, Some(to)).await?;
    if text.is_empty() {
        html.raw("<p class=none>They say the same.</p>");
        return Ok(());
    }
    html.raw("<pre tabindex=0>");
    for line in text.lines() {
        match line.as_bytes().first() {
            Some(b'+') => html.raw("<ins>").text(line).raw("</ins>"),
            Some(b'-') => html.raw("<del>").text(line).raw("</del>"),
            _ => html.text(line),
        };
        html.raw("\n");
    }
    html.raw("</pre>");
    Ok(())
}

#[derive(Deserialize)]
pub(super) struct One {
    number: u64,
}

/// A page with what a version said.
pub(super) async fn version(
    State(handles): State<Arc<Handles>>,
    Query(one): Query<One>,
) -> Response {
    let mut html = Html::new();
    match text_of(&handles, one.number).await {
        Ok(text) => html.raw("<pre tabindex=0>").text(&text).raw("</pre>"),
        Err(why) => html.notice("bad", &why),
    };
    html.raw("<p><a href=/admin/status/config>Back to the versions</a></p>");
    super::page(&handles, HERE, &format!("Version {}", one.number), false, html)
}

/// What going back would change, and a button.
pub(super) async fn ask_back(
    State(handles): State<Arc<Handles>>,
    Query(one): Query<One>,
) -> Response {
    let newest = handles.versions.list().first().map_or(0, |version| version.number);
    let mut html = Html::new();
    html.raw("<p>Version ").text(&one.number.to_string());
    html.raw(" is in force again, as a change over the files. This is what changes:</p>");
    match differs(&mut html, &handles, newest, one.number).await {
        Ok(()) => {
            html.raw("<form class=row method=post action=/admin/status/config/back>");
            html.raw("<input type=hidden name=number value=\"").text(&one.number.to_string());
            html.raw("\">");
            sure(&mut html, &handles, "Go back to it");
        }
        Err(why) => {
            html.notice("bad", &why);
            html.raw("<p><a href=/admin/status/config>Back to the versions</a></p>");
        }
    }
    super::page(&handles, HERE, "Are you sure?", false, html)
}

/// The same for what was changed over the files.
pub(super) async fn ask_files(State(handles): State<Arc<Handles>>) -> Response {
    let mut html = Html::new();
    html.raw("<p>Everything that was changed here is dropped: the files say it all again.</p>");
    html.raw("<form class=row method=post action=/admin/status/config/files>");
    sure(&mut html, &handles, "Drop the changes");
    super::page(&handles, HERE, "Are you sure?", false, html)
}

/// The end of a form that holds only for the configuration that its page was made of.
fn sure(html: &mut Html, handles: &Handles, what: &str) {
    let generation = handles.shared.snapshot().generation.to_string();
    html.raw("<input type=hidden name=generation value=\"").text(&generation).raw("\">");
    html.raw("<button id=confirm class=do>").text(what).raw("</button> ");
    html.raw("<a class=button href=/admin/status/config>No</a></form>");
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    /// `None`: the files.
    number: Option<u64>,
    generation: u64,
}

/// Goes back to a version, or to the files.
pub(super) async fn back(
    State(handles): State<Arc<Handles>>,
    Extension(who): Extension<Who>,
    Form(wanted): Form<Wanted>,
) -> Response {
    let (what, done) = match wanted.number {
        Some(number) => (What::Version(number), "back"),
        None => (What::Files, "files"),
    };
    let only = Only::of_generation(wanted.generation);
    let change = Change { what, who: who.to_string(), only, dry_run: false };
    match (handles.order)(Order::Change(Box::new(change))).await {
        Ok(_) => Redirect::to(&format!("{HERE}?done={done}")).into_response(),
        Err(why) => refused(&handles, "It is refused; what was in force stays.", &why),
    }
}

pub(super) async fn reload(
    State(handles): State<Arc<Handles>>,
    Extension(who): Extension<Who>,
) -> Response {
    match read_again(&handles, &who).await {
        Ok(_) => Redirect::to(&format!("{HERE}?done=read")).into_response(),
        Err(why) => refused(&handles, "The files are refused; what was in force stays.", &why),
    }
}

fn refused(handles: &Handles, what: &str, why: &Refused) -> Response {
    let mut html = Html::new();
    html.raw("<p class=bad role=alert>").text(what).raw("</p>");
    html.raw("<pre tabindex=0>").text(&why.detail).raw("</pre>");
    html.raw("<p><a href=/admin/status/config>Back</a></p>");
    super::page(handles, HERE, "Refused", false, html)
}
