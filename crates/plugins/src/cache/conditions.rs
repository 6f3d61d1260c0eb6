//! What a client that already has something is given of an answer: a 304, a part, or the whole
//! (RFC 9110 §13, §14).

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
    PRAGMA, RANGE,
};
use http::{Response, StatusCode};
use lockgate_core::Body;

use super::freshness::{date_of_change, read_date};

/// Takes from a request what asks for less than the whole, so that the upstream gives the whole.
pub(super) fn strip(headers: &mut HeaderMap) {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        headers.remove(name);
    }
}

/// Whether a request asks for nothing but an answer: no condition, no range, no directive.
pub(super) fn is_plain(headers: &HeaderMap) -> bool {
    // One look at the names is cheaper than asking the map for each.
    !headers.keys().any(|name| match name.as_str().as_bytes() {
        [b'i', b'f', b'-', ..] => true,
        [b'c', ..] => *name == CACHE_CONTROL,
        [b'p', ..] => *name == PRAGMA,
        [b'r', ..] => *name == RANGE,
        _ => false,
    })
}

/// Whether a request bears a condition that only its origin can judge.
pub(super) fn is_for_origin(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE)
}

/// Whether what the client has is still the same as these headers say (RFC 9110 §13.1.2, §13.1.3).
pub(super) fn is_unchanged(asked: &HeaderMap, headers: &HeaderMap) -> bool {
    if asked.contains_key(IF_NONE_MATCH) {
        let Some(own) = headers.get(ETAG) else { return false };
        return asked.get_all(IF_NONE_MATCH).iter().any(|line| lists(line.as_bytes(), own));
    }
    let Some(since) = asked.get(IF_MODIFIED_SINCE).and_then(read_date) else { return false };
    date_of_change(headers).and_then(read_date).is_some_and(|changed| changed <= since)
}

/// Whether a list of entity tags has one that is weakly the same.
fn lists(line: &[u8], own: &HeaderValue) -> bool {
    let own = opaque(own.as_bytes());
    let mut rest = line.trim_ascii();
    if rest == b"*" {
        return true;
    }
    while !rest.is_empty() {
        let tag = opaque(rest);
        let Some(inner) = tag.strip_prefix(b"\"") else { return false };
        let Some(end) = inner.iter().position(|byte| *byte == b'"') else { return false };
        if tag.get(..end + 2) == Some(own) {
            return true;
        }
        let after = inner.get(end + 1..).unwrap_or_default().trim_ascii_start();
        rest = after.strip_prefix(b",").unwrap_or_default().trim_ascii_start();
    }
    false
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Makes a 304 of an answer that the client has already. The fields that describe a body which is
/// not sent go (RFC 9110 §15.4.5).
pub(super) fn not_modified(response: &mut Response<Body>) {
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.body_mut() = Body::Empty;
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.remove(ACCEPT_RANGES);
}

/// Cuts a whole answer down to the range that the client asks for, if it asks for one.
pub(super) fn cut(asked: &HeaderMap, response: &mut Response<Body>) {
    let Some(range) = asked.get(RANGE) else { return };
    if response.status() != StatusCode::OK || !still_applies(asked, response.headers()) {
        return;
    }
    let length = match response.body() {
        Body::Empty => 0,
        Body::Full(bytes) => bytes.len() as u64,
        Body::Stream(_) => return,
    };
    let (first, last) = match read_range(range.as_bytes(), length) {
        Range::Whole => return,
        Range::None => return unsatisfiable(response, length),
        Range::Part(first, last) => (first, last),
    };
    let whole = std::mem::take(response.body_mut());
    if let (Body::Full(bytes), Ok(from), Ok(to)) =
        (whole, usize::try_from(first), usize::try_from(last))
    {
        *response.body_mut() = bytes.slice(from..=to).into();
    }
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    state_range(response, &format!("bytes {first}-{last}/{length}"));
}

fn unsatisfiable(response: &mut Response<Body>, length: u64) {
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    *response.body_mut() = Body::Empty;
    state_range(response, &format!("bytes */{length}"));
}

fn state_range(response: &mut Response<Body>, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
}

/// RFC 9110 §13.1.5: by a strong tag, or by the exact date.
fn still_applies(asked: &HeaderMap, headers: &HeaderMap) -> bool {
    let Some(condition) = asked.get(IF_RANGE) else { return true };
    match condition.as_bytes().first() {
        Some(b'"') => headers.get(ETAG) == Some(condition),
        Some(b'W') if condition.as_bytes().starts_with(b"W/") => false,
        _ => headers.get(LAST_MODIFIED) == Some(condition),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// Everything: no range of bytes, several of them, or none that can be read.
    Whole,
    /// From the first to the last byte, both included.
    Part(u64, u64),
    /// One that the body does not have.
    None,
}

/// One range of bytes (RFC 9110 §14.1.2). Several are not served: any server may answer with the
/// whole.
fn read_range(range: &[u8], length: u64) -> Range {
    let unit = range.get(..6).is_some_and(|unit| unit.eq_ignore_ascii_case(b"bytes="));
    let Some(text) = range.get(6..).filter(|_| unit).and_then(|r| std::str::from_utf8(r).ok())
    else {
        return Range::Whole;
    };
    let Some((first, last)) = text.trim().split_once('-') else { return Range::Whole };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Range::Whole,
        (Some(first), _) if first >= length && (last.is_empty() || number(last).is_some()) => {
            Range::None
        }
        (Some(first), Some(last)) => Range::Part(first, last.min(length - 1)),
        (Some(first), None) if last.is_empty() => Range::Part(first, length - 1),
        (None, Some(0)) if first.is_empty() => Range::None,
        (None, Some(_)) if first.is_empty() && length == 0 => Range::None,
        (None, Some(suffix)) if first.is_empty() => {
            Range::Part(length.saturating_sub(suffix), length - 1)
        }
        _ => Range::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_read_and_all_else_is_the_whole() {
        for (text, expected) in [
            ("bytes=0-0", Range::Part(0, 0)),
            ("Bytes=2-", Range::Part(2, 9)),
            ("bytes=2-99", Range::Part(2, 9)),
            ("bytes=-3", Range::Part(7, 9)),
            ("bytes=-99", Range::Part(0, 9)),
            ("bytes=10-", Range::None),
            ("bytes=10-11", Range::None),
            ("bytes=-0", Range::None),
            ("bytes=99999999999999999999-", Range::None),
            ("bytes=5-2", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("bytes=", Range::Whole),
            ("bytes=-", Range::Whole),
            ("bytes=a-b", Range::Whole),
            ("bytes=1-x", Range::Whole),
            ("items=0-1", Range::Whole),
            ("", Range::Whole),
        ] {
            assert_eq!(read_range(text.as_bytes(), 10), expected, "{text}");
        }
        assert_eq!(read_range(b"bytes=0-0", 0), Range::None);
        assert_eq!(read_range(b"bytes=-1", 0), Range::None);
    }

    #[test]
    fn tags_are_compared_weakly_wherever_they_stand_in_the_list() {
        let own = HeaderValue::from_static("\"b,c\"");
        for line in ["*", "\"b,c\"", "W/\"b,c\"", "\"a\", W/\"x\" ,\"b,c\"", "\"a\",\"b,c\",\"d\""]
        {
            assert!(lists(line.as_bytes(), &own), "{line}");
        }
        for line in ["", "\"b\"", "b,c", "\"a\" \"b,c\"", "\"b,c", "\"a\", *"] {
            assert!(!lists(line.as_bytes(), &own), "{line}");
        }
        assert!(lists(b"\"a\"", &HeaderValue::from_static("W/\"a\"")));
    }
}
