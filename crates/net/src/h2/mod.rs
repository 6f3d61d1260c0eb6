//! HTTP/2, both sides, on the `h2` crate's frames: the server hands requests up, the client
//! carries them to an upstream.
//!
//! It stands on `h2` and not on hyper, because a stream that its peer does not read must be cut by
//! itself, which needs the stream at hand while its data waits. Refuses server push, plain
//! CONNECT, HTTP/1.1's connection headers, and more than one host.

mod client;
mod duplex;
mod queue;
mod receive;
mod request;
mod send;
mod server;
mod stream;
#[cfg(test)]
mod tests;

pub use client::{Handle, Settings, connect};
pub use server::serve;

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The frame size that both sides accept: the protocol's own default.
const FRAME: usize = 16 * 1024;
/// Bytes of one stream that may wait in `h2` for the socket.
const SEND_BUFFER: usize = FRAME;
