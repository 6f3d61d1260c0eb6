//! `Cache-Control` in both directions (RFC 9111 §5.2). What is written twice counts as the
//! stricter says; a time that cannot be read counts as none at all, so that a broken line never
//! makes anything live longer.

use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName, PRAGMA};

use super::structured;

/// What an answer says of its own caching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Said {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
    pub(super) s_maxage: Option<u64>,
    pub(super) max_age: Option<u64>,
    pub(super) stale_while_revalidate: Option<u64>,
    pub(super) stale_if_error: Option<u64>,
    /// A field for caches such as this one said it: `Expires` does not count then (RFC 9213 §2.1).
    pub(super) targeted: bool,
}

/// What a request asks of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wanted {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<u64>,
    pub(super) min_fresh: Option<u64>,
    /// Stale by so much at most; `u64::MAX`: by any time.
    pub(super) max_stale: Option<u64>,
}

/// RFC 9213 §3.1: for caches that stand before an origin.
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
/// Longer times are cut to this (RFC 9111 §1.2.2).
const LONGEST: u64 = 1 << 31;

impl Said {
    /// Reads an answer's headers.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        if let Some(said) = targeted(headers) {
            return said;
        }
        let mut said = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            each(line.as_bytes(), |name, value| said.take(name, value));
        }
        said
    }

    fn take(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            // With field names too: then for those alone, but the whole is safe (§5.2.2.4).
            self.no_cache = true;
        } else if is("private") {
            self.private = true;
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("s-maxage") {
            least(&mut self.s_maxage, value);
        } else if is("max-age") {
            least(&mut self.max_age, value);
        } else if is("stale-while-revalidate") {
            least(&mut self.stale_while_revalidate, value);
        } else if is("stale-if-error") {
            least(&mut self.stale_if_error, value);
        }
    }
}

/// `CDN-Cache-Control`, a dictionary (RFC 9213 §2). What is empty or no dictionary does not count.
fn targeted(headers: &HeaderMap) -> Option<Said> {
    let mut lines = headers.get_all(CDN_CACHE_CONTROL).iter();
    let first = lines.next()?;
    let mut text = first.to_str().ok()?.to_owned();
    for line in lines {
        text.push(',');
        text.push_str(line.to_str().ok()?);
    }
    let members = structured::dictionary(&text)?;
    if members.is_empty() {
        return None;
    }
    let mut said = Said { targeted: true, ..Said::default() };
    for (name, value) in members {
        match value {
            structured::Value::False => {}
            structured::Value::Number(text) => said.take(name.as_bytes(), Some(text.as_bytes())),
            structured::Value::True => said.take(name.as_bytes(), None),
            structured::Value::Other => said.take(name.as_bytes(), Some(b"")),
        }
    }
    Some(said)
}

impl Wanted {
    /// Reads a request's headers.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut wanted = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            // §5.4: the word of clients older than `Cache-Control`.
            let pragma = headers.get_all(PRAGMA).iter();
            wanted.no_cache = pragma.into_iter().any(|line| {
                let mut words = line.as_bytes().split(|byte| *byte == b',');
                words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"no-cache"))
            });
            return wanted;
        }
        for line in headers.get_all(CACHE_CONTROL) {
            each(line.as_bytes(), |name, value| wanted.take(name, value));
        }
        // Nothing that was there before is young enough.
        wanted.no_cache |= wanted.max_age == Some(0);
        wanted
    }

    fn take(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            least(&mut self.max_age, value);
        } else if is("min-fresh") {
            // Here the longer time is the stricter one.
            let seconds = value.and_then(seconds).unwrap_or(LONGEST);
            self.min_fresh = self.min_fresh.max(Some(seconds));
        } else if is("max-stale") {
            let stale = if value.is_none() { Some(u64::MAX) } else { None };
            let stale = stale.unwrap_or_else(|| value.and_then(seconds).unwrap_or(0));
            self.max_stale = Some(self.max_stale.map_or(stale, |old| old.min(stale)));
        }
    }
}

