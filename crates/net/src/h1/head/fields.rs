//! Header lines, and what the codec itself must know of them.

use std::ops::Range;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;

use super::host::is_host;
use super::{Framing, Wrong};

/// The header lines of a message. Framing headers are not in the map, only in the facts.
pub(crate) struct Fields {
    pub(crate) headers: HeaderMap,
    pub(crate) facts: Facts,
}

/// What the codec must know of a head.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// `Content-Length`.
    pub(crate) length: Option<u64>,
    /// `Transfer-Encoding`.
    pub(crate) coding: Coding,
    /// `Connection: close`.
    pub(crate) close: bool,
    /// `Connection: keep-alive`.
    pub(crate) keep_alive: bool,
    /// `Connection: upgrade`.
    pub(crate) upgrade: bool,
    /// Whether there is an `Upgrade`.
    pub(crate) protocol: bool,
    /// `Expect`.
    pub(crate) expect: Expect,
    /// How many `Host` lines there are.
    pub(crate) hosts: usize,
    /// Whether the last of them is well formed.
    pub(crate) is_host: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    #[default]
    Identity,
    Chunked,
    Other,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    #[default]
    Nothing,
    Continue,
    Other,
}

impl Facts {
    /// The framing that length and coding mean together (RFC 9112 §6.3), if they say anything.
    pub(crate) fn framing(&self, old: bool) -> Result<Option<Framing>, Wrong> {
        if self.coding == Coding::Identity {
            return Ok(self.length.map(|length| match length {
                0 => Framing::None,
                length => Framing::Length(length),
            }));
        }
        if self.length.is_some() {
            return Err(Wrong::Framing("Transfer-Encoding together with Content-Length"));
        }
        if old {
            return Err(Wrong::Framing("Transfer-Encoding in HTTP/1.0"));
        }
        if self.coding == Coding::Other {
            return Err(Wrong::Unserved("a Transfer-Encoding other than chunked"));
        }
        Ok(Some(Framing::Chunked))
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), Wrong> {
        let again = self.length.replace(length(value)?);
        if again.is_some() {
            return Err(Wrong::Framing("more than one Content-Length"));
        }
        Ok(())
    }

    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Place {
        match name.as_str() {
            "transfer-encoding" => {
                let first = self.coding == Coding::Identity;
                let chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
                self.coding = if first && chunked { Coding::Chunked } else { Coding::Other };
                return Place::Gone;
            }
            "connection" => self.connection(value.as_bytes()),
            "upgrade" => self.protocol = true,
            "host" => {
                self.hosts += 1;
                self.is_host = is_host(value.as_bytes());
            }
            "expect" => {
                let known = value.as_bytes().eq_ignore_ascii_case(b"100-continue");
                let first = self.expect == Expect::Nothing;
                self.expect = if known && first { Expect::Continue } else { Expect::Other };
            }
            _ => {}
        }
        Place::Kept
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }
}

enum Place {
    Kept,
    Gone,
}

/// Digits alone: no sign, space or list, and no more than fits (RFC 9112 §6.2).
fn length(value: &[u8]) -> Result<u64, Wrong> {
    let wrong = Wrong::Framing("Content-Length is not one plain number");
    if value.is_empty() || value.len() > 20 {
        return Err(wrong);
    }
    let mut length = 0_u64;
    for byte in value {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return Err(wrong);
        }
        length = length.checked_mul(10).and_then(|l| l.checked_add(digit)).ok_or(wrong)?;
    }
    Ok(length)
}

