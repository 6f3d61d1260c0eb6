//! Patterns of names: `/accounts/*/cards`, `shop.example/catalog/**`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A pattern of `host/path`. `*` stands for any text inside of one segment, `**` as a segment for
/// any number of segments, none too; `\*` for a star itself, and `\\` for a backslash. Without a
/// host, any host fits; the query is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob {
    host: Option<Box<str>>,
    segments: Box<[Segment]>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Segment {
    /// Any number of segments.
    Many,
    /// One: its bytes, and `None` for each star.
    One(Box<[Option<u8>]>),
}

/// Longest pattern, in bytes.
const LONGEST: usize = 1024;
/// Most segments in a pattern.
const MOST: usize = 64;

impl Glob {
    /// Whether a name such as `host/path?query` fits.
    pub fn fits(&self, name: &str) -> bool {
        let name = name.split_once('?').map_or(name, |(name, _)| name);
        let Some(slash) = name.find('/') else { return false };
        let (host, path) = name.split_at(slash);
        if self.host.as_deref().is_some_and(|own| own != host) {
            return false;
        }
        let segments = || path.split('/').skip(1);
        star(
            &self.segments,
            &segments().collect::<Vec<_>>(),
            |own| *own == Segment::Many,
            |own, segment| match own {
                Segment::Many => false,
                Segment::One(own) => {
                    star(own, segment.as_bytes(), Option::is_none, |own, byte| *own == Some(*byte))
                }
            },
        )
    }

    /// A text as it stands in a pattern for nothing but itself.
    pub fn literal(text: &str) -> Cow<'_, str> {
        if !text.contains(['*', '\\']) {
            return text.into();
        }
        text.replace('\\', "\\\\").replace('*', "\\*").into()
    }

    /// The path that it names with all below it, when it is nothing but that.
    pub fn is_under(&self) -> Option<String> {
        let (last, parts) = self.segments.split_last()?;
        if *last == Segment::Many { path(parts) } else { None }
    }

    /// The path that it names, when it has no star.
    pub fn is_plain(&self) -> Option<String> {
        path(&self.segments)
    }

    /// The host that it names.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }
}

/// The path of segments without a star.
fn path(segments: &[Segment]) -> Option<String> {
    let mut path = Vec::new();
    for segment in segments {
        let Segment::One(bytes) = segment else { return None };
        path.push(b'/');
        for byte in bytes {
            path.push((*byte)?);
        }
    }
    String::from_utf8(path).ok()
}

/// Whether a pattern with stars fits a text. Of several stars only the last is ever tried again,
/// so that no pattern takes longer than its length times the text's.
fn star<P, T>(
    pattern: &[P],
    text: &[T],
    is_star: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut back = None;
    while let Some(piece) = text.get(seen) {
        match pattern.get(at) {
            Some(part) if is_star(part) => {
                back = Some((at, seen));
                at += 1;
                continue;
            }
            Some(part) if fits(part, piece) => {
                (at, seen) = (at + 1, seen + 1);
                continue;
            }
            _ => {}
        }
        let Some((star, taken)) = back else { return false };
        back = Some((star, taken + 1));
        (at, seen) = (star + 1, taken + 1);
    }
    pattern.iter().skip(at).all(is_star)
}

impl FromStr for Glob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let slash = text.find('/').ok_or_else(|| {
            format!("`{text}` is no pattern: say `/path`, `/path/**` or `host/path`")
        })?;
        if text.len() > LONGEST || text.contains(['?', '#', ' ']) {
            return Err(format!("a pattern is a path of at most {LONGEST} bytes without a query"));
        }
        let (host, path) = text.split_at(slash);
        let segments: Box<[Segment]> = path.split('/').skip(1).map(Segment::read).collect();
        if segments.len() > MOST {
            return Err(format!("a pattern has at most {MOST} segments"));
        }
        let host = (!host.is_empty()).then(|| host.to_ascii_lowercase().into());
        Ok(Self { host, segments })
    }
}

