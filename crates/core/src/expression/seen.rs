//! What an expression sees of a request and of who sends it, as values of its language. They
//! borrow what they can.

use std::collections::HashMap;
use std::net::IpAddr;

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull};
use cel::common::types::{CelString, CelUInt};
use cel::common::value::Val;
use http::header;
use http::request::Parts;
use serde_json::Value;

use crate::exchange::cookies;
use crate::form::form_pairs;
use crate::{Captures, Consumer, Exchange};

/// The fields of `request`; a field's place is its bit.
pub(super) const REQUEST: [&str; 8] =
    ["method", "path", "host", "scheme", "ip", "query", "headers", "cookies"];
/// The fields of `consumer`.
pub(super) const CONSUMER: [&str; 6] = ["name", "identity", "roles", "scopes", "plan", "tags"];

/// Most parameters of a query, cookies, or values among claims.
const MAX_ITEMS: usize = 1_000;

/// A request as expressions see it.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The head.
    pub head: &'a Parts,
    /// The host that was asked for.
    pub host: &'a str,
    /// Whether the client speaks TLS.
    pub secure: bool,
    /// The client's address.
    pub ip: IpAddr,
    /// Who is asking, when that is known.
    pub consumer: Option<&'a Consumer>,
    /// The route's pattern.
    pub route: Option<&'a str>,
    /// The path's captures.
    pub captures: Option<&'a Captures>,
}

impl<'a> From<&'a Exchange> for Seen<'a> {
    fn from(exchange: &'a Exchange) -> Self {
        Self {
            head: &exchange.head,
            host: &exchange.host,
            secure: exchange.secure,
            ip: exchange.client_ip,
            consumer: exchange.consumer.as_deref(),
            route: exchange.route.as_deref(),
            captures: Some(&exchange.captures),
        }
    }
}

type Boxed<'v> = Box<dyn Val + 'v>;
type Entries<'v> = HashMap<CelMapKey<'v>, Boxed<'v>>;

impl<'v> Seen<'v> {
    pub(super) fn request(&self, fields: u16) -> Result<Boxed<'v>, String> {
        let mut all = Entries::new();
        for (place, name) in REQUEST.iter().enumerate().filter(|(n, _)| fields & (1 << n) != 0) {
            let value: Boxed<'v> = match place {
                0 => text(self.head.method.as_str()),
                1 => text(self.head.uri.path()),
                2 => text(self.host),
                3 => text(if self.secure { "https" } else { "http" }),
                4 => owned(self.ip.to_string()),
                5 => self.query()?,
                6 => self.headers(),
                _ => self.cookies()?,
            };
            all.insert((*name).into(), value);
        }
        Ok(Box::new(CelMap::from(all)))
    }

    /// The first value of each parameter.
    fn query(&self) -> Result<Boxed<'v>, String> {
        let mut all = Entries::new();
        for (name, value) in
            form_pairs(self.head.uri.query().unwrap_or_default()).take(MAX_ITEMS + 1)
        {
            let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            all.entry(lossy(&name).into()).or_insert_with(|| owned(lossy(&value)));
        }
        few(all, "parameters")
    }

    /// Lines of one name as one, after commas (RFC 9110 §5.3). Cookies have a field of their own.
    fn headers(&self) -> Boxed<'v> {
        let mut all = Entries::with_capacity(self.head.headers.keys_len());
        for name in self.head.headers.keys().filter(|name| *name != header::COOKIE) {
            let mut lines = self.head.headers.get_all(name).iter();
            let first = lines.next().map(|line| line.as_bytes()).unwrap_or_default();
            let mut value = String::from_utf8_lossy(first);
            for line in lines {
                value += ", ";
                value += String::from_utf8_lossy(line.as_bytes());
            }
            all.insert(name.as_str().into(), Box::new(CelString::from(value)));
        }
        Box::new(CelMap::from(all))
    }

    fn cookies(&self) -> Result<Boxed<'v>, String> {
        let mut all = Entries::new();
        for (name, value) in cookies(&self.head.headers).take(MAX_ITEMS + 1) {
            all.entry(name.into()).or_insert_with(|| text(value));
        }
        few(all, "cookies")
    }

    pub(super) fn consumer(&self, fields: u16) -> Boxed<'v> {
        let Some(consumer) = self.consumer else { return Box::new(CelNull) };
        let mut all = Entries::new();
        for (place, name) in CONSUMER.iter().enumerate().filter(|(n, _)| fields & (1 << n) != 0) {
            let value: Boxed<'v> = match place {
                0 => text(&consumer.name),
                1 => text(&consumer.identity),
                2 => list(&consumer.roles),
                3 => list(&consumer.scopes),
                4 => consumer.plan.as_deref().map_or_else(|| Box::new(CelNull) as _, text),
                _ => list(&consumer.tags),
            };
            all.insert((*name).into(), value);
        }
        Box::new(CelMap::from(all))
    }

    pub(super) fn claims(&self) -> Result<Boxed<'v>, String> {
        let mut all = Entries::new();
        let mut left = MAX_ITEMS;
        for (name, value) in self.consumer.iter().flat_map(|consumer| &consumer.claims) {
            all.insert(name.as_str().into(), json(value, &mut left)?);
        }
        Ok(Box::new(CelMap::from(all)))
    }

    pub(super) fn route(&self) -> Boxed<'v> {
        text(self.route.unwrap_or_default())
    }

    pub(super) fn captures(&self) -> Boxed<'v> {
        let all = self.captures.iter().flat_map(|captures| captures.iter());
        let all: Entries<'v> = all.map(|(name, value)| (name.into(), text(value))).collect();
        Box::new(CelMap::from(all))
    }
}

fn few<'v>(all: Entries<'v>, what: &str) -> Result<Boxed<'v>, String> {
    if all.len() > MAX_ITEMS {
        return Err(format!("the request has more than {MAX_ITEMS} {what}"));
    }
    Ok(Box::new(CelMap::from(all)))
}

fn text(text: &str) -> Boxed<'_> {
    Box::new(CelString::from(text))
}

fn owned<'v>(text: String) -> Boxed<'v> {
    Box::new(CelString::from(text))
}

fn list(words: &[Box<str>]) -> Boxed<'_> {
    Box::new(CelList::from(words.iter().map(|word| text(word)).collect::<Vec<_>>()))
}

fn json<'v>(value: &'v Value, left: &mut usize) -> Result<Boxed<'v>, String> {
    let more = || format!("the claims have more than {MAX_ITEMS} values");
    *left = left.checked_sub(1).ok_or_else(more)?;
    Ok(match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(yes) => Box::new(CelBool::from(*yes)),
        Value::String(word) => text(word),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), _, _) => Box::new(CelInt::from(whole)),
            (_, Some(whole), _) => Box::new(CelUInt::from(whole)),
            (_, _, real) => Box::new(CelDouble::from(real.unwrap_or(f64::NAN))),
        },
        Value::Array(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(|item| json(item, left)).collect();
            Box::new(CelList::from(items?))
        }
        Value::Object(map) => {
            let mut all = Entries::with_capacity(map.len());
            for (name, value) in map {
                all.insert(name.as_str().into(), json(value, left)?);
            }
            Box::new(CelMap::from(all))
        }
    })
}
