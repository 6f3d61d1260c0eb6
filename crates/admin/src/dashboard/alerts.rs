//! Alerts: what fires, what is about to, what was over lately, and who is told.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use lockgate_monitor::{AlertView, SinkView};
use serde_json::Value;

use super::html::{Html, count, date, span};
use super::uptime::ago;
use crate::Handles;

const HERE: &str = "/admin/status/alerts";
/// Most alerts of a list.
const MOST: usize = 100;

pub(super) async fn page(State(handles): State<Arc<Handles>>) -> Response {
    let alerts = handles.monitor.alerts();
    let mut html = Html::new();
    html.raw("<section><h2>Firing</h2>");
    table(&mut html, "Firing", &alerts.firing, "No alert fires.");
    html.raw("</section>");
    if !alerts.pending.is_empty() {
        html.raw("<section><h2>Not for long enough yet</h2>");
        table(&mut html, "Not for long enough yet", &alerts.pending, "");
        html.raw("</section>");
    }
    html.raw("<section><h2>Over</h2>");
    table(&mut html, "Over", &alerts.recent, "No alert has been over lately.");
    html.raw("</section><section><h2>Who is told</h2>");
    let cells = ["Name", "Kind", "State", "#Arrived", "#Failed", "#Given up", "Last arrived (UTC)"];
    html.head("Who is told", &cells);
    for one in &alerts.sinks {
        sink(&mut html, one);
    }
    let none = "Nobody: the configuration has no `alerts`. What fires is still shown here.";
    html.tail(alerts.sinks.len(), none).raw("</section>");
    super::page(&handles, HERE, "Alerts", true, html)
}

fn table(html: &mut Html, caption: &str, all: &[AlertView], none: &str) {
    html.head(caption, &["Severity", "What", "Rule", "About", "Since (UTC)", "#For"]);
    for one in all.iter().take(MOST) {
        let word = severity(one);
        let class = if word == "critical" { "bad" } else { "warn" };
        html.raw(&format!("<tr><td><b class={class}>")).text(&word).raw("</b></td>");
        html.cell(&one.summary).raw("<td><code>").text(&one.rule).raw("</code></td>");
        html.cell(&one.subject).raw("<td class=time>").text(&date(one.since / 1000)).raw("</td>");
        let lasted = match one.ended_at {
            Some(end) => end.saturating_sub(one.since) / 1000,
            None => ago(one.since),
        };
        html.number(&span(lasted)).raw("</tr>");
    }
    html.tail(all.len(), none);
    if all.len() > MOST {
        let more = format!("{} more.", all.len() - MOST);
        html.raw("<p class=none>").text(&more).raw("</p>");
    }
}

/// The word that the configuration has for it.
fn severity(of: &AlertView) -> String {
    let word = serde_json::to_value(of.severity).unwrap_or_default();
    word.as_str().map(str::to_owned).unwrap_or_else(|| Value::to_string(&word))
}

fn sink(html: &mut Html, one: &SinkView) {
    let (class, word) = match (one.sending, one.quiet) {
        _ if one.failed_at > one.delivered_at => ("bad", "its last try failed"),
        (true, _) => ("", "a message is under way"),
        (_, true) => ("", "quiet, but for what is critical"),
        _ => ("good", "ready"),
    };
    html.raw("<tr>").cell(&one.name).cell(one.kind);
    html.raw(&format!("<td><span class=\"{class}\">{word}</span>"));
    if let Some(error) = &one.last_error {
        html.raw("<br><small>").text(error).raw("</small>");
    }
    html.raw("</td>").number(&count(one.delivered)).number(&count(one.failed));
    html.number(&count(one.given_up)).raw("<td class=time>");
    html.text(&one.delivered_at.map_or("–".to_owned(), |at| date(at / 1000))).raw("</td></tr>");
}

/// What fires, in words, the worst first.
pub(super) fn firing(handles: &Handles) -> Vec<String> {
    handles.monitor.alerts().firing.into_iter().map(|one| one.summary).collect()
}
