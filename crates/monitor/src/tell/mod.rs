//! How sinks are told: by webhook, mail or program, tried again until it arrives or nobody waits
//! for it any more.

pub(crate) mod bodies;
mod command;
mod mail;
pub(crate) mod message;
pub(crate) mod outbox;
mod smtp;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use lockgate_config::model::{AlertSink, Email, MailTls, SinkKind, UpstreamTls, Way};
use lockgate_core::{Call, Destination, Outbound};
use lockgate_net::tls::ClientTls;
use serde_json::Value;
use tokio::time::timeout;

use bodies::Names;
use message::Message;

/// Between two tries: twice as long each time, from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);
/// Tries: they take about an hour.
const TRIES: u32 = 64;
/// Most bytes of a receiver's answer: nobody reads it.
const ANSWER: usize = 64 << 10;

/// Why a try failed, without what is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fail {
    pub(crate) why: String,
    /// Whether trying again is useless.
    pub(crate) is_final: bool,
    /// Whether it is what a mail server answered.
    is_reply: bool,
}

impl Fail {
    fn later(why: String) -> Self {
        Self { why, is_final: false, is_reply: false }
    }

    fn never(why: String) -> Self {
        Self { why, is_final: true, is_reply: false }
    }
}

/// A sink made ready: its files are read.
pub(crate) struct Receiver {
    name: String,
    timeout: Duration,
    how: How,
}

enum How {
    Webhook(Box<Webhook>),
    Mail { server: Box<smtp::Server>, from: String, to: Vec<String> },
    Command { command: Vec<String>, directory: PathBuf },
}

struct Webhook {
    url: String,
    kind: SinkKind,
    key: String,
    token: Option<HeaderValue>,
    body: Option<Value>,
    ca: Option<Bytes>,
}

impl Receiver {
    /// Of a sink's settings. `directory` is where programs are started.
    ///
    /// # Errors
    /// What keeps it from being told.
    pub(crate) fn new(name: &str, sink: &AlertSink, directory: &Path) -> Result<Self, String> {
        let how = match sink.way().map_err(|(_, why)| why)? {
            Way::Webhook(url) => How::Webhook(Box::new(webhook(url, sink)?)),
            Way::Email(email) => mail(email)?,
            Way::Command(command) => {
                // The directory of a file that is named without one.
                let here = directory.as_os_str().is_empty();
                let directory = if here { Path::new(".") } else { directory };
                How::Command { command: command.to_vec(), directory: directory.to_owned() }
            }
        };
        Ok(Self { name: name.to_owned(), timeout: sink.timeout.0, how })
    }

