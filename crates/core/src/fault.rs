//! A fault: why a request could not be served, whose doing it was, and whether to try again.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{Kind, Reason};

/// Who caused a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The client: a bad request, missing credentials, gone away.
    Client,
    /// The gateway: its configuration, its limits, a bug.
    Gateway,
    /// The upstream: refused, late, broken.
    Upstream,
}

/// Whether the same request may be sent once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resend {
    /// Nothing of it reached an upstream: always safe.
    Safe,
    /// It may have been acted on: only when it is idempotent.
    IfIdempotent,
    /// Never.
    No,
}

/// A refusal or failure on its way to becoming an answer. `detail` and `source` are for logs
/// alone; what a client sees comes from the reason and its kind.
pub struct Fault(Box<Inner>);

struct Inner {
    reason: &'static Reason,
    blame: Blame,
    resend: Resend,
    detail: Option<Cow<'static, str>>,
    source: Option<Box<dyn Error + Send + Sync>>,
    retry_after: Option<Duration>,
    headers: HeaderMap,
    status: Option<StatusCode>,
    page: Option<(HeaderValue, Bytes)>,
}

impl Fault {
    /// A fault of the client.
    pub fn client(reason: &'static Reason) -> Self {
        Self::new(reason, Blame::Client)
    }

    /// A fault of the gateway itself.
    pub fn gateway(reason: &'static Reason) -> Self {
        Self::new(reason, Blame::Gateway)
    }

    /// A fault of the upstream.
    pub fn upstream(reason: &'static Reason) -> Self {
        Self::new(reason, Blame::Upstream)
    }

    fn new(reason: &'static Reason, blame: Blame) -> Self {
        Self(Box::new(Inner {
            reason,
            blame,
            resend: Resend::No,
            detail: None,
            source: None,
            retry_after: None,
            headers: HeaderMap::new(),
            status: None,
            page: None,
        }))
    }

    /// Says whether the request may be sent again. A new fault says [`Resend::No`].
    #[must_use]
    pub fn resend(mut self, resend: Resend) -> Self {
        self.0.resend = resend;
        self
    }

    /// Adds what a log reader needs. Never shown to a client; must bear no secret.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds the error beneath. Never shown to a client.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds `Retry-After`, in whole seconds rounded up, at least one.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Adds a header that the answer must bear, such as `Allow` or `WWW-Authenticate`.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.append(name, value);
        self
    }

    /// Answers with another status than the kind's: for what the configuration asks for.
    #[must_use]
    pub fn answered_with(mut self, status: StatusCode) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Answers with a body of the configuration's own, of this type.
    #[must_use]
    pub fn page(mut self, kind: HeaderValue, text: Bytes) -> Self {
        self.0.page = Some((kind, text));
        self
    }

    /// The cause's name.
    pub fn reason(&self) -> &'static Reason {
        self.0.reason
    }

    /// The row of the error table.
    pub fn kind(&self) -> Kind {
        self.0.reason.kind
    }

    /// Whose doing it was.
    pub fn blame(&self) -> Blame {
        self.0.blame
    }

    /// Whether the request may be sent again.
    pub fn may_resend(&self) -> Resend {
        self.0.resend
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.0.status.unwrap_or_else(|| self.kind().status())
    }

    /// The body of the answer and its type, if it is the configuration's own.
    pub fn own_page(&self) -> Option<&(HeaderValue, Bytes)> {
        self.0.page.as_ref()
    }

    /// How long the client should wait, if said.
    pub fn wait(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The headers that the answer must bear.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// What happened, for the log: the detail and the chain of sources, on one line.
    pub fn story(&self) -> String {
        let mut story = self.0.detail.as_deref().unwrap_or_default().to_owned();
        let mut next = self.0.source.as_deref().map(|e| e as &dyn Error);
        while let Some(error) = next {
            if !story.is_empty() {
                story.push_str(": ");
            }
            story.push_str(&error.to_string());
            next = error.source();
        }
        story
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("reason", &self.0.reason.code)
            .field("blame", &self.0.blame)
            .field("resend", &self.0.resend)
            .field("story", &self.story())
            .finish()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.reason.code)?;
        let story = self.story();
        if story.is_empty() { Ok(()) } else { write!(f, ": {story}") }
    }
}

impl Error for Fault {}
