//! Keeping an answer while it passes to the client, under the key of its variant, with its tags.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName};
use http::{Response, StatusCode};
use lockgate_core::{Blob, Blobs, Body, Exchange, Fault, Step, Tag};

use super::asked::Asked;
use super::down::suit;
use super::flight::{Landing, Lead};
use super::freshness::Life;
use super::record::{Copied, Done, Record};
use super::status::{Forwarded, say_forwarded};
use super::stored::{Answer, Stored};
use super::{Caching, conditions, key};

pub(super) const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
pub(super) const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
/// Most tags of one answer; what has more is not kept, as it could not be purged by all of them.
const MOST_TAGS: usize = 128;
/// How long it is remembered that nothing is kept under a key.
pub(super) const NOT_KEPT_FOR: Duration = Duration::from_secs(10);
/// How long it is remembered what answers vary by.
const VARYING_FOR: Duration = Duration::from_secs(86_400);

impl Caching {
    /// Keeps an answer while it passes to the client.
    pub(super) fn keep<'a>(
        &'a self,
        exchange: &'a Exchange,
        response: &'a mut Response<Body>,
        mut asked: Asked,
        life: Life,
        words: Vec<Tag>,
    ) -> Step<'a, Result<(), Fault>> {
        self.hide_tags(response.headers_mut());
        let (status, headers) = (response.status(), response.headers());
        let head = Answer::new(status, headers, life, self.clock.now());
        let names = union(&asked.varying, headers);
        let mut store = Keeping {
            blobs: Arc::clone(&self.blobs),
            marker: None,
            key: asked.key.clone(),
            life,
            max_shared: self.max_shared_body,
            not_kept: (!asked.is_of_one())
                .then(|| self.blob(exchange, &asked, Stored::NotKept, Bytes::new(), Vec::new())),
            lead: asked.lead.take(),
        };
        if !names.is_empty() {
            store.key = key::variant(&asked.key, &names, &asked.sent);
            let marker = Stored::Varying(names);
            let marker = self.blob(exchange, &asked, marker, Bytes::new(), Vec::new());
            store.marker = Some((asked.key.clone(), marker));
        }
        let blob = self.blob(exchange, &asked, Stored::Answer(head), Bytes::new(), words);
        let done: Done = Box::new(move |copied| store.done(blob, copied));
        let body = std::mem::take(response.body_mut());
        let detail = asked.store_failed.then_some("the store failed");
        let said = Forwarded { why: asked.why, status: None, stored: true, detail };
        say_forwarded(response.headers_mut(), said);
        match body {
            Body::Empty => done(Copied::Whole(Bytes::new())),
            Body::Full(bytes) => {
                // Not the buffer that it was read into, of which it may be a small part.
                done(Copied::Whole(Bytes::copy_from_slice(&bytes)));
                *response.body_mut() = bytes.into();
            }
            stream => {
                let record = Record::new(stream, self.max_body, &self.room, done);
                *response.body_mut() = Body::stream(record);
            }
        }
        let unchanged = conditions::is_unchanged(&asked.sent, response.headers());
        if status != StatusCode::OK || !unchanged {
            suit(&asked.sent, &exchange.head.method, response);
            return Step::Now(Ok(()));
        }
        // The client has it already, the cache does not.
        Step::Later(Box::pin(async move {
            let mut left = self.max_body;
            while let Some(frame) = response.body_mut().frame().await.transpose()? {
                let read = frame.data_ref().map_or(0, Bytes::len);
                let Some(rest) = left.checked_sub(read) else { break };
                left = rest;
            }
            conditions::not_modified(response);
            Ok(())
        }))
    }

    pub(super) fn blob(
        &self,
        exchange: &Exchange,
        asked: &Asked,
        head: Stored,
        body: Bytes,
        words: Vec<Tag>,
    ) -> Arc<Blob> {
        let uri = Tag::of_uri(&exchange.host, asked.target.path());
        Arc::new(Blob {
            name: format!("{}{}", exchange.host, asked.target).into(),
            head: Box::new(head),
            body,
            tags: uri.chain(words).collect(),
            stamp: asked.stamp,
            id: Blob::new_id(),
        })
    }
}

/// An answer that is being kept.
struct Keeping {
    blobs: Arc<dyn Blobs>,
    /// What says that answers vary, and its key.
    marker: Option<(Vec<u8>, Arc<Blob>)>,
    key: Vec<u8>,
    life: Life,
    /// A larger body is kept for this gateway alone.
    max_shared: usize,
    /// What says that nothing is kept, where that is said for all.
    not_kept: Option<Arc<Blob>>,
    lead: Option<Lead>,
}

impl Keeping {
    fn done(mut self, blob: Arc<Blob>, copied: Copied) {
        let lead = self.lead.take();
        let land = |landing| lead.map(|lead| lead.lands(landing)).unwrap_or_default();
        let body = match copied {
            Copied::Whole(body) => body,
            Copied::Unfit => {
                if let Some(not_kept) = self.not_kept {
                    self.blobs.put(&self.key, not_kept, NOT_KEPT_FOR);
                }
                return land(Landing::NotKept);
            }
            // Without a word: another leads.
            Copied::Broken => return,
        };
        let Some(whole) = Arc::into_inner(blob).map(|blob| Blob { body, ..blob }) else { return };
        let keep = self.life.keep();
        let kept = if whole.body.len() > self.max_shared {
            self.blobs.put_apart(&self.key, Arc::new(whole), keep)
        } else {
            self.blobs.put(&self.key, Arc::new(whole), keep)
        };
        // What leads to an answer comes after it: who finds the one is to find the other.
        if let Some((key, marker)) = self.marker {
            self.blobs.put_after(&self.key, &key, marker, VARYING_FOR);
        }
        let fresh = self.life.lifetime > self.life.initial_age && !self.life.validate;
        land(if kept && fresh { Landing::Kept } else { Landing::NotKept });
    }
}

/// The tags that the upstream has given: `Cache-Tag: a, b` and `Surrogate-Key: a b`.
pub(super) fn words(headers: &HeaderMap) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    for (name, sign) in [(CACHE_TAG, ','), (SURROGATE_KEY, ' ')] {
        for line in headers.get_all(name) {
            let line = line.to_str().ok()?;
            let words = line.split(sign).map(str::trim).filter(|word| !word.is_empty());
            tags.extend(words.map(Tag::word));
        }
    }
    (tags.len() <= MOST_TAGS).then_some(tags)
}

/// What answers are known to vary by, this one and those before.
fn union(known: &[HeaderName], headers: &HeaderMap) -> Box<[HeaderName]> {
    let mut names = key::varying(headers).unwrap_or_default();
    names.extend(known.iter().cloned());
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    if names.len() > 2 * key::MOST_VARYING {
        // What answers vary by has changed all too often.
        return key::varying(headers).unwrap_or_default().into();
    }
    names.into()
}
