//! The client's byte stream and all that is known of it between polls: shared by the connection's
//! task and by the request body that is read through it.

use std::any::Any;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use lockgate_config::model::Http;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant};

use super::upload::Upload;
use crate::h1::alarm::Alarm;
use crate::h1::head::{Finder, HeadLimits, RequestHead, Wrong, read_request};
use crate::h1::input::Input;
use crate::h1::outbox::Outbox;
use crate::pace::{Patience, or_forever};
use crate::tls::ServerStream;

/// How long a connection that is over is still read, so that the client gets to read the answer
/// before a reset could take it away.
const LINGER: Duration = Duration::from_secs(5);

/// How many bytes are read so, at most.
const LINGER_BYTES: usize = 8 * 1024 * 1024;

/// The unread rest of a request's body that is worth reading, to keep a connection.
pub(super) const REST: u64 = 64 * 1024;

/// How long that may take.
const REST_TIME: Duration = Duration::from_secs(2);

/// A client's connection.
pub(super) struct Link<IO> {
    /// Gone once the connection has become a tunnel.
    pub(super) io: Option<IO>,
    pub(super) input: Input,
    pub(super) upload: Upload,
    pub(super) limits: Rc<Http>,
    /// For what is written to the client.
    pub(super) writing: Patience,
    alarm: Alarm,
    heads: HeadLimits,
    finder: Finder,
    /// Since when the next head is waited for, and whether it has begun.
    pub(super) since: Option<Instant>,
    begun: bool,
    /// The client has ended its side.
    pub(super) ended: bool,
}

/// What came when a request was waited for.
pub(super) enum Arrival {
    Request(Box<RequestHead>),
    Wrong(Wrong),
    /// The head took too long.
    Late,
    /// The client is gone, or was idle for too long, or the connection drains.
    Over,
}

/// What became of the client while its request was being served.
pub(super) enum Watch {
    /// Nothing that matters.
    Quiet,
    /// Something was found out that whoever reads the request's body must hear.
    Again,
    /// It has gone.
    Gone,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Link<IO> {
    pub(super) fn new(io: IO, read_ahead: &Bytes, limits: Rc<Http>) -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            io: Some(io),
            input: Input::new(read_ahead),
            upload: Upload::none(),
            writing: writing(&limits),
            alarm: Alarm::default(),
            heads: HeadLimits {
                size: size(limits.max_header_size.0),
                headers: limits.max_headers,
                target: size(limits.max_uri.0),
            },
            limits,
            finder: Finder::default(),
            since: None,
            begun: false,
            ended: false,
        }
    }

    /// Waits for the next request's head.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>, closing: bool) -> Poll<Arrival> {
        loop {
            match self.head() {
                Ok(Some(head)) => {
                    self.since = None;
                    self.begun = false;
                    self.finder = Finder::default();
                    return Poll::Ready(Arrival::Request(head));
                }
                Ok(None) => {}
                Err(wrong) => return Poll::Ready(Arrival::Wrong(wrong)),
            }
            // A request that has come already is read, also when idle connections are closed.
            match self.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(Arrival::Over),
                Poll::Pending if closing && self.input.is_empty() => {
                    return Poll::Ready(Arrival::Over);
                }
                Poll::Pending => return self.poll_late(cx),
            }
        }
    }

    fn head(&mut self) -> Result<Option<Box<RequestHead>>, Wrong> {
        let blank = self.finder.skip_blank(self.input.bytes())?;
        if blank > 0 {
            self.input.skip(blank);
        }
        if self.input.is_empty() {
            return Ok(None);
        }
        let Some(found) = self.finder.find(self.input.bytes(), &self.heads)? else {
            return Ok(None);
        };
        let head = self.input.take_copy(found.size);
        read_request(&head, &found, &self.heads).map(Some)
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        let begun = !self.input.is_empty();
        if begun != self.begun {
            self.since = None;
            self.begun = begun;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let wait = if begun { self.limits.header_timeout } else { self.limits.idle_timeout };
        ready!(self.alarm.poll(since + or_forever(wait.0), cx));
        Poll::Ready(if begun { Arrival::Late } else { Arrival::Over })
    }

    /// Reads more: how many bytes came, 0 at the end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Some(io) => self.input.poll_fill(io, cx),
            None => Poll::Ready(Ok(0)),
        }
    }

    /// Looks after the client while its request is served or its answer waits for more: hears it
    /// go away, and counts its time.
    ///
    /// An end of the client's side after a whole request counts as its going away, as with most
    /// servers; an HTTP/1.0 client may half-close (`old`). What comes early is kept for later,
    /// and then nothing more is read, nor heard.
    pub(super) fn poll_watch(&mut self, cx: &mut Context<'_>, old: bool) -> Watch {
        if self.upload.is_done() && self.input.is_empty() && !self.ended {
            let something = self.io.as_mut().is_none_or(|io| poll_something(io, cx).is_ready());
            match if something { self.poll_fill(cx) } else { Poll::Pending } {
                Poll::Ready(Ok(0)) if old => self.ended = true,
                Poll::Ready(Ok(0) | Err(_)) => return Watch::Gone,
                Poll::Ready(Ok(_)) | Poll::Pending => {}
            }
        }
        let Some(deadline) = self.upload.deadline() else { return Watch::Quiet };
        if self.alarm.poll(deadline, cx).is_pending() {
            return Watch::Quiet;
        }
        self.upload.late();
        Watch::Again
    }

    /// Writes out what waits. An error: the client has gone, or is too slow ([`TimedOut`]).
    ///
    /// [`TimedOut`]: io::ErrorKind::TimedOut
    pub(super) fn poll_write(
        &mut self,
        out: &mut Outbox,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(io) = &mut self.io else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let mut moved = 0;
        let written = out.poll_write(io, cx, &mut moved);
        if moved > 0 {
            self.writing.moved(moved);
        }
        if written.is_pending() {
            self.writing.wait();
            let deadline = self.writing.deadline();
            if deadline.is_some_and(|deadline| self.alarm.poll(deadline, cx).is_ready()) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        written
    }

    /// Begins a new answer's count of the client's slowness.
    pub(super) fn begin_answer(&mut self) {
        self.writing = writing(&self.limits);
    }

    /// Reads away the small rest of a request's body; whether the connection can go on.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let limit = *self.since.get_or_insert_with(Instant::now) + REST_TIME;
        loop {
            match self.upload.discard(&mut self.input) {
                Ok(true) => {
                    self.since = None;
                    return Poll::Ready(true);
                }
                Ok(false) => {}
                Err(()) => return Poll::Ready(false),
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending => return self.alarm.poll(limit, cx).map(|()| false),
            }
        }
    }

    /// Writes a few bytes now if the client takes them at once.
    pub(super) fn poll_some(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<usize> {
        let Some(io) = &mut self.io else { return Poll::Ready(0) };
        Pin::new(io).poll_write(cx, bytes).map(|written| written.unwrap_or(0))
    }
}

