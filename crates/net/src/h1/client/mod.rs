//! The client's side of a connection to an upstream.

use std::rc::Rc;
use std::time::Duration;

use http::request::Parts;
use lockgate_core::{Body, Fault, Resend, reasons};

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
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            max_header_size: 64 * 1024,
            max_headers: 256,
            headers: Duration::from_secs(10),
            idle: Duration::from_secs(60),
        }
    }
}

/// Takes back a connection that can carry another request.
pub trait Reuse {
    /// Called at most once for each [`ClientConnection::send`], as soon as the answer's last byte
    /// has been read, if both directions ended cleanly. Not called: the connection was closed.
    fn put_back(&self, connection: ClientConnection);
}

/// An HTTP/1.1 connection to an upstream, not in use. Dropping it closes it.
pub struct ClientConnection {
    io: Transport,
}

impl ClientConnection {
    /// Over a fresh stream, TCP_NODELAY already set.
    pub fn new(io: impl Into<Transport>) -> Self {
        Self { io: io.into() }
    }

    /// Whether it can still be used, as far as is known: the upstream has neither closed it nor
    /// said anything unasked.
    pub fn is_live(&mut self) -> bool {
        self.io.is_quiet()
    }

    /// How many requests it has carried.
    pub fn requests(&self) -> u64 {
        0
    }

    /// Sends a request and waits for the final head of its answer. The URI's path and query
    /// become the target, `Host` must be right; framing headers are made here.
    ///
    /// The request's body goes on being sent while the answer is awaited, and afterwards whenever
    /// the answer's body is polled. Dropping the future, or the answer's body, closes the
    /// connection, which is how an upstream hears that nobody waits any more.
    ///
    /// # Errors
    /// The fault says whether the request may be sent again; the body comes back if none of it
    /// has been consumed.
    pub async fn send(
        self,
        head: &Parts,
        body: Body,
        limits: ClientLimits,
        reuse: Rc<dyn Reuse>,
    ) -> Result<ClientAnswer, (Fault, Option<Body>)> {
        let _ = (head, limits, reuse);
        Err((Fault::upstream(&reasons::UPSTREAM_CLOSED).resend(Resend::Safe), Some(body)))
    }
}
