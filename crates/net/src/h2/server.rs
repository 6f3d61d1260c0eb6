//! A client's HTTP/2 connection: takes its streams in, within limits, until either side leaves.
//!
//! Refuses to be flooded: streams at once, streams a second, resets before their turn, header and
//! window sizes are all bounded, and a connection that takes nothing is cut.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::Builder;
use lockgate_config::model::Http;
use lockgate_core::{Connection, Serve, Size};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::queue::{Counted, Queue};
use super::{FRAME, SEND_BUFFER, stream};
use crate::Ticket;
use crate::rewind::Rewind;

/// Serves a connection to its end. `read_ahead` is what was already read of it.
pub async fn serve<IO, S>(
    io: IO,
    read_ahead: Bytes,
    connection: Rc<Connection>,
    limits: Rc<Http>,
    serve: S,
    ticket: Ticket,
) where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Serve,
{
    let queue = Rc::new(Queue::default());
    let io = Counted { io: Rewind::new(read_ahead, io), queue: Rc::clone(&queue) };
    let handshake = builder(&limits).handshake::<_, Bytes>(io);
    let h2 = match timeout(limits.header_timeout.0, handshake).await {
        Ok(Ok(h2)) => h2,
        Ok(Err(error)) => return tracing::debug!(peer = %connection.peer, %error, "no HTTP/2"),
        Err(_) => return tracing::debug!(peer = %connection.peer, "the HTTP/2 preface is late"),
    };
    let now = Instant::now();
    let shared = Rc::new(Shared {
        connection,
        serve,
        queue,
        active: Cell::new(0),
        idle_since: Cell::new(now),
        limits,
    });
    let timer = Box::pin(sleep_until(now + shared.idle_timeout()));
    let mut driver = Driver { h2, ticket, timer, left: None, taken: 0, second: (now, 0), shared };
    poll_fn(|cx| driver.poll(cx)).await;
}

fn builder(limits: &Http) -> Builder {
    let http2 = &limits.http2;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(http2.max_concurrent_streams)
        .initial_window_size(clamp(http2.stream_window))
        .initial_connection_window_size(clamp(http2.connection_window))
        // Twice what is allowed: a head between the two is refused with its reason, while beyond
        // it `h2` answers a bare 431 by itself.
        .max_header_list_size(clamp(limits.max_header_size).saturating_mul(2))
        .max_pending_accept_reset_streams(http2.max_pending_resets)
        .max_frame_size(FRAME as u32)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol();
    builder
}

/// A size as a flow-control window or setting (RFC 9113 §6.9.1: 31 bits).
fn clamp(size: Size) -> u32 {
    u32::try_from(size.0).unwrap_or(u32::MAX).min((1 << 31) - 1)
}

/// What the streams of one connection share.
pub(super) struct Shared<S> {
    pub(super) connection: Rc<Connection>,
    pub(super) limits: Rc<Http>,
    pub(super) serve: S,
    pub(super) queue: Rc<Queue>,
    active: Cell<usize>,
    idle_since: Cell<Instant>,
}

impl<S> Shared<S> {
    fn idle_timeout(&self) -> Duration {
        let idle = self.limits.idle_timeout.0;
        if idle.is_zero() { Duration::from_secs(365 * 24 * 3600) } else { idle }
    }
}

/// A stream counted among the active ones, until it is dropped.
pub(super) struct Open<S>(Rc<Shared<S>>);

impl<S> Open<S> {
    fn new(shared: &Rc<Shared<S>>) -> Self {
        shared.active.set(shared.active.get() + 1);
        Self(shared.clone())
    }
}

impl<S> Drop for Open<S> {
    fn drop(&mut self) {
        let left = self.0.active.get().saturating_sub(1);
        self.0.active.set(left);
        if left == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

/// A client that was told to go has this long at least to take that.
const SHORTEST: Duration = Duration::from_secs(1);

struct Driver<IO, S> {
    h2: h2::server::Connection<Counted<Rewind<IO>>, Bytes>,
    ticket: Ticket,
    timer: Pin<Box<Sleep>>,
    /// When the client was told to go.
    left: Option<Instant>,
    taken: u64,
    /// When the current second began, and the streams taken in it.
    second: (Instant, u32),
    shared: Rc<Shared<S>>,
}

impl<IO, S> Driver<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Serve,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.ticket.is_draining() {
                self.leave();
            }
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.count();
                    let open = Open::new(&self.shared);
                    let task = stream::answer(request, respond, self.shared.clone(), open);
                    // Boxed, as a task's future is moved several times before and after it runs.
                    tokio::task::spawn_local(Box::pin(task));
                    continue;
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(peer = %self.shared.connection.peer, %error, "HTTP/2 ended");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => self.shared.queue.settle(),
            }
            match self.poll_idle(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if self.left.is_some() => return Poll::Ready(()),
                Poll::Ready(()) => self.leave(),
            }
        }
    }

    /// Counts a new stream, and tells the client to go when it opens too many.
    fn count(&mut self) {
        let limits = &self.shared.limits;
        self.taken += 1;
        let most = limits.max_requests_per_connection;
        let per_second = limits.http2.max_streams_per_second;
        let now = Instant::now();
        if now.duration_since(self.second.0) >= Duration::from_secs(1) {
            self.second = (now, 0);
        }
        self.second.1 += 1;
        if per_second != 0 && self.second.1 > per_second {
            if self.second.1 == per_second + 1 {
                tracing::debug!(peer = %self.shared.connection.peer, "too many streams a second");
                self.left.get_or_insert(now);
                self.h2.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
            }
        } else if most != 0 && self.taken >= most {
            self.leave();
        }
    }

    /// Tells the client, once, to open no more streams; those that are open go on.
    fn leave(&mut self) {
        if self.left.is_none() {
            self.left = Some(Instant::now());
            self.h2.graceful_shutdown();
        }
    }

    /// Ready when no stream has been open for the idle timeout; or, once the client has been told
    /// to go, for as long as a write may take.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let deadline = self.deadline();
            if self.timer.deadline() > deadline {
                self.timer.as_mut().reset(deadline);
            }
            std::task::ready!(self.timer.as_mut().poll(cx));
            if self.shared.active.get() == 0 && self.timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            // Set anew only when it fires: a busy connection costs one timer per idle timeout.
            self.timer.as_mut().reset(deadline);
        }
    }

    fn deadline(&self) -> Instant {
        let idle = self.shared.idle_timeout();
        if self.shared.active.get() > 0 {
            return Instant::now() + idle;
        }
        let since = self.shared.idle_since.get();
        match self.left {
            None => since + idle,
            Some(left) => {
                left.max(since)
                    + self.shared.limits.write_timeout.0.clamp(SHORTEST, idle.max(SHORTEST))
            }
        }
    }
}