fn least(place: &mut Option<u64>, value: Option<&[u8]>) {
    let seconds = value.and_then(seconds).unwrap_or(0);
    *place = Some(place.map_or(seconds, |old| old.min(seconds)));
}

/// A whole number of seconds; quoted too, as some write it.
fn seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |sum: u64, byte: &u8| sum.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    Some(text.iter().fold(0, digit).min(LONGEST))
}

/// Shows each directive of a line: its name, and its argument without quotes.
fn each(line: &[u8], mut see: impl FnMut(&[u8], Option<&[u8]>)) {
    let mut rest = line;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(end_of_part(rest));
        rest = after.get(1..).unwrap_or_default();
        let split = part.iter().position(|byte| *byte == b'=');
        let (name, value) = match split {
            None => (part, None),
            Some(at) => (part.get(..at).unwrap_or_default(), part.get(at + 1..)),
        };
        let name = name.trim_ascii();
        if !name.is_empty() {
            see(name, value.map(|value| unquoted(value.trim_ascii())));
        }
    }
}

/// Up to the next comma that is in no quoted string.
fn end_of_part(text: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(*name, line.parse().unwrap());
        }
        headers
    }

    fn said(line: &str) -> Said {
        Said::read(&headers(&[("cache-control", line)]))
    }

    #[test]
    fn words_and_times_are_read_in_any_case_and_spacing() {
        let said = said("Public , MAX-AGE=60,,s-maxage = \"70\" , x=\"no-store, private\", y");
        let expected =
            Said { public: true, max_age: Some(60), s_maxage: Some(70), ..Said::default() };
        assert_eq!(said, expected);
    }

    #[test]
    fn the_stricter_holds_and_what_cannot_be_read_is_no_time() {
        assert_eq!(said("max-age=60, max-age=5").max_age, Some(5));
        for line in ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=1x", "max-age= "]
        {
            assert_eq!(said(line).max_age, Some(0), "{line}");
        }
        assert_eq!(said("max-age=99999999999999999999999").max_age, Some(LONGEST));
        let two = headers(&[("cache-control", "max-age=9"), ("cache-control", "no-store")]);
        assert!(Said::read(&two).no_store);
        assert!(said("private=\"x-a, x-b\"").private);
        assert!(said("no-cache=\"x-a\"").no_cache);
        assert!(said("no-store=1").no_store);
    }

    #[test]
    fn a_targeted_field_takes_the_place_of_the_others_when_it_can_be_read() {
        let both = |targeted: &str| {
            Said::read(&headers(&[("cache-control", "no-store"), ("cdn-cache-control", targeted)]))
        };
        let said = both("max-age=600, must-revalidate, no-cache=?0");
        assert_eq!((said.max_age, said.must_revalidate, said.no_cache), (Some(600), true, false));
        assert!(said.targeted && !said.no_store);
        assert_eq!(both("max-age=\"600\"").max_age, Some(0), "a text is no time");
        for broken in ["", "max-age=", "Max-Age=600", "a=1,", "max-age=600;"] {
            assert!(both(broken).no_store, "{broken}");
        }
    }

    #[test]
    fn a_request_may_ask_for_more_and_for_less() {
        let wanted = |line: &str| Wanted::read(&headers(&[("cache-control", line)]));
        assert_eq!(wanted("max-stale").max_stale, Some(u64::MAX));
        assert_eq!(wanted("max-stale=5, max-stale").max_stale, Some(5));
        assert_eq!(wanted("max-stale=x").max_stale, Some(0));
        assert_eq!(wanted("min-fresh=5, min-fresh=9").min_fresh, Some(9));
        assert_eq!(wanted("min-fresh=x").min_fresh, Some(LONGEST));
        assert!(wanted("only-if-cached, no-store").only_if_cached);
        assert!(Wanted::read(&headers(&[("pragma", "x, No-Cache")])).no_cache);
        let both = headers(&[("pragma", "no-cache"), ("cache-control", "max-age=1")]);
        assert!(!Wanted::read(&both).no_cache);
    }
}
