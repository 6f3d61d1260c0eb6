//! A message as a mail (RFC 5322): plain text in UTF-8, marked as sent by a machine.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::bodies::Names;
use super::message::{LISTED, Message};

/// Bytes of an encoded word's text, so that it stays under 75 signs (RFC 2047).
const WORD: usize = 42;
/// Signs in a line of base64.
const COLUMNS: usize = 76;

/// The whole mail, lines ended by CR LF.
pub(crate) fn compose(
    message: &Message,
    from: &str,
    to: &[String],
    names: &Names<'_>,
    number: u64,
) -> String {
    let seconds = i64::try_from(message.at / 1_000).unwrap_or_default();
    let date = Timestamp::from_second(seconds).unwrap_or_default();
    let date = jiff::fmt::rfc2822::to_string(&date.to_zoned_datetime(TimeZone::UTC));
    let subject = subject(&format!("[lockgate {}] {}", names.instance, message.title()));
    let domain = from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let body = STANDARD.encode(message.text(LISTED).replace('\n', "\r\n"));
    let mut lines: Vec<String> = vec![
        format!("Date: {}", date.unwrap_or_default()),
        format!("From: Lockgate <{from}>"),
        format!("To: {}", to.join(",\r\n ")),
        format!("Subject: {subject}"),
        format!("Message-ID: <{:x}.{number:016x}@{domain}>", message.at),
        "Auto-Submitted: auto-generated".to_owned(),
        "MIME-Version: 1.0".to_owned(),
        "Content-Type: text/plain; charset=utf-8".to_owned(),
        "Content-Transfer-Encoding: base64".to_owned(),
        String::new(),
    ];
    let mut rest = body.as_str();
    while let Some((line, after)) = rest.split_at_checked(COLUMNS) {
        lines.push(line.to_owned());
        rest = after;
    }
    lines.push(rest.to_owned());
    lines.join("\r\n")
}

/// A subject that is plain when it can be, and encoded words when it has to be.
fn subject(text: &str) -> String {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if plain && text.len() <= 900 && !text.contains("=?") {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut word = String::new();
    for sign in text.chars().filter(|sign| !sign.is_control()).take(300) {
        if word.len() + sign.len_utf8() > WORD {
            words.push(std::mem::take(&mut word));
        }
        word.push(sign);
    }
    words.push(word);
    let encoded = words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
    encoded.collect::<Vec<_>>().join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_too_long_and_nothing_breaks_out_of_the_header() {
        let alert = crate::alerts::AlertView {
            rule: "p99".into(),
            subject: "x".into(),
            severity: lockgate_config::model::Severity::Critical,
            summary: "größer\r\nBcc: x@y\r\n.\r\n".repeat(30),
            since: 0,
            fired_at: None,
            ended_at: None,
        };
        let message = Message { at: 1_700_000_000_000, firing: vec![alert], resolved: vec![] };
        let names = Names { instance: "gw", sink: "mail" };
        let to = ["a@x".to_owned(), "b@x".to_owned()];
        let mail = compose(&message, "gw@example.com", &to, &names, 7);
        assert!(mail.split("\r\n").all(|line| line.len() <= 78), "{mail}");
        assert!(mail.contains("\r\nDate: Tue, 14 Nov 2023") || mail.starts_with("Date: Tue, 14"));
        let (head, body) = mail.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("Bcc:"), "{head}");
        let text = STANDARD.decode(body.replace("\r\n", "")).unwrap();
        assert!(String::from_utf8(text).unwrap().starts_with("[critical] größer"));
        assert_eq!(subject("plain"), "plain");
    }
}
