//! What telemetry costs a worker for each request: counting it, and writing its line.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use lockgate_config::model::{AccessLog as Config, LogFormat, LogTo};
use lockgate_core::Percent;
use lockgate_telemetry::{AccessLog, Entry, Form, Metrics, Sample};

fn observe(c: &mut Criterion) {
    let metrics = Metrics::new(2);
    let route = metrics.route("/users/{id}", Some("users"));
    let sample = Sample {
        status: 200,
        reason: None,
        total: Duration::from_micros(870),
        upstream_first_byte: Some(Duration::from_micros(640)),
        received: 0,
        sent: 1_024,
        attempts: 1,
        exemplar: None,
    };
    c.bench_function("observe", |b| b.iter(|| route.observe(0, black_box(&sample))));
    let refused = Sample {
        status: 429,
        reason: Some("rate_limited"),
        upstream_first_byte: None,
        attempts: 0,
        ..sample
    };
    c.bench_function("observe_refused", |b| b.iter(|| route.observe(0, black_box(&refused))));
    let worker = metrics.worker(0);
    c.bench_function("enter", |b| b.iter(|| drop(black_box(worker.enter()))));
}

fn render(c: &mut Criterion) {
    let metrics = Metrics::new(2);
    let routes: Vec<_> =
        (0..5_000).map(|n| metrics.route(format!("/service/{n}/*"), Some("users"))).collect();
    for route in &routes {
        route.observe(0, &Sample { status: 200, attempts: 1, ..Sample::default() });
        route.observe(1, &Sample { status: 404, attempts: 1, ..Sample::default() });
    }
    c.bench_function("render_5000_active_routes", |b| {
        b.iter(|| black_box(metrics.render(Form::Text)).len())
    });
}

fn write(c: &mut Criterion) {
    let mut entry = Entry {
        time: SystemTime::now(),
        id: "0af7651916cd43dd8448eb211c80319c",
        listener: "web",
        protocol: "HTTP/1.1",
        scheme: "http",
        method: "GET",
        host: "shop.example",
        path: "/users/4711/orders?page=2&sort=name",
        status: 200,
        route: Some("/users/{id}/orders"),
        upstream: Some("users"),
        endpoint: Some("10.0.0.1:8080"),
        attempts: 1,
        upstream_status: Some(200),
        total: Duration::from_micros(870),
        queued: Duration::from_micros(12),
        first_byte: Some(Duration::from_micros(640)),
        sent: 1_024,
        user_agent: Some(b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ..Entry::default()
    };
    for (name, format) in
        [("json", LogFormat::Json), ("ecs", LogFormat::Ecs), ("text", LogFormat::Text)]
    {
        let to = LogTo::File("/dev/null".into());
        let config = Config { to, format, sample: Percent(1.0), headers: Vec::new() };
        let Ok(log) = AccessLog::start(&config) else { continue };
        let worker = log.worker(0);
        let write = |b: &mut criterion::Bencher<'_>| b.iter(|| worker.write(black_box(&mut entry)));
        c.bench_function(&format!("write_{name}"), write);
    }
}

criterion_group!(benches, observe, render, write);
criterion_main!(benches);
