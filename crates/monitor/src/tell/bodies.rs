//! The bodies of webhooks: Lockgate's own, one that the configuration gives, and those that Slack,
//! PagerDuty and Alertmanager take.

use lockgate_config::model::{Severity, SinkKind};
use serde_json::{Map, Value, json};

use super::message::{LISTED, Message, cut, moment, word};
use crate::alerts::AlertView;

/// How long an Alertmanager holds an alert that it is not told of again, in milliseconds.
const HELD: u64 = 300_000;
/// Alerts that an Alertmanager is told of at once.
const CHUNK: usize = 100;
/// What PagerDuty takes of a summary, and of a key.
const PAGER_SUMMARY: usize = 1_024;
const PAGER_KEY: usize = 255;

/// Who speaks to whom.
pub(crate) struct Names<'a> {
    /// This gateway.
    pub(crate) instance: &'a str,
    /// The sink.
    pub(crate) sink: &'a str,
}

/// An alert, with `firing` or `resolved`.
pub(crate) type Told<'a> = (&'static str, &'a AlertView);

/// How many alerts one request tells of; the message is as many requests as that takes.
pub(crate) fn share(kind: SinkKind) -> usize {
    match kind {
        SinkKind::Json | SinkKind::Slack => usize::MAX,
        SinkKind::Pagerduty => 1,
        SinkKind::Alertmanager => CHUNK,
    }
}

/// The body of a request to a sink that is told of a whole message at once.
pub(crate) fn whole(
    kind: SinkKind,
    template: Option<&Value>,
    message: &Message,
    names: &Names<'_>,
) -> Value {
    match (kind, template) {
        (SinkKind::Slack, _) => slack(message, names),
        (_, Some(template)) => filled(template, &words(message, names)),
        (_, None) => own(message, names, LISTED),
    }
}

/// What a message is to a program: also the usual body of a webhook. Of each sort no more alerts
/// are listed than so many.
pub(crate) fn own(message: &Message, names: &Names<'_>, most: usize) -> Value {
    json!({
        "version": 1,
        "status": message.status(),
        "severity": message.severity(),
        "title": message.title(),
        "text": message.text(most),
        "instance": names.instance,
        "sink": names.sink,
        "at": moment(message.at),
        "count": message.firing.len() + message.resolved.len(),
        "alerts": message.alerts(most),
        "leftOut": message.left_out(most),
    })
}

/// What the words of a template stand for.
fn words(message: &Message, names: &Names<'_>) -> Map<String, Value> {
    let mut words = match own(message, names, LISTED) {
        Value::Object(words) => words,
        _ => Map::new(),
    };
    let listed = message.listed(LISTED).map(|(_, alert)| alert.summary.as_str());
    words.insert("summary".to_owned(), listed.collect::<Vec<_>>().join("; ").into());
    let mut rules: Vec<&str> =
        message.listed(LISTED).map(|(_, alert)| alert.rule.as_str()).collect();
    rules.dedup();
    words.insert("group".to_owned(), rules.join(",").into());
    words
}

/// A template with its words filled in.
fn filled(template: &Value, words: &Map<String, Value>) -> Value {
    match template {
        Value::String(text) => text_filled(text, words),
        Value::Array(items) => items.iter().map(|item| filled(item, words)).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), filled(value, words))).collect()
        }
        other => other.clone(),
    }
}

fn text_filled(text: &str, words: &Map<String, Value>) -> Value {
    let whole = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    if let Some(word) = whole.filter(|word| !word.contains("{{"))
        && let Some(value) = words.get(word.trim())
    {
        return value.clone();
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((word, after)) = after.split_once("}}") else {
            out.push_str("{{");
            rest = after;
            continue;
        };
        match words.get(word.trim()) {
            Some(Value::String(value)) => out.push_str(value),
            Some(value) => out.push_str(&value.to_string()),
            None => {}
        }
        rest = after;
    }
    out.push_str(rest);
    out.into()
}

/// An incoming webhook's message.
fn slack(message: &Message, names: &Names<'_>) -> Value {
    let colour = match (message.status(), message.severity()) {
        ("resolved", _) => "#2eb67d",
        (_, Severity::Critical) => "#e01e5a",
        _ => "#ecb22e",
    };
    json!({
        "text": escaped(&format!("{} ({})", message.title(), names.instance)),
        "attachments": [{ "color": colour, "text": escaped(&message.text(LISTED)) }],
    })
}

