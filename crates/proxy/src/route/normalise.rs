//! Brings a request's path into the one form that is both matched and forwarded, so that the
//! upstream never sees another path than the router did. Refuses what two readers might take for
//! two different paths.

use std::borrow::Cow;

use lockgate_core::{Fault, reasons};

use super::escape::{hex_pair, hides_dots, push_escaped, unreserved};

/// The normal form of a path, without its query: escapes of unreserved characters decoded, other
/// escapes in upper case, double slashes made one, dot segments resolved (RFC 3986 §6.2.2). A
/// final slash stays, and so does `%2F`. A path that is normal already is borrowed. `*`, the
/// target of `OPTIONS *`, is its own normal form.
///
/// # Errors
/// `bad_target` for a path that does not begin with `/` or climbs above it, a broken escape,
/// `%00`, a backslash (plain or as `%5C`), `?`, `#`, a blank, a control or non-ASCII character,
/// and a dot segment behind `;` or `%2F` (`/..;/`, `/..%2F`).
pub fn normalise(path: &str) -> Result<Cow<'_, str>, Fault> {
    clean(path).map_err(|why| Fault::client(&reasons::BAD_TARGET).detail(why))
}

/// As [`normalise`], with the bare reason.
pub(super) fn clean(path: &str) -> Result<Cow<'_, str>, &'static str> {
    if path == "*" {
        return Ok(Cow::Borrowed(path));
    }
    if !path.starts_with('/') {
        return Err("the path does not begin with a slash");
    }
    if is_normal(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    resolve(&unescape(path)?).map(Cow::Owned)
}

/// Whether a path needs no work, seen in one pass; false also when it might need some.
fn is_normal(path: &[u8]) -> bool {
    let mut rest = path;
    let mut before = 0;
    while let Some((&byte, after)) = rest.split_first() {
        let fine = match byte {
            b'/' => before != b'/',
            // A segment such as `.well-known` is fine; `.`, `..`, `.;x` and `..%2F` are not.
            b'.' if before == b'/' => !after
                .strip_prefix(b".")
                .unwrap_or(after)
                .first()
                .is_none_or(|next| matches!(next, b'/' | b';' | b'%')),
            b'%' => kept_escape(after),
            _ => plain(byte),
        };
        if !fine {
            return false;
        }
        before = byte;
        rest = after;
    }
    true
}

/// Whether what follows a `%` makes an escape that stays as it is and hides nothing.
fn kept_escape(after: &[u8]) -> bool {
    let upper = |byte: Option<&u8>| byte.is_some_and(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    let value = hex_pair(after.first(), after.get(1));
    upper(after.first())
        && upper(after.get(1))
        && value.is_some_and(|v| !unreserved(v) && !matches!(v, 0 | b'/' | b'\\'))
}

/// What may stand in a path unescaped. Some of it is not in RFC 3986's grammar (`^`, `|`, `{`),
/// but browsers send it, and it has one meaning only.
fn plain(byte: u8) -> bool {
    (0x21..0x7f).contains(&byte) && !matches!(byte, b'\\' | b'?' | b'#' | b'%')
}

/// Decodes unreserved characters, and writes the other escapes in upper case.
fn unescape(path: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            if !plain(byte) {
                return Err(refusal(byte));
            }
            out.push(char::from(byte));
            continue;
        }
        match hex_pair(rest.next(), rest.next()) {
            None => return Err("the path has a `%` without two hex digits"),
            Some(0) => return Err("the path has `%00`"),
            Some(b'\\') => return Err("the path has a backslash as `%5C`"),
            Some(value) if unreserved(value) => out.push(char::from(value)),
            Some(value) => push_escaped(&mut out, value),
        }
    }
    Ok(out)
}

fn refusal(byte: u8) -> &'static str {
    match byte {
        b'\\' => "the path has a backslash",
        b'?' | b'#' => "the path has a `?` or `#`",
        0x80.. => "the path has a character that is not ASCII and not percent-encoded",
        _ => "the path has a blank or a control character",
    }
}

/// Resolves dot segments and double slashes in an unescaped path.
fn resolve(path: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(path.len());
    let mut open = false;
    for segment in path.split('/').skip(1) {
        open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                let parent = out.rfind('/').ok_or("the path climbs above the root")?;
                out.truncate(parent);
            }
            _ if hides_dots(segment) => {
                return Err("the path hides a dot segment behind `;` or `%2F`");
            }
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    if open || out.is_empty() {
        out.push('/');
    }
    Ok(out)
}
