//! Header lines, and what the codec itself must know of them.

use std::ops::Range;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use lockgate_core::trimmed;
use memchr::memchr;

use super::finder::Found;
use super::host::is_host;
use super::name::{Meaning, Name, name};
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

const CONTROL: Wrong = Wrong::Framing("a control character in a header value");

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

    /// Notes what a field means to the codec, and tells whether others are to see it.
    fn note(&mut self, meaning: Meaning, value: &[u8]) -> Result<Place, Wrong> {
        match meaning {
            Meaning::Field => {}
            Meaning::Length => {
                self.note_length(value)?;
                return Ok(Place::Gone);
            }
            Meaning::Coding => {
                let first = self.coding == Coding::Identity;
                let chunked = value.eq_ignore_ascii_case(b"chunked");
                if !chunked {
                    HeaderValue::from_bytes(value).map_err(|_| CONTROL)?;
                }
                self.coding = if first && chunked { Coding::Chunked } else { Coding::Other };
                return Ok(Place::Gone);
            }
            Meaning::Connection => return Ok(self.connection(value)),
            Meaning::Upgrade => self.protocol = true,
            Meaning::Host => {
                self.hosts += 1;
                self.is_host = is_host(value);
            }
            Meaning::Expect => {
                let known = value.eq_ignore_ascii_case(b"100-continue");
                let first = self.expect == Expect::Nothing;
                self.expect = if known && first { Expect::Continue } else { Expect::Other };
            }
        }
        Ok(Place::Kept)
    }

    /// Its options are noted. Others need to see it only where it names fields.
    fn connection(&mut self, value: &[u8]) -> Place {
        let mut place = Place::Gone;
        for option in value.split(|byte| *byte == b',') {
            match trimmed(option) {
                option if option.eq_ignore_ascii_case(b"close") => self.close = true,
                option if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                option if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                b"" => {}
                _ => place = Place::Kept,
            }
        }
        place
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

/// Reads the header lines that begin at `from`, after the first line, up to the empty line that
/// ends `head`. `room` is how many more the map should have room for.
pub(crate) fn fields(
    head: &Bytes,
    found: &Found,
    from: usize,
    room: usize,
) -> Result<Fields, Wrong> {
    let mut fields = Fields {
        headers: HeaderMap::with_capacity(found.headers.min(256) + room),
        facts: Facts::default(),
    };
    let (mut at, mut number) = (from, 0);
    loop {
        number += 1;
        let (line, next) = line(head, at, found.end(number))?;
        if line.is_empty() {
            break;
        }
        let (Name { name, meaning, .. }, place) = split(line)?;
        let bytes = line.get(place.clone()).unwrap_or_default();
        if let Place::Kept = fields.facts.note(meaning, bytes)? {
            let value = shared(head, at, place)?;
            fields.headers.try_append(name, value).map_err(|_| Wrong::ManyHeaders)?;
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
        let (line, next) = line(block, at, None)?;
        if line.is_empty() {
            return Ok(kept);
        }
        let (Name { name, .. }, place) = split(line)?;
        let value = shared(block, at, place)?;
        if !is_forbidden_trailer(name.as_str()) {
            kept.try_append(name, value).map_err(|_| Wrong::ManyHeaders)?;
        }
        at = next;
    }
}

/// The line at `at` without its CRLF, and where the next one begins. `end` is where its LF is, if
/// that is known.
pub(crate) fn line(head: &Bytes, at: usize, end: Option<usize>) -> Result<(&[u8], usize), Wrong> {
    let rest = head.get(at..).unwrap_or_default();
    let known =
        end.and_then(|end| end.checked_sub(at)).filter(|end| rest.get(*end) == Some(&b'\n'));
    let end = known.or_else(|| memchr(b'\n', rest)).ok_or(Wrong::Framing("the head has no end"))?;
    let line = rest.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").ok_or(Wrong::Framing("a line ends in a bare LF"))?;
    Ok((line, at + end + 1))
}

/// Splits a field line: its name, and where in it the value stands, without the blanks around it.
fn split(line: &[u8]) -> Result<(Name, Range<usize>), Wrong> {
    let name = name(line)?;
    let value = line.get(name.colon + 1..).unwrap_or_default();
    let before = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let begin = name.colon + 1 + before;
    let value = trimmed(value.get(before..).unwrap_or_default());
    Ok((name, begin..begin + value.len()))
}

/// The value at this place of the line at `at`. It shares the head's memory.
fn shared(head: &Bytes, at: usize, place: Range<usize>) -> Result<HeaderValue, Wrong> {
    HeaderValue::from_maybe_shared(head.slice(at + place.start..at + place.end))
        .map_err(|_| CONTROL)
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
    // To many services `_` and `-` are the same.
    let folded;
    let name = match name.contains('_') {
        true => {
            folded = name.replace('_', "-");
            folded.as_str()
        }
        false => name,
    };
    FORBIDDEN.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}