/// Reads the header lines that begin at `from`, up to the empty line that ends `head`.
/// `expected` is about how many there are, `room` how many more the map should have room for.
pub(crate) fn fields(
    head: &Bytes,
    from: usize,
    expected: usize,
    room: usize,
) -> Result<Fields, Wrong> {
    let mut fields = Fields {
        headers: HeaderMap::with_capacity(expected.min(256) + room),
        facts: Facts::default(),
    };
    let mut at = from;
    loop {
        let (line, next) = line(head, at)?;
        if line.is_empty() {
            break;
        }
        let (name, place) = split(line)?;
        if name == header::CONTENT_LENGTH {
            fields.facts.note_length(line.get(place).unwrap_or_default())?;
        } else {
            let value = shared(head, at, place)?;
            if let Place::Kept = fields.facts.note(&name, &value) {
                fields.headers.try_append(name, value).map_err(|_| Wrong::ManyHeaders)?;
            }
        }
        at = next;
    }
    Ok(fields)
}

/// The trailer fields in `block` (which ends in its empty line), without those that must not come
/// after a body.
pub(crate) fn trailers(block: &Bytes) -> Result<HeaderMap, Wrong> {
    let mut kept = HeaderMap::new();
    let mut at = 0;
    loop {
        let (line, next) = line(block, at)?;
        if line.is_empty() {
            return Ok(kept);
        }
        let (name, place) = split(line)?;
        let value = shared(block, at, place)?;
        if !is_forbidden_trailer(name.as_str()) {
            kept.try_append(name, value).map_err(|_| Wrong::ManyHeaders)?;
        }
        at = next;
    }
}

/// The line at `at` without its CRLF, and where the next one begins.
pub(crate) fn line(head: &Bytes, at: usize) -> Result<(&[u8], usize), Wrong> {
    let rest = head.get(at..).unwrap_or_default();
    let end = memchr(b'\n', rest).ok_or(Wrong::Framing("the head has no end"))?;
    let line = rest.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").ok_or(Wrong::Framing("a line ends in a bare LF"))?;
    Ok((line, at + end + 1))
}

/// Splits a field line: its name, and where in it the value stands, without the blanks around it.
fn split(line: &[u8]) -> Result<(HeaderName, Range<usize>), Wrong> {
    if let [b' ' | b'\t', ..] = line {
        return Err(Wrong::Framing("a folded header line"));
    }
    // Names are too short for `memchr` to be worth its beginning.
    let colon = line.iter().position(|byte| *byte == b':');
    let colon = colon.ok_or(Wrong::Framing("a header line without a colon"))?;
    let (name, value) = line.split_at(colon);
    let name = HeaderName::from_bytes(name)
        .map_err(|_| Wrong::Framing("a header name that is not a token"))?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let value = value.get(1..).unwrap_or_default();
    let before = value.iter().take_while(|byte| blank(byte)).count();
    let value = value.get(before..).unwrap_or_default();
    let after = value.iter().rev().take_while(|byte| blank(byte)).count();
    let begin = colon + 1 + before;
    Ok((name, begin..begin + value.len() - after))
}

/// The value at this place of the line at `at`. It shares the head's memory.
fn shared(head: &Bytes, at: usize, place: Range<usize>) -> Result<HeaderValue, Wrong> {
    HeaderValue::from_maybe_shared(head.slice(at + place.start..at + place.end))
        .map_err(|_| Wrong::Framing("a control character in a header value"))
}

/// Whether a field must not come after a body: framing, routing, credentials, and what would change
/// how the body is understood (RFC 9110 §6.5.1).
pub(crate) fn is_forbidden_trailer(name: &str) -> bool {
    const FAMILIES: [&str; 9] = [
        "access-control-",
        "content-",
        "if-",
        "proxy-",
        "x-auth",
        "x-consumer",
        "x-forwarded",
        "x-real-",
        "x-user",
    ];
    const FORBIDDEN: [&str; 31] = [
        "accept-encoding",
        "age",
        "authentication-info",
        "authorization",
        "cache-control",
        "connection",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "host",
        "keep-alive",
        "location",
        "max-forwards",
        "origin",
        "pragma",
        "range",
        "retry-after",
        "set-cookie",
        "strict-transport-security",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "via",
        "warning",
        "www-authenticate",
        "x-api-key",
        "x-request-id",
    ];
    FORBIDDEN.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}
