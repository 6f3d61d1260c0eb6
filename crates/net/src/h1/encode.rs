//! Heads and trailers, into bytes.
//!
//! CR, LF and NUL cannot get out: `http`'s names, values, methods and URIs do not hold any. Framing
//! headers come from the body that is sent, never from the head.

use bytes::{BufMut, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, request};
use lockgate_core::span::TRACEPARENT;

use super::client::Beside;
use super::head::Framing;
use crate::date;

/// What ends a head.
const END: &[u8] = b"\r\n";

/// The framing header of a message that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Announce {
    /// None.
    Nothing,
    /// Whatever `Content-Length` the head has: it informs of a body that is not sent.
    Informed,
    /// `Content-Length`, zero too.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What an answer says in `Connection`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Persistence {
    /// Nothing: HTTP/1.1 goes on by itself.
    Implied,
    KeepAlive,
    Close,
    Upgrade,
}

/// Writes an answer's head, but for what [`persistence`] says. Whether `Connection` asks for an end
/// of the connection; it is not written.
pub(super) fn response_head(
    out: &mut BytesMut,
    status: StatusCode,
    headers: &HeaderMap,
    announce: Announce,
) -> bool {
    status_line(out, status);
    let (mut dated, mut close) = (false, false);
    for (name, value) in headers {
        match *name {
            header::DATE => dated = true,
            header::CONNECTION => {
                close |= says_close(value);
                continue;
            }
            header::TRANSFER_ENCODING => continue,
            header::CONTENT_LENGTH if announce != Announce::Informed => continue,
            _ => {}
        }
        field(out, name, value.as_bytes());
    }
    if !dated {
        out.put_slice(b"date: ");
        date::with(|date| out.put_slice(date.as_bytes()));
        out.put_slice(b"\r\n");
    }
    announcement(out, announce);
    close
}

/// Ends an answer's head.
pub(super) fn persistence(out: &mut BytesMut, persistence: Persistence) {
    out.put_slice(match persistence {
        Persistence::Implied => b"\r\n".as_slice(),
        Persistence::KeepAlive => b"connection: keep-alive\r\n\r\n",
        Persistence::Close => b"connection: close\r\n\r\n",
        Persistence::Upgrade => b"connection: upgrade\r\n\r\n",
    });
}

fn says_close(value: &HeaderValue) -> bool {
    let mut options = value.as_bytes().split(|byte| *byte == b',');
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Writes a request's head, in origin form. Whether it asks for another protocol.
pub(super) fn request_head(
    out: &mut BytesMut,
    head: &request::Parts,
    announce: Announce,
    beside: Beside<'_>,
) -> bool {
    let mut upgrade = false;
    out.put_slice(head.method.as_str().as_bytes());
    out.put_u8(b' ');
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    if !target.starts_with('/') && target != "*" {
        out.put_u8(b'/');
    }
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    let authority = || head.uri.authority().map_or(b"".as_slice(), |a| a.as_str().as_bytes());
    let host = head.headers.get(header::HOST).map_or_else(authority, |host| host.as_bytes());
    field(out, &header::HOST, host);
    for (name, value) in &head.headers {
        match *name {
            header::HOST | header::CONTENT_LENGTH | header::TRANSFER_ENCODING => continue,
            header::UPGRADE => upgrade = true,
            _ if beside.trace.is_some() && *name == TRACEPARENT => continue,
            _ => {}
        }
        field(out, name, value.as_bytes());
    }
    announcement(out, announce);
    out.put_slice(beside.lines.as_bytes());
    if let Some(trace) = &beside.trace {
        out.put_slice(trace);
    }
    out.put_slice(END);
    upgrade
}

/// Writes the last chunk and the trailers after it.
pub(super) fn last_chunk(out: &mut BytesMut, trailers: &HeaderMap) {
    out.put_slice(b"0\r\n");
    for (name, value) in trailers {
        if !matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING) {
            field(out, name, value.as_bytes());
        }
    }
    out.put_slice(b"\r\n");
}

/// Writes a chunk's size line. `size` is not zero: that would end the body.
pub(super) fn chunk_size(out: &mut BytesMut, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        let nibble = (size >> (digit * 4)) & 0xf;
        out.put_u8(DIGITS.get(nibble).copied().unwrap_or(b'0'));
    }
    out.put_slice(b"\r\n");
}

fn announcement(out: &mut BytesMut, announce: Announce) {
    match announce {
        Announce::Nothing | Announce::Informed => {}
        Announce::Length(length) => {
            out.put_slice(b"content-length: ");
            number(out, length);
            out.put_slice(b"\r\n");
        }
        Announce::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
    }
}

/// `name: value`, in one piece of room.
fn field(out: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    let name = name.as_str().as_bytes();
    let begin = out.len();
    out.resize(begin + name.len() + value.len() + 4, 0);
    let Some(room) = out.get_mut(begin..) else { return };
    let (name_room, room) = room.split_at_mut(name.len());
    name_room.copy_from_slice(name);
    if let [colon, space, rest @ ..] = room {
        (*colon, *space) = (b':', b' ');
        if let Some((value_room, [cr, lf])) = rest.split_at_mut_checked(value.len()) {
            value_room.copy_from_slice(value);
            (*cr, *lf) = (b'\r', b'\n');
        }
    }
}

fn number(out: &mut BytesMut, number: u64) {
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn status_line(out: &mut BytesMut, status: StatusCode) {
    if status == StatusCode::OK {
        return out.put_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
}

/// What is announced of a request's body, and how it is framed then. A request without a body
/// says so only where one is usual.
pub(super) fn request_framing(method: &http::Method, length: Option<u64>) -> (Announce, Framing) {
    use http::Method;
    match length {
        None => (Announce::Chunked, Framing::Chunked),
        Some(0) if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {
            (Announce::Length(0), Framing::None)
        }
        Some(0) => (Announce::Nothing, Framing::None),
        Some(length) => (Announce::Length(length), Framing::Length(length)),
    }
}