/// The three signs that Slack gives a meaning.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// An event about one alert: PagerDuty puts together what has the same key.
pub(crate) fn pager(key: &str, (status, alert): Told<'_>, names: &Names<'_>) -> Value {
    let action = if status == "firing" { "trigger" } else { "resolve" };
    let name = format!("lockgate/{}/{}/{}", names.instance, alert.rule, alert.subject);
    json!({
        "routing_key": key,
        "event_action": action,
        "dedup_key": cut(&name, PAGER_KEY),
        "client": "Lockgate",
        "payload": {
            "summary": cut(&alert.summary, PAGER_SUMMARY),
            "source": names.instance,
            "severity": word(alert.severity),
            "component": alert.subject,
            "class": alert.rule,
            "timestamp": moment(alert.since),
        },
    })
}

/// `POST /api/v2/alerts`. What fires is held for five minutes from now, and told again before.
pub(crate) fn alertmanager(part: &[Told<'_>], names: &Names<'_>, now: u64) -> Value {
    let one = |(_, alert): &Told<'_>| {
        let ends = alert.ended_at.unwrap_or(now + HELD);
        json!({
            "labels": {
                "alertname": format!("Lockgate_{}", alert.rule),
                "rule": alert.rule,
                "subject": alert.subject,
                "severity": alert.severity,
                "instance": names.instance,
            },
            "annotations": { "summary": alert.summary },
            "startsAt": moment(alert.since),
            "endsAt": moment(ends),
        })
    };
    part.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(severity: Severity, ended: Option<u64>) -> AlertView {
        AlertView {
            rule: "endpoint_down".into(),
            subject: "orders/10.0.0.1:80".into(),
            severity,
            summary: "<10.0.0.1:80> & more".into(),
            since: 1_000,
            fired_at: Some(2_000),
            ended_at: ended,
        }
    }

    fn message() -> Message {
        Message {
            at: 60_000,
            firing: vec![alert(Severity::Critical, None)],
            resolved: vec![alert(Severity::Warning, Some(3_000))],
        }
    }

    const NAMES: Names<'_> = Names { instance: "gw-1", sink: "oncall" };

    #[test]
    fn a_template_takes_words_and_whole_values() {
        let template = json!({
            "a": "{{status}}: {{ count }} of {{instance}}", "b": ["{{alerts}}", 7, null],
            "c": { "d": "{{ count }}" }, "e": "{{ open", "f": "{{severity}} {{title}}",
        });
        let body = filled(&template, &words(&message(), &NAMES));
        assert_eq!(body["a"], "firing: 2 of gw-1");
        assert_eq!(body["b"][0][1]["status"], "resolved");
        assert_eq!((&body["c"]["d"], &body["e"]), (&json!(2), &json!("{{ open")));
        assert_eq!(body["f"], "critical critical: 1 firing, 1 resolved");
    }

    #[test]
    fn every_word_that_the_configuration_takes_stands_for_something() {
        let words = words(&message(), &NAMES);
        for word in lockgate_config::model::TEMPLATE_WORDS {
            assert!(words.contains_key(word), "{word}");
        }
    }

    #[test]
    fn others_get_what_they_take() {
        let slack = slack(&message(), &NAMES);
        assert!(
            slack["attachments"][0]["text"].as_str().unwrap().contains("&lt;10.0.0.1:80&gt; &amp;")
        );
        let message = message();
        let all: Vec<_> = message.all().collect();
        let pager: Vec<_> = all.iter().map(|one| pager("k", *one, &NAMES)).collect();
        assert_eq!(pager[0]["event_action"], "trigger");
        assert_eq!(pager[1]["event_action"], "resolve");
        assert_eq!(pager[0]["dedup_key"], pager[1]["dedup_key"]);
        assert_eq!(pager[0]["payload"]["timestamp"], "1970-01-01T00:00:01Z");
        let alerts = alertmanager(&all, &NAMES, 60_000);
        assert_eq!(alerts[0]["endsAt"], "1970-01-01T00:06:00Z");
        assert_eq!(alerts[1]["endsAt"], "1970-01-01T00:00:03Z");
        assert_eq!(cut("grün", 3), "gr");
    }
}
