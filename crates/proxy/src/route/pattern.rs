//! Route patterns: `[METHOD ][HOST]/path`, by the rules of Go's ServeMux, with `/*` for the rest.
//! Refuses every pattern that could match nothing, or that reads two ways, and says where.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::escape::{hex_pair, hides_dots, push_escaped, unreserved};
use super::method::MethodId;

/// Segments that a pattern may have. Captures are kept as bits of one word.
const MAX_SEGMENTS: usize = 64;
/// Bytes that a pattern may have.
const MAX_LENGTH: usize = 4096;

/// A parsed pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: Arc<str>,
    pub(super) method: MethodId,
    pub(super) host: Host,
    pub(super) segments: Box<[Segment]>,
    pub(super) end: End,
    captures: Arc<[Box<str>]>,
}

/// The hosts that a pattern takes, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// Every host.
    Any,
    /// This one.
    Exact(Box<str>),
    /// Every host with one label or more in front of this one: `*.example.com` has `example.com`.
    Under(Box<str>),
}

/// One segment of a pattern's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// This text, in canonical form; empty after a final slash.
    Literal(Box<str>),
    /// Any text, but not none.
    Capture,
}

/// How a pattern's path ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With its last segment.
    Exact,
    /// With whatever follows; `named` when that is captured.
    Rest { named: bool },
}

/// What is wrong with a pattern, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} (at byte {at})")]
pub struct PatternError {
    /// Where in the text, in bytes from its begin.
    pub at: usize,
    /// What is wrong and what to do.
    pub what: String,
}

impl Pattern {
    /// The pattern as written.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The names of the captures, in the order in which they stand in the path.
    pub fn captures(&self) -> Arc<[Box<str>]> {
        self.captures.clone()
    }

    /// Takes the names of its captures from `known`, if they are there, or puts them there: most
    /// patterns have the same few.
    pub fn share_captures(&mut self, known: &mut HashSet<Arc<[Box<str>]>>) {
        match known.get(&self.captures) {
            Some(same) => self.captures = Arc::clone(same),
            None => drop(known.insert(Arc::clone(&self.captures))),
        }
    }

    /// The method, when the pattern names one.
    pub fn method(&self) -> Option<&'static str> {
        self.method.name()
    }

    /// The hosts it takes.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The bit `1 << i` is set when segment `i` is a capture.
    pub(super) fn capture_bits(&self) -> u64 {
        let places = self.segments.iter().enumerate();
        places.filter(|(_, s)| **s == Segment::Capture).fold(0, |bits, (i, _)| bits | 1 << i)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any host"),
            Self::Exact(host) => f.write_str(host),
            Self::Under(host) => write!(f, "*.{host}"),
        }
    }
}

impl Host {
    /// Whether a request's host (lower case, no port) is one of them.
    pub fn takes(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(own) => **own == *host,
            Self::Under(parent) => host
                .strip_suffix(&**parent)
                .and_then(|front| front.strip_suffix('.'))
                .is_some_and(|front| !front.is_empty()),
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::new(&text.into())
    }
}

impl Pattern {
    /// Reads a pattern, of which the text is kept as it is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &Arc<str>) -> Result<Self, PatternError> {
        if text.len() > MAX_LENGTH {
            return Err(wrong(MAX_LENGTH, format!("a pattern has at most {MAX_LENGTH} bytes")));
        }
        let (method, begin) = parse_method(text)?;
        let target = text.get(begin..).unwrap_or_default();
        let Some(slash) = target.find('/') else {
            let what = "a pattern needs a path that begins with `/`; add `/*` to take every path";
            return Err(wrong(begin, what));
        };
        let (host, path) = target.split_at(slash);
        let host = parse_host(host, begin)?;
        let slashes = path.bytes().filter(|byte| *byte == b'/').count();
        let segments = Vec::with_capacity(slashes.min(MAX_SEGMENTS));
        let mut reader = PathReader { names: Vec::new(), segments };
        let end = reader.read(path, begin + slash)?;
        Ok(Self {
            text: Arc::clone(text),
            method,
            host,
            segments: reader.segments.into(),
            end,
            // None share one allocation.
            captures: match reader.names.is_empty() {
                true => Arc::default(),
                false => reader.names.into(),
            },
        })
    }
}

