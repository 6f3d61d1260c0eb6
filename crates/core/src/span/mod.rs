//! The spans of a request: which trace it belongs to, by W3C Trace Context, and what of its way
//! took time: policies that waited, and attempts. What is told of them, and where, is decided
//! elsewhere; here nothing is allocated as long as nothing but the answer is waited for.

mod foreign;
mod lists;
mod parent;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::{Reason, UpstreamNotes};

pub use foreign::{b3, jaeger};
pub use lists::{is_baggage, is_tracestate};
use parent::SpanIds;
pub use parent::{Parent, RANDOM, SAMPLED, SpanId, TraceId, TraceLine};

/// `traceparent`.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// `baggage`.
pub const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Most parts of one request that are kept; those that come after are left out and counted.
const MOST_PARTS: usize = 64;

/// What becomes of a request's spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fate {
    /// Nobody hears of them.
    #[default]
    Unkept,
    /// They are told if the request's end is worth it.
    IfNotable,
    /// They are told.
    Sampled,
}

impl Fate {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unkept => "not told",
            Self::IfNotable => "told if it fails or is slow",
            Self::Sampled => "told",
        }
    }
}

/// The trace that a request belongs to, and its spans.
#[derive(Debug, Default)]
pub struct Spans {
    trace: Option<TraceId>,
    remote: Option<SpanId>,
    /// The request's own span. Without one the headers pass as they came.
    own: Option<SpanId>,
    flags: u8,
    fate: Fate,
    /// Those of the parts to come.
    ids: SpanIds,
    attempt: Option<(SpanId, Instant)>,
    parts: Vec<Part>,
    left_out: u32,
}

/// A part of a request's way that has ended.
#[derive(Debug)]
pub struct Part {
    /// Its span.
    pub id: SpanId,
    /// When it began.
    pub begun: Instant,
    /// When it ended.
    pub ended: Instant,
    /// What it was.
    pub what: What,
    /// Why it was in vain, if it was.
    pub reason: Option<&'static Reason>,
}

/// What a part of a request's way was.
#[derive(Debug)]
pub enum What {
    /// A policy that waited, by its name.
    Policy(&'static str),
    /// An attempt whose answer, if any came, was not passed on.
    Attempt {
        /// Which it was, from 1.
        number: u32,
        /// The endpoint's address.
        endpoint: Option<Arc<str>>,
        /// The status of the answer that was not passed on.
        status: Option<u16>,
        /// Time to connect.
        connect: Duration,
    },
}

impl Spans {
    /// The spans of a request in a trace of whose spans none is the gateway's.
    pub fn passing(parent: Parent) -> Self {
        let Parent { trace, span, flags } = parent;
        Self { trace: Some(trace), remote: Some(span), flags, ..Self::default() }
    }

    /// The spans of a request that gets one of its own: below its parent's, or in a new trace.
    /// `fate` decides what becomes of them, by the trace.
    pub fn own(parent: Option<Parent>, fate: impl FnOnce(TraceId) -> Fate) -> Self {
        let (trace, remote, random, mut ids) = match parent {
            Some(Parent { trace, span, flags }) => {
                (trace, Some(span), flags & RANDOM, SpanIds::random())
            }
            None => {
                let trace = TraceId::random();
                (trace, None, RANDOM, SpanIds::of(trace))
            }
        };
        let own = Some(ids.next());
        let fate = fate(trace);
        let flags = random | if fate == Fate::Sampled { SAMPLED } else { 0 };
        Self { trace: Some(trace), remote, own, flags, fate, ids, ..Self::default() }
    }

    /// The trace, if there is one.
    pub fn trace(&self) -> Option<TraceId> {
        self.trace
    }

    /// The request's own span.
    pub fn id(&self) -> Option<SpanId> {
        self.own
    }

    /// The span that sent the request.
    pub fn remote(&self) -> Option<SpanId> {
        self.remote
    }

    /// The flags that go upstream.
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// What becomes of them.
    pub fn fate(&self) -> Fate {
        self.fate
    }

    /// The parts that have ended, in the order of their ends.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// How many more there were than are kept.
    pub fn left_out(&self) -> u32 {
        self.left_out
    }

