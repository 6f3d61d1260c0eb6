//! The birth of an exchange: whose request it is, for which host, and what of it may be believed.

use std::net::IpAddr;

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use lockgate_core::{
    Captures, Exchange, Fault, Incoming, Keeping, Origin, RequestId, UpstreamNotes, reasons,
};
use tokio::time::Instant;

use crate::reserved::Reserved;
use crate::snapshot::Snapshot;
use crate::{fields, traced, trailers};

const LOCKGATE_DEBUG: HeaderName = HeaderName::from_static("lockgate-debug");

/// Makes the exchange of a request. It is complete even when the request does not [`fit`], so that
/// the refusal is logged like any other answer.
pub(crate) fn receive(mut incoming: Incoming, snapshot: &Snapshot) -> Exchange {
    // Not taken apart before it becomes a part of the exchange: it is large to be handed about.
    let Incoming { head, connection, upgrade, .. } = &mut incoming;
    let upgrade = *upgrade && !offers_h2c(&head.headers);
    let peer = connection.peer.ip().to_canonical();
    let trusted = snapshot.trusts(peer);
    let client_ip = if trusted { claimed_ip(&head.headers, peer, snapshot) } else { peer };
    let secure = connection.tls.is_some() || (trusted && claims_https(&head.headers));
    let trace = snapshot.may_trace(&head.headers, &LOCKGATE_DEBUG);
    let Named { id, expects, mut said, hops, stated, grpc } =
        look(&head.headers, &snapshot.reserved);
    let upgrade_to = upgrade.then(|| head.headers.get(header::UPGRADE).cloned()).flatten();

    if stated {
        fields::strip_stated(&mut head.headers, trusted, &snapshot.reserved);
    }
    if expects {
        // The codec has answered it.
        head.headers.remove(header::EXPECT);
    }
    if hops {
        fields::strip_hop_by_hop(&mut head.headers);
        // Something of the trace may have been for this hop alone.
        said = look(&head.headers, &snapshot.reserved).said;
    }
    if let Some(protocol) = upgrade_to {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(header::UPGRADE, protocol);
    }
    let started = Instant::now();
    let spans = traced::begin(&mut head.headers, &said, snapshot.traces.as_deref(), started);
    let (host, version) = (own_host(head), head.version);

    Exchange {
        head: incoming.head,
        body: trailers::without(incoming.body, version, &snapshot.reserved),
        client_ip,
        secure,
        host: host.unwrap_or_default(),
        id: id.unwrap_or_else(RequestId::random),
        started,
        route: None,
        captures: Captures::default(),
        consumer: None,
        origin: Origin::Gateway,
        upgrade,
        grpc,
        once: None,
        deadline: None,
        upstream: UpstreamNotes::default(),
        fault: None,
        trace: trace.then(Vec::new),
        spans,
        kept: Keeping::default(),
        connection: incoming.connection,
    }
}

/// What one look at the names finds, which is cheaper than asking the map for each.
#[derive(Default)]
pub(crate) struct Named {
    /// The id that the client gives its request, if it may be kept.
    id: Option<RequestId>,
    /// Whether it expects anything.
    expects: bool,
    /// What it says of its trace.
    pub(crate) said: traced::Said,
    /// Whether anything speaks of this hop alone.
    hops: bool,
    /// Whether anything may be what the gateway alone states.
    stated: bool,
    /// Whether it is a call of gRPC.
    grpc: bool,
}

