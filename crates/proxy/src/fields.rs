//! Header fields that must not pass: those of one hop only, in both directions, and those that the
//! gateway alone may state, when an untrusted client sends them.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::reserved::Reserved;

/// Part of an upgrade to HTTP/2, which is passed over.
pub(crate) const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

const HOPS: usize = 8;

/// Taken from every message: they speak of one connection (RFC 9110 §7.6.1), not of the message.
const HOP_BY_HOP: [HeaderName; HOPS] = [
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
    // One look at the names is cheaper than asking the map for each.
    let mut found = [false; HOPS];
    for name in headers.keys() {
        if let Some(place) = hop_by_hop(name)
            && let Some(found) = found.get_mut(place)
        {
            *found = true;
        }
    }
    if found == [false; HOPS] {
        return;
    }
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    let trailers = headers.get(header::TE).is_some_and(wants_trailers);
    for (name, found) in HOP_BY_HOP.iter().zip(found) {
        if found {
            headers.remove(name);
        }
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes what only this gateway says in answers, so that an upstream cannot speak for it.
pub(crate) fn strip_own(headers: &mut HeaderMap) {
    if headers.keys().any(|name| name.as_str().starts_with("lockgate-")) {
        headers.remove("lockgate-reason");
        headers.remove("lockgate-trace");
    }
}

/// The place in [`HOP_BY_HOP`].
fn hop_by_hop(name: &HeaderName) -> Option<usize> {
    Some(match *name {
        header::CONNECTION => 0,
        header::PROXY_AUTHORIZATION => 3,
        header::PROXY_AUTHENTICATE => 4,
        header::UPGRADE => 5,
        header::TE => 6,
        _ => match name.as_str() {
            "keep-alive" => 1,
            "proxy-connection" => 2,
            "http2-settings" => 7,
            _ => return None,
        },
    })
}

/// Whether a field speaks of one hop alone.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    hop_by_hop(name).is_some()
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
        .filter(|token| !is_option(token.trim()))
        .filter_map(|token| token.trim().parse::<HeaderName>().ok())
        .filter(may_be_named)
        .collect()
}

/// What `Connection` says without naming a field.
fn is_option(token: &str) -> bool {
    ["close", "keep-alive", "upgrade"].iter().any(|option| token.eq_ignore_ascii_case(option))
}

fn wants_trailers(value: &HeaderValue) -> bool {
    value
        .to_str()
        .is_ok_and(|te| te.split(',').any(|part| part.trim().eq_ignore_ascii_case("trailers")))
}

/// Removes what only the gateway may state, by itself and by its configuration; a trusted proxy's
/// forwarding chain stays.
pub(crate) fn strip_stated(headers: &mut HeaderMap, trusted: bool, reserved: &Reserved) {
    let stated = |name: &&HeaderName| {
        let name = name.as_str();
        is_stated(name, trusted) || reserved.has(name)
    };
    if headers.keys().any(|name| stated(&name)) {
        let forged: Vec<HeaderName> = headers.keys().filter(stated).cloned().collect();
        forged.into_iter().for_each(|name| drop(headers.remove(name)));
    }
}

/// `X-User-*`: an identity's fields, whichever a policy comes to state.
fn is_family(name: &str) -> bool {
    let begin = name.as_bytes().get(..7).unwrap_or_default();
    matches!(begin, [b'x', b'-' | b'_', b'u', b's', b'e', b'r', b'-' | b'_'])
}

/// Framing and routing in a spelling that no codec reads and some upstreams do.
fn folds_into_framing(name: &str) -> bool {
    matches!(name, "content_length" | "transfer_encoding")
}

/// Nearly no field may be: none of the stated ones begins otherwise.
pub(crate) fn may_be_stated(name: &str) -> bool {
    matches!(name.as_bytes().first(), Some(b'x' | b'f' | b'l')) || folds_into_framing(name)
}

fn is_stated(name: &str, trusted: bool) -> bool {
    if !may_be_stated(name) {
        return false;
    }
    if folds_into_framing(name) || is_family(name) {
        return true;
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
    fn no_number_of_options_hides_a_field_that_is_named() {
        let line: Vec<String> = (0..64).map(|n| format!("x-{n}")).collect();
        let mut map = headers(&[("x-named", "1")]);
        let line = format!("{}, x-named", line.join(", "));
        map.insert("connection", line.parse().unwrap());
        strip_hop_by_hop(&mut map);
        assert!(map.is_empty());
    }

    #[test]
    fn an_upstream_does_not_speak_for_the_gateway() {
        let mut map = headers(&[("lockgate-reason", "no_route"), ("lockgate-fence", "7")]);
        strip_own(&mut map);
        assert_eq!(names(&map), ["lockgate-fence"]);
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
            ("x-user_email", "root@example.com"),
            ("content_length", "7"),
            ("transfer_encoding", "chunked"),
            ("x-requested-with", "stays"),
            ("x-user", "stays"),
        ];
        let mut map = headers(&forged);
        strip_stated(&mut map, false, &Reserved::none());
        assert_eq!(names(&map), ["x-requested-with", "x-user"]);

        let mut map = headers(&forged);
        strip_stated(&mut map, true, &Reserved::none());
        assert_eq!(names(&map), ["forwarded", "x-forwarded-for", "x-requested-with", "x-user"]);
    }
}
