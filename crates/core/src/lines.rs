//! Header lines, written out: what is to be said in the same words again and again need not pass
//! through a map each time.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Room that the first line makes for those after it: what limits, CORS and the request's id say
/// together.
const ROOM: usize = 512;

/// Header lines as they stand in a head of HTTP/1.1. They are made of checked names and values
/// alone, so that nothing in them can end a line or a head.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where the line begins that is a list to which items may be added, and where it ends.
    list: (usize, usize),
}

/// A text that may stand in a line, checked beforehand: visible ASCII and spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineText(Box<str>);

impl LineText {
    /// None: it is no such text.
    pub fn new(text: impl Into<Box<str>>) -> Option<Self> {
        Some(text.into()).filter(|text| is_plain(text)).map(Self)
    }
}

impl Lines {
    /// A copy, with room for `more` bytes.
    #[must_use]
    pub fn with_room(&self, more: usize) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len() + more);
        bytes.extend_from_slice(&self.bytes);
        Self { bytes, list: self.list }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds a line.
    pub fn push(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.put(name.as_str().as_bytes(), value.as_bytes());
    }

    /// Adds a line with a number. `begin` is its name, a colon and a space.
    #[inline(always)]
    pub fn push_number(&mut self, begin: &'static str, number: u64) {
        self.make_room(begin.len() + MOST_DIGITS + 2);
        self.bytes.extend_from_slice(begin.as_bytes());
        let (digits, count) = digits(number);
        // All of them, which takes no call, and then less those that are none.
        self.bytes.extend_from_slice(&digits);
        self.bytes.truncate(self.bytes.len() + count - MOST_DIGITS);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Adds an item to the list that stands in the last line if that begins with `begin`: a name, a
    /// colon and a space. Else begins such a line.
    #[inline]
    pub fn push_item(&mut self, begin: &'static str, item: &LineText) {
        let item = item.0.as_bytes();
        self.make_room(begin.len() + item.len() + 2);
        let (from, to) = self.list;
        let last = self.bytes.get(from..).unwrap_or_default();
        if to == self.bytes.len() && last.starts_with(begin.as_bytes()) {
            self.bytes.truncate(to - 2);
            self.bytes.extend_from_slice(b", ");
        } else {
            self.list.0 = self.bytes.len();
            self.bytes.extend_from_slice(begin.as_bytes());
        }
        self.bytes.extend_from_slice(item);
        self.bytes.extend_from_slice(b"\r\n");
        self.list.1 = self.bytes.len();
    }

    /// Adds a line with a text, unless that is no plain one: visible ASCII and spaces.
    #[inline]
    pub fn push_text(&mut self, begin: &'static str, text: &str) {
        if is_plain(text) {
            self.make_room(begin.len() + text.len() + 2);
            self.bytes.extend_from_slice(begin.as_bytes());
            self.bytes.extend_from_slice(text.as_bytes());
            self.bytes.extend_from_slice(b"\r\n");
        }
    }

    /// Adds the lines of others.
    pub fn append(&mut self, others: &Self) {
        self.bytes.extend_from_slice(&others.bytes);
    }

    /// The lines, each with its CRLF.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Puts them into a head, beside what stands there: for codecs that do not write lines.
    pub fn put_into(&self, headers: &mut HeaderMap) {
        let mut rest = &*self.bytes;
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
        self.bytes.reserve(if self.bytes.capacity() == 0 { more.max(ROOM) } else { more });
    }

    fn put(&mut self, name: &[u8], value: &[u8]) {
        self.make_room(name.len() + value.len() + 4);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
    }
}

/// The digits of the largest number.
const MOST_DIGITS: usize = 20;

/// A number's digits, from the first place on, and how many they are.
fn digits(number: u64) -> ([u8; MOST_DIGITS], usize) {
    let mut digits = [b'0'; MOST_DIGITS];
    let count = number.checked_ilog10().map_or(1, |log| log as usize + 1);
    let mut rest = number;
    for digit in digits.iter_mut().take(count).rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    (digits, count)
}

fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |plain, byte| plain & (0x20..0x7f).contains(&byte))
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

    #[test]
    fn numbers_are_written_as_everywhere() {
        let all = (0..20).flat_map(|zeros| {
            let power = 10_u64.pow(zeros);
            [power - 1, power, power + 1, u64::MAX / power]
        });
        for number in all {
            let mut lines = Lines::default();
            lines.push_number("x-one: ", number);
            assert_eq!(str::from_utf8(lines.as_bytes()), Ok(&*format!("x-one: {number}\r\n")));
        }
    }

    #[test]
    fn items_stand_in_one_line_until_another_comes_after_it() {
        let text = |text: &str| LineText::new(text).unwrap();
        let mut lines = Lines::default();
        lines.push_item("x-list: ", &text("a;q=1"));
        lines.push_item("x-list: ", &text("b"));
        lines.push_item("x-lists: ", &text("c"));
        lines.push_number("x-one: ", 1);
        lines.push_item("x-lists: ", &text("d"));
        lines.push_item("x-lists: ", &text("e"));
        let all = "x-list: a;q=1, b\r\nx-lists: c\r\nx-one: 1\r\nx-lists: d, e\r\n";
        assert_eq!(str::from_utf8(lines.as_bytes()), Ok(all));
        for forged in ["a\r\nx-forged: 1", "a\n", "\u{e4}"] {
            assert_eq!(LineText::new(forged), None);
        }
    }
}
