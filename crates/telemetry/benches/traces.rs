//! What traces cost a request of which nothing is told, from its `traceparent` to the one that goes
//! upstream: `cargo bench -p lockgate-telemetry --bench traces`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};
use lockgate_config::model;
use lockgate_core::Nowhere;
use lockgate_core::span::{Parent, TRACEPARENT};
use lockgate_telemetry::Traces;
use tokio::time::Instant;

const UNSAMPLED: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn traces(ratio: f64) -> Option<Arc<Traces>> {
    let mut settings = model::Traces { to: "http://c.test".to_owned(), ..Default::default() };
    settings.sample.ratio = lockgate_core::Percent(ratio);
    let collector = settings.collector().ok()?;
    let (traces, _work) =
        Traces::new(&settings, collector, None, Arc::new(Nowhere), Arc::default());
    Some(traces)
}

fn unsampled(c: &mut Criterion) {
    let (Some(traces), now) = (traces(0.0), Instant::now()) else { return };
    c.bench_function("read", |b| b.iter(|| Parent::read(black_box(UNSAMPLED))));
    let none = HeaderMap::new();
    c.bench_function("read_and_decide", |b| {
        b.iter(|| traces.begin(Parent::read(black_box(UNSAMPLED)), &none, now));
    });
    c.bench_function("decide_without_parent", |b| b.iter(|| traces.begin(None, &none, now)));
    let mut headers = HeaderMap::new();
    for name in ["host", "user-agent", "accept", "authorization", "x-request-id"] {
        headers.insert(name, HeaderValue::from_static("x"));
    }
    headers.insert(TRACEPARENT, HeaderValue::from_static("x"));
    c.bench_function("state", |b| {
        let mut spans = traces.begin(Parent::read(UNSAMPLED), &none, now);
        b.iter(|| spans.begin_attempt(black_box(now), &mut headers));
    });
    c.bench_function("all_of_it", |b| {
        b.iter(|| {
            let mut spans = traces.begin(Parent::read(black_box(UNSAMPLED)), &none, now);
            spans.begin_attempt(now, &mut headers);
            spans
        });
    });
}

criterion_group!(benches, unsampled);
criterion_main!(benches);
