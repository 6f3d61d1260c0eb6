//! One request on a connection: sent as fast as the upstream takes it, while its answer's head is
//! looked for.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use lockgate_core::{Body, Fault, Resend, reasons};
use tokio::time::Instant;

use super::{Beside, ClientConnection, ClientLimits};
use crate::h1::Transport;
use crate::h1::alarm::Alarm;
use crate::h1::encode::{request_framing, request_head};
use crate::h1::head::{Finder, Framing, HeadLimits, ResponseHead, Wrong, read_response};
use crate::h1::input::Input;
use crate::h1::outbox::Outbox;
use crate::h1::outgoing::Outgoing;
use crate::pace::or_forever;

/// Interim answers borne before the final one.
const INTERIM: u32 = 16;

/// A connection, and the request under way on it. It keeps its box for as long as it is open, so
/// that a request moves pointers only.
pub(super) struct Call {
    pub(super) io: Transport,
    pub(super) input: Input,
    alarm: Alarm,
    /// How many requests it has carried.
    pub(super) requests: u64,
    limits: ClientLimits,
    method: Method,
    /// The request asks to switch protocols.
    pub(super) upgrade: bool,
    out: Outbox,
    upload: Outgoing,
    /// A body that is at hand, to be given back.
    whole: Option<Bytes>,
    /// All of the request has been written.
    sent: bool,
    /// Writing has failed: the upstream takes no more, but may have answered.
    failed: Option<io::Error>,
    head_size: usize,
    written: usize,
    /// When the request was handed over; known only until it is first polled.
    begun: Option<Instant>,
    /// Since when the upstream is waited for.
    since: Option<Instant>,
    finder: Finder,
    interim: u32,
}

/// How the sending of the request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    /// All is written, or writing has failed.
    Over,
    /// The upstream takes no more for now.
    Blocked,
    /// The request's body has no more for now.
    Starved,
}

impl Call {
    /// A connection without a request.
    pub(super) fn new(io: Transport) -> Self {
        Self {
            io,
            input: Input::default(),
            alarm: Alarm::default(),
            requests: 0,
            limits: ClientLimits::default(),
            method: Method::GET,
            upgrade: false,
            head_size: 0,
            out: Outbox::default(),
            upload: Outgoing::new(Body::Empty, Framing::None),
            whole: None,
            sent: true,
            failed: None,
            written: 0,
            begun: None,
            since: None,
            finder: Finder::default(),
            interim: 0,
        }
    }

    /// Begins a request, on a connection that is new or was left [clean](Self::is_clean).
    pub(super) fn begin(
        &mut self,
        head: &Parts,
        beside: Beside<'_>,
        body: Body,
        limits: ClientLimits,
    ) {
        let (announce, framing) = request_framing(&head.method, body.len());
        let out = self.out.front();
        self.upgrade = request_head(out, head, announce, beside);
        self.whole = match &body {
            Body::Empty => Some(Bytes::new()),
            Body::Full(bytes) => Some(bytes.clone()),
            Body::Stream(_) => None,
        };
        self.requests += 1;
        self.begun = limits.now;
        self.limits = limits;
        self.method = head.method.clone();
        self.head_size = self.out.len();
        self.upload = Outgoing::new(body, framing);
        self.sent = false;
        self.written = 0;
        self.since = None;
        self.finder = Finder::default();
        self.interim = 0;
    }

