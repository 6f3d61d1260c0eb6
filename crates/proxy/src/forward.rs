//! What the upstream is told about the client and the way the request came: `X-Forwarded-*`,
//! `Forwarded` (RFC 7239), `Via` (RFC 9110 §7.6.3), the request id, the client's certificate.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use lockgate_core::{Exchange, Lines};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CERT_SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");
const CERT_FINGERPRINT: HeaderName = HeaderName::from_static("x-client-cert-fingerprint");

/// Room for the line of a request's id.
const ID_LINE: usize = 64;

/// What [`state_origin`] would state in the head of a request whose peer is not trusted and has
/// no certificate, as lines that go out beside it. All but the id is the same for the next
/// request of the connection, and is kept there.
pub(crate) fn origin_lines(exchange: &mut Exchange) -> Lines {
    let Exchange { head, connection, secure, id, .. } = exchange;
    let host = head.headers.get(header::HOST);
    let mut lines = connection.origin_lines(host, head.version, ID_LINE, |lines| {
        let scheme = if *secure { "https" } else { "http" };
        let peer = connection.peer_text();
        lines.push(&header::VIA, &HeaderValue::from_static(via(head.version)));
        lines.push(&X_FORWARDED_FOR, peer);
        lines.push(&header::FORWARDED, &forwarded(peer, host, scheme));
        lines.push(&X_FORWARDED_PROTO, &HeaderValue::from_static(scheme));
        lines.push(&X_FORWARDED_PORT, connection.port_text());
        if let Some(host) = host {
            lines.push(&X_FORWARDED_HOST, host);
        }
    });
    // One look at the names is cheaper than asking the map.
    if head.headers.keys().any(|name| *name == X_REQUEST_ID) {
        head.headers.insert(X_REQUEST_ID, id.header());
    } else {
        lines.push_text("x-request-id: ", id.as_str());
    }
    lines
}

/// Whether the head has a line in whose place [`state_origin`] would put its own.
pub(crate) fn is_stated(headers: &HeaderMap) -> bool {
    let gives_way = |name: &str| name == "forwarded" || name.starts_with("x-forwarded-");
    headers.keys().any(|name| gives_way(name.as_str()))
}

/// States the way the request came. A trusted proxy's chain is continued, and the protocol, host
/// and port that it states are kept; of any other peer nothing of the kind is left by now.
pub(crate) fn state_origin(exchange: &mut Exchange, trusted: bool) {
    let scheme = if exchange.secure { "https" } else { "http" };
    let host = exchange.head.headers.get(header::HOST).cloned();
    let connection = Rc::clone(&exchange.connection);
    let peer = connection.peer_text();
    let forwarded = forwarded(peer, host.as_ref(), scheme);
    let via = HeaderValue::from_static(via(exchange.head.version));
    let id = exchange.id.header();

    let headers = &mut exchange.head.headers;
    headers.append(header::VIA, via);
    headers.insert(X_REQUEST_ID, id);
    if trusted {
        append_to_list(headers, X_FORWARDED_FOR, peer.clone());
        append_to_list(headers, header::FORWARDED, forwarded);
        headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static(scheme));
        headers.entry(X_FORWARDED_PORT).or_insert_with(|| connection.port_text().clone());
        if let Some(host) = host {
            headers.entry(X_FORWARDED_HOST).or_insert(host);
        }
    } else {
        headers.insert(X_FORWARDED_FOR, peer.clone());
        headers.insert(header::FORWARDED, forwarded);
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
        headers.insert(X_FORWARDED_PORT, connection.port_text().clone());
        if let Some(host) = host {
            headers.insert(X_FORWARDED_HOST, host);
        }
    }
    state_certificate(exchange);
}

fn state_certificate(exchange: &mut Exchange) {
    let Some(tls) = &exchange.connection.tls else { return };
    let Some(certificate) = tls.client.clone() else { return };
    let headers = &mut exchange.head.headers;
    // Non-ASCII subjects are passed as UTF-8, which a field value may carry as opaque bytes.
    if let Ok(subject) = HeaderValue::from_bytes(certificate.subject.as_bytes()) {
        headers.insert(CERT_SUBJECT, subject);
    }
    if let Ok(fingerprint) = HeaderValue::from_str(&certificate.fingerprint) {
        headers.insert(CERT_FINGERPRINT, fingerprint);
    }
}

/// One element of `Forwarded` (RFC 7239 §4). An IPv6 address is quoted, and so is a host, which
/// may have a port.
fn forwarded(peer: &HeaderValue, host: Option<&HeaderValue>, scheme: &str) -> HeaderValue {
    let peer = peer.as_bytes();
    let host = host.map(HeaderValue::as_bytes).unwrap_or_default();
    let mut text = Vec::with_capacity(peer.len() + host.len() + 40);
    if peer.contains(&b':') {
        text.extend_from_slice(b"for=\"[");
        text.extend_from_slice(peer);
        text.extend_from_slice(b"]\";");
    } else {
        text.extend_from_slice(b"for=");
        text.extend_from_slice(peer);
        text.push(b';');
    }
    if !host.is_empty() && !host.contains(&b'"') && !host.contains(&b'\\') {
        text.extend_from_slice(b"host=\"");
        text.extend_from_slice(host);
        text.extend_from_slice(b"\";");
    }
    text.extend_from_slice(b"proto=");
    text.extend_from_slice(scheme.as_bytes());
    value(text.into())
}

/// The text is made of checked parts; should one slip, an empty value is sent, never a broken one.
fn value(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static(""))
}

fn via(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2.0 lockgate",
        Version::HTTP_10 => "1.0 lockgate",
        _ => "1.1 lockgate",
    }
}

/// Appends to a comma-separated list, in one line: many upstreams read only the first.
fn append_to_list(headers: &mut HeaderMap, name: HeaderName, last: HeaderValue) {
    if !headers.contains_key(&name) {
        headers.insert(name, last);
        return;
    }
    let mut line = BytesMut::new();
    for value in headers.get_all(&name) {
        line.extend_from_slice(value.as_bytes());
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(last.as_bytes());
    headers.insert(name, value(line.freeze()));
}