    /// The attempt that brought the answer, or is under way: its span, and when it began.
    pub fn attempt(&self) -> Option<(SpanId, Instant)> {
        self.attempt
    }

    /// The `traceparent` by which whoever is asked for this request comes below its own span;
    /// `None` when headers pass as they came.
    pub fn stated(&self) -> Option<HeaderValue> {
        let parent = Parent { trace: self.trace?, span: self.own?, flags: self.flags };
        HeaderValue::from_bytes(&parent.written()).ok()
    }

    /// An attempt begins. What it sends states it: by [`state`](Self::state) or as a
    /// [`line`](Self::line).
    pub fn begin_attempt(&mut self, begun: Instant) {
        if self.own.is_some() && self.fate != Fate::Unkept {
            self.attempt = Some((self.ids.next(), begun));
        }
    }

    /// The attempt under way as a line beside the head, in place of what that says of it: nothing
    /// is allocated. `None` when headers pass as they came.
    #[inline]
    pub fn line(&self) -> Option<TraceLine> {
        Some(self.attempted()?.line())
    }

    /// States the attempt under way in its headers, unless they pass as they came.
    pub fn state(&self, headers: &mut HeaderMap) {
        let stated = self.attempted().map(|parent| HeaderValue::from_bytes(&parent.written()));
        let Some(Ok(stated)) = stated else { return };
        // As a rule the client's is there, and looking for it among a dozen costs a fifth of what
        // an insertion does.
        if self.remote.is_some() {
            let mut lines = headers.iter_mut();
            // A map gives all lines of a name in a row.
            if let Some((_, place)) = lines.find(|(name, _)| **name == TRACEPARENT)
                && lines.next().is_none_or(|(name, _)| *name != TRACEPARENT)
            {
                *place = stated;
                return;
            }
        }
        headers.insert(TRACEPARENT, stated);
    }

    /// The attempt under way is over, and its answer, if any, is not passed on.
    pub(crate) fn attempt_over(&mut self, notes: &UpstreamNotes, reason: Option<&'static Reason>) {
        let Some((id, begun)) = self.attempt.take() else { return };
        let what = What::Attempt {
            number: notes.attempts,
            endpoint: notes.endpoint.clone(),
            status: notes.status,
            connect: notes.connect,
        };
        self.keep(Part { id, begun, ended: Instant::now(), what, reason });
    }

    /// A policy was waited for.
    pub fn waited(
        &mut self,
        policy: &'static str,
        begun: Instant,
        ended: Instant,
        reason: Option<&'static Reason>,
    ) {
        if self.fate != Fate::Unkept {
            let (id, what) = (self.ids.next(), What::Policy(policy));
            self.keep(Part { id, begun, ended, what, reason });
        }
    }

    /// Those of a request of the gateway's own that asks for the same: it has no span of its own,
    /// and what it asks comes below this one's.
    pub fn behind(&self) -> Self {
        let Self { trace, remote, own, flags, .. } = *self;
        Self { trace, remote, own, flags, ids: SpanIds::random(), ..Self::default() }
    }

    /// Those of what stands in for the request while it is brought to its end elsewhere.
    pub fn stand_in(&self) -> Self {
        Self { fate: self.fate, ..self.behind() }
    }

