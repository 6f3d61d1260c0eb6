//! What must not be in a log: secret query values, credentials in headers, and tokens wherever
//! they stand. Names decide for parameters and headers; JSON Web Tokens are known by their form.

use lockgate_core::is_secret_name;

use super::escape;

/// What stands for a secret.
pub(super) const REDACTED: &[u8] = b"[redacted]";

/// A text as a line would have it, of at most about so many bytes.
pub(crate) fn hidden(text: &str, most: usize) -> String {
    let shown = text.get(..text.floor_char_boundary(most)).unwrap_or_default();
    let mut out = Vec::with_capacity(shown.len());
    push_url(&mut out, shown.as_bytes());
    escape::mark_cut(&mut out, shown.len() < text.len());
    String::from_utf8_lossy(&out).into_owned()
}

/// Appends a value, escaped, cut, and with tokens in it redacted.
pub(super) fn push(out: &mut Vec<u8>, value: &[u8]) {
    let (value, was_cut) = escape::cut(value);
    push_hiding_tokens(out, value);
    escape::mark_cut(out, was_cut);
}

/// Appends a URL or something that may be one: what [`push`] does, and secret query values too.
pub(super) fn push_url(out: &mut Vec<u8>, url: &[u8]) {
    let (url, was_cut) = escape::cut(url);
    match url.iter().position(|byte| *byte == b'?') {
        Some(mark) => {
            let (path, query) = url.split_at(mark + 1);
            push_hiding_tokens(out, path);
            push_pairs(out, query);
        }
        None => push_hiding_tokens(out, url),
    }
    escape::mark_cut(out, was_cut);
}

/// Appends a query without its `?`, secret values redacted.
pub(super) fn push_query(out: &mut Vec<u8>, query: &[u8]) {
    let (query, was_cut) = escape::cut(query);
    push_pairs(out, query);
    escape::mark_cut(out, was_cut);
}

fn push_pairs(out: &mut Vec<u8>, query: &[u8]) {
    let mut rest = query;
    loop {
        // Some servers split at `;` too, and so what follows one is judged by its own name.
        let end = rest.iter().position(|byte| matches!(byte, b'&' | b';' | b'#'));
        let (pair, next) = rest.split_at(end.unwrap_or(rest.len()));
        push_pair(out, pair);
        let Some((separator, after)) = next.split_first() else { return };
        out.push(*separator);
        rest = after;
    }
}

fn push_pair(out: &mut Vec<u8>, pair: &[u8]) {
    let Some(equals) = pair.iter().position(|byte| *byte == b'=') else {
        return push_value(out, pair);
    };
    let (name, value) = pair.split_at(equals + 1);
    push_hiding_tokens(out, name);
    let name = name.strip_suffix(b"=").unwrap_or(name);
    if !value.is_empty() && is_secret_name(name) {
        return out.extend_from_slice(REDACTED);
    }
    push_value(out, value);
}

/// A value may be a URL with parameters of its own, as it is or percent-encoded up to three times:
/// `to=/cb?code=x`, `to=%2Fcb%3Fcode%3Dx`. Each of them is judged by its own name.
fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    let tail = |from: usize| value.get(from..).unwrap_or_default();
    let between = |from: usize, to: usize| value.get(from..to).unwrap_or_default();
    let (mut unwritten, mut name_from) = (0, 0);
    let mut at = 0;
    while let Some((ahead, length, separator)) = find_separator(tail(at)) {
        let name = between(name_from, at + ahead);
        at += ahead + length;
        name_from = at;
        let is_hidden = separator == b'=' && at < value.len() && is_secret_name(name);
        if is_hidden {
            push_hiding_tokens(out, between(unwritten, at));
            let mut end = at;
            // What is encoded more often than its `=` is a part of it.
            let (ahead, length) = loop {
                match find_separator(tail(end)) {
                    Some((ahead, own, b'&' | b';' | b'#')) if own <= length => break (ahead, own),
                    Some((ahead, own, _)) => end += ahead + own,
                    None => break (tail(end).len(), 0),
                }
            };
            end += ahead;
            if end > at {
                out.extend_from_slice(REDACTED);
            }
            unwritten = end;
            at = end + length;
            name_from = at;
        }
    }
    push_hiding_tokens(out, tail(unwritten));
}

/// The first separator of a query, as it is or percent-encoded: where, how long, and which.
fn find_separator(bytes: &[u8]) -> Option<(usize, usize, u8)> {
    let mut from = 0;
    loop {
        let tail = bytes.get(from..)?;
        let ahead =
            tail.iter().position(|byte| matches!(byte, b'=' | b'?' | b'&' | b';' | b'#' | b'%'))?;
        let tail = tail.get(ahead..)?;
        match tail.first()? {
            b'%' => {
                if let Some((length, separator)) = encoded(tail) {
                    return Some((from + ahead, length, separator));
                }
            }
            separator => return Some((from + ahead, 1, *separator)),
        }
        from += ahead + 1;
    }
}

/// The separator that this begins with, percent-encoded up to three times, and how long it is so.
fn encoded(bytes: &[u8]) -> Option<(usize, u8)> {
    let mut length = 1;
    while length < 5 && bytes.get(length..length + 2) == Some(b"25") {
        length += 2;
    }
    let separator = match bytes.get(length..length + 2)? {
        [b'3', b'd' | b'D'] => b'=',
        [b'3', b'f' | b'F'] => b'?',
        [b'3', b'b' | b'B'] => b';',
        [b'2', b'6'] => b'&',
        [b'2', b'3'] => b'#',
        _ => return None,
    };
    Some((length + 2, separator))
}

fn push_hiding_tokens(out: &mut Vec<u8>, bytes: &[u8]) {
    // Without a branch for each byte, so that the compiler may look at many at once. No token is
    // without a `J`.
    if bytes.iter().fold(true, |clean, byte| clean & escape::is_plain(*byte) & (*byte != b'J')) {
        return out.extend_from_slice(bytes);
    }
    let mut rest = bytes;
    while let Some((header_end, end)) = find_token(rest) {
        let (before, after) = rest.split_at(header_end);
        escape::push(out, before);
        out.push(b'.');
        out.extend_from_slice(REDACTED);
        rest = after.get(end - header_end..).unwrap_or_default();
    }
    escape::push(out, rest);
}

/// The first JSON Web Token (RFC 7515 §3.1, compact form; `eyJ` is `{"` in base64url): where its
/// header ends, and where all of it ends.
fn find_token(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let tail = bytes.get(from..).filter(|tail| tail.contains(&b'J'))?;
        let start = from + tail.windows(3).position(|three| three == b"eyJ")?;
        let header_end = start + part_length(bytes.get(start..)?);
        let mut end = header_end;
        while bytes.get(end) == Some(&b'.') {
            end += 1 + part_length(bytes.get(end + 1..).unwrap_or_default());
        }
        if end > header_end + 1 {
            return Some((header_end, end));
        }
        from = header_end;
    }
}

fn part_length(bytes: &[u8]) -> usize {
    let in_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
    bytes.iter().position(|byte| !in_part(byte)).unwrap_or(bytes.len())
}