impl Segment {
    fn read(text: &str) -> Self {
        if text == "**" {
            return Self::Many;
        }
        let mut bytes = text.bytes();
        let mut pieces = Vec::with_capacity(text.len());
        while let Some(byte) = bytes.next() {
            pieces.push(match byte {
                b'*' => None,
                b'\\' => bytes.next().or(Some(byte)),
                _ => Some(byte),
            });
        }
        Self::One(pieces.into())
    }

    fn text(&self) -> String {
        let Self::One(pieces) = self else { return "**".to_owned() };
        let mut text = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece {
                None => text.push(b'*'),
                Some(byte @ (b'*' | b'\\')) => text.extend([b'\\', *byte]),
                Some(byte) => text.push(*byte),
            }
        }
        // What is escaped is one byte of text: nothing else is cut.
        String::from_utf8(text).unwrap_or_default()
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.host.as_deref().unwrap_or_default())?;
        self.segments.iter().try_for_each(|segment| write!(f, "/{}", segment.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        pattern.parse::<Glob>().unwrap().fits(name)
    }

    #[test]
    fn stars_stand_for_parts_and_double_ones_for_any_depth() {
        for (pattern, name) in [
            ("/a", "x.test/a?b=/c"),
            ("/a/*", "x.test/a/b"),
            ("/a/*/c", "x.test/a/b/c"),
            ("/a/b*d/c", "x.test/a/bcd/c"),
            ("/a/**", "x.test/a"),
            ("/a/**", "x.test/a/b/c"),
            ("/**/c", "x.test/a/b/c"),
            ("/**/b/*/**", "x.test/a/b/c"),
            ("x.test/**", "x.test/"),
            ("X.test/a", "x.test/a"),
            ("/**", "x.test/a/b"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("/a", "x.test/a/"),
            ("/a/*", "x.test/a/b/c"),
            ("/a/**", "x.test/ab"),
            ("/a/*/c", "x.test/a/c"),
            ("y.test/**", "x.test/a"),
            ("/**/c", "x.test/c/d"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_literal_stands_for_itself_alone() {
        for text in ["*", "**", "a*b", "\\*", "\\", "\\\\**", "*\\", "\u{e9}*", "a"] {
            let pattern = format!("x.test/{}/*", Glob::literal(text));
            assert!(fits(&pattern, &format!("x.test/{text}/1")), "{text}");
            for other in ["1", "ab", "aXb", "1/2", ""] {
                assert!(!fits(&pattern, &format!("x.test/{other}/1")), "{text} {other}");
            }
            let glob: Glob = pattern.parse().unwrap();
            assert_eq!(glob.to_string().parse(), Ok(glob), "{text}");
            let under = format!("/{}/**", Glob::literal(text)).parse::<Glob>().unwrap();
            assert_eq!(under.is_under(), Some(format!("/{text}")));
        }
        let star = "/***/a\\".parse::<Glob>().unwrap();
        assert_eq!(star.to_string(), "/***/a\\\\", "three are one segment, as they were");
    }

    #[test]
    fn a_prefix_and_a_plain_path_are_told() {
        let glob = |text: &str| text.parse::<Glob>().unwrap();
        assert_eq!(glob("/a/7/**").is_under().as_deref(), Some("/a/7"));
        assert_eq!(glob("/**").is_under().as_deref(), Some(""));
        assert_eq!(glob("/a/*/**").is_under(), None);
        assert_eq!(glob("/a/7").is_plain().as_deref(), Some("/a/7"));
        assert_eq!(glob("/a/*").is_plain(), None);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "a", "/a?b", &"/".repeat(65), &format!("/{}", "x".repeat(2000))] {
            assert!(text.parse::<Glob>().is_err(), "{text}");
        }
    }

    #[test]
    fn many_stars_end_soon() {
        let pattern = format!("/{}b", "*a".repeat(400));
        let name = format!("x.test/{}", "a".repeat(8000));
        assert!(!fits(&pattern, &name));
    }
}
