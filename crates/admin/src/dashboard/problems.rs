//! What somebody should look at, in words, each with the page where it is to be seen.

use std::time::SystemTime;

use lockgate_upstream::{Phase, UpstreamView};

use super::alerts;
use super::html::{Html, date, percent, seconds};
use crate::Handles;

/// A certificate is a problem from so many days before its end.
const EXPIRES_SOON: i64 = 14 * 86_400;
/// A share of errors that is one.
const MANY_ERRORS: f64 = 0.05;
/// A share of refusals that is one, when there are so many requests a second.
const MANY_REFUSED: f64 = 0.5;
const MANY_REQUESTS: f64 = 1.0;

/// Something to look at.
pub(super) struct Problem {
    text: String,
    at: &'static str,
}

/// All there is, the worst first.
pub(super) fn found(handles: &Handles, upstreams: &[UpstreamView]) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut add = |at: &'static str, text: String| found.push(Problem { text, at });
    if (handles.draining)() {
        add("", "This gateway drains: it takes no new connections.".to_owned());
    }
    of_upstreams(upstreams, &mut add);
    // One line for all: most of what fires is told of by its own line too.
    let firing = alerts::firing(handles);
    match firing.as_slice() {
        [] => {}
        [one] => add("/alerts", format!("An alert fires: {one}")),
        [worst, ..] => {
            add("/alerts", format!("{} alerts fire, the worst: {worst}", firing.len()));
        }
    }
    let last = handles.history.last();
    if last.requests > 0.0 && last.errors / last.requests > MANY_ERRORS {
        let share = percent(last.errors, last.requests);
        add("/errors?kind=failed", format!("{share} of answers are errors (500 and above)."));
    }
    if last.requests > MANY_REQUESTS && last.refused / last.requests > MANY_REFUSED {
        let share = percent(last.refused, last.requests);
        add("/errors?kind=refused", format!("{share} of answers are refusals (400 to 499)."));
    }
    let metrics = &handles.shared.metrics;
    if let Some(at) = metrics.config_refused() {
        let text = format!(
            "The last configuration was refused, at {} UTC; the one before is in force.",
            date(at)
        );
        add("/config", text);
    }
    if let Some(why) = (handles.no_changes)() {
        add("/config", format!("Changes through the admin interface are refused: {why}."));
    }
    of_certificates(handles, &mut add);
    match metrics.panics() {
        0 => {}
        1 => add("/errors?kind=failed", "A request ended in a bug of the gateway.".to_owned()),
        many => {
            add("/errors?kind=failed", format!("{many} requests ended in a bug of the gateway."))
        }
    }
    found
}

fn of_upstreams(upstreams: &[UpstreamView], add: &mut impl FnMut(&'static str, String)) {
    for upstream in upstreams {
        let (name, all) = (&upstream.name, upstream.endpoints.len());
        if all == 0 {
            add("/upstreams", format!("{name}: it has no endpoint."));
        } else if upstream.usable == 0 {
            add("/upstreams", format!("{name}: no endpoint takes requests."));
        }
    }
    for upstream in upstreams {
        let (name, all) = (&upstream.name, upstream.endpoints.len());
        if upstream.usable > 0 && upstream.usable < all {
            let out = all - upstream.usable;
            let are = if out == 1 { "is" } else { "are" };
            add("/upstreams", format!("{name}: {out} of {all} endpoints {are} out."));
        }
        if upstream.breaker.as_ref().is_some_and(|breaker| breaker.phase != Phase::Closed) {
            add("/upstreams", format!("{name}: its circuit breaker is not closed."));
        }
    }
}

fn of_certificates(handles: &Handles, add: &mut impl FnMut(&'static str, String)) {
    let now = i64::try_from(seconds(SystemTime::now())).unwrap_or(i64::MAX);
    for one in (handles.certificates)() {
        let name = one.names.first().map_or("(no name)", String::as_str);
        if one.not_after < now {
            add("/certificates", format!("The certificate of {name} has expired."));
        } else if one.not_after - now < EXPIRES_SOON {
            let days = (one.not_after - now) / 86_400;
            add("/certificates", format!("The certificate of {name} expires in {days} days."));
        }
    }
}

/// The list, or that there is nothing in it.
pub(super) fn show(html: &mut Html, found: &[Problem]) {
    if found.is_empty() {
        html.raw("<section class=\"problems well\" role=status aria-label=Problems>");
        html.raw("<b class=good>All is well.</b></section>");
        return;
    }
    html.raw("<section class=problems role=status aria-label=Problems>");
    html.raw("<b class=bad>To look at</b><ul>");
    for one in found {
        html.raw("<li>").link(&format!("/admin/status{}", one.at), &one.text).raw("</li>");
    }
    html.raw("</ul></section>");
}
