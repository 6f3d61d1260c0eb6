//! A request's head made uniform: one host, no framing headers, and an extended CONNECT turned
//! into the upgrade that HTTP/1.1 would have asked for.
//!
//! `h2` has already refused pseudo-headers out of place, upper case names, control characters and
//! connection-specific headers; here goes what it lets through. It has also cut a fragment off the
//! path before anyone could see it: what is routed and sent on is the path without.

use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, Scheme, Uri};
use lockgate_config::model::Http;
use lockgate_core::{Fault, reasons};

use crate::h1::is_host;

/// What a head asks for besides an answer.
#[derive(Default)]
pub(super) struct Wishes {
    /// To switch protocols, by extended CONNECT.
    pub(super) upgrade: bool,
    /// To be told that the body is wanted (`Expect: 100-continue`).
    pub(super) go_on: bool,
}

/// Checks a head and makes it uniform; `secure` is whether the connection speaks TLS.
///
/// # Errors
/// The refusal to answer with.
pub(super) fn uniform(head: &mut Parts, limits: &Http, secure: bool) -> Result<Wishes, Fault> {
    check_size(head, limits)?;
    check_values(&head.headers)?;
    let protocol = head.extensions.remove::<h2::ext::Protocol>();
    if head.method == Method::CONNECT {
        let websocket = protocol.is_some_and(|p| p.as_str().eq_ignore_ascii_case("websocket"));
        if !websocket {
            return Err(Fault::client(&reasons::NOT_IMPLEMENTED)
                .detail("CONNECT without the protocol `websocket`"));
        }
    }
    one_host(head, secure)?;
    let path = head.uri.path();
    let whole_server = path == "*" && head.method == Method::OPTIONS;
    if !path.starts_with('/') && !whole_server {
        return Err(Fault::client(&reasons::BAD_TARGET).detail("the path does not begin with /"));
    }
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    if !target.bytes().all(|byte| matches!(byte, 0x21..=0x7e)) {
        return Err(
            Fault::client(&reasons::BAD_TARGET).detail("a control or non-ASCII byte in the target")
        );
    }
    if head.headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(Fault::client(&reasons::BAD_REQUEST_FRAMING)
            .detail("more than one Content-Length header"));
    }
    join_cookies(&mut head.headers);
    let go_on = expects(&mut head.headers)?;
    let upgrade = head.method == Method::CONNECT;
    if upgrade {
        as_upgrade(head);
    }
    Ok(Wishes { upgrade, go_on })
}

fn check_size(head: &Parts, limits: &Http) -> Result<(), Fault> {
    let uri = &head.uri;
    let target = uri.path_and_query().map_or(0, |p| p.as_str().len());
    if target as u64 > limits.max_uri.0 {
        return Err(Fault::client(&reasons::URI_TOO_LONG));
    }
    let authority = uri.authority().map_or(0, |a| a.as_str().len());
    let headers = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let size = head.method.as_str().len() + target + authority + headers.sum::<usize>();
    if size as u64 > limits.max_header_size.0 || head.headers.len() > limits.max_headers {
        return Err(Fault::client(&reasons::HEADERS_TOO_LARGE));
    }
    Ok(())
}

/// A value may not begin or end with a space or tab (RFC 9113 §8.2.1): upstream, over HTTP/1.1,
/// it would be another value.
fn check_values(headers: &HeaderMap) -> Result<(), Fault> {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    for (name, value) in headers {
        let bytes = value.as_bytes();
        if blank(bytes.first()) || blank(bytes.last()) {
            return Err(Fault::client(&reasons::BAD_REQUEST_FRAMING)
                .detail(format!("the value of `{name}` begins or ends with a blank")));
        }
    }
    Ok(())
}

/// Leaves the host in the URI alone; `Host` may repeat it, or stand in for it.
fn one_host(head: &mut Parts, secure: bool) -> Result<(), Fault> {
    let bad = |why: &'static str| Fault::client(&reasons::BAD_HOST).detail(why);
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("more than one Host header"));
    }
    let authority = match (head.uri.authority(), host) {
        (Some(authority), None) => authority.clone(),
        (Some(authority), Some(host))
            if host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            authority.clone()
        }
        (Some(_), Some(_)) => return Err(bad("Host is not what :authority says")),
        (None, Some(host)) => {
            Authority::try_from(host.as_bytes()).map_err(|_| bad("Host is not a host"))?
        }
        (None, None) => return Err(bad("neither :authority nor Host")),
    };
    // What HTTP/1.1 would refuse must not reach an upstream that speaks it.
    if !is_host(authority.as_str().as_bytes()) {
        return Err(bad("the authority is not a host, or bears more than that and a port"));
    }
    head.headers.remove(header::HOST);
    if head.uri.authority().is_none() {
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.authority = Some(authority);
        parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
        head.uri = Uri::from_parts(parts).map_err(|_| bad("host and path make no URI"))?;
    }
    Ok(())
}

/// Several cookie lines are one in HTTP/1.1 (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return };
    let mut all = first.as_bytes().to_vec();
    for line in std::iter::once(second).chain(lines) {
        all.extend_from_slice(b"; ");
        all.extend_from_slice(line.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_maybe_shared(bytes::Bytes::from(all)) {
        headers.insert(header::COOKIE, joined);
    }
}

fn expects(headers: &mut HeaderMap) -> Result<bool, Fault> {
    let Some(value) = headers.remove(header::EXPECT) else { return Ok(false) };
    if value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
        return Ok(true);
    }
    Err(Fault::client(&reasons::EXPECTATION_FAILED))
}

/// Asks upwards as HTTP/1.1 would (RFC 8441 §5 against RFC 6455 §4.1): what lies above need not
/// know that there are two ways to open a WebSocket.
fn as_upgrade(head: &mut Parts) {
    const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
    head.method = Method::GET;
    head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Ok(key) = HeaderValue::from_str(&websocket_key(fastrand::u128(..))) {
        head.headers.insert(KEY, key);
    }
}

/// Sixteen bytes in base64: a nonce without meaning, which only has to be well formed.
fn websocket_key(bits: u128) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // 128 bits are 21 digits of six bits and one of two, that is of its upper two.
    let six = |shift: u32| (bits >> shift) as usize & 63;
    let whole = (0..21_u32).map(|n| six(122 - 6 * n));
    let digits = whole.chain(std::iter::once((bits as usize & 3) << 4));
    let mut text: String = digits.map(|d| DIGITS.get(d).copied().map_or('A', char::from)).collect();
    text.push_str("==");
    text
}

#[cfg(test)]
mod tests {
    use super::websocket_key;

    #[test]
    fn a_websocket_key_is_base64_of_sixteen_bytes() {
        assert_eq!(websocket_key(0), "AAAAAAAAAAAAAAAAAAAAAA==");
        assert_eq!(websocket_key(u128::MAX), "/////////////////////w==");
        let sample = u128::from_be_bytes(*b"the sample nonce");
        assert_eq!(websocket_key(sample), "dGhlIHNhbXBsZSBub25jZQ==");
    }
}
