//! HTTP/1.1, strictly: whatever two readers could frame differently is refused, not repaired.
//!
//! Upwards there is [`serve`], downwards [`ClientConnection`]. The codec alone adds and removes
//! `Content-Length` and `Transfer-Encoding` (and on answers `Connection` and `Date`); every other
//! hop-by-hop header, `TE` and `Trailer` among them, is the request path's business.

mod client;
mod server;
mod transport;

pub use client::{ClientConnection, ClientLimits, Reuse};
pub use server::serve;
pub use transport::Transport;
