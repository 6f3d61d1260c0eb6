//! The key under which an answer is kept: what must be the same for a request to be given it. Every
//! part has its length before it, so that no two different requests ever make the same key.

use std::cmp::Ordering;

use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, HOST, HeaderMap,
    HeaderName, VARY,
};
use lockgate_core::{ConfigError, Derived, Exchange, Key, KeyPart, Template};

use super::settings::Query;

/// Most parameters that are sorted; a longer query counts as it is.
const MOST_SORTED: usize = 64;
/// Most headers that an answer may vary by.
pub(super) const MOST_VARYING: usize = 16;

/// What a proxy in front states of the origin, and upstreams put into links.
const STATED: [HeaderName; 3] = [
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// What makes the key of a route's requests.
pub(super) struct Keying {
    /// The route: the same URI may have another target under another condition.
    route: Box<[u8]>,
    parts: Vec<Key>,
    by_consumer: bool,
    only: Option<Vec<Name>>,
    ignore: Vec<Name>,
}

impl Keying {
    pub(super) fn new(
        route: &str,
        when: &str,
        vary_by: Option<&Key>,
        shared: bool,
        query: &Query,
    ) -> Result<Self, ConfigError> {
        let parts = vary_by.map(Key::parts).unwrap_or_default();
        if shared && parts.contains(&KeyPart::Consumer) {
            let message = "answers cannot be both `shared` and told apart by consumer";
            return Err(ConfigError::new(message).at("shared"));
        }
        let mut own = Vec::with_capacity(parts.len());
        for part in parts.iter().filter(|part| **part != KeyPart::Consumer) {
            own.push(part.to_string().parse().map_err(|error: String| ConfigError::new(error))?);
        }
        let names = |names: &[String]| names.iter().map(|name| Name::new(name)).collect();
        let mut text = Vec::new();
        put(&mut text, route.as_bytes());
        put(&mut text, when.as_bytes());
        Ok(Self {
            route: text.into(),
            parts: own,
            by_consumer: !shared,
            only: query.only.as_deref().map(names),
            ignore: names(&query.ignore),
        })
    }

    /// Whether a request's credentials are a part of its key, or of no matter by the route's word.
    pub(super) fn minds_credentials(&self, exchange: &Exchange) -> bool {
        exchange.consumer.is_some()
            || self.parts.iter().any(|key| {
                let by = |part: &KeyPart| *part == KeyPart::Header(http::header::AUTHORIZATION);
                key.parts().iter().any(by)
            })
    }

    /// The key of a request.
    pub(super) fn of(&self, exchange: &Exchange) -> Vec<u8> {
        let head = &exchange.head;
        let mut key = Vec::with_capacity(256);
        key.extend_from_slice(&self.route);
        key.push(u8::from(exchange.secure));
        // With its port, which an upstream may put into links.
        let host = head.headers.get(HOST).map_or(exchange.host.as_bytes(), |host| host.as_bytes());
        put_lower(&mut key, host);
        // A trusted proxy's word, which goes upstream: of all others it has been taken away.
        // One look at the names is cheaper than asking the map for each.
        let stated = head.headers.keys().any(|name| name.as_str().starts_with("x-forwarded-"));
        for name in &STATED {
            let begin = begin(&mut key);
            if stated {
                let lines = head.headers.get_all(name).iter();
                lines.for_each(|line| put(&mut key, line.as_bytes()));
            }
            end(&mut key, begin);
        }
        put(&mut key, head.uri.path().as_bytes());
        // A query of which nothing counts is as good as none.
        let counts =
            |query: &&str| self.takes_all() || query.split('&').any(|pair| self.counts(pair));
        match head.uri.query().filter(counts) {
            None => key.push(0),
            Some(query) => {
                key.push(1);
                self.put_query(&mut key, query);
            }
        }
        for part in &self.parts {
            let begin = begin(&mut key);
            let there = part.write(exchange, &mut key);
            key.push(u8::from(there));
            end(&mut key, begin);
        }
        if self.by_consumer
            && let Some(consumer) = &exchange.consumer
        {
            key.push(1);
            consumer.write_rights(&mut key);
            // Credentials that are still there go upstream, and need not be those of the consumer:
            // an app that is known by its key may speak for many.
            if let Some(own) = head.headers.get(AUTHORIZATION) {
                key.extend_from_slice(blake3::hash(own.as_bytes()).as_bytes());
            }
        } else if self.by_consumer
            && let Some(own) = exchange.connection.tls.as_ref().and_then(|tls| tls.client.as_ref())
        {
            // The upstream is told of it, and may go by it.
            key.push(2);
            key.extend_from_slice(own.fingerprint.as_bytes());
        } else {
            key.push(0);
        }
        key
    }

    /// Sorted by name; those of one name keep their order.
    fn put_query(&self, key: &mut Vec<u8>, query: &str) {
        let begin = begin(key);
        if self.takes_all() && is_sorted(query) {
            key.extend_from_slice(query.as_bytes());
        } else {
            let mut all: Vec<&str> = query.split('&').filter(|pair| self.counts(pair)).collect();
            if all.len() <= MOST_SORTED {
                all.sort_by(|one, other| by_name(one, other));
            }
            for (place, pair) in all.into_iter().enumerate() {
                if place > 0 {
                    key.push(b'&');
                }
                key.extend_from_slice(pair.as_bytes());
            }
        }
        end(key, begin);
    }

    fn takes_all(&self) -> bool {
        self.only.is_none() && self.ignore.is_empty()
    }

    fn counts(&self, pair: &str) -> bool {
        let name = name_of(pair);
        let has = |names: &[Name]| names.iter().any(|own| own.fits(name));
        // An upstream may read it as another parameter: left out, it would choose an answer for
        // those who never sent it.
        if pair.contains(';') || name.contains(['%', '+', '[']) {
            return true;
        }
        self.only.as_ref().is_none_or(|only| has(only)) && !has(&self.ignore)
    }
}

/// A parameter's name, or its begin.
struct Name {
    text: Box<str>,
    begins: bool,
}

impl Name {
    fn new(text: &str) -> Self {
        let begin = text.strip_suffix('*');
        Self { text: begin.unwrap_or(text).into(), begins: begin.is_some() }
    }

    fn fits(&self, name: &str) -> bool {
        if self.begins { name.starts_with(&*self.text) } else { name == &*self.text }
    }
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

fn by_name(one: &str, other: &str) -> Ordering {
    name_of(one).cmp(name_of(other))
}

fn is_sorted(query: &str) -> bool {
    let mut count = 0;
    query
        .split('&')
        .inspect(|_| count += 1)
        .is_sorted_by(|one, other| by_name(one, other) != Ordering::Greater)
        && count <= MOST_SORTED
}

/// The headers that an answer varies by, in a fixed order. `None` when they are too many, or `*`.
pub(super) fn varying(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for line in headers.get_all(VARY) {
        for name in line.as_bytes().split(|byte| *byte == b',') {
            let name = name.trim_ascii();
            if name.is_empty() {
                continue;
            }
            names.push(HeaderName::from_bytes(name).ok().filter(|name| name != "*")?);
        }
    }
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    (names.len() <= MOST_VARYING).then_some(names)
}

/// What the gateway says to the target of a request and its way, whatever the client sent there.
/// What it says of the host and the scheme is in each key.
const ABOUT_ONE: [&str; 8] = [
    "forwarded",
    "traceparent",
    "tracestate",
    "x-client-cert-fingerprint",
    "x-client-cert-subject",
    "x-forwarded-for",
    "x-forwarded-port",
    "x-request-id",
];

impl Keying {
    /// Whether what an answer varies by is what the client sent. Otherwise the gateway has written
    /// it for the target, out of what the key does not tell apart.
    pub(super) fn sees(&self, exchange: &Exchange, names: &[HeaderName]) -> bool {
        let is_key = |part: &KeyPart| match part {
            KeyPart::Consumer => self.by_consumer,
            KeyPart::Query(_) => self.takes_all(),
            part => self.parts.iter().any(|key| key.parts() == std::slice::from_ref(part)),
        };
        let derived = || exchange.kept.each::<Derived>().flat_map(|derived| derived.0.iter());
        let written = |name: &HeaderName| derived().any(|(own, _)| own == name);
        let varies_by = |part: &KeyPart| match part {
            KeyPart::Header(name) => names.contains(name) && !written(name),
            _ => false,
        };
        let settled = |from: &Template| from.is_settled(|part| is_key(part) || varies_by(part));
        names.iter().all(|name| {
            !ABOUT_ONE.contains(&name.as_str())
                && derived().filter(|(own, _)| own == name).all(|(_, from)| settled(from))
        })
    }
}

/// The key of one variant: what the request says in these headers, put behind its key.
pub(super) fn variant(key: &[u8], names: &[HeaderName], headers: &HeaderMap) -> Vec<u8> {
    let mut variant = Vec::with_capacity(key.len() + 64);
    put(&mut variant, key);
    for name in names {
        put(&mut variant, name.as_str().as_bytes());
        let begin = begin(&mut variant);
        normal(&mut variant, name, headers);
        end(&mut variant, begin);
    }
    variant
}

/// The codings that are told apart; a client that takes others too gets what it would without.
const CODINGS: [&str; 5] = ["br", "deflate", "gzip", "identity", "zstd"];

/// A header's value so that the same wish is the same text (§4.1).
fn normal(out: &mut Vec<u8>, name: &HeaderName, headers: &HeaderMap) {
    let lines = || headers.get_all(name).iter();
    if *name == ACCEPT_ENCODING {
        let mut taken = [false; CODINGS.len()];
        let mut odd = false;
        for line in lines() {
            for part in line.as_bytes().split(|byte| *byte == b',') {
                let mut fields = part.split(|byte| *byte == b';');
                let coding = fields.next().unwrap_or_default().trim_ascii();
                let known =
                    CODINGS.iter().position(|own| coding.eq_ignore_ascii_case(own.as_bytes()));
                let refused = fields.any(is_zero);
                match known.and_then(|known| taken.get_mut(known)) {
                    Some(place) if !refused && coding != b"identity" => *place = true,
                    // `*`, and a refusal of `identity`: told apart by the whole text.
                    _ => odd |= coding == b"*" || (refused && coding == b"identity"),
                }
            }
        }
        for (coding, _) in CODINGS.iter().zip(taken).filter(|(_, taken)| *taken) {
            out.extend_from_slice(coding.as_bytes());
            out.push(b',');
        }
        if !odd {
            return;
        }
    }
    let lower = [ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name);
    // Several lines are one list.
    for line in lines() {
        let bytes = line.as_bytes().iter().filter(|byte| !lower || !b" \t".contains(byte));
        match lower {
            true => out.extend(bytes.map(u8::to_ascii_lowercase)),
            false => out.extend_from_slice(line.as_bytes().trim_ascii()),
        }
        out.push(b',');
    }
}

/// `q=0`, in any of its spellings.
fn is_zero(parameter: &[u8]) -> bool {
    let parameter = parameter.trim_ascii();
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="));
    value.is_some_and(|value| {
        value.first() == Some(&b'0') && value.iter().all(|byte| b"0.".contains(byte))
    })
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let begin = begin(out);
    out.extend_from_slice(bytes);
    end(out, begin);
}

fn put_lower(out: &mut Vec<u8>, bytes: &[u8]) {
    let begin = begin(out);
    out.extend_from_slice(bytes);
    out.get_mut(begin..).unwrap_or_default().make_ascii_lowercase();
    end(out, begin);
}

/// Leaves room for a length.
fn begin(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 4]);
    out.len()
}

/// Writes the length of what has come since into the room.
fn end(out: &mut [u8], begin: usize) {
    let length = u32::try_from(out.len() - begin).unwrap_or(u32::MAX);
    if let Some(room) = out.get_mut(begin - 4..begin) {
        room.copy_from_slice(&length.to_be_bytes());
    }
}
