//! Header lines, written out: what is to be said in the same words again and again need not pass
//! through a map each time.

use http::{HeaderName, HeaderValue};

/// Header lines as they stand in a head of HTTP/1.1. They are made of checked names and values
/// alone, so that nothing in them can end a line or a head.
#[derive(Debug, Clone, Default)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// A copy, with room for `more` bytes.
    #[must_use]
    pub fn with_room(&self, more: usize) -> Self {
        let mut lines = Vec::with_capacity(self.0.len() + more);
        lines.extend_from_slice(&self.0);
        Self(lines)
    }

    /// Adds a line.
    pub fn push(&mut self, name: &HeaderName, value: &HeaderValue) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            self.0.extend_from_slice(part);
        }
    }

    /// The lines, each with its CRLF.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
