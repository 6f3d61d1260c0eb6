//! Percent-encoding of path segments (RFC 3986 §2), as patterns and request paths share it. A
//! *canonical* segment has its unreserved characters plain and every other escape in upper case.

use std::borrow::Cow;

/// The value of two hex digits.
pub(super) fn hex_pair(high: Option<&u8>, low: Option<&u8>) -> Option<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// RFC 3986 §2.3: what means the same plain and escaped.
pub(super) fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Appends a byte as `%XX`.
pub(super) fn push_escaped(out: &mut String, byte: u8) {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    out.push('%');
    out.push(digit(byte >> 4).to_ascii_uppercase());
    out.push(digit(byte & 15).to_ascii_uppercase());
}

/// The bytes that a segment stands for. What is no escape stands for itself.
pub(super) fn decode(segment: &[u8]) -> Cow<'_, [u8]> {
    if !segment.contains(&b'%') {
        return Cow::Borrowed(segment);
    }
    let mut out = Vec::with_capacity(segment.len());
    let mut rest = segment.iter();
    while let Some(&byte) = rest.next() {
        let ahead = rest.as_slice();
        match hex_pair(ahead.first(), ahead.get(1)) {
            Some(value) if byte == b'%' => {
                out.push(value);
                rest.nth(1);
            }
            _ => out.push(byte),
        }
    }
    Cow::Owned(out)
}

/// Whether a service that decodes `%2F` early, or cuts off `;parameters`, would see a dot segment
/// in this canonical segment: `..%2Fadmin`, `..;x`. What is plainly `.` or `..` counts too.
pub(super) fn hides_dots(segment: &str) -> bool {
    if !segment.contains('.') {
        return false;
    }
    segment.split("%2F").any(|piece| {
        let end = piece.find(';').into_iter().chain(piece.find("%3B")).min();
        matches!(piece.get(..end.unwrap_or(piece.len())), Some("." | ".."))
    })
}
