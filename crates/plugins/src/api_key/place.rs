//! Where requests carry their key, and taking it away. A place that holds two of them is refused:
//! the upstream might take the other.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use lockgate_core::{Exchange, form_pairs, unform};

/// One place.
pub(super) enum Place {
    /// A header: `Authorization` after the scheme `ApiKey` or `Bearer`, any other alone.
    Header(HeaderName),
    Cookie(Box<str>),
    Query(Box<str>),
}

/// What a place has.
pub(super) enum Had<'e> {
    Nothing,
    One(Cow<'e, [u8]>),
    Several,
}

impl Place {
    pub(super) fn find<'e>(&self, exchange: &'e Exchange) -> Had<'e> {
        let head = &exchange.head;
        match self {
            Self::Header(name) => {
                let lines = head.headers.get_all(name).iter().map(HeaderValue::as_bytes);
                if *name == AUTHORIZATION {
                    one(lines.filter_map(after_scheme).map(Cow::Borrowed))
                } else {
                    one(lines.map(Cow::Borrowed))
                }
            }
            Self::Cookie(name) => {
                let own = cookies(&head.headers).filter(|(key, _)| *key == &**name);
                one(own.map(|(_, value)| value.as_bytes().into()))
            }
            Self::Query(name) => {
                let all = form_pairs(head.uri.query().unwrap_or_default());
                one(all.filter(|(key, _)| **key == *name.as_bytes()).map(|(_, value)| value))
            }
        }
    }

    /// Takes away what stands here.
    pub(super) fn strip(&self, exchange: &mut Exchange) {
        let head = &mut exchange.head;
        match self {
            Self::Header(name) if *name == AUTHORIZATION => {
                let own = head.headers.get(name).map(|line| after_scheme(line.as_bytes()));
                if own.is_some_and(|key| key.is_some()) {
                    head.headers.remove(name);
                }
            }
            Self::Header(name) => {
                head.headers.remove(name);
            }
            Self::Cookie(name) => strip_cookie(&mut head.headers, name),
            Self::Query(name) => strip_query(&mut head.uri, name),
        }
    }
}

fn one<'e>(mut all: impl Iterator<Item = Cow<'e, [u8]>>) -> Had<'e> {
    match (all.next(), all.next()) {
        (None, _) => Had::Nothing,
        (Some(key), None) if key.is_empty() => Had::Nothing,
        (Some(key), None) => Had::One(key),
        (Some(_), Some(_)) => Had::Several,
    }
}

fn after_scheme(line: &[u8]) -> Option<&[u8]> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (scheme, key) = line.split_at_checked(space)?;
    let ours = scheme.eq_ignore_ascii_case(b"apikey") || scheme.eq_ignore_ascii_case(b"bearer");
    ours.then(|| key.trim_ascii())
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

fn strip_cookie(headers: &mut HeaderMap, name: &str) {
    let left: Vec<String> = cookies(headers)
        .filter(|(key, _)| *key != name)
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if cookies(headers).count() == left.len() {
        return;
    }
    headers.remove(COOKIE);
    if let Ok(line) = HeaderValue::try_from(left.join("; "))
        && !left.is_empty()
    {
        headers.insert(COOKIE, line);
    }
}

fn strip_query(uri: &mut Uri, name: &str) {
    let Some(query) = uri.query() else { return };
    let is_own = |pair: &&str| {
        let (key, _) = pair.split_once('=').unwrap_or((pair, ""));
        *unform(key) == *name.as_bytes()
    };
    if !query.split('&').any(|pair| is_own(&pair)) {
        return;
    }
    let left: Vec<&str> = query.split('&').filter(|pair| !is_own(pair)).collect();
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
