//! Writes one answer: its head, its body as it comes, and what the connection does afterwards.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

use http::header::{self, HeaderMap};
use http::{Response, StatusCode, response};
use lockgate_core::{Body, Lines, Outcome, Reason, reasons};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Duration, Instant};

use super::CLIENT_TOO_SLOW;
use super::link::{Link, Watch};
use crate::h1::encode::{Announce, Persistence, more_lines, response_head};
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
}

/// How an answer went.
pub(super) struct Answered {
    pub(super) outcome: Outcome,
    /// Whether the connection can take another request.
    pub(super) keep_alive: bool,
}

/// Writes an answer to its end.
pub(super) async fn answer<IO>(
    link: &RefCell<Link<IO>>,
    response: Response<Body>,
    lines: &Lines,
    asked: Asked,
) -> Answered
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (head, body) = response.into_parts();
    let (announce, framing) = framing(&head, &body, asked);
    let mut out = Outbox::default();
    let keep_alive = begin(link, &head, announce, framing, asked, &mut out);
    more_lines(out.front(), lines);
    let mut outgoing = Outgoing::new(body, framing);
    let mut since = None;
    let broken = poll_fn(|cx| {
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
                if let Err(fault) = next.and_then(|frame| outgoing.put(frame, &mut out)) {
                    broken = Some(fault.reason());
                    break;
                }
            }
            let mut link = link.borrow_mut();
            match link.poll_write(&mut out, cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Some(gone(&error))),
                Poll::Ready(Ok(())) if broken.is_some() || outgoing.is_ended() => {
                    return Poll::Ready(broken);
                }
                Poll::Ready(Ok(())) if !waiting => continue,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            since.get_or_insert_with(Instant::now);
            match link.poll_watch(cx, asked.old) {
                Watch::Quiet => return Poll::Pending,
                Watch::Again => {}
                Watch::Gone => return Poll::Ready(Some(&reasons::CLIENT_CLOSED)),
            }
        }
    })
    .await;
    if broken.is_some() && framing == Framing::Close {
        link.borrow().drop_with_reset();
    }
    let ended = Instant::now();
    let outcome = Outcome {
        received: link.borrow().upload.received,
        sent: outgoing.sent.saturating_sub(out.len() as u64),
        broken,
        took: since.map_or(Duration::ZERO, |since| ended - since),
        ended: Some(ended),
    };
    Answered { outcome, keep_alive: keep_alive && broken.is_none() }
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
    response_head(out.front(), head, Announce::Nothing, Persistence::Upgrade);
    more_lines(out.front(), lines);
    poll_fn(|cx| link.borrow_mut().poll_write(&mut out, cx)).await
}

/// Writes the head into `out`; whether the connection goes on after this answer.
fn begin<IO>(
    link: &RefCell<Link<IO>>,
    head: &response::Parts,
    announce: Announce,
    framing: Framing,
    asked: Asked,
    out: &mut Outbox,
) -> bool
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut link = link.borrow_mut();
    link.begin_answer();
    let keep_alive = asked.keep_alive
        && framing != Framing::Close
        && !link.ended
        && link.upload.is_worth_keeping()
        && !says_close(&head.headers);
    let persistence = match (keep_alive, asked.old) {
        (false, _) => Persistence::Close,
        (true, true) => Persistence::KeepAlive,
        (true, false) => Persistence::Implied,
    };
    let continuing = link.upload.answering();
    let front = out.front();
    front.extend_from_slice(continuing);
    response_head(front, head, announce, persistence);
    keep_alive
}

/// How the answer's body is announced and framed (RFC 9112 §6.3).
fn framing(head: &response::Parts, body: &Body, asked: Asked) -> (Announce, Framing) {
    let status = head.status;
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

fn says_close(headers: &HeaderMap) -> bool {
    // Most answers have none: a look at the names is cheaper than asking the map.
    headers.iter().filter(|(name, _)| **name == header::CONNECTION).any(|(_, value)| {
        let mut options = value.as_bytes().split(|byte| *byte == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}

fn gone(error: &io::Error) -> &'static Reason {
    match error.kind() {
        io::ErrorKind::TimedOut => &CLIENT_TOO_SLOW,
        _ => &reasons::CLIENT_CLOSED,
    }
}
