//! What the request path hands back to a codec: an answer, what to do when it has been written,
//! and, for a protocol switch, the far side of the tunnel.

use std::time::Duration;

use http::Response;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::{Body, Lines, LocalFuture, Reason};

/// A byte stream in both directions: what a connection becomes after a protocol switch.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// Runs a tunnel over the client's byte stream, to its end. The codec calls it once the answer's
/// head (101, or 200 to CONNECT) has been written, with what it had read ahead put back in front.
pub type Tunnel = Box<dyn FnOnce(Box<dyn Duplex>) -> LocalFuture<'static, Outcome>>;

/// An answer for a codec to write.
pub struct Reply {
    /// The head and the body. The codec alone adds framing headers.
    pub response: Box<Response<Body>>,
    /// Lines of the head beside the response's own.
    pub lines: Lines,
    /// Called once when the answer's last byte has been written, or could not be. Dropped without
    /// a call when the whole connection vanished; it must then count as broken off by itself.
    pub finish: Option<Box<dyn Finish>>,
    /// The far side, when the response switches protocols.
    pub tunnel: Option<Tunnel>,
}

impl From<Response<Body>> for Reply {
    fn from(response: Response<Body>) -> Self {
        Self { response: Box::new(response), lines: Lines::default(), finish: None, tunnel: None }
    }
}

/// Hears how the writing of an answer ended.
pub trait Finish {
    /// The answer is done with, for better or worse.
    fn finish(self: Box<Self>, outcome: Outcome);
}

/// How the writing of an answer ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Bytes of body that the client sent (after de-chunking), or sent into the tunnel.
    pub received: u64,
    /// Bytes of body that were written to the client, or out of the tunnel.
    pub sent: u64,
    /// Why it was broken off; `None` when it was complete.
    pub broken: Option<&'static Reason>,
    /// How long the client took to take the body, from the head on.
    pub took: Duration,
    /// When that was, if the clock has just been read.
    pub ended: Option<Instant>,
}
