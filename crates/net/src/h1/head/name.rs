//! A header line's name, in one look at its bytes. What nearly every message says is known here, so
//! that it is neither compared twice nor given memory of its own.

use http::header::{self, HeaderName};

use super::Wrong;

/// What a field is to the codec itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing: it is for others.
    Field,
    /// `Connection`.
    Connection,
    /// `Content-Length`.
    Length,
    /// `Expect`.
    Expect,
    /// `Host`.
    Host,
    /// `Transfer-Encoding`.
    Coding,
    /// `Upgrade`.
    Upgrade,
}

/// The name at the beginning of a field line.
pub(super) struct Name {
    pub(super) name: HeaderName,
    pub(super) meaning: Meaning,
    /// Where its colon is.
    pub(super) colon: usize,
}

/// Longer names are read, but not known.
const LONGEST: usize = 32;

/// A name in lower case with zeros after it, which is compared in one piece.
type Padded = [u8; LONGEST];

struct Known {
    text: Padded,
    size: usize,
    name: HeaderName,
    meaning: Meaning,
}

const fn other(text: &'static str) -> Known {
    known_as(text, HeaderName::from_static(text), Meaning::Field)
}

const fn field(text: &'static str, name: HeaderName) -> Known {
    known_as(text, name, Meaning::Field)
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn known_as(text: &'static str, name: HeaderName, meaning: Meaning) -> Known {
    let mut padded = [0; LONGEST];
    let mut at = 0;
    while at < text.len() {
        padded[at] = text.as_bytes()[at];
        at += 1;
    }
    Known { text: padded, size: text.len(), name, meaning }
}

/// In the order of their lengths.
static KNOWN: [Known; 66] = [
    field("te", header::TE),
    field("age", header::AGE),
    field("via", header::VIA),
    field("date", header::DATE),
    field("etag", header::ETAG),
    known_as("host", header::HOST, Meaning::Host),
    field("link", header::LINK),
    field("vary", header::VARY),
    field("allow", header::ALLOW),
    field("range", header::RANGE),
    field("accept", header::ACCEPT),
    field("cookie", header::COOKIE),
    known_as("expect", header::EXPECT, Meaning::Expect),
    field("origin", header::ORIGIN),
    field("pragma", header::PRAGMA),
    field("server", header::SERVER),
    field("alt-svc", header::ALT_SVC),
    field("expires", header::EXPIRES),
    field("referer", header::REFERER),
    field("trailer", header::TRAILER),
    known_as("upgrade", header::UPGRADE, Meaning::Upgrade),
    field("if-match", header::IF_MATCH),
    field("if-range", header::IF_RANGE),
    field("location", header::LOCATION),
    other("priority"),
    other("sec-ch-ua"),
    other("x-api-key"),
    other("x-real-ip"),
    known_as("connection", header::CONNECTION, Meaning::Connection),
    other("keep-alive"),
    field("set-cookie", header::SET_COOKIE),
    field("user-agent", header::USER_AGENT),
    field("retry-after", header::RETRY_AFTER),
    other("traceparent"),
    field("content-type", header::CONTENT_TYPE),
    other("x-powered-by"),
    other("x-request-id"),
    field("accept-ranges", header::ACCEPT_RANGES),
    field("authorization", header::AUTHORIZATION),
    field("cache-control", header::CACHE_CONTROL),
    field("content-range", header::CONTENT_RANGE),
    field("if-none-match", header::IF_NONE_MATCH),
    field("last-modified", header::LAST_MODIFIED),
    known_as("content-length", header::CONTENT_LENGTH, Meaning::Length),
    other("sec-fetch-dest"),
    other("sec-fetch-mode"),
    other("sec-fetch-site"),
    other("sec-fetch-user"),
    field("accept-encoding", header::ACCEPT_ENCODING),
    field("accept-language", header::ACCEPT_LANGUAGE),
    field("referrer-policy", header::REFERRER_POLICY),
    other("x-forwarded-for"),
    field("x-frame-options", header::X_FRAME_OPTIONS),
    field("content-encoding", header::CONTENT_ENCODING),
    other("sec-ch-ua-mobile"),
    field("www-authenticate", header::WWW_AUTHENTICATE),
    field("if-modified-since", header::IF_MODIFIED_SINCE),
    known_as("transfer-encoding", header::TRANSFER_ENCODING, Meaning::Coding),
    other("x-forwarded-proto"),
    other("sec-ch-ua-platform"),
    field("content-disposition", header::CONTENT_DISPOSITION),
    field("x-content-type-options", header::X_CONTENT_TYPE_OPTIONS),
    field("content-security-policy", header::CONTENT_SECURITY_POLICY),
    field("strict-transport-security", header::STRICT_TRANSPORT_SECURITY),
    field("upgrade-insecure-requests", header::UPGRADE_INSECURE_REQUESTS),
    field("access-control-allow-origin", header::ACCESS_CONTROL_ALLOW_ORIGIN),
];

/// A byte of a token (RFC 9110 §5.6.2) in lower case; 0 for one that stands in none.
static TOKEN: [u8; 256] = token_bytes();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn token_bytes() -> [u8; 256] {
    const OTHERS: &[u8] = b"!#$%&'*+-.^_`|~";
    let mut bytes = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        if byte.is_ascii_alphanumeric() {
            bytes[at] = byte.to_ascii_lowercase();
        }
        at += 1;
    }
    let mut at = 0;
    while at < OTHERS.len() {
        bytes[OTHERS[at] as usize] = OTHERS[at];
        at += 1;
    }
    bytes
}

