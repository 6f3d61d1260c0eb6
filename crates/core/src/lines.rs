//! Header lines, written out: what is to be said in the same words again and again need not pass
//! through a map each time.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Room that the first line makes for those after it: what limits, CORS and the request's id say
/// together.
const ROOM: usize = 512;

/// Header lines as they stand in a head of HTTP/1.1. They are made of checked names and values
/// alone, so that nothing in them can end a line or a head.
#[derive(Debug, Clone, Default)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// A copy, with room for `more` bytes.
    #[must_use]
    pub fn with_room(&self, more: usize) -> Self {
        let mut lines = Vec::with_capacity(self.0.len() + more);
        lines.extend_from_slice(&self.0);
        Self(lines)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a line.
    pub fn push(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.put(name.as_str().as_bytes(), value.as_bytes());
    }

    /// Adds a line with a number. `begin` is its name, a colon and a space.
    #[inline]
    pub fn push_number(&mut self, begin: &'static str, number: u64) {
        self.make_room(begin.len() + 22);
        self.0.extend_from_slice(begin.as_bytes());
        self.0.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self.0.extend_from_slice(b"\r\n");
    }

    /// Adds a line with a text, unless that is no plain one: visible ASCII and spaces.
    #[inline]
    pub fn push_text(&mut self, begin: &'static str, text: &str) {
        if text.bytes().fold(true, |plain, byte| plain & (0x20..0x7f).contains(&byte)) {
            self.make_room(begin.len() + text.len() + 2);
            self.0.extend_from_slice(begin.as_bytes());
            self.0.extend_from_slice(text.as_bytes());
            self.0.extend_from_slice(b"\r\n");
        }
    }

    /// Adds the lines of others.
    pub fn append(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    /// The lines, each with its CRLF.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Puts them into a head, beside what stands there: for codecs that do not write lines.
    pub fn put_into(&self, headers: &mut HeaderMap) {
        let mut rest = &*self.0;
        while let Some(colon) = rest.iter().position(|byte| *byte == b':') {
            let (name, after) = rest.split_at(colon);
            let after = after.get(2..).unwrap_or_default();
            let end = after.iter().position(|byte| *byte == b'\r').unwrap_or(after.len());
            let (value, next) = after.split_at(end);
            // They were a name and a value before.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                headers.append(name, value);
            }
            rest = next.get(2..).unwrap_or_default();
        }
    }

    fn make_room(&mut self, more: usize) {
        self.0.reserve(if self.0.capacity() == 0 { more.max(ROOM) } else { more });
    }

    fn put(&mut self, name: &[u8], value: &[u8]) {
        self.make_room(name.len() + value.len() + 4);
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_in_a_map() {
        let mut lines = Lines::default();
        let name = HeaderName::from_static("x-one");
        lines.push(&name, &HeaderValue::from_static("a: b"));
        lines.push_number("x-one: ", 7);
        lines.push_text("x-two: ", "");
        lines.push_text("x-one: ", "no\r\nx-forged: 1");
        assert_eq!(lines.as_bytes(), b"x-one: a: b\r\nx-one: 7\r\nx-two: \r\n");
        let mut headers = HeaderMap::new();
        headers.insert(&name, HeaderValue::from_static("0"));
        lines.put_into(&mut headers);
        let ones: Vec<_> = headers.get_all(&name).iter().collect();
        assert_eq!(ones, ["0", "a: b", "7"]);
        assert_eq!(headers.get("x-two").map(HeaderValue::as_bytes), Some(&b""[..]));
        assert_eq!(headers.len(), 4);
    }
}
