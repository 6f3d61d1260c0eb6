//! What is kept under a key: an answer, what answers vary by, or that there is nothing to keep.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap,
    HeaderName, HeaderValue, LAST_MODIFIED,
};
use http::{Response, StatusCode};
use lockgate_core::{Blob, BlobHead, Body};
use tokio::time::Instant;

use super::freshness::Life;
use super::status::CACHE_STATUS;

/// What a key leads to.
pub(super) enum Stored {
    /// An answer.
    Answer(Answer),
    /// Answers under keys of their own, told apart by these headers.
    Varying(Box<[HeaderName]>),
    /// Answers that are not kept: nobody waits for another's.
    NotKept,
}

/// The head of an answer, and how long it is good for.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// As the client is to get them, but for what is said anew each time: that has its place
    /// among them, so that the table of a copy need not grow.
    pub(super) headers: HeaderMap,
    pub(super) life: Life,
    /// When it came.
    pub(super) received: Instant,
    /// The upstream has failed since: until then nobody asks it again.
    pub(super) held_until: Option<Instant>,
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a header takes beside its text.
const PER_HEADER: usize = 96;

impl BlobHead for Stored {
    fn size(&self) -> usize {
        let of = |name: &HeaderName| name.as_str().len();
        size_of::<Self>()
            + match self {
                Self::Answer(answer) => {
                    let lines = answer.headers.iter();
                    lines.map(|(name, value)| of(name) + value.len() + PER_HEADER).sum()
                }
                Self::Varying(names) => names.iter().map(|name| of(name) + PER_HEADER).sum(),
                Self::NotKept => 0,
            }
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.write_to(out);
    }
}

impl Answer {
    /// The head of an upstream's answer.
    pub(super) fn new(
        status: StatusCode,
        headers: &HeaderMap,
        life: Life,
        now: SystemTime,
    ) -> Self {
        let mut headers = headers.clone();
        headers.remove(CONTENT_LENGTH);
        date(&mut headers, now);
        make_room(&mut headers);
        Self { status, headers, life, received: Instant::now(), held_until: None }
    }

    /// How old it is (RFC 9111 §4.2.3).
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.life.initial_age + now.saturating_duration_since(self.received)
    }

    /// The whole of it, for a client of whose request something else is to be said.
    pub(super) fn give(&self, blob: &Blob, age: Duration) -> Response<Body> {
        let mut response = self.copy(blob, age);
        response.headers_mut().remove(CACHE_STATUS);
        response
    }

    /// The whole of it, for a client that needs no more.
    pub(super) fn hit(&self, blob: &Blob, age: Duration, said: HeaderValue) -> Response<Body> {
        let mut response = self.copy(blob, age);
        put(response.headers_mut(), CACHE_STATUS, said);
        response
    }

    fn copy(&self, blob: &Blob, age: Duration) -> Response<Body> {
        let mut response = Response::new(Body::from(blob.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        let age = HeaderValue::from_str(itoa::Buffer::new().format(age.as_secs()));
        put(response.headers_mut(), AGE, age.unwrap_or(HeaderValue::from_static("0")));
        response
    }

    /// Asks the upstream whether it is still good (§4.3.1).
    pub(super) fn ask(&self, headers: &mut HeaderMap) {
        let own =
            [(ETAG, http::header::IF_NONE_MATCH), (LAST_MODIFIED, http::header::IF_MODIFIED_SINCE)];
        for (own, asks) in own {
            if let Some(value) = self.headers.get(own) {
                headers.insert(asks, value.clone());
            }
        }
    }

    /// Whether a 304 speaks of this answer (§4.3.4).
    pub(super) fn is_meant_by(&self, fresh: &HeaderMap) -> bool {
        match (fresh.get(ETAG), self.headers.get(ETAG)) {
            (Some(new), Some(own)) => {
                let opaque = |tag: &HeaderValue| {
                    let tag = tag.as_bytes();
                    tag.strip_prefix(b"W/").unwrap_or(tag).to_vec()
                };
                opaque(new) == opaque(own)
            }
            _ => true,
        }
    }

    /// The headers as a 304 makes them anew (§3.2): what it has takes the place of what was there,
    /// but for what describes a body that it does not have.
    pub(super) fn freshened(&self, fresh: &HeaderMap) -> HeaderMap {
        const OF_THE_BODY: [HeaderName; 4] =
            [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_TYPE, CONTENT_RANGE];
        let mut headers = self.headers.clone();
        // A 304 without a date is of now.
        headers.remove(DATE);
        for name in fresh.keys().filter(|name| !OF_THE_BODY.contains(name)) {
            headers.remove(name);
            for value in fresh.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        headers
    }
}

/// Puts a line in its place, which it has but for answers that were kept by others.
fn put(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    match headers.get_mut(&name) {
        Some(there) => *there = value,
        None => drop(headers.insert(name, value)),
    }
}

/// Gives what is said anew each time its place, and what was the first request's alone none.
pub(super) fn make_room(headers: &mut HeaderMap) {
    headers.remove(X_REQUEST_ID);
    for name in [AGE, CACHE_STATUS] {
        headers.insert(name, HeaderValue::from_static("0"));
    }
    // A full table would grow even where a line takes another's place.
    headers.reserve(1);
}

/// Every answer that is kept has a date (RFC 9110 §6.6.1).
fn date(headers: &mut HeaderMap, now: SystemTime) {
    if !headers.contains_key(DATE)
        && let Ok(value) = HeaderValue::from_str(&httpdate::fmt_http_date(now))
    {
        headers.insert(DATE, value);
    }
}

/// The answer that a blob is, if it is one.
pub(super) fn answer(blob: &Arc<Blob>) -> Option<&Answer> {
    match blob.head::<Stored>()? {
        Stored::Answer(answer) => Some(answer),
        Stored::Varying(_) | Stored::NotKept => None,
    }
}