pub(crate) fn look(headers: &HeaderMap, reserved: &Reserved) -> Named {
    let (mut found, mut id, mut typed) = (Named::default(), None, false);
    for (name, value) in headers {
        match *name {
            // What nearly every request has, and is nothing to look at.
            header::HOST | header::ACCEPT | header::USER_AGENT | header::AUTHORIZATION => {}
            header::EXPECT => found.expects = true,
            // Of two, the first is the one that most services read.
            header::CONTENT_TYPE if !typed => {
                typed = true;
                found.grpc = value.as_bytes().starts_with(b"application/grpc");
            }
            _ => {
                found.hops |= fields::is_hop_by_hop(name);
                match name.as_str() {
                    "x-request-id" if id.is_none() => id = Some(RequestId::keep(value)),
                    "traceparent" => found.said.parent(value),
                    "tracestate" | "baggage" => found.said.more(),
                    name => {
                        found.stated |= fields::may_be_stated(name) || reserved.has(name);
                    }
                }
            }
        }
    }
    Named { id: id.flatten(), ..found }
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

/// Whether the request may go on at all.
pub(crate) fn fit(exchange: &Exchange) -> Result<(), Fault> {
    if exchange.host.is_empty() {
        return Err(Fault::client(&reasons::BAD_HOST).detail("the request names no host"));
    }
    if exchange.head.method == Method::TRACE {
        // It would echo what the client must not see: credentials that proxies add.
        return Err(Fault::client(&reasons::NOT_IMPLEMENTED).detail("TRACE is not served"));
    }
    fits_certificate(exchange)
}

/// The host asked for, lower case and without a port. HTTP/2 states it in the authority; a `Host`
/// field is put in its place, so that there is one place to look from here on.
fn own_host(head: &mut http::request::Parts) -> Option<Box<str>> {
    if let Some(authority) = head.uri.authority() {
        let value = HeaderValue::from_str(authority.as_str()).ok()?;
        head.headers.insert(header::HOST, value);
    }
    let value = str::from_utf8(head.headers.get(header::HOST)?.as_bytes()).ok()?;
    Some(without_port(value)?.to_ascii_lowercase().into())
}

/// The codec has seen to it that the host is well formed; what it never lets pass is refused all
/// the same.
fn without_port(host: &str) -> Option<&str> {
    let name = if host.starts_with('[') {
        host.get(..=host.find(']')?)?
    } else {
        let colon = host.bytes().position(|byte| byte == b':');
        host.get(..colon.unwrap_or(host.len()))?
    };
    (!name.is_empty() && !name.contains(['@', '/', '?', '#'])).then_some(name)
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

/// Most hops that are looked at, from the trusted end: what is further away is the client's word.
const MOST_HOPS: usize = 64;

/// The forwarded-for chain, in the order of the hops; `None` where an entry is no address.
fn chain(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let mut hops = match headers.contains_key("x-forwarded-for") {
        true => entries(headers, "x-forwarded-for", |hop| address(hop.trim())),
        false => entries(headers, "forwarded", |element| {
            element.split(';').find_map(|pair| {
                let (key, value) = pair.trim().split_once('=')?;
                key.eq_ignore_ascii_case("for").then(|| address(value.trim_matches('"')))?
            })
        }),
    };
    hops.split_off(hops.len().saturating_sub(MOST_HOPS))
}

/// The entries of a list that may be spread over several lines.
fn entries(
    headers: &HeaderMap,
    name: &str,
    read: impl Fn(&str) -> Option<IpAddr>,
) -> Vec<Option<IpAddr>> {
    let mut all = Vec::new();
    for line in headers.get_all(name) {
        // A line that is no text is a hop that is no address: the walk ends there.
        let Ok(line) = line.to_str() else {
            all.push(None);
            continue;
        };
        all.extend(line.split(',').map(&read));
    }
    all
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(lines: &[&str]) -> Vec<Option<IpAddr>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        chain(&headers)
    }

    #[test]
    fn the_trusted_end_of_a_long_chain_is_what_counts() {
        let forged = vec!["6.6.6.6"; 70].join(", ");
        let hops = hops(&[&forged, "9.9.9.9"]);
        assert_eq!(hops.len(), MOST_HOPS);
        assert_eq!(hops.last(), Some(&"9.9.9.9".parse().ok()));
    }

    #[test]
    fn each_form_of_an_address_is_read() {
        let hops =
            hops(&["1.2.3.4, 1.2.3.4:5,2001:db8::1", "[2001:db8::1]:5, [::ffff:1.2.3.4], x"]);
        let texts: Vec<String> =
            hops.iter().map(|hop| hop.map_or("-".to_owned(), |ip| ip.to_string())).collect();
        let both = ["1.2.3.4", "1.2.3.4", "2001:db8::1", "2001:db8::1", "1.2.3.4", "-"];
        assert_eq!(texts, both);
    }
}
