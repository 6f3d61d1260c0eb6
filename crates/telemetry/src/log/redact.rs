//! What must not be in a log: secret query values, credentials in headers, and tokens wherever
//! they stand. Names decide for parameters and headers; JSON Web Tokens are known by their form.

use super::escape;

/// What stands for a secret.
pub(super) const REDACTED: &[u8] = b"[redacted]";

/// A name that decodes to more than this is not looked at: its value is taken for a secret.
const MAX_NAME: usize = 64;

/// Names whose values are secrets, in lower case, `-` written as `_`.
const SECRET_NAMES: &[&str] = &[
    "token",
    "tokens",
    "jwt",
    "api_key",
    "apikey",
    "key",
    "x_api_key",
    "access_key",
    "private_key",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "pass",
    "pin",
    "otp",
    "secret",
    "credential",
    "credentials",
    "sig",
    "signature",
    "hmac",
    "code",
    "code_verifier",
    "auth",
    "authorization",
    "proxy_authorization",
    "session",
    "sessionid",
    "session_id",
    "sid",
    "cookie",
    "set_cookie",
    "ticket",
    "assertion",
    "client_assertion",
    "samlresponse",
    "samlrequest",
    "nonce",
    "bearer",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "clientsecret",
    "x_auth",
    "x_session",
];

/// What names of secrets end in.
const SECRET_ENDINGS: &[&str] = &[
    "_token",
    "_secret",
    "_password",
    "_passwd",
    "_apikey",
    "_key",
    "_signature",
    "_credential",
    "_assertion",
    "_session",
    "_cookie",
    "_authorization",
    "_auth",
    "_jwt",
];

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

/// Whether a header's or parameter's value is a secret, judged by the name: case, `-` and `_`,
/// percent-encoding and array brackets do not matter.
pub(super) fn is_secret(name: &[u8]) -> bool {
    let mut plain = [0_u8; MAX_NAME];
    let Some(length) = normalise(name, &mut plain) else { return true };
    let Some(Ok(plain)) = plain.get(..length).map(std::str::from_utf8) else { return false };
    // `user[password]`, `filter.token` and `tokens[]` say it in their last word.
    let plain = plain.trim_end_matches("[]").trim_end_matches(']');
    let last = plain.rsplit(['[', '.', ':', '/', '?']).next().unwrap_or(plain);
    SECRET_NAMES.contains(&last) || SECRET_ENDINGS.iter().any(|ending| last.ends_with(ending))
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
    if !value.is_empty() && is_secret(name) {
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
        let is_hidden = separator == b'=' && at < value.len() && is_secret(name);
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

/// Percent-decodes, folds case and turns `-` and `+` into `_`. `None` when it does not fit.
fn normalise(name: &[u8], plain: &mut [u8; MAX_NAME]) -> Option<usize> {
    let mut bytes = name.iter().copied();
    let mut length = 0;
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut ahead = bytes.clone();
                match (ahead.next().and_then(hex), ahead.next().and_then(hex)) {
                    (Some(high), Some(low)) => {
                        bytes = ahead;
                        high << 4 | low
                    }
                    _ => byte,
                }
            }
            byte => byte,
        };
        if byte.is_ascii_whitespace() || byte == b'+' || byte == 0 {
            continue;
        }
        let folded = if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
        *plain.get_mut(length)? = folded;
        length += 1;
    }
    Some(length)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
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
