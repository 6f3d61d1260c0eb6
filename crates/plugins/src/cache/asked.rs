//! What is remembered of a request that goes on to the upstream, and how it is changed for that.

use std::sync::Arc;

use http::Method;
use http::header::{HeaderMap, HeaderName, RANGE};
use http::uri::PathAndQuery;
use lockgate_core::{Blob, Exchange};
use tokio::time::Instant;

use super::directives::Wanted;
use super::down::{Found, Kept};
use super::flight::Lead;
use super::status::Forward;
use super::stored::answer;
use super::{Caching, conditions};

/// What is remembered of a request that goes on to the upstream.
pub(super) struct Asked {
    /// The request's key, without what answers vary by.
    pub(super) key: Vec<u8>,
    /// The headers that answers are known to vary by.
    pub(super) varying: Box<[HeaderName]>,
    /// What the upstream is asked about, or what is given should it fail.
    pub(super) blob: Option<Arc<Blob>>,
    /// The lead of those that wait for the same.
    pub(super) lead: Option<Lead>,
    /// The request's headers, as the client sent them.
    pub(super) sent: HeaderMap,
    /// What was asked for, before anything rewrites it.
    pub(super) target: PathAndQuery,
    pub(super) began: Instant,
    /// The count of purges by then.
    pub(super) stamp: u64,
    pub(super) why: Forward,
    /// Its answer may be kept.
    pub(super) keeps: bool,
    /// The upstream is asked for the whole, whatever the client asked for.
    pub(super) whole: bool,
    /// Nobody waits for its answer.
    pub(super) behind: bool,
    /// The store could not say whether it has an answer.
    pub(super) store_failed: bool,
    /// It bears credentials that its key does not tell apart.
    pub(super) authorized: bool,
}

impl Asked {
    /// Whether what comes of it may be its own client's doing: it bears credentials, or asks past
    /// what is kept. Then it is no word about what is kept for all, unless it takes its place.
    pub(super) fn is_of_one(&self) -> bool {
        self.authorized || self.why == Forward::Request
    }
}

/// A request that is no matter for a cache.
pub(super) struct Passed(pub(super) Forward);

impl Caching {
    /// Lets a request go on.
    pub(super) fn send(
        &self,
        exchange: &mut Exchange,
        key: Vec<u8>,
        found: Found,
        wanted: &Wanted,
        lead: Option<Lead>,
    ) {
        let get = exchange.head.method == Method::GET;
        let partial = exchange.head.headers.contains_key(RANGE);
        let never = matches!(found.kept, Kept::Never);
        let (blob, why) = match found.kept {
            Kept::Answer(blob) if wanted.no_cache || wanted.max_age.is_some() => {
                (Some(blob), Forward::Request)
            }
            Kept::Answer(blob) => (Some(blob), Forward::Stale),
            _ if partial => (None, Forward::Partial),
            _ if !found.varying.is_empty() => (None, Forward::VaryMiss),
            _ => (None, Forward::UriMiss),
        };
        let whole = get && !never && !wanted.no_store && (blob.is_some() || !partial);
        let mut asked = self.asked(exchange, key, found.varying, why);
        (asked.lead, asked.whole, asked.keeps) = (lead, whole, get && !wanted.no_store);
        asked.store_failed = found.store_failed;
        if whole {
            conditions::strip(&mut exchange.head.headers);
            if let Some(answer) = blob.as_ref().and_then(answer) {
                answer.ask(&mut exchange.head.headers);
            }
        }
        asked.blob = blob;
        let failed = if found.store_failed { ", the store failed" } else { "" };
        exchange.note(|| format!("cache: {why:?}{failed}"));
        exchange.kept.put(self, asked);
    }

    /// The request that fetches a new answer while a stale one is given.
    pub(super) fn behind(
        &self,
        exchange: &Exchange,
        key: &[u8],
        found: &Found,
        blob: &Arc<Blob>,
        lead: Lead,
    ) -> Box<Exchange> {
        let mut behind = exchange.behind();
        behind.head.method = Method::GET;
        let mut asked = self.asked(&behind, key.to_vec(), found.varying.clone(), Forward::Stale);
        conditions::strip(&mut behind.head.headers);
        if let Some(answer) = answer(blob) {
            answer.ask(&mut behind.head.headers);
        }
        asked.blob = Some(Arc::clone(blob));
        (asked.lead, asked.whole, asked.keeps, asked.behind) = (Some(lead), true, true, true);
        behind.kept.put(self, asked);
        Box::new(behind)
    }

    fn asked(
        &self,
        exchange: &Exchange,
        key: Vec<u8>,
        varying: Box<[HeaderName]>,
        why: Forward,
    ) -> Asked {
        let head = &exchange.head;
        let root = PathAndQuery::from_static("/");
        Asked {
            key,
            varying,
            blob: None,
            lead: None,
            sent: head.headers.clone(),
            target: head.uri.path_and_query().cloned().unwrap_or(root),
            began: Instant::now(),
            stamp: self.blobs.stamp(),
            why,
            keeps: false,
            whole: false,
            behind: false,
            store_failed: false,
            authorized: self.is_authorized(exchange),
        }
    }

    /// Whether a request bears credentials that its key does not tell apart.
    pub(super) fn is_authorized(&self, exchange: &Exchange) -> bool {
        super::freshness::is_authorized(&exchange.head.headers)
            && !self.keying.minds_credentials(exchange)
    }
}
