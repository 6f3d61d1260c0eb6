//! The one way up from a codec into the request path.

use std::rc::Rc;

use http::request::Parts;

use crate::{Body, Connection, Fault, Reply};

/// A request as a codec hands it up: its head is well formed, its framing unambiguous, and it has
/// exactly one host, in the URI's authority (HTTP/2, absolute form) or in `Host`.
pub struct Incoming {
    /// The head. The `Host` header is as sent; framing headers are gone.
    pub head: Parts,
    /// The body, still streaming.
    pub body: Body,
    /// The connection it came on.
    pub connection: Rc<Connection>,
    /// Whether the client asks to switch protocols (`Upgrade` with `Connection: upgrade`, or
    /// extended CONNECT): only then may a [`Reply`] bear a tunnel.
    pub upgrade: bool,
}

/// Answers requests. Codecs call it; the proxy implements it.
pub trait Serve: Clone + 'static {
    /// Answers one request. Dropping the future is the sign that the client has gone: all work
    /// for the request, the upstream's included, ends with it.
    fn serve(&self, incoming: Incoming) -> impl Future<Output = Reply> + 'static;

    /// Answers a request that could not be read at all (its framing, its size, its slowness), so
    /// that refusals look, count and log the same wherever they are made. The connection closes.
    fn refuse(&self, fault: Fault, connection: &Rc<Connection>) -> Reply;
}