impl<IO: 'static> Link<IO> {
    /// Makes the coming drop a reset, where there is TCP below: an answer that ends with its
    /// connection would look whole if that ended in peace.
    pub(super) fn drop_with_reset(&self) {
        let Some(io) = &self.io else { return };
        let io: &dyn Any = io;
        let below = || io.downcast_ref().map(|tls: &ServerStream<TcpStream>| tls.get_ref().0);
        if let Some(tcp) = io.downcast_ref::<TcpStream>().or_else(below) {
            // What cannot be set leaves the client as it was before.
            let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

/// Closes a connection: the write side at once, the rest when the client has closed its own, or has
/// had time to. `linger` is needed only when the client may still be sending.
pub(super) async fn close<IO>(link: &RefCell<Link<IO>>, linger: bool)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let Some(mut io) = link.borrow_mut().io.take() else { return };
    let mut input = Input::default();
    let mut alarm = Alarm::default();
    let limit = Instant::now() + LINGER;
    let mut left = LINGER_BYTES;
    let mut shut = false;
    poll_fn(|cx| {
        if !shut {
            match Pin::new(&mut io).poll_shutdown(cx) {
                Poll::Ready(done) => shut = done.is_ok(),
                Poll::Pending => return alarm.poll(limit, cx),
            }
        }
        if !linger || !shut {
            return Poll::Ready(());
        }
        loop {
            match input.poll_fill(&mut io, cx) {
                Poll::Ready(Ok(read @ 1..)) if read <= left => left -= read,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return alarm.poll(limit, cx),
            }
            input.skip(usize::MAX);
        }
    })
    .await;
}

/// Whether there is something to read, or an end, or an error: most often there is nothing, and
/// no buffer is wanted to find that out.
fn poll_something<IO: AsyncRead + Unpin>(io: &mut IO, cx: &mut Context<'_>) -> Poll<()> {
    Pin::new(io).poll_read(cx, &mut ReadBuf::new(&mut [])).map(|_| ())
}

fn writing(limits: &Http) -> Patience {
    Patience::new(limits.write_timeout.0, limits.min_rate.0, limits.min_rate_grace.0)
}