    fn keep(&mut self, part: Part) {
        if self.parts.len() < MOST_PARTS {
            self.parts.push(part);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// What is stated of the attempt under way: below its own span where that may be told, else
    /// below the request's.
    fn attempted(&self) -> Option<Parent> {
        let own = self.own?;
        let span = self.attempt.map_or(own, |(id, _)| id);
        Some(Parent { trace: self.trace?, span, flags: self.flags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reasons;

    fn parent(flags: u8) -> Parent {
        Parent { trace: TraceId::random(), span: SpanId::random(), flags }
    }

    fn read(value: &HeaderValue) -> Parent {
        Parent::read(value.as_bytes()).unwrap()
    }

    /// What the headers of the next attempt state, if they had this before.
    fn next(spans: &mut Spans, before: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(before) = before {
            headers.insert(TRACEPARENT, before.parse().unwrap());
        }
        spans.begin_attempt(Instant::now());
        spans.state(&mut headers);
        assert!(headers.len() <= 1, "{headers:?}");
        let own = spans.id().map(|_| headers[TRACEPARENT].to_str().unwrap());
        let line = own.map(|own| format!("traceparent: {own}\r\n").into_bytes());
        assert_eq!(spans.line().map(Vec::from), line);
        headers
    }

    #[test]
    fn each_attempt_is_stated_with_a_span_of_its_own() {
        let parent = parent(SAMPLED);
        let mut spans = Spans::own(Some(parent), |_| Fate::Sampled);
        let first = read(&next(&mut spans, Some("the client's"))[TRACEPARENT]);
        let notes = UpstreamNotes { attempts: 1, ..UpstreamNotes::default() };
        spans.attempt_over(&notes, Some(&reasons::UPSTREAM_REFUSED));
        let second = read(&next(&mut spans, None)[TRACEPARENT]);
        assert_eq!((first.trace, second.trace), (parent.trace, parent.trace));
        assert_eq!((first.flags, second.flags), (SAMPLED, SAMPLED));
        assert_ne!(first.span, second.span);
        assert_eq!(spans.parts().iter().map(|part| part.id).collect::<Vec<_>>(), [first.span]);
        assert_eq!(spans.attempt().unwrap().0, second.span);
        assert_eq!(spans.remote(), Some(parent.span));
    }

    #[test]
    fn whatever_lines_there_are_one_is_left() {
        for before in 0..4 {
            let mut headers = HeaderMap::new();
            headers.insert("a", "1".parse().unwrap());
            for _ in 0..before {
                headers.append(TRACEPARENT, "a stranger's".parse().unwrap());
            }
            headers.insert("b", "2".parse().unwrap());
            let mut spans = Spans::own(Some(parent(SAMPLED)), |_| Fate::Sampled);
            spans.begin_attempt(Instant::now());
            spans.state(&mut headers);
            let lines: Vec<_> = headers.get_all(TRACEPARENT).iter().map(read).collect();
            assert_eq!(lines.len(), 1, "of {before}");
            assert_eq!(lines[0].span, spans.attempt().unwrap().0);
            assert_eq!(headers.len(), 3);
        }
    }

    #[test]
    fn a_new_trace_says_that_its_id_is_random() {
        let spans = Spans::own(None, |_| Fate::IfNotable);
        assert_eq!((spans.flags(), spans.remote()), (RANDOM, None));
        let stated = read(&spans.stated().unwrap());
        assert_eq!((Some(stated.trace), Some(stated.span)), (spans.trace(), spans.id()));
    }

    #[test]
    fn what_is_not_kept_allocates_nothing_and_is_stated_all_the_same() {
        let mut spans = Spans::own(Some(parent(SAMPLED)), |_| Fate::Unkept);
        let now = Instant::now();
        spans.waited("auth", now, now, None);
        let stated = read(&next(&mut spans, Some("the client's"))[TRACEPARENT]);
        assert_eq!((Some(stated.span), stated.flags), (spans.id(), 0));
        spans.attempt_over(&UpstreamNotes::default(), None);
        assert_eq!(spans.parts.capacity(), 0);
        let mut passing = Spans::passing(parent(SAMPLED));
        let headers = next(&mut passing, Some("the client's"));
        assert_eq!(headers[TRACEPARENT], "the client's", "it passes as it came");
        assert!(next(&mut passing, None).is_empty());
    }

    #[test]
    fn parts_are_bounded() {
        let mut spans = Spans::own(None, |_| Fate::Sampled);
        let now = Instant::now();
        (0..1000).for_each(|_| spans.waited("auth", now, now, None));
        assert_eq!(spans.parts().len(), MOST_PARTS);
        assert_eq!(spans.left_out() as usize, 1000 - MOST_PARTS);
    }

    #[test]
    fn a_request_behind_is_below_the_requests_own_span() {
        let spans = Spans::own(None, |_| Fate::Sampled);
        let mut behind = spans.behind();
        let stated = read(&next(&mut behind, None)[TRACEPARENT]);
        assert_eq!((Some(stated.span), stated.flags & SAMPLED), (spans.id(), SAMPLED));
        assert_eq!((behind.fate(), spans.stand_in().fate()), (Fate::Unkept, Fate::Sampled));
    }
}
