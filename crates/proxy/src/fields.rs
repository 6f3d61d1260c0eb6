//! Header fields that must not pass: those of one hop only, in both directions, and those that the
//! gateway alone may state, when an untrusted client sends them.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Part of an upgrade to HTTP/2, which is passed over.
pub(crate) const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Taken from every message: they speak of one connection (RFC 9110 §7.6.1), not of the message.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    header::UPGRADE,
    header::TE,
    HTTP2_SETTINGS,
];

/// What the gateway states to upstreams about the client. A client's own word for it never
/// passes, in any spelling that an upstream may fold into it (`_` for `-`).
const STATED: [&str; 13] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-client-cert-subject",
    "x-client-cert-fingerprint",
    "x-authenticated",
    "x-user-id",
    "x-user-role",
    "lockgate-fence",
    "lockgate-debug",
];

/// The stated fields that a trusted proxy may hand on.
const CHAIN: [&str; 6] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Removes what speaks of this hop alone, and every field that `Connection` names. `TE: trailers`
/// stays, as gRPC needs it; any other `TE` goes.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
    }
    let trailers = headers.get(header::TE).is_some_and(wants_trailers);
    for name in &HOP_BY_HOP {
        if headers.contains_key(name) {
            headers.remove(name);
        }
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Fields that `Connection` must not take away: a client could disarm the gateway with them.
fn may_be_named(name: &HeaderName) -> bool {
    !matches!(
        *name,
        header::HOST
            | header::AUTHORIZATION
            | header::COOKIE
            | header::CONTENT_LENGTH
            | header::TRANSFER_ENCODING
            | header::TE
    ) && !STATED.contains(&name.as_str())
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|token| token.trim().parse::<HeaderName>().ok())
        .filter(may_be_named)
        .take(32)
        .collect()
}

fn wants_trailers(value: &HeaderValue) -> bool {
    value
        .to_str()
        .is_ok_and(|te| te.split(',').any(|part| part.trim().eq_ignore_ascii_case("trailers")))
}

/// Removes what only the gateway may state; a trusted proxy's forwarding chain stays.
pub(crate) fn strip_stated(headers: &mut HeaderMap, trusted: bool) {
    let forged: Vec<HeaderName> =
        headers.keys().filter(|name| is_stated(name.as_str(), trusted)).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
}

fn is_stated(name: &str, trusted: bool) -> bool {
    // Nearly every field ends here: none of the stated ones begins otherwise.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'f' | b'l')) {
        return false;
    }
    let folded = |stated: &&&str| {
        stated.len() == name.len()
            && stated.bytes().zip(name.bytes()).all(|(a, b)| a == b || (a == b'-' && b == b'_'))
    };
    let Some(stated) = STATED.iter().find(folded) else { return false };
    !(trusted && CHAIN.contains(stated) && !name.contains('_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    fn names(map: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn fields_of_one_hop_and_those_named_by_connection_go() {
        let mut map = headers(&[
            ("connection", "close, X-One"),
            ("connection", "x-two"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut map);
        assert_eq!(names(&map), ["accept"]);
    }

    #[test]
    fn connection_cannot_take_credentials_or_the_host_away() {
        let mut map = headers(&[
            ("connection", "authorization, host, cookie, x-forwarded-for"),
            ("authorization", "Bearer x"),
            ("host", "a"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "1.2.3.4"),
        ]);
        strip_hop_by_hop(&mut map);
        assert_eq!(names(&map), ["authorization", "cookie", "host", "x-forwarded-for"]);
    }

    #[test]
    fn te_trailers_stays_for_grpc() {
        let mut map = headers(&[("te", "gzip;q=0.5, Trailers")]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map.get("te").map(HeaderValue::as_bytes), Some(&b"trailers"[..]));
    }

    #[test]
    fn what_the_gateway_states_is_taken_from_clients_in_every_spelling() {
        let forged = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x_forwarded_for", "6.6.6.6"),
            ("x-user_id", "root"),
            ("x_authenticated", "true"),
            ("forwarded", "for=6.6.6.6"),
            ("x-requested-with", "stays"),
        ];
        let mut map = headers(&forged);
        strip_stated(&mut map, false);
        assert_eq!(names(&map), ["x-requested-with"]);

        let mut map = headers(&forged);
        strip_stated(&mut map, true);
        assert_eq!(names(&map), ["forwarded", "x-forwarded-for", "x-requested-with"]);
    }
}
