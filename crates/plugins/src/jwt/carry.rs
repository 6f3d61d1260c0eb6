//! Where requests carry their token, and taking it away once it has been believed. A place that
//! holds two of them is refused: another reader might take the other.

use http::header::{AUTHORIZATION, COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use lockgate_core::{Exchange, Rejection};

use super::reasons::{AMBIGUOUS, MALFORMED, rejected};

/// One place.
pub(super) enum Place {
    /// A header: `Authorization` with the scheme `Bearer` (RFC 6750 §2.1), any other with the
    /// token alone or after `Bearer`.
    Header(HeaderName),
    Cookie(Box<str>),
    Query(Box<str>),
}

/// All places, in the order in which they are looked at.
pub(super) struct Carry {
    pub(super) places: Box<[Place]>,
    /// Whether headers and cookies keep their token on the way to the target. Parameters of the
    /// URL never do: they end in logs.
    pub(super) forward: bool,
}

impl Carry {
    /// The token of a request; `None` when no place has one.
    pub(super) fn find<'e>(&self, exchange: &'e Exchange) -> Result<Option<&'e str>, Rejection> {
        for place in &self.places {
            let found = match place {
                Place::Header(name) => in_header(&exchange.head.headers, name)?,
                Place::Cookie(name) => one(in_cookies(&exchange.head.headers, name))?,
                Place::Query(name) => one(in_query(&exchange.head.uri, name))?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Whether `strip` would change anything of any request.
    pub(super) fn strips(&self) -> bool {
        !self.forward || self.places.iter().any(|place| matches!(place, Place::Query(_)))
    }

    /// Takes away what is not to go upstream, from every place.
    pub(super) fn strip(&self, exchange: &mut Exchange) {
        for place in &self.places {
            let headers = &mut exchange.head.headers;
            match place {
                Place::Query(name) => strip_query(&mut exchange.head.uri, name),
                _ if self.forward => {}
                Place::Header(name) => {
                    if *name != AUTHORIZATION || headers.get(name).is_some_and(is_bearer) {
                        headers.remove(name);
                    }
                }
                Place::Cookie(name) => strip_cookie(headers, name),
            }
        }
    }
}

fn one<'e>(mut all: impl Iterator<Item = &'e str>) -> Result<Option<&'e str>, Rejection> {
    let first = all.next();
    match all.next() {
        None => Ok(first.filter(|text| !text.is_empty())),
        Some(_) => Err(rejected(&AMBIGUOUS, "two of one name")),
    }
}

fn in_header<'e>(headers: &'e HeaderMap, name: &HeaderName) -> Result<Option<&'e str>, Rejection> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(rejected(&AMBIGUOUS, format!("two lines of `{name}`")));
    }
    if is_bearer(line) {
        let text = line.as_bytes().get(6..).and_then(|rest| str::from_utf8(rest).ok());
        let text = text.map(|text| text.trim_start_matches(' '));
        return match text.filter(|text| !text.is_empty()) {
            Some(text) => Ok(Some(text)),
            None => Err(rejected(&MALFORMED, "there is no text after `Bearer`")),
        };
    }
    if *name == AUTHORIZATION {
        return Ok(None);
    }
    let text = line.to_str().map_err(|_| rejected(&MALFORMED, "it is not plain text"))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Whether a value is of the scheme `Bearer`, whose case does not matter (RFC 9110 §11.1).
fn is_bearer(line: &HeaderValue) -> bool {
    let line = line.as_bytes();
    line.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
        && line.get(6).is_none_or(|next| *next == b' ')
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

fn in_cookies<'e>(headers: &'e HeaderMap, name: &str) -> impl Iterator<Item = &'e str> {
    pairs(headers).filter_map(move |(key, value)| (key == name).then_some(value))
}

fn in_query<'e>(uri: &'e Uri, name: &str) -> impl Iterator<Item = &'e str> {
    let all = uri.query().into_iter().flat_map(|query| query.split('&'));
    all.filter_map(move |pair| value_of(pair, name))
}

fn value_of<'p>(pair: &'p str, name: &str) -> Option<&'p str> {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    (key == name).then_some(value)
}

fn strip_cookie(headers: &mut HeaderMap, name: &str) {
    if in_cookies(headers, name).next().is_none() {
        return;
    }
    let left: Vec<String> = pairs(headers)
        .filter(|(key, _)| *key != name)
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    headers.remove(COOKIE);
    if let Ok(line) = HeaderValue::try_from(left.join("; "))
        && !left.is_empty()
    {
        headers.insert(COOKIE, line);
    }
}

fn strip_query(uri: &mut Uri, name: &str) {
    if in_query(uri, name).next().is_none() {
        return;
    }
    let query = uri.query().unwrap_or_default();
    let left: Vec<&str> = query.split('&').filter(|pair| value_of(pair, name).is_none()).collect();
    let target = match left.as_slice() {
        [] => uri.path().to_owned(),
        left => format!("{}?{}", uri.path(), left.join("&")),
    };
    // It was a part of a valid target before.
    let Ok(target) = PathAndQuery::try_from(target) else { return };
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(target);
    *uri = Uri::from_parts(parts).unwrap_or_default();
}
