//! `when`: what tells several routes of one pattern apart. Compiled once; a request is held
//! against it without allocating, unless a query value has escapes.

use std::borrow::Cow;
use std::fmt;

use http::request::Parts;
use http::{HeaderName, Method, header};
use lockgate_config::model::{self, Match};
use lockgate_core::{Expression, Scope, Seen, unform};
use regex::bytes::Regex;

use super::method::MethodId;

/// A compiled condition: all of its parts must hold.
#[derive(Debug, Default)]
pub struct Condition {
    parts: Box<[Part]>,
}

#[derive(Debug)]
struct Part {
    subject: Subject,
    wanted: Wanted,
    why: Why,
}

#[derive(Debug)]
enum Subject {
    Header(HeaderName),
    Query(Box<str>),
    Cookie(Box<str>),
    Method,
    Request,
}

#[derive(Debug)]
enum Wanted {
    Present,
    Absent,
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Regex(Regex),
    OneOf(Box<[Method]>),
    True(Box<Expression>),
}

/// The part of a condition that did not hold, in words: ``header x-version is not `2` ``.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why(Box<str>);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Condition {
    /// Compiles a condition.
    ///
    /// # Errors
    /// The first part that is no header name, no method, or no regular expression, and what to do.
    pub fn new(condition: &model::Condition) -> Result<Self, String> {
        let mut parts = Vec::new();
        if !condition.method.is_empty() {
            parts.push(methods(&condition.method)?);
        }
        for (name, wanted) in &condition.header {
            let place = ["header", name.as_str()];
            let header = name.parse::<HeaderName>();
            let header = header.map_err(|_| format!("`{name}` is not a header name"))?;
            parts.push(Part::new(Subject::Header(header), wanted, place)?);
        }
        for (name, wanted) in &condition.query {
            let subject = Subject::Query(name.as_str().into());
            parts.push(Part::new(subject, wanted, ["query", name])?);
        }
        for (name, wanted) in &condition.cookie {
            let subject = Subject::Cookie(name.as_str().into());
            parts.push(Part::new(subject, wanted, ["cookie", name])?);
        }
        if let Some(text) = &condition.cel {
            parts.push(expression(text)?);
        }
        Ok(Self { parts: parts.into() })
    }

    /// Whether every request fulfils it, so that no route after this one is ever reached.
    pub fn always(&self) -> bool {
        self.parts.is_empty()
    }

    /// Holds a request against it.
    ///
    /// # Errors
    /// The first part that does not hold.
    pub fn holds(&self, seen: &Seen<'_>) -> Result<(), &Why> {
        match self.parts.iter().find(|part| !part.holds(seen)) {
            None => Ok(()),
            Some(part) => Err(&part.why),
        }
    }
}

fn methods(names: &[String]) -> Result<Part, String> {
    let mut wanted = Vec::with_capacity(names.len());
    for name in names {
        match name.parse::<Method>() {
            Ok(method) if MethodId::named(name).is_some() => wanted.push(method),
            _ => {
                return Err(format!("`{name}` is not a known method; write it in upper case"));
            }
        }
    }
    let why = Why(format!("the method is not {}", names.join(" or ")).into());
    Ok(Part { subject: Subject::Method, wanted: Wanted::OneOf(wanted.into()), why })
}

fn expression(text: &str) -> Result<Part, String> {
    let expression = Expression::new(text, Scope::Request)
        .map_err(|what| format!("the expression `cel` cannot be used: {what}"))?;
    let why = Why(format!("`{text}` is not true").into());
    Ok(Part { subject: Subject::Request, wanted: Wanted::True(Box::new(expression)), why })
}

impl Part {
    fn new(subject: Subject, wanted: &Match, place: [&str; 2]) -> Result<Self, String> {
        let [kind, name] = place;
        let (wanted, complaint) = match wanted {
            Match::Present => (Wanted::Present, "is missing".into()),
            Match::Absent => (Wanted::Absent, "is there".into()),
            Match::Exact(text) => {
                (Wanted::Exact(text.as_bytes().into()), format!("is not `{text}`"))
            }
            Match::Prefix(text) => {
                let complaint = format!("does not begin with `{text}`");
                (Wanted::Prefix(text.as_bytes().into()), complaint)
            }
            Match::Regex(text) => {
                let regex = Match::compile(text)
                    .map_err(|what| format!("the {kind} {name}'s regex cannot be used: {what}"))?;
                (Wanted::Regex(regex), format!("does not match `{text}`"))
            }
        };
        Ok(Self { subject, wanted, why: Why(format!("{kind} {name} {complaint}").into()) })
    }

    fn holds(&self, seen: &Seen<'_>) -> bool {
        let head = seen.head;
        match &self.subject {
            Subject::Request => self.is_true(seen),
            Subject::Method => self.takes_method(&head.method),
            Subject::Header(name) => self.takes(head.headers.get(name).map(|v| v.as_bytes())),
            Subject::Query(name) => self.takes(query(head, name).as_deref()),
            Subject::Cookie(name) => self.takes(cookie(head, name)),
        }
    }

    /// What cannot be told, as a header is missing, is not true.
    fn is_true(&self, seen: &Seen<'_>) -> bool {
        matches!(&self.wanted, Wanted::True(expression) if expression.holds(seen) == Ok(true))
    }

    fn takes_method(&self, asked: &Method) -> bool {
        let Wanted::OneOf(methods) = &self.wanted else { return false };
        methods.iter().any(|m| m == asked || (m == Method::GET && asked == Method::HEAD))
    }

    fn takes(&self, value: Option<&[u8]>) -> bool {
        match (&self.wanted, value) {
            (Wanted::Absent, value) => value.is_none(),
            (_, None) | (Wanted::OneOf(_) | Wanted::True(_), _) => false,
            (Wanted::Present, _) => true,
            (Wanted::Exact(text), Some(value)) => **text == *value,
            (Wanted::Prefix(text), Some(value)) => value.starts_with(text),
            (Wanted::Regex(regex), Some(value)) => regex.is_match(value),
        }
    }
}

/// The first value of a query parameter, decoded; its name is compared decoded too.
fn query<'a>(head: &'a Parts, name: &str) -> Option<Cow<'a, [u8]>> {
    head.uri.query()?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (*unform(key) == *name.as_bytes()).then(|| unform(value))
    })
}

/// The first value of a cookie, as sent.
fn cookie<'a>(head: &'a Parts, name: &str) -> Option<&'a [u8]> {
    let lines = head.headers.get_all(header::COOKIE).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).find_map(|pair| {
        let pair = pair.trim_ascii();
        let split = pair.iter().position(|byte| *byte == b'=')?;
        let (key, value) = pair.split_at_checked(split)?;
        (key == name.as_bytes()).then_some(value.get(1..)?)
    })
}
