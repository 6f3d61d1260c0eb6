//! How sinks are told: by webhook, mail or program, tried again until it arrives or nobody waits
//! for it any more.

pub(crate) mod bodies;
mod command;
mod mail;
pub(crate) mod message;
pub(crate) mod outbox;
mod smtp;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
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

use crate::alerts::Id;
use bodies::{Names, Told};
pub use command::Spawn;
use message::{LISTED, Message};

/// Between two tries: twice as long each time, from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);
/// Tries of one request: they take about an hour.
const TRIES: u32 = 64;
/// So many requests refused one after the other are not about what is in them: the rest of the
/// message is given up.
const REFUSED: usize = 20;
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
    /// Whether it may be for what this request has in it: another may be taken.
    is_content: bool,
}

impl Fail {
    fn later(why: String) -> Self {
        Self { why, is_final: false, is_reply: false, is_content: false }
    }

    fn never(why: String) -> Self {
        Self { why, is_final: true, is_reply: false, is_content: false }
    }
}

/// What a delivery needs of the gateway.
pub(crate) struct Post<'a> {
    pub(crate) outbound: &'a Arc<dyn Outbound>,
    pub(crate) spawn: &'a Spawn,
    /// This gateway's name.
    pub(crate) instance: &'a str,
    /// Milliseconds since 1970.
    pub(crate) now: &'a (dyn Fn() -> u64 + Sync),
    /// Hears of every failure.
    pub(crate) failed: &'a (dyn Fn(&Fail) + Sync),
}

/// How it went with one request.
enum End {
    Arrived,
    /// Another may be taken.
    Refused,
    GivenUp,
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

    /// Tells of every alert, one request after the other, each tried until it has arrived or
    /// nothing helps. What has not arrived is returned.
    pub(crate) async fn deliver(&self, post: &Post<'_>, message: &Message) -> BTreeSet<Id> {
        let all: Vec<Told<'_>> = message.all().collect();
        let share = match &self.how {
            How::Webhook(webhook) => bodies::share(webhook.kind),
            How::Mail { .. } | How::Command { .. } => usize::MAX,
        };
        let (mut lost, mut refused) = (BTreeSet::new(), 0);
        for part in all.chunks(share) {
            let end = match refused {
                0..REFUSED => self.tell(post, message, part).await,
                _ => End::GivenUp,
            };
            refused = match end {
                End::Arrived => 0,
                End::Refused => refused + 1,
                End::GivenUp => REFUSED,
            };
            if !matches!(end, End::Arrived) {
                let ids = part.iter().map(|(_, one)| Id::new(&one.rule, one.subject.as_str()));
                lost.extend(ids);
            }
        }
        lost
    }

    /// One request, or one mail, or one start of a program.
    async fn tell(&self, post: &Post<'_>, message: &Message, part: &[Told<'_>]) -> End {
        let mut pause = FIRST_PAUSE;
        for _ in 0..TRIES {
            let tried = timeout(self.timeout, self.attempt(post, message, part)).await;
            let late = || Err(Fail::later(format!("no answer within {:?}", self.timeout)));
            match tried.unwrap_or_else(|_| late()) {
                Ok(()) => return End::Arrived,
                Err(fail) => {
                    (post.failed)(&fail);
                    if fail.is_final {
                        return if fail.is_content { End::Refused } else { End::GivenUp };
                    }
                }
            }
            // Many gateways shall not all come back at once.
            tokio::time::sleep(pause.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
        End::GivenUp
    }

    async fn attempt(
        &self,
        post: &Post<'_>,
        message: &Message,
        part: &[Told<'_>],
    ) -> Result<(), Fail> {
        let names = Names { instance: post.instance, sink: &self.name };
        match &self.how {
            How::Webhook(webhook) => {
                let body = webhook.body(message, part, &names, (post.now)());
                webhook.send(post.outbound, &body, self.timeout).await
            }
            How::Mail { server, from, to } => {
                let number = fastrand::u64(..);
                let text = mail::compose(message, from, to, &names, number);
                smtp::send(server, &smtp::Mail { from, to, message: &text }, post.instance).await
            }
            How::Command { command, directory } => {
                let (command, directory) = (command.clone(), directory.clone());
                let text = fitting(message, &names, command::MOST);
                let (spawn, limit) = (Arc::clone(post.spawn), self.timeout);
                let work = move || command::run(&command, &spawn, &directory, &text, limit);
                let done = tokio::task::spawn_blocking(work).await;
                done.unwrap_or_else(|_| Err(Fail::later("a bug: its start panicked".to_owned())))
            }
        }
    }
}

/// Lockgate's own body, with as many alerts as so many bytes have room for.
fn fitting(message: &Message, names: &Names<'_>, bytes: usize) -> String {
    let mut most = LISTED;
    loop {
        let text = bodies::own(message, names, most).to_string();
        if text.len() <= bytes || most == 0 {
            return text;
        }
        most /= 2;
    }
}

impl Webhook {
    fn body(&self, message: &Message, part: &[Told<'_>], names: &Names<'_>, now: u64) -> Value {
        match (self.kind, part) {
            (SinkKind::Alertmanager, _) => bodies::alertmanager(part, names, now),
            (SinkKind::Pagerduty, [one, ..]) => bodies::pager(&self.key, *one, names),
            (kind, _) => bodies::whole(kind, self.body.as_ref(), message, names),
        }
    }

    async fn send(
        &self,
        outbound: &Arc<dyn Outbound>,
        body: &Value,
        timeout: Duration,
    ) -> Result<(), Fail> {
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
        judge(status.status())
    }
}

/// What an answer's status says.
fn judge(status: StatusCode) -> Result<(), Fail> {
    if status.is_success() {
        return Ok(());
    }
    let why = format!("it was answered {}", status.as_u16());
    Err(match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Fail::later(why),
        status if status.is_server_error() => Fail::later(why),
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Fail { is_content: true, ..Fail::never(why) },
        _ => Fail::never(why),
    })
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