fn wrong(at: usize, what: impl Into<String>) -> PatternError {
    PatternError { at, what: what.into() }
}

/// The method, and where what follows it begins.
fn parse_method(text: &str) -> Result<(MethodId, usize), PatternError> {
    let Some(blank) = text.find([' ', '\t']) else { return Ok((MethodId::ANY, 0)) };
    let (name, rest) = text.split_at(blank);
    if name.contains('/') {
        let what = "a path has no blanks; write `%20` for one, and the method before the path";
        return Err(wrong(blank, what));
    }
    if name.is_empty() {
        return Err(wrong(0, "a pattern does not begin with a blank; remove it"));
    }
    let begin = text.len() - rest.trim_start_matches([' ', '\t']).len();
    if let Some(method) = MethodId::named(name) {
        return Ok((method, begin));
    }
    let upper = name.to_ascii_uppercase();
    let near = MethodId::names().iter().min_by_key(|known| strsim::levenshtein(known, &upper));
    let advice = match near.filter(|known| strsim::levenshtein(known, &upper) <= 2) {
        Some(known) => format!("did you mean `{known}`?"),
        None => "leave the method out to take every one".into(),
    };
    Err(wrong(0, format!("`{name}` is not a known method; {advice}")))
}

fn parse_host(text: &str, at: usize) -> Result<Host, PatternError> {
    if text.is_empty() {
        return Ok(Host::Any);
    }
    if text.len() > 253 {
        return Err(wrong(at, "a host name has at most 253 characters"));
    }
    if let Some(inner) = text.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|a| a.parse::<std::net::Ipv6Addr>().ok());
        let what = "`[` begins an IPv6 address; close it with `]`, and leave out the port";
        address.ok_or_else(|| wrong(at, what))?;
        return Ok(Host::Exact(text.to_ascii_lowercase().into()));
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    let name_at = at + text.len() - name.len();
    let mut label_at = name_at;
    for label in name.split('.') {
        if label.len() > 63 {
            return Err(wrong(label_at, "a label of a host name has at most 63 characters"));
        }
        if label.is_empty() {
            let what = "a host name has no empty labels and no dot at its ends; remove the dot";
            return Err(wrong(label_at, what));
        }
        if let Some((place, odd)) = label.char_indices().find(|(_, c)| !host_char(*c)) {
            return Err(wrong(label_at + place, host_advice(odd)));
        }
        label_at += label.len() + 1;
    }
    let lower: Box<str> = name.to_ascii_lowercase().into();
    Ok(if name_at == at { Host::Exact(lower) } else { Host::Under(lower) })
}

fn host_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

fn host_advice(odd: char) -> String {
    match odd {
        ':' => "a pattern's host has no port; leave it out (listeners decide on ports)".into(),
        '*' => "`*` stands only for whole labels at the begin, as in `*.example.com`; leave the \
                host out to take every host"
            .into(),
        '{' | '}' => "captures stand in the path only; use `*.example.com` for many hosts".into(),
        ' ' | '\t' => "a host has no blanks; a pattern is `METHOD HOST/path`".into(),
        c if !c.is_ascii() => format!("`{c}` is not ASCII; write the host in its `xn--` form"),
        c => format!("`{}` cannot stand in a host name; remove it", c.escape_default()),
    }
}

struct PathReader {
    names: Vec<Box<str>>,
    segments: Vec<Segment>,
}

impl PathReader {
    /// Reads a path, which begins with a slash at byte `at` of the pattern.
    fn read(&mut self, path: &str, at: usize) -> Result<End, PatternError> {
        let mut begin = at + 1;
        let mut rest = path.strip_prefix('/').unwrap_or(path);
        loop {
            let (segment, after) = match rest.split_once('/') {
                Some((segment, after)) => (segment, Some(after)),
                None => (rest, None),
            };
            if self.segments.len() == MAX_SEGMENTS {
                return Err(wrong(begin, format!("a pattern has at most {MAX_SEGMENTS} segments")));
            }
            if let Some(end) = self.segment(segment, begin, after.is_none())? {
                return Ok(end);
            }
            let Some(after) = after else { return Ok(End::Exact) };
            begin += segment.len() + 1;
            rest = after;
        }
    }

