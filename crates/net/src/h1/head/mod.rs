//! Heads: from bytes to `http`'s parts, in one pass over a whole head.
//!
//! A head is first found ([`Finder`]), then copied once into a block of its own that all header
//! values share, then read. Refuses bare LF and CR, folded lines, spaces before colons, control
//! characters, and every framing that two readers could understand differently.

mod fields;
mod finder;
mod host;
mod name;
mod request;
mod response;
mod wrong;

pub use request::{RequestHead, parse_request};
pub use response::{ResponseHead, parse_response};
pub use wrong::Wrong;

pub(crate) use fields::is_forbidden_trailer;
pub(super) use fields::trailers;
pub(super) use finder::Finder;
pub(crate) use host::is_host;
pub(super) use request::read_request;
pub(super) use response::read_response;

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Most bytes, first line included.
    pub size: usize,
    /// Most header lines.
    pub headers: usize,
    /// Most bytes in a request's target.
    pub target: usize,
}

/// How a message's body is delimited (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes, more than none.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// All until the connection ends; answers only.
    Close,
}
