//! A request's head.

use bytes::Bytes;
use http::request::{Parts, Request};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Method, Version, header};
use memchr::{memchr, memrchr};

use super::fields::{Expect, Facts, fields, line};
use super::finder::{Finder, Found};
use super::host::is_host;
use super::{Framing, HeadLimits, Wrong};

/// Header lines that the request path will add; the map has room for them from the beginning, as
/// one that grows costs as much as several policies.
const ROOM: usize = 8;

/// A request's head and what the codec must know of it.
#[derive(Debug)]
pub struct RequestHead {
    /// The head, without framing headers.
    pub parts: Parts,
    /// How its body is delimited: never [`Framing::Close`].
    pub framing: Framing,
    /// Whether the client wants to send another request on the connection.
    pub keep_alive: bool,
    /// Whether the client asks to switch protocols, and sends no body before that.
    pub upgrade: bool,
    /// Whether the client waits for a 100 before it sends the body.
    pub expect: bool,
}

/// Reads a request's head at the beginning of `input`: it, and how many bytes it took. `None`:
/// it is not there in full.
///
/// # Errors
/// What is wrong with it; the connection cannot be used further.
pub fn parse_request(
    input: &[u8],
    limits: &HeadLimits,
) -> Result<Option<(RequestHead, usize)>, Wrong> {
    let mut finder = Finder::default();
    let skip = finder.skip_blank(input)?;
    let input = input.get(skip..).unwrap_or_default();
    let Some(found) = finder.find(input, limits)? else { return Ok(None) };
    let head = Bytes::copy_from_slice(input.get(..found.size).unwrap_or_default());
    Ok(Some((*read_request(&head, &found, limits)?, skip + found.size)))
}

/// Reads `head`, which is the whole head that was found.
pub(crate) fn read_request(
    head: &Bytes,
    found: &Found,
    limits: &HeadLimits,
) -> Result<Box<RequestHead>, Wrong> {
    let (first, next) = line(head, 0, found.end(0))?;
    let (method, target, version) = first_line(first)?;
    if target.len() > limits.target {
        return Err(Wrong::LongTarget);
    }
    let old = version == Version::HTTP_10;
    let from = first.len() - target.len() - " HTTP/1.x".len();
    let uri = uri(&method, &head.slice(from..from + target.len()))?;
    let fields = fields(head, found, next, ROOM)?;
    let facts = fields.facts;

    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = method;
    parts.uri = uri;
    parts.version = version;
    parts.headers = fields.headers;
    check_host(&mut parts, &facts, old)?;

    let framing = facts.framing(old)?.unwrap_or(Framing::None);
    if facts.expect == Expect::Other && !old {
        return Err(Wrong::Expectation);
    }
    Ok(Box::new(RequestHead {
        framing,
        keep_alive: !facts.close && (!old || facts.keep_alive),
        upgrade: facts.upgrade && facts.protocol && !old && framing == Framing::None,
        expect: facts.expect == Expect::Continue && !old && framing != Framing::None,
        parts,
    }))
}

/// Method, target and version, parted by one space each.
fn first_line(line: &[u8]) -> Result<(Method, &[u8], Version), Wrong> {
    let wrong = Wrong::Framing("the first line is not a request's");
    let first = memchr(b' ', line).ok_or(wrong)?;
    let last = memrchr(b' ', line).ok_or(wrong)?;
    let version = match line.get(last + 1..).unwrap_or_default() {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Wrong::Version);
        }
        _ => return Err(wrong),
    };
    let method = line.get(..first).unwrap_or_default();
    let method = Method::from_bytes(method).map_err(|_| Wrong::Framing("not a method"))?;
    if method == Method::CONNECT {
        return Err(Wrong::Unserved("CONNECT"));
    }
    let target = line.get(first + 1..last).unwrap_or_default();
    if target.is_empty() {
        return Err(Wrong::Target("no target"));
    }
    if !target.iter().all(|byte| matches!(byte, 0x21..=0x7e) && *byte != b'#') {
        return Err(Wrong::Target("a space, fragment, control or non-ASCII byte in the target"));
    }
    Ok((method, target, version))
}

/// The target in its origin, absolute or asterisk form (RFC 9112 §3.2).
fn uri(method: &Method, target: &Bytes) -> Result<Uri, Wrong> {
    let wrong = Wrong::Target("the target is malformed");
    if target.first() == Some(&b'/') {
        let path = PathAndQuery::from_maybe_shared(target.clone()).map_err(|_| wrong)?;
        return Ok(Uri::from(path));
    }
    if &target[..] == b"*" {
        if *method != Method::OPTIONS {
            return Err(Wrong::Target("the target * is for OPTIONS alone"));
        }
        return Ok(Uri::from_static("*"));
    }
    let uri = Uri::from_maybe_shared(target.clone()).map_err(|_| wrong)?;
    let web = uri.scheme_str().is_some_and(|scheme| scheme == "http" || scheme == "https");
    if !web || !uri.authority().is_some_and(|host| is_host(host.as_str().as_bytes())) {
        return Err(wrong);
    }
    Ok(uri)
}

/// Exactly one well-formed Host; HTTP/1.0 may do without. An absolute target's authority replaces
/// what Host says (RFC 9112 §3.2.2).
fn check_host(parts: &mut Parts, facts: &Facts, old: bool) -> Result<(), Wrong> {
    match facts.hosts {
        0 if old => {}
        0 => return Err(Wrong::Host("there is no Host")),
        1 if facts.is_host => {}
        1 => return Err(Wrong::Host("the Host is malformed")),
        _ => return Err(Wrong::Host("there is more than one Host")),
    }
    if let Some(authority) = parts.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str());
        let host = host.map_err(|_| Wrong::Target("the target is malformed"))?;
        parts.headers.insert(header::HOST, host);
    }
    Ok(())
}
