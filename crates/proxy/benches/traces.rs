//! What traces cost a request of which nothing is told, all in all: reading its `traceparent`, or
//! making a trace for it, deciding, stating the attempt, its ids for the access log, and deciding
//! once more at its end: `cargo bench -p lockgate-proxy --bench traces`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};
use lockgate_config::model;
use lockgate_core::span::{Parent, TRACEPARENT, TraceId};
use lockgate_core::{Nowhere, Spans};
use lockgate_proxy::bench::begin_spans;
use lockgate_telemetry::Traces;
use tokio::time::Instant;

const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const TOOK: Duration = Duration::from_millis(3);

/// Nothing is sampled. `errors`: whether what fails is told all the same, as is the default.
fn traces(errors: bool) -> Option<Arc<Traces>> {
    let mut settings = model::Traces { to: "http://c.test".to_owned(), ..Default::default() };
    settings.sample.ratio = lockgate_core::Percent(0.0);
    settings.sample.errors = errors;
    let collector = settings.collector().ok()?;
    let (traces, _work) =
        Traces::new(&settings, collector, None, Arc::new(Nowhere), Arc::default());
    Some(traces)
}

/// A request's headers, with or without one that names its parent.
fn headers(parent: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in ["host", "user-agent", "accept", "authorization", "x-request-id"] {
        headers.insert(name, HeaderValue::from_static("x"));
    }
    parent.into_iter().for_each(|parent| drop(headers.insert(TRACEPARENT, parent.clone())));
    headers
}

/// What is done at the end of a request, told or not. `out` stands in for the access log.
fn end(traces: &Traces, spans: &Spans, now: Instant, out: &mut BytesMut) -> bool {
    if let (Some(trace), Some(span)) = (spans.trace().map(TraceId::hex), spans.id()) {
        out.put_slice(&trace);
        out.put_slice(&span.hex());
    }
    black_box(out);
    traces.is_told(spans, black_box(200), None, TOOK, now)
}

fn unsampled(c: &mut Criterion) {
    let now = Instant::now();
    let parent = HeaderValue::from_static(UNSAMPLED);
    let mut group = c.benchmark_group("unsampled");
    for (told, errors) in [("errors told", true), ("nothing told", false)] {
        let Some(traces) = traces(errors) else { return };
        let mut out = BytesMut::with_capacity(1024);
        for (begun, parent) in [("parent", Some(&parent)), ("no parent", None)] {
            let mut headers = headers(parent);
            group.bench_function(BenchmarkId::new(told, begun), |b| {
                b.iter(|| {
                    let parent = black_box(parent);
                    let mut spans = begin_spans(&mut headers, parent, &traces, black_box(now));
                    spans.begin_attempt(now);
                    out.clear();
                    if let Some(line) = spans.line() {
                        out.put_slice(&line);
                    }
                    end(&traces, &spans, now, &mut out)
                });
            });
        }
        // Where a line does not do: HTTP/2, and policies and logs that look at the head.
        let mut headers = headers(Some(&parent));
        group.bench_function(BenchmarkId::new(told, "parent, stated in the head"), |b| {
            b.iter(|| {
                let parent = black_box(Some(&parent));
                let mut spans = begin_spans(&mut headers, parent, &traces, black_box(now));
                spans.begin_attempt(now);
                spans.state(&mut headers);
                out.clear();
                end(&traces, &spans, now, &mut out)
            });
        });
    }
    group.finish();
}

fn reading(c: &mut Criterion) {
    c.bench_function("read", |b| b.iter(|| Parent::read(black_box(UNSAMPLED.as_bytes()))));
}

criterion_group!(benches, unsampled, reading);
criterion_main!(benches);
