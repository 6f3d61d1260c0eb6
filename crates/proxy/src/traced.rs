//! What a request says of the trace that it belongs to, by W3C Trace Context. What is malformed
//! is never forwarded: a `traceparent` goes, and with it the `tracestate` that speaks of it.

use http::{HeaderMap, HeaderValue};
use lockgate_core::Spans;
use lockgate_core::span::{self, BAGGAGE, Fate, Parent, TRACEPARENT, TRACESTATE};
use lockgate_telemetry::Traces;
use tokio::time::Instant;

/// What a head says of its trace, found by whoever looks at the names: that is cheaper than asking
/// the map for each.
#[derive(Default)]
pub(crate) struct Said {
    parent: Option<Parent>,
    /// How many lines name a parent.
    parents: usize,
    /// Whether a line speaks of the trace in another header.
    more: bool,
}

impl Said {
    /// Takes down a `traceparent`. Of two it cannot be said which is meant.
    pub(crate) fn parent(&mut self, line: &HeaderValue) {
        self.parents += 1;
        self.parent = if self.parents == 1 { Parent::read(line.as_bytes()) } else { None };
    }

    /// Takes down that there is a `tracestate` or a `baggage`.
    pub(crate) fn more(&mut self) {
        self.more = true;
    }
}

/// Takes from the headers what may not pass, and begins the request's spans.
pub(crate) fn begin(
    headers: &mut HeaderMap,
    said: &Said,
    traces: Option<&Traces>,
    now: Instant,
) -> Spans {
    let parent = said.parent;
    if parent.is_none() && said.parents > 0 {
        headers.remove(TRACEPARENT);
    }
    if said.more {
        clean(headers, parent.is_some());
    }
    let Some(traces) = traces else { return parent.map_or_else(Spans::default, Spans::passing) };
    let spans = traces.begin(parent, headers, now);
    // Attempts state spans of their own; this is for copies, and for whoever else is asked.
    let asked = parent.is_some_and(|parent| parent.flags & span::SAMPLED != 0);
    if (asked || spans.fate() == Fate::Sampled)
        && let Some(own) = spans.stated()
    {
        headers.insert(TRACEPARENT, own);
    }
    spans
}

/// Leaves what is well formed of the lines that speak of the trace beside `traceparent`.
fn clean(headers: &mut HeaderMap, has_parent: bool) {
    if headers.contains_key(TRACESTATE)
        && (!has_parent || !span::is_tracestate(headers.get_all(TRACESTATE).iter()))
    {
        headers.remove(TRACESTATE);
    }
    if headers.contains_key(BAGGAGE) && !span::is_baggage(headers.get_all(BAGGAGE).iter()) {
        headers.remove(BAGGAGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::look;

    const GOOD: &str = "00-12345678901234567890123456789012-1234567890123456-01";

    fn begun(pairs: &[(&'static str, &str)]) -> (Spans, Vec<String>) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        let said = look(&headers, &crate::reserved::Reserved::none()).said;
        let spans = begin(&mut headers, &said, None, Instant::now());
        let left = headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap()));
        (spans, left.collect())
    }

    #[test]
    fn what_is_well_formed_passes_as_it_came() {
        let later = "01-12345678901234567890123456789012-1234567890123456-09-more";
        for parent in [GOOD, later] {
            let pairs = [("traceparent", parent), ("tracestate", "a=1"), ("tracestate", "b=2")];
            let (spans, left) = begun(&pairs);
            assert_eq!(format!("{:?}", spans.trace().unwrap()), &GOOD[3..35]);
            let expected: Vec<_> = pairs.iter().map(|(n, v)| format!("{n}: {v}")).collect();
            assert_eq!(left, expected);
        }
    }

    #[test]
    fn what_is_malformed_goes_and_its_state_with_it() {
        for bad in [
            &[("traceparent", "00-x-y-01"), ("tracestate", "a=1")][..],
            &[("traceparent", GOOD), ("traceparent", GOOD), ("tracestate", "a=1")],
            &[("tracestate", "a=1")],
        ] {
            let (spans, left) = begun(bad);
            assert!(spans.trace().is_none() && left.is_empty(), "{bad:?}: {left:?}");
        }
        let (spans, left) = begun(&[("traceparent", GOOD), ("tracestate", "a=1,a=2")]);
        assert!(spans.trace().is_some());
        assert_eq!(left, [format!("traceparent: {GOOD}")]);
    }

    #[test]
    fn baggage_is_carried_without_a_trace_or_dropped() {
        let (_, left) = begun(&[("baggage", "user=1;p"), ("traceparent", "x")]);
        assert_eq!(left, ["baggage: user=1;p"]);
        let (spans, left) = begun(&[("baggage", "user"), ("traceparent", GOOD)]);
        assert!(spans.trace().is_some());
        assert_eq!(left, [format!("traceparent: {GOOD}")]);
    }
}
