//! Finds the end of a head in bytes that come piece by piece, looking at each byte once.
//!
//! Refuses early what can never become a head: bytes that no message begins with (a TLS
//! handshake, garbage), bare LF, and heads over their limits.

use memchr::memchr;

use super::{HeadLimits, Wrong};

/// Empty lines tolerated before a request (RFC 9112 §2.2 asks for one at least).
const BLANK_LINES: u8 = 2;

/// Lines of which it is remembered where they end: what most heads have, and few bytes to carry.
const REMEMBERED: usize = 16;

/// Progress in one head. A new one for each message.
#[derive(Debug, Default)]
pub(crate) struct Finder {
    ends: [u32; REMEMBERED],
    line: usize,
    seen: usize,
    lines: usize,
    blanks: u8,
}

/// A head that is there in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its bytes, the empty line included.
    pub(crate) size: usize,
    /// Its header lines.
    pub(crate) headers: usize,
    /// Where the LF of each of its first lines is, so that it need not be looked for again; 0 in
    /// place of those that there are not.
    ends: [u32; REMEMBERED],
}

impl Found {
    /// The place of a line's LF, if it is remembered. The first line is number 0.
    pub(crate) fn end(&self, line: usize) -> Option<usize> {
        self.ends.get(line).filter(|end| **end > 0).map(|end| *end as usize)
    }
}

impl Finder {
    /// How many bytes of empty lines to skip at the beginning of `input`. Requests only, and only
    /// before [`Finder::find`] has been asked.
    pub(crate) fn skip_blank(&mut self, input: &[u8]) -> Result<usize, Wrong> {
        let mut skip = 0;
        while self.seen == 0 && input.get(skip..).is_some_and(|rest| rest.starts_with(b"\r\n")) {
            skip += 2;
            self.blanks += 1;
            if self.blanks > BLANK_LINES {
                return Err(Wrong::Framing("too many empty lines before a request"));
            }
        }
        Ok(skip)
    }

    /// Looks for the end of the head that `input` begins with; `None`: more bytes are needed.
    /// `input` is what it was in the last call, and possibly more.
    pub(crate) fn find(
        &mut self,
        input: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<Found>, Wrong> {
        match input {
            [b'\r'] | [] => return Ok(None),
            [first, ..] if !is_token(*first) => {
                return Err(Wrong::Framing("this does not begin like HTTP"));
            }
            _ => {}
        }
        while let Some(at) = memchr(b'\n', input.get(self.seen..).unwrap_or_default()) {
            let lf = self.seen + at;
            if lf == 0 || input.get(lf - 1) != Some(&b'\r') {
                return Err(Wrong::Framing("a line ends in a bare LF"));
            }
            if let Some(end) = self.ends.get_mut(self.lines) {
                *end = u32::try_from(lf).unwrap_or(0);
            }
            let empty = lf - 1 == self.line;
            self.seen = lf + 1;
            self.line = self.seen;
            if empty {
                self.check(self.seen, limits)?;
                let headers = self.lines.saturating_sub(1);
                return Ok(Some(Found { size: self.seen, headers, ends: self.ends }));
            }
            self.lines += 1;
            if self.lines > limits.headers + 1 {
                return Err(Wrong::ManyHeaders);
            }
        }
        self.seen = input.len();
        self.check(input.len(), limits)?;
        Ok(None)
    }

    fn check(&self, size: usize, limits: &HeadLimits) -> Result<(), Wrong> {
        // A method and a version fit the slack beside a target.
        if self.lines == 0 && size > limits.target.saturating_add(64) {
            return Err(Wrong::LongTarget);
        }
        if size > limits.size {
            return Err(Wrong::LargeHead);
        }
        Ok(())
    }
}

/// Whether a byte may stand in a token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
