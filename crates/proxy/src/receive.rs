//! The birth of an exchange: whose request it is, for which host, and what of it may be believed.

use std::net::IpAddr;

use http::header::{self, HeaderValue};
use http::{HeaderMap, uri::Authority};
use lockgate_core::{
    Captures, Exchange, Fault, Incoming, Origin, RequestId, UpstreamNotes, reasons,
};
use tokio::time::Instant;

use crate::fields;
use crate::snapshot::Snapshot;

const X_REQUEST_ID: &str = "x-request-id";

/// Makes the exchange of a request. It is complete even when the request is refused at once, so
/// that the refusal is logged like any other answer.
pub(crate) fn receive(incoming: Incoming, snapshot: &Snapshot) -> (Exchange, Result<(), Fault>) {
    let Incoming { mut head, body, connection, upgrade } = incoming;
    let upgrade = upgrade && !offers_h2c(&head.headers);
    let peer = connection.peer.ip().to_canonical();
    let trusted = snapshot.trusts(peer);
    let client_ip = if trusted { claimed_ip(&head.headers, peer, snapshot) } else { peer };
    let secure = connection.tls.is_some() || (trusted && claims_https(&head.headers));
    let debug = head.headers.get("lockgate-debug").cloned();
    let id = head.headers.get(X_REQUEST_ID).and_then(RequestId::keep);
    let upgrade_to = upgrade.then(|| head.headers.get(header::UPGRADE).cloned()).flatten();

    fields::strip_stated(&mut head.headers, trusted);
    fields::strip_hop_by_hop(&mut head.headers);
    if let Some(protocol) = upgrade_to {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(header::UPGRADE, protocol);
    }
    let host = own_host(&mut head);
    let grpc = head
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));

    let exchange = Exchange {
        head,
        body,
        client_ip,
        secure,
        host: host.clone().unwrap_or_default(),
        id: id.unwrap_or_else(RequestId::random),
        started: Instant::now(),
        route: None,
        captures: Captures::default(),
        origin: Origin::Gateway,
        upgrade,
        grpc,
        deadline: None,
        upstream: UpstreamNotes::default(),
        fault: None,
        trace: snapshot.may_trace(debug.as_ref()).then(Vec::new),
        connection,
    };
    let fit = host
        .ok_or_else(|| Fault::client(&reasons::BAD_HOST).detail("the request names no host"))
        .and_then(|_| fits_certificate(&exchange));
    (exchange, fit)
}

/// HTTP/2 by upgrade (RFC 7540 §3.2, dropped by RFC 9113) would open a connection behind the
/// gateway's back, in which no request is checked. The offer is passed over, as any server may.
fn offers_h2c(headers: &HeaderMap) -> bool {
    let is_h2c = |protocol: &str| {
        let name = protocol.trim().as_bytes();
        name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"h2"))
    };
    headers.contains_key(fields::HTTP2_SETTINGS)
        || headers.get_all(header::UPGRADE).iter().any(|value| {
            // What is no text is no protocol that could be told from it.
            value.to_str().map_or(true, |line| line.split(',').any(is_h2c))
        })
}

/// The host asked for, lower case and without a port. HTTP/2 states it in the authority; a `Host`
/// field is put in its place, so that there is one place to look from here on.
fn own_host(head: &mut http::request::Parts) -> Option<Box<str>> {
    if let Some(authority) = head.uri.authority() {
        let value = HeaderValue::from_str(authority.as_str()).ok()?;
        head.headers.insert(header::HOST, value);
    }
    let value = head.headers.get(header::HOST)?.to_str().ok()?;
    Some(without_port(value)?.to_ascii_lowercase().into())
}

fn without_port(host: &str) -> Option<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if !host.is_empty() && host.bytes().all(plain) {
        return Some(host);
    }
    // Anything beyond a plain name is left to the URI grammar.
    let authority: &Authority = &host.parse().ok()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let end = authority.host().len();
    host.get(..end).filter(|name| !name.is_empty())
}

/// A TLS connection speaks for the names of its certificate alone (RFC 9110 §7.4).
fn fits_certificate(exchange: &Exchange) -> Result<(), Fault> {
    let Some(tls) = &exchange.connection.tls else { return Ok(()) };
    let host = &*exchange.host;
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    if is_address || tls.covers(host) {
        return Ok(());
    }
    Err(Fault::client(&reasons::MISDIRECTED)
        .detail(format!("the certificate served does not cover `{host}`")))
}

fn claims_https(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|proto| proto.as_bytes() == b"https")
}

/// Walks the chain from its trusted end to the first address that is not a trusted proxy's.
fn claimed_ip(headers: &HeaderMap, peer: IpAddr, snapshot: &Snapshot) -> IpAddr {
    let mut client = peer;
    for hop in chain(headers).into_iter().rev() {
        let Some(ip) = hop else { break };
        client = ip;
        if !snapshot.trusts(ip) {
            break;
        }
    }
    client
}

/// The forwarded-for chain, in the order of the hops; `None` where an entry is no address.
fn chain(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = |name: &str| -> Vec<&str> {
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    };
    let forwarded_for = lines("x-forwarded-for");
    if !forwarded_for.is_empty() {
        let hops = forwarded_for.into_iter().flat_map(|line| line.split(','));
        return hops.take(64).map(|hop| address(hop.trim())).collect();
    }
    let elements = lines("forwarded");
    let hops = elements.into_iter().flat_map(|line| line.split(','));
    hops.take(64)
        .map(|element| {
            element.split(';').find_map(|pair| {
                let (key, value) = pair.trim().split_once('=')?;
                key.eq_ignore_ascii_case("for").then(|| address(value.trim_matches('"')))?
            })
        })
        .collect()
}

/// `1.2.3.4`, `1.2.3.4:5`, `2001:db8::1`, `[2001:db8::1]:5`.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some(socket.ip().to_canonical());
    }
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}
