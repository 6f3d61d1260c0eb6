//! Writes: requests that may have changed something, so that what is kept of their URI is no
//! longer to be believed (RFC 9111 §4.4).

use std::sync::Arc;

use http::header::{CONTENT_LOCATION, HeaderName, LOCATION};
use http::uri::PathAndQuery;
use http::{Method, Response, Uri};

use super::{Blobs, Purge, Purged, Tag};
use crate::{Blame, Body, Exchange, Origin};

/// A request whose method is not a safe one, before anything has rewritten it.
#[derive(Debug)]
pub struct Write {
    host: Box<str>,
    target: PathAndQuery,
}

impl Write {
    /// Of a request. `None` when its method is safe (RFC 9110 §9.2.1).
    pub fn of(exchange: &Exchange) -> Option<Self> {
        let safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE];
        if safe.contains(&exchange.head.method) || exchange.grpc {
            return None;
        }
        let target = exchange.head.uri.path_and_query()?.clone();
        Some(Self { host: exchange.host.clone(), target })
    }

    /// Takes away what the stores keep of the URI, with every query and variant, and of the URIs
    /// of the same host that the answer names; unless it is certain that nothing was changed.
    pub async fn settle(
        &self,
        stores: &[Arc<dyn Blobs>],
        exchange: &Exchange,
        response: &Response<Body>,
    ) {
        if !Self::may_have_changed(exchange, response) {
            return;
        }
        let mut tags = vec![Tag::uri(&self.host, self.target.path())];
        for name in [LOCATION, CONTENT_LOCATION] {
            tags.extend(self.named(response, &name));
        }
        let purges: Vec<Purge> = tags.into_iter().map(Purge::Tag).collect();
        purge_all(stores, &purges).await;
    }

    /// For as long as the target is asked: whoever stops waiting for its answer does not undo what
    /// it does, so that what is kept of the URI goes all the same.
    pub fn under_way<'s>(&self, stores: &'s [Arc<dyn Blobs>]) -> UnderWay<'s> {
        UnderWay { tag: Tag::uri(&self.host, self.target.path()), stores, answered: false }
    }

    /// The URI that a header of the answer names, if it is on the host that was asked.
    fn named(&self, response: &Response<Body>, name: &HeaderName) -> Option<Tag> {
        let text = response.headers().get(name)?.to_str().ok()?;
        let path = if text.starts_with('/') && !text.starts_with("//") {
            text.to_owned()
        } else if text.contains("//") {
            let uri: Uri = text.trim_start_matches("//").parse().ok()?;
            let host = uri.host()?;
            if !host.eq_ignore_ascii_case(&self.host) {
                return None;
            }
            return Some(Tag::uri(&self.host, uri.path()));
        } else {
            let (folder, _) = self.target.path().rsplit_once('/')?;
            format!("{folder}/{text}")
        };
        let path = path.split(['?', '#']).next()?;
        Some(Tag::uri(&self.host, path))
    }

    /// Whether a write may have changed something: not when the client was refused. A failure on
    /// the way leaves it open what the upstream has done.
    pub fn may_have_changed(exchange: &Exchange, response: &Response<Body>) -> bool {
        if exchange.origin == Origin::Cache {
            return false;
        }
        if let Some(fault) = &exchange.fault {
            return fault.blame() == Blame::Upstream && exchange.upstream.attempts > 0;
        }
        let status = response.status();
        status.is_success()
            || status.is_redirection()
            || (status.is_server_error() && exchange.origin == Origin::Upstream)
    }
}

/// Purges all that in all of the stores. Each is told before the first is waited for, so that it
/// is done also when nobody waits any more. A store that cannot answer says so itself.
pub async fn purge_all(stores: &[Arc<dyn Blobs>], purges: &[Purge]) {
    let mut waiting = Vec::new();
    for store in stores {
        for purge in purges {
            if let Purged::Later(told) = store.purge(purge) {
                waiting.push(told);
            }
        }
    }
    for told in waiting {
        drop(told.await);
    }
}

/// A write whose target is being asked. Dropped without an answer, it takes away what is kept of
/// its URI.
pub struct UnderWay<'s> {
    tag: Tag,
    stores: &'s [Arc<dyn Blobs>],
    answered: bool,
}

impl UnderWay<'_> {
    /// There is an answer, or a fault in place of one: [`Write::settle`] decides by that.
    pub fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        for store in self.stores {
            // Told by the call; nobody is left to wait for more.
            drop(store.purge(&Purge::Tag(self.tag)));
        }
    }
}
