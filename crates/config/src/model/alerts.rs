//! `alerts`: who is told when a service goes down or the gateway is in trouble, by which rules,
//! and when not at night. Secrets of a sink are never printed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use lockgate_core::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Quiet, Rules};
use crate::decode::forms;

/// Who is told, by which rules. Every key but these four is a sink's name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alerts {
    /// When an alert fires.
    pub rules: Rules,
    /// How long the first alert of a group waits for others (10s).
    pub group_wait: Time,
    /// When what still fires is told of again (4h; 0s: never).
    pub repeat_after: Time,
    /// When only critical alerts are told, such as `22:00-07:00 Europe/Berlin`.
    pub quiet: Option<Quiet>,
    /// Name → who is told.
    #[serde(flatten)]
    pub sinks: IndexMap<String, AlertSink>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            group_wait: Time(Duration::from_secs(10)),
            repeat_after: Time(Duration::from_secs(4 * 3600)),
            quiet: None,
            sinks: IndexMap::new(),
        }
    }
}

/// One who is told: a webhook (`url`), people (`email`) or a program (`command`).
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AlertSink {
    /// Where a webhook is sent to: `http` or `https`. It is a secret, as most such addresses are.
    #[serde(skip_serializing)]
    pub url: Option<String>,
    /// The shape of the webhook's body.
    pub kind: SinkKind,
    /// For `pagerduty`: the integration's routing key.
    #[serde(skip_serializing)]
    pub key: Option<String>,
    /// A bearer token for the webhook.
    #[serde(skip_serializing)]
    pub token: Option<String>,
    /// For `json`: the body instead of the usual one. `{{summary}}` and the like stand for parts
    /// of the message; a text that is nothing but such a word becomes its JSON value.
    #[serde(skip_serializing)]
    pub body: Option<Value>,
    /// The authorities to trust instead of the system's, PEM.
    #[serde(deserialize_with = "forms::maybe_path")]
    pub ca: Option<PathBuf>,
    /// Mail, by a server that speaks SMTP.
    pub email: Option<Email>,
    /// A program and its arguments, without a shell. It gets the message as JSON on its standard
    /// input.
    #[serde(deserialize_with = "forms::words", skip_serializing)]
    pub command: Vec<String>,
    /// How long one try may take (10s).
    pub timeout: Time,
    /// Only these rules; all unless said.
    #[serde(deserialize_with = "forms::words")]
    pub only: Vec<String>,
    /// The least that is told: `warning` or `critical`.
    pub severity: Severity,
    /// Instead of the quiet hours of all sinks; `off`: none.
    #[serde(deserialize_with = "forms::own_quiet", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Quiet>")]
    pub quiet: Option<Option<Quiet>>,
    /// Whether it is told when an alert is over (true).
    pub resolved: bool,
}

impl Default for AlertSink {
    fn default() -> Self {
        Self {
            url: None,
            kind: SinkKind::Json,
            key: None,
            token: None,
            body: None,
            ca: None,
            email: None,
            command: Vec::new(),
            timeout: Time(Duration::from_secs(10)),
            only: Vec::new(),
            severity: Severity::Warning,
            quiet: None,
            resolved: true,
        }
    }
}

impl fmt::Debug for AlertSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: bool| secret.then_some("hidden");
        f.debug_struct("AlertSink")
            .field("url", &hidden(self.url.is_some()))
            .field("kind", &self.kind)
            .field("key", &hidden(self.key.is_some()))
            .field("token", &hidden(self.token.is_some()))
            .field("body", &hidden(self.body.is_some()))
            .field("ca", &self.ca)
            .field("email", &self.email)
            .field("command", &self.command.first())
            .field("timeout", &self.timeout)
            .field("only", &self.only)
            .field("severity", &self.severity)
            .field("quiet", &self.quiet)
            .field("resolved", &self.resolved)
            .finish()
    }
}

/// What a body of one's own may have in it, as `{{word}}`.
pub const TEMPLATE_WORDS: [&str; 11] = [
    "title", "summary", "text", "status", "severity", "group", "count", "alerts", "instance", "at",
    "sink",
];

/// The words of a template, in the order in which they stand there.
pub fn template_words(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split("{{").skip(1);
    parts.filter_map(|part| part.split_once("}}").map(|(word, _)| word.trim()))
}

