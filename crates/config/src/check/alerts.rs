//! Alerts: whether each sink can be told as it is described.

use serde_json::Value;

use super::Findings;
use crate::decode::suggest;
use crate::model::{AlertSink, Document, RULES, TEMPLATE_WORDS, template_words};

/// Most sinks.
const MAX_SINKS: usize = 32;
/// Most people in one mail.
const MAX_TO: usize = 50;

pub(super) fn check(document: &Document, findings: &mut Findings<'_>) {
    if document.alerts.sinks.len() > MAX_SINKS {
        findings.error(&["alerts"], format!("more than {MAX_SINKS} sinks"));
    }
    for (name, sink) in &document.alerts.sinks {
        if let Err((below, message)) = sink.way() {
            let path: Vec<&str> =
                ["alerts", name.as_str()].into_iter().chain(below.iter().copied()).collect();
            // An address with a secret may stand in the line.
            findings.error(&path, message).hidden = true;
        }
        for word in &sink.only {
            if !RULES.contains(&word.as_str()) {
                let message = format!("there is no rule `{word}`");
                let path = ["alerts", name, "only"];
                findings.error(&path, message).help = Some(suggest(word, &RULES));
            }
        }
        body(name, sink, findings);
        let mail = sink.email.as_ref();
        if mail.is_some_and(|mail| mail.to.len() > MAX_TO) {
            findings.error(&["alerts", name, "email", "to"], format!("more than {MAX_TO}"));
        }
        findings.file(&["alerts", name, "ca"], sink.ca.as_deref());
        findings.file(&["alerts", name, "email", "ca"], mail.and_then(|mail| mail.ca.as_deref()));
    }
}

/// The words of a body of one's own.
fn body(name: &str, sink: &AlertSink, findings: &mut Findings<'_>) {
    fn each(value: &Value, unknown: &mut Vec<String>) {
        match value {
            Value::String(text) => {
                let words = template_words(text);
                unknown.extend(words.filter(|word| !TEMPLATE_WORDS.contains(word)).map(Into::into));
            }
            Value::Array(items) => items.iter().for_each(|item| each(item, unknown)),
            Value::Object(map) => map.values().for_each(|value| each(value, unknown)),
            _ => {}
        }
    }
    let mut unknown = Vec::new();
    sink.body.iter().for_each(|body| each(body, &mut unknown));
    for word in unknown {
        let message = format!("`{{{{{word}}}}}` stands for nothing");
        let path = ["alerts", name, "body"];
        findings.error(&path, message).help = Some(suggest(&word, &TEMPLATE_WORDS));
    }
}
