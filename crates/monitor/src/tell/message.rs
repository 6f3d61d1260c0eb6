//! A message to a sink: what fires, what is over, and how that reads.

use std::fmt::Write as _;

use jiff::Timestamp;
use lockgate_config::model::Severity;
use serde_json::{Value, json};

use crate::alerts::AlertView;

/// Alerts of each sort that a message for people lists; it counts the rest.
pub(crate) const LISTED: usize = 50;

/// Most bytes of a summary in a title.
const TITLE: usize = 1_024;

/// What is told at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Message {
    /// When it was made, in milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) firing: Vec<AlertView>,
    pub(crate) resolved: Vec<AlertView>,
}

impl Message {
    /// The worst first, then by rule and subject.
    pub(crate) fn sort(&mut self) {
        for list in [&mut self.firing, &mut self.resolved] {
            list.sort_by(|a, b| {
                let key = |one: &AlertView| (std::cmp::Reverse(one.severity), one.rule.clone());
                (key(a), &a.subject).cmp(&(key(b), &b.subject))
            });
        }
    }

    /// `firing` as long as anything in it does.
    pub(crate) fn status(&self) -> &'static str {
        if self.firing.is_empty() { "resolved" } else { "firing" }
    }

    /// The worst of what fires, or of what is over.
    pub(crate) fn severity(&self) -> Severity {
        let list = if self.firing.is_empty() { &self.resolved } else { &self.firing };
        list.iter().map(|alert| alert.severity).max().unwrap_or(Severity::Warning)
    }

    /// One line.
    pub(crate) fn title(&self) -> String {
        match (self.firing.as_slice(), self.resolved.as_slice()) {
            ([one], []) => format!("{}: {}", word(one.severity), cut(&one.summary, TITLE)),
            ([], [one]) => format!("resolved: {}", cut(&one.summary, TITLE)),
            ([], over) => format!("{} alerts resolved", over.len()),
            (firing, []) => format!("{}: {} alerts", word(self.severity()), firing.len()),
            (firing, over) => {
                let (n, m) = (firing.len(), over.len());
                format!("{}: {n} firing, {m} resolved", word(self.severity()))
            }
        }
    }

    /// A line for each alert, plain text, and how many are left out.
    pub(crate) fn text(&self, most: usize) -> String {
        let mut text = String::new();
        for (status, alert) in self.listed(most) {
            let since = moment(alert.ended_at.unwrap_or(alert.since));
            let head = if status == "firing" { word(alert.severity) } else { "resolved" };
            let when = if status == "firing" { "since" } else { "at" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "[{head}] {} ({}, {when} {since})", alert.summary, alert.rule);
        }
        let more = self.left_out(most);
        if more > 0 {
            let _ = writeln!(text, "and more: {more}");
        }
        text
    }

    /// All of them, with `firing` or `resolved`.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &AlertView)> {
        self.listed(usize::MAX)
    }

    /// No more of each sort than so many.
    pub(crate) fn listed(&self, most: usize) -> impl Iterator<Item = (&'static str, &AlertView)> {
        let firing = self.firing.iter().take(most).map(|alert| ("firing", alert));
        firing.chain(self.resolved.iter().take(most).map(|alert| ("resolved", alert)))
    }

    /// How many a list of no more than so many leaves out.
    pub(crate) fn left_out(&self, most: usize) -> usize {
        self.firing.len().saturating_sub(most) + self.resolved.len().saturating_sub(most)
    }

    /// The alerts as JSON.
    pub(crate) fn alerts(&self, most: usize) -> Value {
        let one = |(status, alert): (&str, &AlertView)| {
            json!({
                "status": status, "rule": alert.rule, "subject": alert.subject,
                "severity": alert.severity, "summary": alert.summary,
                "since": moment(alert.since), "firedAt": alert.fired_at.map(moment),
                "endedAt": alert.ended_at.map(moment),
            })
        };
        self.listed(most).map(one).collect()
    }
}

/// The word for it.
pub(crate) fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// No more than so many bytes, whole characters.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// RFC 3339, to the second.
pub(crate) fn moment(millis: u64) -> String {
    let seconds = i64::try_from(millis / 1_000).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| String::new(), |moment| moment.to_string())
}
