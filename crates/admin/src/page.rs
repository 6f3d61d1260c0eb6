//! Long lists, a page at a time: `?offset=0&limit=100&filter=text`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

/// Entries of a page unless said, and the most.
const PAGE: usize = 100;
const LARGEST: usize = 1000;

/// Which part of a list is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
    /// Only those whose name has this text in it.
    filter: Option<String>,
}

impl Page {
    /// Whether an entry of this name is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filter.as_deref().is_none_or(|filter| name.contains(filter))
    }

    /// Whether every entry is wanted.
    pub(crate) fn is_open(&self) -> bool {
        self.filter.is_none()
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
        let limit = self.limit.unwrap_or(PAGE).min(LARGEST);
        let mut total = 0;
        let mut shown = Vec::new();
        for one in all {
            if total >= self.offset && shown.len() < limit {
                shown.push(show(one));
            }
            total += 1;
        }
        json!({ "total": total, "offset": self.offset, name: shown })
    }
}
