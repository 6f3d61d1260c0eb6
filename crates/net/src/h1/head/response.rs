//! An answer's head.

use bytes::Bytes;
use http::response::{Parts, Response};
use http::{HeaderValue, Method, StatusCode, Version, header};

use super::fields::{Coding, fields, line};
use super::finder::{Finder, Found};
use super::{Framing, HeadLimits, Wrong};

/// Header lines that the request path will add.
const ROOM: usize = 8;

/// An answer's head and what the codec must know of it.
#[derive(Debug)]
pub struct ResponseHead {
    /// The head, without framing headers; but with `Content-Length` in an answer to HEAD and in a
    /// 304, where it only informs (RFC 9110 §8.6).
    pub parts: Parts,
    /// How its body is delimited.
    pub framing: Framing,
    /// Whether the connection can carry another request afterwards.
    pub keep_alive: bool,
}

/// Reads an answer's head at the beginning of `input`: it, and how many bytes it took. `None`: it
/// is not there in full. `method` is the request's.
///
/// # Errors
/// What is wrong with it; the connection cannot be used further.
pub fn parse_response(
    input: &[u8],
    method: &Method,
    limits: &HeadLimits,
) -> Result<Option<(ResponseHead, usize)>, Wrong> {
    let Some(found) = Finder::default().find(input, limits)? else { return Ok(None) };
    let head = Bytes::copy_from_slice(input.get(..found.size).unwrap_or_default());
    Ok(Some((read_response(&head, &found, method)?, found.size)))
}

/// Reads `head`, which is the whole head that was found.
pub(crate) fn read_response(
    head: &Bytes,
    found: &Found,
    method: &Method,
) -> Result<ResponseHead, Wrong> {
    let (first, next) = line(head, 0, found.end(0))?;
    let (version, status) = first_line(first)?;
    let old = version == Version::HTTP_10;
    let mut fields = fields(head, found, next, ROOM)?;
    let facts = fields.facts;

    let said = facts.framing(old)?;
    let bodiless = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || *method == Method::HEAD;
    let framing = match said {
        _ if bodiless => Framing::None,
        Some(framing) => framing,
        None => Framing::Close,
    };
    let informs = *method == Method::HEAD || status == StatusCode::NOT_MODIFIED;
    if informs
        && facts.coding == Coding::Identity
        && let Some(length) = facts.length
    {
        fields.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }

    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status;
    parts.version = version;
    parts.headers = fields.headers;
    let keep_alive = !facts.close && (!old || facts.keep_alive) && framing != Framing::Close;
    Ok(ResponseHead { parts, framing, keep_alive })
}

/// `HTTP/1.1 200 Reason`; the reason and the space before it may be missing, as with many servers.
fn first_line(line: &[u8]) -> Result<(Version, StatusCode), Wrong> {
    let wrong = Wrong::Framing("the first line is not an answer's");
    let (version, rest) = match line.split_at_checked(9) {
        Some((b"HTTP/1.1 ", rest)) => (Version::HTTP_11, rest),
        Some((b"HTTP/1.0 ", rest)) => (Version::HTTP_10, rest),
        _ => return Err(wrong),
    };
    let (status, reason) = rest.split_at_checked(3).ok_or(wrong)?;
    let status = StatusCode::from_bytes(status).map_err(|_| wrong)?;
    let clean = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..);
    if !matches!(reason, [] | [b' ', ..]) || !reason.iter().all(clean) {
        return Err(wrong);
    }
    Ok((version, status))
}
