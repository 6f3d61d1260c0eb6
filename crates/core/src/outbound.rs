//! Requests of the gateway's own: keys of an issuer, an auth service's word, a mirrored request.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};

use crate::Fault;

/// A future that may move between threads.
pub type SendFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Where a request of the gateway's own goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Where the request's absolute URI says: `http` or `https`.
    Url {
        /// The authorities to trust, in PEM; the system's when not given.
        ca: Option<Bytes>,
    },
    /// The same, by HTTP/2: over TLS as the other side chooses, in plain text without asking.
    Http2 {
        /// The authorities to trust, in PEM; the system's when not given.
        ca: Option<Bytes>,
    },
    /// To an endpoint of the upstream of this name, by its own balance, timeouts and TLS; the
    /// request's URI is a path.
    Upstream(String),
}

/// Among the extensions of an answer that was read whole: the trailers that came after its body.
#[derive(Debug, Clone)]
pub struct Trailers(pub HeaderMap);

/// A request of the gateway's own.
#[derive(Debug)]
pub struct Call {
    /// The head and the whole body. Framing headers are made by the client, `Host` and `User-Agent`
    /// where they are missing; nothing else is added.
    pub request: Request<Bytes>,
    /// Where it goes.
    pub to: Destination,
    /// Until the answer's last byte.
    pub timeout: Duration,
    /// Most bytes of the answer's body; a longer one is a fault.
    pub max_body: usize,
}

/// Sends requests of the gateway's own, off the workers. Redirects are not followed.
pub trait Outbound: Send + Sync {
    /// Sends one, and reads its answer whole. Dropped, the call ends.
    ///
    /// # Errors
    /// No connection, no answer in time, an answer that breaks off or is too large. A status of
    /// any kind is an answer.
    fn send(&self, call: Call) -> SendFuture<Result<Response<Bytes>, Fault>>;
}
