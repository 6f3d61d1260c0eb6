//! Lists, a page at a time: `?offset=0&limit=100&filter=text`. All of them are asked for and told
//! in this one form.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

/// Entries of a page unless said, and the most.
const PAGE: usize = 100;
const LARGEST: usize = 1000;

/// Which part of a list is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    #[serde(default)]
    offset: usize,
    #[serde(default, deserialize_with = "limit")]
    limit: Option<usize>,
    /// Only those that have this text in what they are called.
    filter: Option<String>,
}

/// The same of what has no names to look for a text in.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    #[serde(default)]
    offset: usize,
    #[serde(default, deserialize_with = "limit")]
    limit: Option<usize>,
}

fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    let limit = usize::deserialize(from)?;
    match limit {
        0..=LARGEST => Ok(Some(limit)),
        _ => Err(serde::de::Error::custom(format!("at most {LARGEST}"))),
    }
}

impl Part {
    /// As a page, of everything unless a limit is said.
    pub(crate) fn of_all(self) -> Page {
        let limit = Some(self.limit.unwrap_or(LARGEST));
        Page { offset: self.offset, limit, filter: None }
    }
}

impl Page {
    /// Whether an entry of this name is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filter.as_deref().is_none_or(|filter| name.contains(filter))
    }

    /// Whether one that has any of these names is.
    pub(crate) fn wants_any<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> bool {
        self.filter.is_none() || names.into_iter().any(|name| self.wants(name))
    }

    /// The answer: how many fit, and this page of them under `name`.
    pub(crate) fn answer(&self, name: &str, all: impl Iterator<Item = Value>) -> Response {
        Json(self.part(name, all, |one| one)).into_response()
    }

    /// How many fit, and this page of them under `name`, as each of them is `shown`.
    pub(crate) fn part<T>(
        &self,
        name: &str,
        all: impl Iterator<Item = T>,
        show: impl Fn(T) -> Value,
    ) -> Value {
        let (total, shown) = self.cut(all, show);
        json!({ "total": total, "offset": self.offset, name: shown })
    }

    /// The same of a list that stands under `name` in a document with more in it.
    pub(crate) fn within(
        &self,
        document: &mut Map<String, Value>,
        name: &str,
        wants: impl Fn(&Value) -> bool,
    ) {
        let all = match document.get_mut(name).map(Value::take) {
            Some(Value::Array(all)) => all,
            _ => Vec::new(),
        };
        let (total, shown) = self.cut(all.into_iter().filter(wants), |one| one);
        document.insert("total".to_owned(), total.into());
        document.insert("offset".to_owned(), self.offset.into());
        document.insert(name.to_owned(), shown.into());
    }

    /// How many there are, and those of this page.
    pub(crate) fn cut<T>(
        &self,
        all: impl Iterator<Item = T>,
        show: impl Fn(T) -> Value,
    ) -> (usize, Vec<Value>) {
        let limit = self.limit.unwrap_or(PAGE);
        let mut total = 0;
        let mut shown = Vec::new();
        for one in all {
            if total >= self.offset && shown.len() < limit {
                shown.push(show(one));
            }
            total += 1;
        }
        (total, shown)
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }
}

/// A text of an entry; nothing where it has none.
pub(crate) fn word<'v>(of: &'v Value, name: &str) -> &'v str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}
