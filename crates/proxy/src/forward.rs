//! What the upstream is told about the client and the way the request came: `X-Forwarded-*`,
//! `Forwarded` (RFC 7239), `Via` (RFC 9110 §7.6.3), the request id, the client's certificate.

use std::fmt::Write;
use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use lockgate_core::Exchange;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CERT_SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");
const CERT_FINGERPRINT: HeaderName = HeaderName::from_static("x-client-cert-fingerprint");

/// States the way the request came. What was received of a chain is from a trusted proxy (the
/// rest has been stripped), so it is continued, and its protocol, host and port are kept.
pub(crate) fn state_origin(exchange: &mut Exchange) {
    let peer = exchange.connection.peer.ip().to_canonical();
    let scheme = if exchange.secure { "https" } else { "http" };
    let version = exchange.head.version;
    let host = exchange.head.headers.get(header::HOST).cloned();
    let id = exchange.id.header();
    let words = Words::new(peer, exchange.connection.local.port(), host.as_ref(), scheme);

    let headers = &mut exchange.head.headers;
    append_to_list(headers, X_FORWARDED_FOR, words.peer);
    append_to_list(headers, header::FORWARDED, words.forwarded);
    if !headers.contains_key(&X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    if !headers.contains_key(&X_FORWARDED_PORT) {
        headers.insert(X_FORWARDED_PORT, words.port);
    }
    if let Some(host) = host
        && !headers.contains_key(&X_FORWARDED_HOST)
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
    headers.append(header::VIA, HeaderValue::from_static(via(version)));
    headers.insert(X_REQUEST_ID, id);
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

/// The values made for one request, cut from a single allocation.
struct Words {
    peer: HeaderValue,
    forwarded: HeaderValue,
    port: HeaderValue,
}

impl Words {
    fn new(peer: IpAddr, port: u16, host: Option<&HeaderValue>, scheme: &str) -> Self {
        let mut text = BytesMut::with_capacity(192);
        // Writing to memory cannot fail.
        let _ = write!(text, "{peer}");
        let peer_end = text.len();
        let _ = match peer {
            IpAddr::V4(ip) => write!(text, "for={ip};"),
            IpAddr::V6(ip) => write!(text, "for=\"[{ip}]\";"),
        };
        if let Some(host) = host.and_then(|host| host.to_str().ok()) {
            let _ = write!(text, "host=\"{host}\";");
        }
        let _ = write!(text, "proto={scheme}");
        let forwarded_end = text.len();
        let _ = write!(text, "{port}");
        let text = text.freeze();
        Self {
            peer: value(text.slice(..peer_end)),
            forwarded: value(text.slice(peer_end..forwarded_end)),
            port: value(text.slice(forwarded_end..)),
        }
    }
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
