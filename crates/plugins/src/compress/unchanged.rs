//! The tag of a 304 (RFC 9110 §15.4.5): the one that the answer would have had to which it refers.
//! A client that has it compressed knows it by the weak tag.

use http::header::{self, HeaderMap, HeaderValue};

/// What a client says that it has.
pub(super) struct Has(Vec<HeaderValue>);

impl Has {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        Self(headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect())
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has what bears exactly this tag.
    fn lists(&self, tag: &[u8]) -> bool {
        self.0.iter().any(|line| {
            let mut rest = line.as_bytes().trim_ascii_start();
            while let Some(end) = end_of_tag(rest) {
                let (own, after) = rest.split_at(end);
                if own == tag {
                    return true;
                }
                let after = after.trim_ascii_start();
                rest = after.strip_prefix(b",").unwrap_or_default().trim_ascii_start();
            }
            false
        })
    }
}

/// Where the tag ends with which a text begins.
fn end_of_tag(text: &[u8]) -> Option<usize> {
    let begin = if text.starts_with(b"W/") { 2 } else { 0 };
    let inner = text.get(begin..)?.strip_prefix(b"\"")?;
    let end = inner.iter().position(|byte| *byte == b'"')?;
    Some(begin + end + 2)
}

/// The weak tag that goes with a strong one.
pub(super) fn weak(headers: &HeaderMap) -> Option<HeaderValue> {
    let tag = headers.get(header::ETAG)?.as_bytes();
    let strong = tag.starts_with(b"\"").then(|| [b"W/", tag].concat());
    strong.and_then(|weak| HeaderValue::from_bytes(&weak).ok())
}

/// The tag that a 304 is to have instead, where its client has the answer compressed: it says so,
/// or would be given it compressed and does not say that it has it as it is.
pub(super) fn tag(headers: &HeaderMap, has: Option<&Has>, compresses: bool) -> Option<HeaderValue> {
    let strong = headers.get(header::ETAG)?.as_bytes();
    let weak = weak(headers)?;
    let has = |tag: &[u8]| has.is_some_and(|has| has.lists(tag));
    (has(weak.as_bytes()) || compresses && !has(strong)).then_some(weak)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_wherever_they_stand_and_exactly() {
        let has = |lines: &[&'static str]| {
            Has(lines.iter().map(|line| HeaderValue::from_static(line)).collect())
        };
        for lines in [&["\"b,c\""][..], &["\"a\", W/\"x\" ,\"b,c\""], &["W/\"a\"", "\"b,c\""]] {
            assert!(has(lines).lists(b"\"b,c\""), "{lines:?}");
        }
        for lines in
            [&["*"][..], &[], &["W/\"b,c\""], &["\"b\",\"c\""], &["\"a\" \"b,c\""], &["\"b,c"]]
        {
            assert!(!has(lines).lists(b"\"b,c\""), "{lines:?}");
        }
        assert!(has(&["\"x\", W/\"a\""]).lists(b"W/\"a\""));
    }
}