/// How a sink is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way<'a> {
    Webhook(&'a str),
    Email(&'a Email),
    Command(&'a [String]),
}

/// What is wrong with a sink: the keys below it, and the message.
pub type WrongSink = (&'static [&'static str], String);

/// Where PagerDuty takes events.
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

impl AlertSink {
    /// How it is told.
    ///
    /// # Errors
    /// What keeps it from being told.
    pub fn way(&self) -> Result<Way<'_>, WrongSink> {
        let is_pager = self.kind == SinkKind::Pagerduty;
        let webhook = self.url.as_deref().or(is_pager.then_some(PAGERDUTY));
        let way = match (webhook, &self.email, self.command.as_slice()) {
            (Some(url), None, []) => Way::Webhook(url),
            (None, Some(email), []) => Way::Email(email),
            (None, None, command @ [_, ..]) => Way::Command(command),
            (None, None, []) => {
                return Err((&[], "who is told? Say `url`, `email` or `command`".to_owned()));
            }
            _ => {
                let message = "one of `url`, `email` and `command`; another sink for another way";
                return Err((&[], message.to_owned()));
            }
        };
        match way {
            Way::Webhook(url) => self.check_webhook(url)?,
            Way::Email(email) => email.check()?,
            Way::Command(command) => {
                if command.first().is_none_or(|program| program.is_empty()) {
                    return Err((&["command"], "a program's name cannot be empty".to_owned()));
                }
            }
        }
        Ok(way)
    }

    fn check_webhook(&self, url: &str) -> Result<(), WrongSink> {
        let known = url.parse::<http::Uri>().is_ok_and(|url| {
            matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some()
        });
        if !known {
            let expected = "expected an address such as `https://hooks.example.com/x`";
            return Err((&["url"], expected.to_owned()));
        }
        if self.kind == SinkKind::Pagerduty && self.key.is_none() {
            let message = "`pagerduty` needs its routing `key`: `${env:NAME}` or `${file:path}`";
            return Err((&[], message.to_owned()));
        }
        if self.kind != SinkKind::Pagerduty && self.key.is_some() {
            return Err((&["key"], "only `kind: pagerduty` has a `key`".to_owned()));
        }
        if self.kind != SinkKind::Json && self.body.is_some() {
            return Err((&["body"], "only `kind: json` has a `body` of one's own".to_owned()));
        }
        if self.token.as_deref().is_some_and(|token| !is_visible(token)) {
            return Err((&["token"], "a token is a word without spaces".to_owned()));
        }
        Ok(())
    }
}

impl Email {
    fn check(&self) -> Result<(), WrongSink> {
        if self.server_parts().is_none() {
            let message = "expected a mail server such as `smtp.example.com:587`";
            return Err((&["email", "server"], message.to_owned()));
        }
        if !is_address(&self.from) {
            let message = "expected the sender's address, such as `gateway@example.com`";
            return Err((&["email", "from"], message.to_owned()));
        }
        if self.to.is_empty() || !self.to.iter().all(|to| is_address(to)) {
            let message = "expected addresses such as `ops@example.com`";
            return Err((&["email", "to"], message.to_owned()));
        }
        if self.user.is_some() != self.password.is_some() {
            let message = "`user` and `password` go together: one of them is missing";
            return Err((&["email"], message.to_owned()));
        }
        if self.tls == MailTls::Off && self.user.is_some() {
            let message = "a password is not sent without TLS: `tls: starttls`, or `implicit`";
            return Err((&["email", "tls"], message.to_owned()));
        }
        Ok(())
    }

    /// Host and port.
    pub fn server_parts(&self) -> Option<(&str, u16)> {
        let usual = if self.tls == MailTls::Implicit { 465 } else { 587 };
        let (host, port) = match self.server.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, rest.strip_prefix(':').or(rest.is_empty().then_some(""))?)
            }
            None => self.server.rsplit_once(':').unwrap_or((&self.server, "")),
        };
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
        let named = !host.is_empty() && host.len() <= 253 && host.bytes().all(good);
        let port = if port.is_empty() { Some(usual) } else { port.parse().ok() };
        Some((named.then_some(host)?, port.filter(|port| *port != 0)?))
    }
}

/// What goes through every mail server: a plain address, with nothing that could end a command.
fn is_address(text: &str) -> bool {
    let Some((name, host)) = text.rsplit_once('@') else { return false };
    let good = |b: u8| b.is_ascii_graphic() && !b"<>()[],;:\\\"@".contains(&b);
    let part = |part: &str| !part.is_empty() && part.bytes().all(good);
    text.len() <= 254 && part(name) && part(host)
}

fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The shape of a webhook's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkKind {
    /// Lockgate's own, or `body`.
    Json,
    /// What Slack's incoming webhooks take, and those that are compatible with them.
    Slack,
    /// PagerDuty's Events API, version 2.
    Pagerduty,
    /// The alerts of a Prometheus Alertmanager (API version 2).
    Alertmanager,
}

/// How bad it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Warning,
    Critical,
}

/// Mail by SMTP.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Email {
    /// `host:port`; the port is 587 unless said, or 465 with `tls: implicit`.
    pub server: String,
    /// How the connection is secured. The server's certificate is always verified.
    pub tls: MailTls,
    /// The authorities to trust instead of the system's, PEM.
    #[serde(deserialize_with = "forms::maybe_path")]
    pub ca: Option<PathBuf>,
    /// The sender's address.
    pub from: String,
    /// Who gets it.
    #[serde(deserialize_with = "forms::words")]
    pub to: Vec<String>,
    /// The name to log in with.
    pub user: Option<String>,
    /// The password to log in with.
    #[serde(skip_serializing)]
    pub password: Option<String>,
}

/// How a connection to a mail server is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// Plain first, TLS before anything is said (the usual way on port 587).
    Starttls,
    /// TLS from the first byte (port 465).
    Implicit,
    /// Never: for a server on this machine.
    Off,
}

impl Default for Email {
    fn default() -> Self {
        Self {
            server: String::new(),
            tls: MailTls::Starttls,
            ca: None,
            from: String::new(),
            to: Vec::new(),
            user: None,
            password: None,
        }
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Email")
            .field("server", &self.server)
            .field("tls", &self.tls)
            .field("ca", &self.ca)
            .field("from", &self.from)
            .field("to", &self.to)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "hidden"))
            .finish()
    }
}