    /// Sends, and waits for the final head.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Fault>> {
        let begun = self.begun.take();
        let sending = self.poll_send(cx)?;
        loop {
            match self.head() {
                Ok(None) => {}
                Ok(Some(head)) => {
                    // The body's first wait is one of its own.
                    self.since = None;
                    return Poll::Ready(Ok(head));
                }
                Err(wrong) => return Poll::Ready(Err(wrong.by_upstream())),
            }
            match self.input.poll_fill(&mut self.io, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.closed(None))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.closed(Some(error)))),
                Poll::Pending => break,
            }
        }
        let wait = match sending {
            Sending::Over => self.limits.headers,
            Sending::Blocked => self.limits.idle,
            Sending::Starved => return Poll::Pending,
        };
        self.poll_waited(wait, begun, cx).map(|()| {
            Err(Fault::upstream(&reasons::UPSTREAM_TIMEOUTS)
                .detail("no head within timeout.headers")
                .resend(self.resend()))
        })
    }

    fn head(&mut self) -> Result<Option<ResponseHead>, Wrong> {
        let size = self.limits.max_header_size;
        let limits = HeadLimits { size, headers: self.limits.max_headers, target: size };
        while !self.input.is_empty() {
            let Some(found) = self.finder.find(self.input.bytes(), &limits)? else { break };
            self.finder = Finder::default();
            let head = self.input.take_copy(found.size);
            let head = read_response(&head, &found, &self.method)?;
            let status = head.parts.status;
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(head));
            }
            self.interim += 1;
            if self.interim > INTERIM {
                return Err(Wrong::Framing("too many interim answers"));
            }
        }
        Ok(None)
    }

    /// Sends as much of the request as goes. An error is one of the request's own body.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<Sending, Fault> {
        while !self.sent && self.failed.is_none() {
            let mut starved = false;
            while !self.upload.is_ended() && self.out.has_room() {
                match self.upload.poll_next(cx) {
                    Poll::Ready(frame) => self.upload.put(frame?, &mut self.out)?,
                    Poll::Pending => {
                        starved = true;
                        break;
                    }
                }
            }
            let mut moved = 0;
            let written = self.out.poll_write(&mut self.io, cx, &mut moved);
            if moved > 0 {
                self.written += moved;
                self.since = None;
            }
            match written {
                Poll::Pending => return Ok(Sending::Blocked),
                Poll::Ready(Err(error)) => self.failed = Some(error),
                Poll::Ready(Ok(())) if self.upload.is_ended() => self.sent = true,
                Poll::Ready(Ok(())) if starved => return Ok(Sending::Starved),
                Poll::Ready(Ok(())) => {}
            }
        }
        Ok(Sending::Over)
    }

    /// Waits for a piece of the answer, after its head; ready with 0 at the end.
    pub(super) fn poll_more(
        &mut self,
        sending: Sending,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let read = self.input.poll_fill(&mut self.io, cx);
        if read.is_ready() {
            self.since = None;
            return read;
        }
        if sending == Sending::Starved {
            return Poll::Pending;
        }
        let late = self.poll_waited(self.limits.idle, None, cx);
        late.map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "silent for timeout.idle")))
    }

    /// `now`, when the clock has been read a moment ago.
    fn poll_waited(
        &mut self,
        wait: Duration,
        now: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let since = *self.since.get_or_insert_with(|| now.unwrap_or_else(Instant::now));
        self.alarm.poll(since + or_forever(wait), cx)
    }

    fn closed(&mut self, error: Option<io::Error>) -> Fault {
        let fault = Fault::upstream(&reasons::UPSTREAM_CLOSED).resend(self.resend());
        match error.or_else(|| self.failed.take()) {
            Some(error) => fault.source(error),
            None => fault.detail("the connection ended before the answer's head"),
        }
    }

    /// Half a head cannot have been acted on; a whole one can, whatever became of the connection.
    fn resend(&self) -> Resend {
        if self.written < self.head_size { Resend::Safe } else { Resend::IfIdempotent }
    }

    /// The body, to be sent again.
    pub(super) fn unsent(self: Box<Self>) -> Option<Body> {
        match self.whole {
            Some(whole) => Some(whole.into()),
            None => self.upload.unsent(),
        }
    }

    /// Whether another request could follow, now that the answer has been read to its end.
    pub(super) fn is_clean(&self) -> bool {
        self.sent && self.failed.is_none() && self.input.is_empty()
    }

    /// The connection, ready for another request. Nothing of the last one is kept in memory.
    pub(super) fn into_connection(mut self: Box<Self>) -> ClientConnection {
        self.whole = None;
        ClientConnection(self)
    }
}
