//! Patterns of names: `/accounts/*/cards`, `shop.example/catalog/**`.

use std::fmt;
use std::str::FromStr;

/// A pattern of `host/path`. `*` stands for any text inside of one segment, `**` as a segment for
/// any number of segments, none too. Without a host, any host fits; the query is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob {
    host: Option<Box<str>>,
    segments: Box<[Box<str>]>,
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
        let own: Vec<&str> = self.segments.iter().map(|segment| &**segment).collect();
        star(
            &own,
            &segments().collect::<Vec<_>>(),
            |own| *own == "**",
            |own, segment| {
                let (own, segment) = (own.as_bytes(), segment.as_bytes());
                star(own, segment, |byte| *byte == b'*', |own, byte| own == byte)
            },
        )
    }

    /// The path that it names with all below it, when it is nothing but that.
    pub fn is_under(&self) -> Option<String> {
        let (last, parts) = self.segments.split_last()?;
        if &**last != "**" || parts.iter().any(|part| part.contains('*')) {
            return None;
        }
        Some(parts.iter().flat_map(|part| ["/", part]).collect())
    }

    /// The path that it names, when it has no star.
    pub fn is_plain(&self) -> Option<String> {
        let plain = !self.segments.iter().any(|part| part.contains('*'));
        plain.then(|| self.segments.iter().flat_map(|part| ["/", part]).collect())
    }

    /// The host that it names.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }
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
        let segments: Box<[Box<str>]> = path.split('/').skip(1).map(Into::into).collect();
        if segments.len() > MOST {
            return Err(format!("a pattern has at most {MOST} segments"));
        }
        let host = (!host.is_empty()).then(|| host.to_ascii_lowercase().into());
        Ok(Self { host, segments })
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.host.as_deref().unwrap_or_default())?;
        self.segments.iter().try_for_each(|segment| write!(f, "/{segment}"))
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
