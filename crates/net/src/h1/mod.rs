//! HTTP/1.1, strictly: whatever two readers could frame differently is refused, not repaired.
//!
//! Upwards there is [`serve`], downwards [`ClientConnection`]. The codec alone adds and removes
//! `Content-Length` and `Transfer-Encoding` (and on answers `Connection` and `Date`); every other
//! hop-by-hop header, `TE` and `Trailer` among them, is the request path's business.

mod alarm;
mod client;
mod decode;
mod encode;
mod head;
mod input;
mod outbox;
mod outgoing;
mod pool;
mod server;
#[cfg(test)]
mod tests;
mod transport;

pub use client::{Beside, ClientConnection, ClientLimits, Reuse};
pub use decode::decode_chunked;
pub use head::{
    Framing, HeadLimits, RequestHead, ResponseHead, Wrong, parse_request, parse_response,
};
pub(crate) use head::{is_forbidden_trailer, is_host};
pub use server::{CLIENT_TOO_SLOW, serve};
pub use transport::Transport;