    /// The word for how it is told.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.how {
            How::Webhook(webhook) => match webhook.kind {
                SinkKind::Json => "json",
                SinkKind::Slack => "slack",
                SinkKind::Pagerduty => "pagerduty",
                SinkKind::Alertmanager => "alertmanager",
            },
            How::Mail { .. } => "email",
            How::Command { .. } => "command",
        }
    }

    /// Whether it forgets what it is not told again.
    pub(crate) fn forgets(&self) -> bool {
        matches!(&self.how, How::Webhook(webhook) if webhook.kind == SinkKind::Alertmanager)
    }

    /// Tries until the message has arrived or nothing helps; `failed` hears of every failure.
    pub(crate) async fn deliver(
        &self,
        outbound: &Arc<dyn Outbound>,
        message: &Message,
        instance: &str,
        failed: &(dyn Fn(&Fail) + Sync),
    ) -> bool {
        let mut pause = FIRST_PAUSE;
        for _ in 0..TRIES {
            let tried = timeout(self.timeout, self.attempt(outbound, message, instance)).await;
            let late = || Err(Fail::later(format!("no answer within {:?}", self.timeout)));
            match tried.unwrap_or_else(|_| late()) {
                Ok(()) => return true,
                Err(fail) => {
                    failed(&fail);
                    if fail.is_final {
                        return false;
                    }
                }
            }
            // Many gateways shall not all come back at once.
            tokio::time::sleep(pause.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
        false
    }

    async fn attempt(
        &self,
        outbound: &Arc<dyn Outbound>,
        message: &Message,
        instance: &str,
    ) -> Result<(), Fail> {
        let names = Names { instance, sink: &self.name };
        match &self.how {
            How::Webhook(webhook) => webhook.send(outbound, message, &names, self.timeout).await,
            How::Mail { server, from, to } => {
                let number = fastrand::u64(..);
                let text = mail::compose(message, from, to, &names, number);
                smtp::send(server, &smtp::Mail { from, to, message: &text }, instance).await
            }
            How::Command { command, directory } => {
                let (command, directory) = (command.clone(), directory.clone());
                let text = bodies::own(message, &names).to_string();
                let limit = self.timeout;
                let work = move || command::run(&command, &directory, &text, limit);
                let done = tokio::task::spawn_blocking(work).await;
                done.unwrap_or_else(|_| Err(Fail::later("a bug: its start panicked".to_owned())))
            }
        }
    }
}

impl Webhook {
    async fn send(
        &self,
        outbound: &Arc<dyn Outbound>,
        message: &Message,
        names: &Names<'_>,
        timeout: Duration,
    ) -> Result<(), Fail> {
        for body in bodies::bodies(self.kind, self.body.as_ref(), &self.key, message, names) {
            let mut request = Request::post(self.url.as_str())
                .header(header::CONTENT_TYPE, "application/json")
                .body(Bytes::from(body.to_string()))
                .map_err(|_| Fail::never("its `url` is no address".to_owned()))?;
            if let Some(token) = &self.token {
                request.headers_mut().insert(header::AUTHORIZATION, token.clone());
            }
            let to = Destination::Url { ca: self.ca.clone() };
            let call = Call { request, to, timeout, max_body: ANSWER };
            // The story of a fault may tell the address, which is a secret: its reason does not.
            let answer = outbound.send(call).await;
            let status = answer.map_err(|fault| Fail::later(fault.reason().code.to_owned()))?;
            let status = status.status();
            if !status.is_success() {
                let why = format!("it was answered {}", status.as_u16());
                let again = status.is_server_error()
                    || matches!(
                        status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                    );
                return Err(if again { Fail::later(why) } else { Fail::never(why) });
            }
        }
        Ok(())
    }
}

fn webhook(url: &str, sink: &AlertSink) -> Result<Webhook, String> {
    let mut url = url.to_owned();
    if sink.kind == SinkKind::Alertmanager {
        let path = url.parse::<http::Uri>().map(|uri| uri.path().to_owned()).unwrap_or_default();
        if matches!(path.as_str(), "" | "/") {
            url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
        }
    }
    let token = sink.token.as_ref().map(|token| {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"));
        value.iter_mut().for_each(|value| value.set_sensitive(true));
        value.map_err(|_| "its `token` cannot stand in a header".to_owned())
    });
    let ca = sink.ca.as_ref().map(|path| {
        let read = std::fs::read(path).map(Bytes::from);
        read.map_err(|error| format!("{}: {error}", path.display()))
    });
    Ok(Webhook {
        url,
        kind: sink.kind,
        key: sink.key.clone().unwrap_or_default(),
        token: token.transpose()?,
        body: sink.body.clone(),
        ca: ca.transpose()?,
    })
}

fn mail(email: &Email) -> Result<How, String> {
    let (host, port) = email.server_parts().ok_or("its `email.server` is no server")?;
    let tls = match email.tls {
        MailTls::Off => None,
        MailTls::Starttls | MailTls::Implicit => {
            let settings = UpstreamTls { ca: email.ca.clone(), ..UpstreamTls::default() };
            Some(ClientTls::load_bare(&settings).map_err(|error| error.to_string())?)
        }
    };
    let server = smtp::Server {
        host: host.to_owned(),
        port,
        security: email.tls,
        tls,
        login: email.user.clone().zip(email.password.clone()),
    };
    let (from, to) = (email.from.clone(), email.to.clone());
    Ok(How::Mail { server: Box::new(server), from, to })
}