    /// Reads one segment; the pattern's end when that is a rest.
    fn segment(&mut self, text: &str, at: usize, last: bool) -> Result<Option<End>, PatternError> {
        if text.is_empty() && !last {
            return Err(wrong(at, "two slashes in a row never match; remove one"));
        }
        if text == "*" && last {
            return Ok(Some(End::Rest { named: false }));
        }
        if text.contains(['{', '}']) {
            return self.capture(text, at, last);
        }
        self.segments.push(Segment::Literal(literal(text, at)?.into()));
        Ok(None)
    }

    fn capture(&mut self, text: &str, at: usize, last: bool) -> Result<Option<End>, PatternError> {
        let whole = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
        let Some(inner) = whole.filter(|t| !t.contains(['{', '}'])) else {
            let odd = text.find(['{', '}']).unwrap_or(0);
            let what = if text.matches('{').count() == text.matches('}').count() {
                "a capture takes a whole segment: `/{name}/`; write `%7B` and `%7D` for braces"
            } else {
                "the braces are not balanced: a capture is `{name}`, `%7B` is a plain brace"
            };
            return Err(wrong(at + odd, what));
        };
        if inner == "$" {
            return Err(wrong(at, "a pattern matches its path exactly; leave out `{$}`"));
        }
        let (name, rest) = match inner.strip_suffix("...") {
            Some(name) => (name, true),
            None => (inner, false),
        };
        let first = name.bytes().next();
        let odd = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        if odd.is_some() || first.is_none_or(|byte| byte.is_ascii_digit()) {
            let what = "a capture's name has letters, digits and `_`, and does not begin with a \
                        digit: `{order_id}`, or `{rest...}` at the end";
            return Err(wrong(at + 1 + odd.unwrap_or(0), what));
        }
        if self.names.iter().any(|known| **known == *name) {
            return Err(wrong(at + 1, format!("`{name}` is captured twice; rename one")));
        }
        self.names.push(name.into());
        if !rest {
            self.segments.push(Segment::Capture);
            return Ok(None);
        }
        if !last {
            let what = format!("`{{{name}...}}` takes all that follows, so it must come last");
            return Err(wrong(at, what));
        }
        Ok(Some(End::Rest { named: true }))
    }
}

/// The canonical form of a literal segment.
fn literal(text: &str, at: usize) -> Result<String, PatternError> {
    let mut out = String::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut skip = 0;
    for (place, &byte) in bytes.iter().enumerate() {
        if skip > 0 {
            skip -= 1;
            continue;
        }
        if byte == b'%' {
            let value = hex_pair(bytes.get(place + 1), bytes.get(place + 2));
            let what = "`%` needs two hex digits; write `%25` for a percent sign";
            let value = value.ok_or_else(|| wrong(at + place, what))?;
            skip = 2;
            match value {
                0 | b'\\' => {
                    let what = "requests with `%00` or `%5C` are refused, so this never matches";
                    return Err(wrong(at + place, what));
                }
                value if unreserved(value) => out.push(char::from(value)),
                value => push_escaped(&mut out, value),
            }
            continue;
        }
        match byte {
            b'*' => {
                Err("`*` is the last segment as a whole: `/*`; write `{name}` for one segment \
                         and `%2A` for the character")
            }
            b'?' => Err("a pattern has no query; use `when: { query: .. }`, or `%3F` in a path"),
            b'#' => Err("a pattern has no fragment; write `%23` for the character"),
            b'\\' => Err("requests with a backslash are refused, so this never matches"),
            0..=b' ' | 0x7f => Err("blanks and control characters must be percent-encoded"),
            0x80.. => {
                push_escaped(&mut out, byte);
                Ok(())
            }
            _ => {
                out.push(char::from(byte));
                Ok(())
            }
        }
        .map_err(|what| wrong(at + place, what))?;
    }
    if hides_dots(&out) {
        let what = "a dot segment never matches, as requests have theirs resolved; remove it";
        return Err(wrong(at, what));
    }
    Ok(out)
}
