//! The client's side of a connection to an upstream: one request, one answer, then perhaps back to
//! whoever keeps connections.

mod answer;
mod call;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use http::request::Parts;
use lockgate_core::span::TraceLine;
use lockgate_core::{Body, Fault, Lines};
use tokio::time::Instant;

use self::call::Call;
use super::Transport;
use crate::ClientAnswer;

/// What an upstream's answer may be, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct ClientLimits {
    /// Most bytes in an answer's head.
    pub max_header_size: usize,
    /// Most header lines in it.
    pub max_headers: usize,
    /// From the request's last byte being sent to the answer's head; zero: no limit. Runs out as
    /// `upstream_all_timed_out`.
    pub headers: Duration,
    /// The longest silence inside an answer's body, or while the upstream takes no more of the
    /// request; zero: no limit.
    pub idle: Duration,
    /// The time now, if the clock has just been read: spares reading it again.
    pub now: Option<Instant>,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            max_header_size: 64 * 1024,
            max_headers: 256,
            headers: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            now: None,
        }
    }
}

/// What goes out beside a head's own fields.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'l> {
    /// More lines.
    pub lines: &'l Lines,
    /// The one that goes in place of the head's own `traceparent`.
    pub trace: Option<TraceLine>,
}

/// Takes back a connection that can carry another request.
pub trait Reuse {
    /// Called at most once for each [`ClientConnection::send`], as soon as the answer's last byte
    /// has been read, if both directions ended cleanly. Not called: the connection was closed.
    fn put_back(&self, connection: ClientConnection);

    /// The answer's last byte has been read, whether or not the connection can be used again.
    fn ended(&self) {}

    /// The upstream broke the answer off after its head: called before the body says so.
    fn broke_off(&self) {}
}

/// An HTTP/1.1 connection to an upstream, not in use. Dropping it closes it.
pub struct ClientConnection(Box<Call>);

impl ClientConnection {
    /// Over a fresh stream, TCP_NODELAY already set.
    pub fn new(io: impl Into<Transport>) -> Self {
        Self(Box::new(Call::new(io.into())))
    }

    /// Whether it can still be used, as far as is known: the upstream has neither closed it nor
    /// said anything unasked. Costs no system call on TCP unless something has happened.
    pub fn is_live(&mut self) -> bool {
        self.0.io.is_quiet()
    }

    /// How many requests it has carried.
    pub fn requests(&self) -> u64 {
        self.0.requests
    }

    /// Sends a request and waits for the final head of its answer; interim answers other than 101
    /// are dropped. The URI's path and query become the target, `Host` must be right; framing
    /// headers are made here.
    ///
    /// The request's body goes on being sent while the answer is awaited, and afterwards whenever
    /// the answer's body is polled; it is given up when the answer ends first. Dropping the
    /// future, or the answer's body, closes the connection, which is how an upstream hears that
    /// nobody waits any more.
    ///
    /// # Errors
    /// The fault says whether the request may be sent again: always when its head had not gone
    /// out in full, else only when it is idempotent, for an upstream that closes a connection
    /// does not say whether it has acted. The body comes back unless some of a stream has been
    /// consumed.
    pub fn send(
        self,
        head: &Parts,
        body: Body,
        limits: ClientLimits,
        reuse: Rc<dyn Reuse>,
    ) -> impl Future<Output = Result<ClientAnswer, (Fault, Option<Body>)>> + use<> {
        let beside = Beside { lines: &Lines::default(), trace: None };
        self.send_stating(head, beside, body, limits, reuse)
    }

    /// As [`send`](Self::send), with what goes `beside` the head's own fields.
    ///
    /// # Errors
    /// As there.
    pub fn send_stating(
        self,
        head: &Parts,
        beside: Beside<'_>,
        body: Body,
        limits: ClientLimits,
        reuse: Rc<dyn Reuse>,
    ) -> impl Future<Output = Result<ClientAnswer, (Fault, Option<Body>)>> + use<> {
        let Self(mut call) = self;
        call.begin(head, beside, body, limits);
        // By hand, as a future of two pointers: those around it hold room for it, and are moved.
        let mut under_way = Some((call, reuse));
        poll_fn(move |cx| {
            let Some((call, _)) = &mut under_way else { return Poll::Pending };
            let head = ready!(call.poll_head(cx));
            let Some((call, reuse)) = under_way.take() else { return Poll::Pending };
            Poll::Ready(match head {
                Ok(head) => answer::answer(call, head, reuse).map_err(|fault| (fault, None)),
                Err(fault) => Err((fault, call.unsent())),
            })
        })
    }
}
