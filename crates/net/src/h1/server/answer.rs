//! Writes one answer: its head, its body as it comes, and what the connection does afterwards.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use http::{Response, StatusCode, response};
use lockgate_core::{Body, Lines, Outcome, Reason, reasons};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Duration, Instant};

use super::CLIENT_TOO_SLOW;
use super::link::{Link, Watch};
use crate::h1::encode::{Announce, Persistence, persistence, response_head};
use crate::h1::head::Framing;
use crate::h1::outbox::Outbox;
use crate::h1::outgoing::Outgoing;

/// What an answer must know of its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// It was HEAD.
    pub(super) head: bool,
    /// In HTTP/1.0.
    pub(super) old: bool,
    /// The connection may go on, as far as the request and the gateway are concerned.
    pub(super) keep_alive: bool,
    /// It could not be read, and there may be more of it.
    pub(super) refused: bool,
}

impl Asked {
    /// What is known of a request that is refused unread.
    pub(super) const REFUSED: Self =
        Self { head: false, old: false, keep_alive: false, refused: true };
}

/// How an answer went.
pub(super) struct Answered {
    pub(super) outcome: Outcome,
    /// Whether the connection can take another request.
    pub(super) keep_alive: bool,
}

/// An answer being written: polled in place, as a future would be moved about before it begins.
pub(super) struct Answering {
    out: Outbox,
    outgoing: Outgoing,
    framing: Framing,
    keep_alive: bool,
    /// Its request was in HTTP/1.0.
    old: bool,
    /// Since when the client is waited for.
    since: Option<Instant>,
}

impl Answering {
    /// Puts the head of an answer in front, and takes its body.
    pub(super) fn begin<IO>(
        link: &RefCell<Link<IO>>,
        response: &mut Response<Body>,
        lines: &Lines,
        asked: Asked,
    ) -> Self
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let body = std::mem::take(response.body_mut());
        let (announce, framing) = framing(response.status(), &body, asked);
        let mut out = Outbox::default();
        let mut link = link.borrow_mut();
        link.begin_answer();
        let may_go_on = asked.keep_alive
            && framing != Framing::Close
            && !link.ended
            && link.upload.is_worth_keeping();
        let front = out.front();
        front.extend_from_slice(link.upload.answering());
        let close = response_head(front, response.status(), response.headers(), announce);
        front.extend_from_slice(lines.as_bytes());
        let keep_alive = may_go_on && !close;
        persistence(
            front,
            match (keep_alive, asked.old) {
                (false, _) => Persistence::Close,
                (true, true) => Persistence::KeepAlive,
                (true, false) => Persistence::Implied,
            },
        );
        let outgoing = Outgoing::new(body, framing);
        Self { out, outgoing, framing, keep_alive, old: asked.old, since: None }
    }

    /// Writes on; ready at the end, or with the reason why it was broken off.
    pub(super) fn poll<IO>(
        &mut self,
        link: &RefCell<Link<IO>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<&'static Reason>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { out, outgoing, .. } = self;
        loop {
            let mut waiting = false;
            let mut broken = None;
            while !outgoing.is_ended() && out.has_room() {
                let next = match outgoing.poll_next(cx) {
                    Poll::Ready(next) => next,
                    Poll::Pending => {
                        waiting = true;
                        break;
                    }
                };
                if let Err(fault) = next.and_then(|frame| outgoing.put(frame, out)) {
                    broken = Some(fault.reason());
                    break;
                }
            }
            let mut link = link.borrow_mut();
            match link.poll_write(out, cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Some(gone(&error))),
                Poll::Ready(Ok(())) if broken.is_some() || outgoing.is_ended() => {
                    return Poll::Ready(broken);
                }
                Poll::Ready(Ok(())) if !waiting => continue,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            self.since.get_or_insert_with(Instant::now);
            match link.poll_watch(cx, self.old) {
                Watch::Quiet => return Poll::Pending,
                Watch::Again => {}
                Watch::Gone => return Poll::Ready(Some(&reasons::CLIENT_CLOSED)),
            }
        }
    }

    /// How it went, once it is ready.
    pub(super) fn ended<IO: 'static>(
        &self,
        link: &RefCell<Link<IO>>,
        broken: Option<&'static Reason>,
    ) -> Answered {
        if broken.is_some() && self.framing == Framing::Close {
            link.borrow().drop_with_reset();
        }
        let ended = Instant::now();
        let outcome = Outcome {
            received: link.borrow().upload.received,
            sent: self.outgoing.sent.saturating_sub(self.out.len() as u64),
            broken,
            took: self.since.map_or(Duration::ZERO, |since| ended - since),
            ended: Some(ended),
        };
        Answered { outcome, keep_alive: self.keep_alive && broken.is_none() }
    }
}

/// Writes a 101's head; nothing follows it.
pub(super) async fn switch<IO>(
    link: &RefCell<Link<IO>>,
    head: &response::Parts,
    lines: &Lines,
) -> io::Result<()>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut out = Outbox::default();
    link.borrow_mut().begin_answer();
    response_head(out.front(), head.status, &head.headers, Announce::Nothing);
    out.front().extend_from_slice(lines.as_bytes());
    persistence(out.front(), Persistence::Upgrade);
    poll_fn(|cx| link.borrow_mut().poll_write(&mut out, cx)).await
}

/// How the answer's body is announced and framed (RFC 9112 §6.3).
fn framing(status: StatusCode, body: &Body, asked: Asked) -> (Announce, Framing) {
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        return (Announce::Nothing, Framing::None);
    }
    if status == StatusCode::NOT_MODIFIED || (asked.head && matches!(body, Body::Empty)) {
        return (Announce::Informed, Framing::None);
    }
    match body.len() {
        Some(length) if asked.head || length == 0 => (Announce::Length(length), Framing::None),
        Some(length) => (Announce::Length(length), Framing::Length(length)),
        None if asked.old && asked.head => (Announce::Nothing, Framing::None),
        None if asked.head => (Announce::Chunked, Framing::None),
        None if asked.old => (Announce::Nothing, Framing::Close),
        None => (Announce::Chunked, Framing::Chunked),
    }
}

fn gone(error: &io::Error) -> &'static Reason {
    match error.kind() {
        io::ErrorKind::TimedOut => &CLIENT_TOO_SLOW,
        _ => &reasons::CLIENT_CLOSED,
    }
}
