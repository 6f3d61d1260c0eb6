//! How long one lookup takes, whichever of the routes it is, and how long they take to build:
//! `cargo bench -p lockgate-proxy --bench route`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::Method;
use lockgate_proxy::route::{Pattern, Router, normalise};

const SIZES: [usize; 3] = [10, 1_000, 10_000];

/// What services look like: some share a prefix, some have a host, most have captures.
fn pattern(i: usize) -> String {
    match i % 5 {
        0 => format!("/service{i}/*"),
        1 => format!("GET /api/v1/kind{i}"),
        2 => format!("GET /api/v1/kind{i}/{{id}}/parts/{{part}}"),
        3 => format!("api{}.example.com/kind{i}/{{rest...}}", i % 50),
        _ => format!("POST /accounts/{{id}}/actions{i}"),
    }
}

/// A host and a path that the pattern takes.
fn request(i: usize) -> (String, String) {
    match i % 5 {
        0 => ("www.example.com".into(), format!("/service{i}/a/b/c")),
        1 => ("www.example.com".into(), format!("/api/v1/kind{i}")),
        2 => ("www.example.com".into(), format!("/api/v1/kind{i}/4711/parts/42")),
        3 => (format!("api{}.example.com", i % 50), format!("/kind{i}/x/y")),
        _ => ("www.example.com".into(), format!("/accounts/4711/actions{i}")),
    }
}

fn patterns(count: usize) -> Vec<(Pattern, usize)> {
    (0..count).filter_map(|i| Some((pattern(i).parse().ok()?, i))).collect()
}

fn lookups(c: &mut Criterion) {
    let mut group = c.benchmark_group("find");
    for size in SIZES {
        let Ok(router) = Router::build(patterns(size)) else { return };
        let shape = |kind: usize, near: usize| near / 5 * 5 + kind;
        let cases = [
            ("first", shape(0, 0)),
            ("middle", shape(1, size / 2)),
            ("last", shape(0, size - 5)),
            ("captures", shape(2, size - 5)),
            ("host", shape(3, size - 5)),
            ("backtrack", shape(4, size - 5)),
        ];
        for (name, i) in cases {
            let (host, path) = request(i);
            let method = if i % 5 == 4 { Method::POST } else { Method::GET };
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| router.find(black_box(&method), black_box(&host), black_box(&path)));
            });
        }
        let misses = [("miss", "/nothing/here/at/all"), ("405", "/accounts/4711/actions4")];
        for (name, path) in misses {
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| router.find(&Method::PUT, "www.example.com", black_box(path)));
            });
        }
        // Every route in turn, so that nothing stays in the caches by being asked for again.
        let all: Vec<(String, String)> = (0..size).map(|i| request(i * 7919 % size)).collect();
        let mut next = all.iter().cycle();
        group.bench_function(BenchmarkId::new("each in turn", size), |b| {
            b.iter(|| next.next().map(|(host, path)| router.find(&Method::GET, host, path)));
        });
    }
    group.finish();
}

fn builds(c: &mut Criterion) {
    let mut group = c.benchmark_group("build");
    group.sample_size(10);
    for size in SIZES {
        group.bench_function(BenchmarkId::new("parse and build", size), |b| {
            b.iter(|| Router::build(patterns(size)));
        });
    }
    group.finish();
}

fn paths(c: &mut Criterion) {
    let mut group = c.benchmark_group("normalise");
    let cases = [
        ("normal", "/api/v1/kind4711/42/parts/17"),
        ("escape kept", "/produkte/gr%C3%BCn/42"),
        ("to do", "/api//v1/./kind/../%7Euser/42"),
    ];
    for (name, path) in cases {
        group.bench_function(name, |b| b.iter(|| normalise(black_box(path))));
    }
    group.finish();
}

criterion_group!(benches, lookups, builds, paths);
criterion_main!(benches);
