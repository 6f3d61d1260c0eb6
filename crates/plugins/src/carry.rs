//! Where requests carry their token, and taking it away once it has been believed. A place that
//! holds two of them is refused: another reader might take the other.

use http::header::{AUTHORIZATION, COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use lockgate_core::{ConfigError, Exchange};

use crate::fields;
use crate::one_or_more::OneOrMore;

/// One place.
enum Place {
    /// A header: `Authorization` with the scheme `Bearer` (RFC 6750 §2.1), any other with the
    /// token alone or after `Bearer`.
    Header(HeaderName),
    Cookie(Box<str>),
    Query(Box<str>),
}

/// Why no token can be read where one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// There are two in one place.
    Twice,
    /// It is not plain text, or there is none after `Bearer`.
    NoText,
}

/// All places, in the order in which they are looked at.
pub(crate) struct Carry {
    places: Box<[Place]>,
    /// Whether headers and cookies keep their token on the way to the target. Parameters of the
    /// URL never do: they end in logs.
    forward: bool,
}

impl Carry {
    /// The places of three settings; with none of them it is `Authorization`.
    ///
    /// # Errors
    /// Which name is none, placed at its setting.
    pub(crate) fn new(
        headers: &OneOrMore<String>,
        cookies: &OneOrMore<String>,
        queries: &OneOrMore<String>,
        forward: bool,
    ) -> Result<Self, ConfigError> {
        let mut places = Vec::new();
        for name in &headers.0 {
            let name = fields::name(name).map_err(|error| error.at("header"))?;
            places.push(Place::Header(name));
        }
        for (key, names) in [("cookie", cookies), ("query", queries)] {
            for name in &names.0 {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
                if name.is_empty() || !name.bytes().all(plain) {
                    let message = format!("`{name}` is no name: letters, digits and -_.~");
                    return Err(ConfigError::new(message).at(key));
                }
                places.push(match key {
                    "cookie" => Place::Cookie(name.as_str().into()),
                    _ => Place::Query(name.as_str().into()),
                });
            }
        }
        if places.is_empty() {
            places.push(Place::Header(AUTHORIZATION));
        }
        Ok(Self { places: places.into(), forward })
    }

    /// The token of a request, which is to be [`read`] as a text; `None` when no place has one.
    pub(crate) fn find<'e>(&self, exchange: &'e Exchange) -> Result<Option<&'e [u8]>, Unreadable> {
        let headers = &exchange.head.headers;
        for place in &self.places {
            let found = match place {
                Place::Header(name) => in_header(headers, name)?,
                Place::Cookie(name) => one(in_cookies(headers, name))?.map(str::as_bytes),
                Place::Query(name) => one(in_query(&exchange.head.uri, name))?.map(str::as_bytes),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Whether `strip` would change anything of any request.
    pub(crate) fn strips(&self) -> bool {
        !self.forward || self.places.iter().any(|place| matches!(place, Place::Query(_)))
    }

    /// Takes away what is not to go upstream, from every place.
    pub(crate) fn strip(&self, exchange: &mut Exchange) {
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

fn one<'e>(mut all: impl Iterator<Item = &'e str>) -> Result<Option<&'e str>, Unreadable> {
    let first = all.next();
    match all.next() {
        None => Ok(first.filter(|text| !text.is_empty())),
        Some(_) => Err(Unreadable::Twice),
    }
}

fn in_header<'e>(
    headers: &'e HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'e [u8]>, Unreadable> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Unreadable::Twice);
    }
    if is_bearer(line) {
        let mut text = line.as_bytes().get(6..).unwrap_or_default();
        while let Some((b' ', rest)) = text.split_first() {
            text = rest;
        }
        return if text.is_empty() { Err(Unreadable::NoText) } else { Ok(Some(text)) };
    }
    if *name == AUTHORIZATION {
        return Ok(None);
    }
    let text = line.to_str().map_err(|_| Unreadable::NoText)?;
    Ok(Some(text.as_bytes()).filter(|text| !text.is_empty()))
}

/// A token as the text that it must be.
pub(crate) fn read(token: &[u8]) -> Result<&str, Unreadable> {
    str::from_utf8(token).map_err(|_| Unreadable::NoText)
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
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for line in lines {
        // Whatever else the client sends stays as it is.
        let left = line.to_str().map(|text| {
            let others = text
                .split(';')
                .map(str::trim)
                .filter(|pair| pair.split_once('=').is_none_or(|(key, _)| key != name));
            others.collect::<Vec<_>>().join("; ")
        });
        match left {
            Ok(left) if left.is_empty() => {}
            Ok(left) => headers.extend(HeaderValue::try_from(left).map(|left| (COOKIE, left))),
            Err(_) => headers.extend([(COOKIE, line)]),
        }
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