/// Where in [`KNOWN`] the names of each length begin and end.
static PLACES: [(u8, u8); LONGEST + 1] = places();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn places() -> [(u8, u8); LONGEST + 1] {
    let mut places = [(0, 0); LONGEST + 1];
    let (mut at, mut length) = (0, 0);
    while length <= LONGEST {
        let begin = at;
        while at < KNOWN.len() && KNOWN[at].size == length {
            at += 1;
        }
        places[length] = (begin as u8, at as u8);
        length += 1;
    }
    assert!(at == KNOWN.len(), "KNOWN is not in the order of its names' lengths");
    places
}

/// Reads the name of a field line, up to its colon.
pub(super) fn name(line: &[u8]) -> Result<Name, Wrong> {
    let mut lower = [0; LONGEST];
    let mut size = 0;
    for (room, byte) in lower.iter_mut().zip(line) {
        *room = TOKEN.get(usize::from(*byte)).copied().unwrap_or_default();
        // What ends it is no part of a token.
        if *room == 0 {
            break;
        }
        size += 1;
    }
    if line.get(size) == Some(&b':')
        && let Some(known) = known(&lower, size)
    {
        return Ok(Name { name: known.name.clone(), meaning: known.meaning, colon: size });
    }
    other_name(line)
}

fn known(name: &Padded, size: usize) -> Option<&'static Known> {
    let (begin, end) = *PLACES.get(size)?;
    let same_size = KNOWN.get(usize::from(begin)..usize::from(end))?;
    same_size.iter().find(|known| known.text == *name)
}

#[cold]
fn other_name(line: &[u8]) -> Result<Name, Wrong> {
    if let [b' ' | b'\t', ..] = line {
        return Err(Wrong::Framing("a folded header line"));
    }
    let colon = line.iter().position(|byte| *byte == b':');
    let colon = colon.ok_or(Wrong::Framing("a header line without a colon"))?;
    let name = HeaderName::from_bytes(line.get(..colon).unwrap_or_default());
    let name = name.map_err(|_| Wrong::Framing("a header name that is not a token"))?;
    Ok(Name { name, meaning: Meaning::Field, colon })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_its_own() {
        for known in &KNOWN {
            let text = known.name.as_str();
            assert_eq!(&known.text[..known.size], text.as_bytes());
            for line in [text.to_ascii_lowercase(), text.to_ascii_uppercase()] {
                let read = name(format!("{line}: x").as_bytes()).unwrap();
                assert_eq!((&read.name, read.meaning), (&known.name, known.meaning));
                assert_eq!(read.colon, text.len());
            }
        }
    }

    #[test]
    fn a_name_is_read_as_the_library_of_names_does() {
        for byte in 0..=255_u8 {
            for text in [[b'x', byte], [byte, b'x'], [b't', byte]] {
                if byte != b':' {
                    let ours = name(&[&text[..], b":"].concat()).ok().map(|read| read.name);
                    assert_eq!(ours, HeaderName::from_bytes(&text).ok(), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn framing_is_known_whatever_its_case_and_length() {
        assert_eq!(name(b"cOnTent-LENGTH: 1").unwrap().meaning, Meaning::Length);
        assert_eq!(name(b"Transfer-Encoding:x").unwrap().meaning, Meaning::Coding);
        let long = [b'x'; 400];
        assert_eq!(name(&[&long[..], b":"].concat()).unwrap().colon, 400);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for line in [&b" x: y"[..], b"\tx: y", b"x y: z", b"x", b"", b": y", b"x : y", b"\x00:"] {
            assert!(name(line).is_err(), "{line:?}");
        }
    }
}
