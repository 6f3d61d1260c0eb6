//! The way up: an answer is kept while it passes, one that is still good is renewed, and a failure
//! gives way to what is kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use lockgate_core::{Blame, Blob, Body, Exchange, Fault, Kind, Origin, Step, Tag};
use tokio::time::Instant;

use super::asked::{Asked, Passed};
use super::down::{apart, suit};
use super::flight::{Landing, Lead};
use super::freshness::{AskedBy, Life};
use super::keep::{CACHE_TAG, NOT_KEPT_FOR, SURROGATE_KEY, words};
use super::status::{Forwarded, Outcome, say_forwarded};
use super::stored::{Answer, Stored, answer};
use super::{Caching, key};

/// How long an upstream that has failed is not asked again for what can be given stale.
const HELD_FOR: Duration = Duration::from_secs(2);

impl Caching {
    pub(super) fn up<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        response: &'a mut Response<Body>,
    ) -> Step<'a, Result<(), Fault>> {
        let Some(mut asked) = exchange.kept.take::<Self, Asked>(self) else {
            if let Some(Passed(why)) = exchange.kept.take(self)
                && exchange.fault.is_none()
            {
                self.hide_tags(response.headers_mut());
                say(response, Forwarded { why, status: None, stored: false, detail: None });
            }
            return Step::Now(Ok(()));
        };
        if self.rescues(exchange, response, &mut asked) {
            return Step::Now(Ok(()));
        }
        if exchange.fault.is_some() {
            // Those that wait try by themselves.
            self.lands(asked.lead.take(), Landing::NotKept);
            self.count(exchange, &asked, Outcome::Miss);
            return Step::Now(Ok(()));
        }
        if asked.whole
            && response.status() == StatusCode::NOT_MODIFIED
            && let Some(blob) = asked.blob.take()
        {
            self.renew(exchange, response, asked, &blob);
            return Step::Now(Ok(()));
        }
        self.count(exchange, &asked, Outcome::Miss);
        match self.life(exchange, response, &asked) {
            Ok((life, tags)) => self.keep(exchange, response, asked, life, tags),
            Err(why) => {
                self.keep_not(exchange, response, asked, why);
                Step::Now(Ok(()))
            }
        }
    }

    /// Gives what is kept in place of a failure (RFC 5861 §4). Whether it did.
    fn rescues(
        &self,
        exchange: &mut Exchange,
        response: &mut Response<Body>,
        asked: &mut Asked,
    ) -> bool {
        let failed = match &exchange.fault {
            Some(fault) => fault.blame() == Blame::Upstream || is_outage(fault.kind()),
            None => matches!(response.status().as_u16(), 500 | 502 | 503 | 504),
        };
        let Some(blob) = asked.blob.as_ref().filter(|_| failed) else { return false };
        let Some(stale) = answer(blob) else { return false };
        let now = Instant::now();
        let age = stale.age(now);
        if !stale.life.serves_errors(age) {
            return false;
        }
        let held_until = Some(now + HELD_FOR.min(stale.life.stale_if_error));
        let since = now.saturating_duration_since(stale.received);
        let keep = stale.life.keep().saturating_sub(since);
        let head = Answer { held_until, ..stale.clone() };
        let held = renewed(blob, head, Box::from(&*blob.tags), (blob.stamp, blob.id));
        // That it failed for this gateway is for this gateway to know.
        self.blobs.put_here(&self.key(asked), held, keep);
        self.lands(asked.lead.take(), Landing::Kept);
        let status = Some(response.status().as_u16());
        *response = stale.give(blob, age);
        suit(&asked.sent, &exchange.head.method, response);
        exchange.fault = None;
        exchange.origin = Origin::Cache;
        let detail = Some("stale-if-error");
        say(response, Forwarded { why: asked.why, status, stored: false, detail });
        self.count(exchange, asked, Outcome::Stale);
        true
    }

    /// The upstream has said that what is kept is still good.
    fn renew(
        &self,
        exchange: &mut Exchange,
        response: &mut Response<Body>,
        mut asked: Asked,
        blob: &Arc<Blob>,
    ) {
        let Some(old) = answer(blob) else { return };
        let key = self.key(&asked);
        let (now, mut stored) = (self.clock.now(), false);
        let mut given = old.clone();
        if old.is_meant_by(response.headers()) {
            let headers = old.freshened(response.headers());
            let by = AskedBy { authorized: asked.authorized, delay: asked.began.elapsed() };
            let life = Life::of(&self.terms, old.status, &headers, by, now);
            let tags = tags(&exchange.host, asked.target.path(), &headers);
            // What varies by more than was known is not for all whom its key has been for.
            let known = |names: Vec<_>| {
                names.iter().all(|name| asked.varying.contains(name))
                    && self.keying.sees(exchange, &names)
            };
            let stays = key::varying(&headers).is_some_and(known);
            if let (Ok(life), Some(tags), true) = (life, tags, stays) {
                let mut headers = headers;
                self.hide_tags(&mut headers);
                given = Answer::new(old.status, &headers, life, now);
                // Tags that the upstream has given before still hold.
                let all = blob.tags.iter().copied().chain(tags).collect();
                let new = renewed(blob, given.clone(), unique(all), (asked.stamp, Blob::new_id()));
                stored = match new.body.len() > self.max_shared_body {
                    true => self.blobs.put_apart(&key, new, life.keep()),
                    false => self.blobs.put(&key, new, life.keep()),
                };
            }
        }
        if !stored && !asked.is_of_one() {
            self.blobs.remove(&key);
        }
        let fresh = stored && given.life.lifetime > given.life.initial_age;
        let landing = if fresh { Landing::Kept } else { Landing::NotKept };
        self.lands(asked.lead.take(), landing);
        let upstream = std::mem::take(response);
        *response = given.give(blob, given.age(Instant::now()));
        suit(&asked.sent, &exchange.head.method, response);
        exchange.origin = Origin::Cache;
        let status = Some(upstream.status().as_u16());
        say(response, Forwarded { why: asked.why, status, stored, detail: None });
        self.count(exchange, &asked, Outcome::Revalidated);
    }

    /// How long an answer may be kept, and its tags; or why it may not.
    fn life(
        &self,
        exchange: &Exchange,
        response: &Response<Body>,
        asked: &Asked,
    ) -> Result<(Life, Vec<Tag>), &'static str> {
        if !asked.keeps {
            return Err("the request is not for keeping");
        }
        if response.body().len().is_some_and(|length| length > self.max_body as u64) {
            return Err("it is too large");
        }
        let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        if kind.is_some_and(|kind| kind.starts_with(b"text/event-stream")) {
            return Err("it is a stream of events");
        }
        if response.extensions().get::<lockgate_core::UntilClose>().is_some() {
            return Err("its end cannot be told from a broken connection");
        }
        let by = AskedBy { authorized: asked.authorized, delay: asked.began.elapsed() };
        let (status, headers) = (response.status(), response.headers());
        let life = Life::of(&self.terms, status, headers, by, self.clock.now())?;
        let words = words(headers).ok_or("it has too many tags")?;
        let varying = key::varying(headers).ok_or("it varies by too much")?;
        if !self.keying.sees(exchange, &varying) {
            return Err("it varies by what the gateway says to the upstream");
        }
        Ok((life, words))
    }

    /// Passes on an answer that is not kept.
    fn keep_not(
        &self,
        exchange: &Exchange,
        response: &mut Response<Body>,
        mut asked: Asked,
        why: &'static str,
    ) {
        if asked.keeps && !response.status().is_server_error() {
            let never = || self.blob(exchange, &asked, Stored::NotKept, Bytes::new(), Vec::new());
            match asked.lead.is_some() {
                // The next ones need not wait for each other.
                true if asked.authorized => {
                    self.blobs.put_here(&apart(&self.key(&asked)), never(), NOT_KEPT_FOR);
                }
                true if !asked.is_of_one() => {
                    self.blobs.put(&self.key(&asked), never(), NOT_KEPT_FOR);
                }
                false if asked.blob.is_some() && !asked.is_of_one() => {
                    self.blobs.remove(&self.key(&asked));
                }
                _ => {}
            }
        }
        self.lands(asked.lead.take(), Landing::NotKept);
        if asked.whole && response.status() == StatusCode::OK {
            suit(&asked.sent, &Method::HEAD, response);
        }
        self.hide_tags(response.headers_mut());
        let detail = Some(why);
        say(response, Forwarded { why: asked.why, status: None, stored: false, detail });
    }

    /// Where the answer to a request was looked for.
    fn key(&self, asked: &Asked) -> Vec<u8> {
        match &*asked.varying {
            [] => asked.key.clone(),
            names => key::variant(&asked.key, names, &asked.sent),
        }
    }

    fn lands(&self, lead: Option<Lead>, landing: Landing) {
        if let Some(lead) = lead {
            lead.lands(landing);
        }
    }

    fn count(&self, exchange: &mut Exchange, asked: &Asked, outcome: Outcome) {
        if !asked.behind {
            self.counts.add(exchange, outcome);
        }
    }

    pub(super) fn hide_tags(&self, headers: &mut HeaderMap) {
        if !self.show_tags {
            headers.remove(CACHE_TAG);
            headers.remove(SURROGATE_KEY);
        }
    }
}

fn renewed(blob: &Blob, head: Answer, tags: Box<[Tag]>, (stamp, id): (u64, u64)) -> Arc<Blob> {
    Arc::new(Blob {
        name: blob.name.clone(),
        head: Box::new(Stored::Answer(head)),
        body: blob.body.clone(),
        tags,
        stamp,
        id,
    })
}

fn unique(mut tags: Vec<Tag>) -> Box<[Tag]> {
    tags.sort_unstable_by_key(|tag| tag.hash());
    tags.dedup();
    tags.into()
}

/// Those, and the URI's own.
fn tags(host: &str, path: &str, headers: &HeaderMap) -> Option<Vec<Tag>> {
    let words = words(headers)?;
    Some(Tag::of_uri(host, path).chain(words).collect())
}

/// Faults that tell of a service that cannot be had, whoever is to blame.
fn is_outage(kind: Kind) -> bool {
    matches!(kind, Kind::BadGateway | Kind::Unavailable | Kind::GatewayTimeout)
}

fn say(response: &mut Response<Body>, said: Forwarded) {
    say_forwarded(response.headers_mut(), said);
}
