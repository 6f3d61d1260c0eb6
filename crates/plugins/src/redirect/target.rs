//! A redirect's target: literal text with placeholders, read once at load, written per request.
//! Refuses a host made of captures, and never writes `//` in front of a path: both are how a
//! redirect becomes an open door to any site.

use std::fmt;

use lockgate_core::{ConfigError, Exchange};

/// Longest target accepted, in bytes.
const MAX_LEN: usize = 2048;

/// Where a redirect leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target(Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The host that was asked for.
    Host,
    /// The path as it came.
    Path,
    /// The query with its question mark, or nothing.
    Query,
    /// A capture of the route's pattern, percent-encoded as it came.
    Capture(String),
}

impl Target {
    /// The same host, path and query on https.
    pub(super) fn https(port: u16) -> Self {
        let mut pieces = vec![Piece::Text("https://".to_owned()), Piece::Host];
        if port != 443 {
            pieces.push(Piece::Text(format!(":{port}")));
        }
        pieces.extend([Piece::Path, Piece::Query]);
        Self(pieces)
    }

    /// Reads a target. `route` is the pattern whose captures it may name.
    pub(super) fn parse(text: &str, route: &str) -> Result<Self, ConfigError> {
        if text.len() > MAX_LEN {
            return Err(ConfigError::new(format!("a target has at most {MAX_LEN} bytes")));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`|".contains(&byte)) {
            return Err(ConfigError::new("a target is a URL: percent-encode what it cannot hold"));
        }
        let target = Self(split(text, &captures(route))?);
        target.check_host()?;
        Ok(target)
    }

    /// The host stands in the configuration or is the request's own: no capture may be part of it.
    fn check_host(&self) -> Result<(), ConfigError> {
        let wrong = || {
            ConfigError::new("a target begins with `/`, or with `http://` or `https://` and a host")
        };
        let Some((Piece::Text(first), others)) = self.0.split_first() else {
            return if self.0 == [Piece::Path] || self.0 == [Piece::Path, Piece::Query] {
                Ok(())
            } else {
                Err(wrong())
            };
        };
        if first.starts_with('/') {
            return if first.starts_with("//") { Err(wrong()) } else { Ok(()) };
        }
        let rest = first.strip_prefix("https://").or_else(|| first.strip_prefix("http://"));
        let mut host = String::new();
        let mut next = Some(rest.ok_or_else(wrong)?);
        let mut others = others.iter();
        while let Some(text) = next {
            let end = text.find(['/', '?', '#']);
            host.push_str(text.get(..end.unwrap_or(text.len())).unwrap_or_default());
            if end.is_some() {
                break;
            }
            next = match others.next() {
                Some(Piece::Text(text)) => Some(text),
                Some(Piece::Host) => Some("h"),
                Some(Piece::Capture(_)) => {
                    return Err(ConfigError::new("a capture cannot be part of the host"));
                }
                Some(Piece::Path | Piece::Query) | None => None,
            };
        }
        if host.is_empty() || host.starts_with(':') {
            return Err(wrong());
        }
        if host.contains('@') {
            return Err(ConfigError::new("a target bears no user name"));
        }
        Ok(())
    }

    /// Writes the target for one request.
    pub(super) fn write(&self, exchange: &Exchange) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Host => out.push_str(&exchange.host),
                Piece::Path => {
                    let path = exchange.head.uri.path();
                    // `OPTIONS *` has a path without a slash: it must not lengthen the host.
                    if !path.starts_with('/') {
                        out.push('/');
                    }
                    out.push_str(path);
                }
                Piece::Query => {
                    if let Some(query) = exchange.head.uri.query() {
                        out.push('?');
                        out.push_str(query);
                    }
                }
                Piece::Capture(name) => {
                    out.push_str(exchange.captures.get(name).unwrap_or_default());
                }
            }
        }
        if out.starts_with('/') {
            // Browsers read `//x` and `/\x` as another host.
            let path = out.trim_start_matches(['/', '\\']);
            if out.len() - path.len() > 1 {
                return format!("/{path}");
            }
        }
        out
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => f.write_str(text)?,
                Piece::Host => f.write_str("{host}")?,
                Piece::Path => f.write_str("{path}")?,
                Piece::Query => f.write_str("{query}")?,
                Piece::Capture(name) => write!(f, "{{{name}}}")?,
            }
        }
        Ok(())
    }
}

/// The names in a pattern's braces, without the dots of `{rest...}`.
fn captures(route: &str) -> Vec<&str> {
    let parts = route.split('{').skip(1).filter_map(|part| part.split_once('}'));
    parts.map(|(name, _)| name.trim_end_matches("...")).collect()
}

fn split(text: &str, captures: &[&str]) -> Result<Vec<Piece>, ConfigError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| ConfigError::new("a `{` in a target is closed by a `}`"))?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(match name {
            name if captures.contains(&name) => Piece::Capture(name.to_owned()),
            "host" => Piece::Host,
            "path" => Piece::Path,
            "query" => Piece::Query,
            _ => {
                let known = [captures, &["host", "path", "query"]].concat().join(", ");
                let message = format!("`{{{name}}}` is no capture of this route; known: {known}");
                return Err(ConfigError::new(message));
            }
        });
        rest = after;
    }
    if rest.contains('}') {
        return Err(ConfigError::new("a `}` in a target has no `{` before it"));
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}
