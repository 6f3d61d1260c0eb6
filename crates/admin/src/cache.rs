//! The cached answers: how many there are, which, and clearing them.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use lockgate_core::{BlobStats, Glob, Purge, Tag};
use lockgate_telemetry::redacted_url;
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::audit::{Outcome, Who, audit};
use crate::guard::refuse;
use crate::page::Page;
use crate::question::Question;
use crate::{Handles, body};

/// What to clear: everything, when nothing is said.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct What {
    #[serde(deserialize_with = "said")]
    url: Option<String>,
    #[serde(deserialize_with = "said")]
    pattern: Option<String>,
    #[serde(deserialize_with = "said")]
    tag: Option<String>,
}

/// What is named has a value: `null` for one that could not be told must not clear everything.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

impl What {
    /// What it clears, and what the audit log calls that.
    fn purge(self) -> Result<(Purge, String), String> {
        match (self.url, self.pattern, self.tag) {
            (None, None, None) => Ok((Purge::All, "cache".to_owned())),
            (Some(url), None, None) => {
                Ok((of_url(&url)?, format!("cache.url {}", redacted_url(&url))))
            }
            (None, Some(pattern), None) => {
                Ok((pattern.parse::<Glob>().map(Purge::Names)?, format!("cache.pattern {pattern}")))
            }
            (None, None, Some(tag)) => {
                Ok((Purge::Tag(Tag::word(&tag)), format!("cache.tag {tag}")))
            }
            _ => Err("say one of `url`, `pattern` and `tag`, or none for everything".to_owned()),
        }
    }
}

/// A URL clears its path with every query; a path alone, on every host.
fn of_url(url: &str) -> Result<Purge, String> {
    let uri: Uri = url.parse().map_err(|error| format!("`{url}` is no URL: {error}"))?;
    match uri.host() {
        Some(host) => Ok(Purge::Tag(Tag::uri(&host.to_ascii_lowercase(), uri.path()))),
        None if uri.path().contains('*') => Err("a URL has no `*`: say `pattern`".to_owned()),
        None => uri.path().parse::<Glob>().map(Purge::Names),
    }
}

/// `POST /admin/cache/clear` with nothing, `{"url": …}`, `{"pattern": …}` or `{"tag": …}`.
pub(crate) async fn clear(
    State(handles): State<Arc<Handles>>,
    Extension(who): Extension<Who>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let what: What = match body::read_or_default(body, "JSON such as {\"url\": \"…\"}") {
        Ok(what) => what,
        Err(refusal) => return *refusal,
    };
    let (what, name) = match what.purge() {
        Ok(purge) => purge,
        Err(detail) => return refuse(StatusCode::BAD_REQUEST, "bad_body", &detail),
    };
    match carry_out(&handles, &who, &what, &name).await {
        Ok(cleared) => Json(json!({ "cleared": cleared })).into_response(),
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, "store_failed", &error),
    }
}

/// Clears by a word (`url`, `pattern`, `tag`, `all`) and what it stands for: how many entries.
pub(crate) async fn clear_all(
    handles: &Handles,
    who: &Who,
    by: &str,
    what: &str,
) -> Result<u64, String> {
    let given = Some(what.to_owned()).filter(|what| !what.is_empty());
    if given.is_none() && by != "all" {
        return Err("say which".to_owned());
    }
    let mut wanted = What::default();
    match by {
        "all" => {}
        "url" => wanted.url = given,
        "pattern" => wanted.pattern = given,
        "tag" => wanted.tag = given,
        _ => return Err(format!("nothing is cleared by `{by}`")),
    }
    let (what, name) = wanted.purge()?;
    carry_out(handles, who, &what, &name).await
}

/// All are told before one is waited for. What is cleared here is in the audit log before that, as
/// whoever asked may not wait for it.
async fn carry_out(handles: &Handles, who: &Who, what: &Purge, name: &str) -> Result<u64, String> {
    let stores = (handles.blobs)();
    // What was over before does not count as cleared now.
    for blobs in &*stores {
        blobs.sweep();
    }
    let entries = || stores.iter().map(|blobs| blobs.stats().entries).sum::<u64>();
    let before = json!({ "entries": entries() });
    let purged: Vec<_> = stores.iter().map(|blobs| blobs.purge(what)).collect();
    let cleared: u64 = stores.iter().map(|blobs| blobs.sweep()).sum();
    let after = json!({ "entries": entries(), "cleared": cleared });
    audit(Outcome::Changed, &who.to_string(), name, &before, &after);
    let mut untold = Vec::new();
    for purged in purged {
        untold.extend(purged.told().await.err().map(|error| error.to_string()));
    }
    if untold.is_empty() {
        return Ok(cleared);
    }
    let untold = untold.join(", ");
    Err(format!(
        "{cleared} are cleared on this gateway; the others are told once they can be: {untold}"
    ))
}

/// Of all stores together, and of each by its name.
pub(crate) async fn stats(State(handles): State<Arc<Handles>>) -> Json<serde_json::Value> {
    let mut all = BlobStats::default();
    let mut stores = serde_json::Map::new();
    for blobs in &*(handles.blobs)() {
        let own = blobs.stats();
        stores.insert(blobs.name().to_owned(), stats_of(&own));
        all.entries += own.entries;
        all.bytes += own.bytes;
        all.max_bytes += own.max_bytes;
        all.evictions += own.evictions;
        all.purges += own.purges;
    }
    let mut page = stats_of(&all);
    if let Some(page) = page.as_object_mut() {
        page.insert("stores".to_owned(), stores.into());
    }
    Json(page)
}

fn stats_of(stats: &BlobStats) -> serde_json::Value {
    json!({
        "entries": stats.entries,
        "bytes": stats.bytes,
        "maxBytes": stats.max_bytes,
        "evictions": stats.evictions,
        "purges": stats.purges,
    })
}

/// `?offset=0&limit=100&filter=text`: the entries by name, a page of them.
pub(crate) async fn details(
    State(handles): State<Arc<Handles>>,
    Question(page): Question<Page>,
) -> Response {
    let stores = (handles.blobs)();
    // Redacted before anything is looked for in it: a filter must not tell what is hidden.
    let mut all: Vec<(String, usize, u64, &str)> = Vec::new();
    for blobs in &*stores {
        let store = blobs.name();
        blobs.each(&mut |blob, left| {
            all.push((redacted_url(&blob.name), blob.size(), left.as_secs(), store));
        });
    }
    all.sort_unstable();
    let wanted = all.into_iter().filter(|(name, ..)| page.wants(name));
    page.answer(
        "entries",
        wanted.map(|(name, bytes, left, store)| {
            json!({ "url": name, "bytes": bytes, "keptForSeconds": left, "store": store })
        }),
    )
}
