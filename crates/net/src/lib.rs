//! Bytes, on both sides: listeners, PROXY protocol, TLS, the HTTP codecs, tunnels.
//!
//! What comes in is handed up through [`lockgate_core::Serve`] alone; nothing here knows routes,
//! policies or upstreams.

mod date;
mod drain;
pub mod h1;
pub mod h2;
pub mod listen;
mod pace;
mod rewind;
#[cfg(test)]
mod testing;
pub mod tls;
mod tunnel;

pub use drain::{Drain, Ticket};
pub use tunnel::{TUNNEL_IDLE, copy_both};

use http::Response;
use lockgate_core::{Body, Duplex, Reason};

/// The reasons that only this room knows, for the reference page.
pub static REASONS: &[&Reason] = &[&h1::CLIENT_TOO_SLOW, &TUNNEL_IDLE];

/// What an upstream's connection gave back for a request.
pub struct ClientAnswer {
    /// The final head, and the body still streaming. Framing headers are gone from the head. Boxed,
    /// as it passes through many hands.
    pub response: Box<Response<Body>>,
    /// The connection itself, after a 101 (or a 2xx to CONNECT): what was read ahead comes first.
    pub upgraded: Option<Box<dyn Duplex>>,
}
