//! What one decision costs: by algorithm, with one key and with many, with three limits at once,
//! and while a flood of keys pushes others out.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench may stop"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lockgate_core::{Algorithm, CounterName, Counters, Grant, Limit, Take};
use lockgate_state::redis::{Address, Login, RedisCounters, RedisStore, Servers, Settings};
use lockgate_state::{Bounds, Memory};
use lockgate_testkit::redis::RedisServer;
use tokio::runtime::Handle;

const PLACE: &[u8] = b"routes./orders/*.rate_limit\0";

fn limit(algorithm: Algorithm, count: u64) -> Limit {
    Limit { algorithm, count, window: Duration::from_secs(60), burst: count }
}

fn name(_: usize) -> CounterName {
    CounterName { limit: String::new(), key: String::new() }
}

/// As a request writes it: where the limit stands, and an address.
fn key(number: u64) -> [u8; 36] {
    let mut key = [0; 36];
    key[..PLACE.len()].copy_from_slice(PLACE);
    key[28..].copy_from_slice(&number.to_le_bytes());
    key
}

fn take(memory: &Memory, key: &[u8], limit: &Limit) -> bool {
    let take = Take::new(key, limit, 1);
    let mut grants = [Grant::default()];
    let all = memory.take_now(&[take], &mut grants, &name);
    all.expect("at once").expect("memory answers")
}

fn algorithms(c: &mut Criterion) {
    let mut group = c.benchmark_group("take");
    for (word, algorithm) in [
        ("sliding_window", Algorithm::SlidingWindow),
        ("sliding_log", Algorithm::SlidingLog),
        ("token_bucket", Algorithm::TokenBucket),
        ("fixed_window", Algorithm::FixedWindow),
    ] {
        let limit = limit(algorithm, 100);
        let memory = Memory::new(Bounds::default());
        let mut turn = 0;
        for keys in [1_000, 100_000] {
            group.bench_function(BenchmarkId::new(word, format!("{keys} keys")), |b| {
                b.iter(|| {
                    turn = (turn + 7_919) % keys;
                    take(&memory, black_box(&key(turn)), &limit)
                });
            });
        }
        group.bench_function(BenchmarkId::new(word, "one key, refused"), |b| {
            (0..100).for_each(|_| {
                take(&memory, b"one", &limit);
            });
            b.iter(|| take(&memory, black_box(b"one"), &limit));
        });
    }
    group.finish();
}

fn several(c: &mut Criterion) {
    let memory = Memory::new(Bounds::default());
    let limits = [
        limit(Algorithm::SlidingWindow, 1 << 30),
        limit(Algorithm::TokenBucket, 1 << 30),
        limit(Algorithm::FixedWindow, 1 << 30),
    ];
    let mut turn = 0;
    c.bench_function("three limits at once", |b| {
        b.iter(|| {
            turn = (turn + 7_919) % 1_000;
            let keys = [key(turn), key(turn + 1_000), key(turn + 2_000)];
            let take = |n: usize| Take::new(&keys[n], &limits[n], 1);
            let mut grants = [Grant::default(); 3];
            memory.take_now(&[take(0), take(1), take(2)], &mut grants, &name)
        });
    });
}

/// Spending a slice of a limit that is counted in a Redis, the calls for slices included.
fn leased(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let server = runtime.block_on(RedisServer::start());
    let settings = Settings {
        servers: Servers::One(Address::new("127.0.0.1", server.address().port())),
        login: Login::default(),
        tls: None,
        database: 0,
        prefix: "bench".to_owned(),
        timeout: Some(Duration::from_secs(1)),
    };
    let counters = runtime.block_on(async {
        let store = RedisStore::start("bench", &settings, &"a".into(), &Handle::current());
        RedisCounters::start(Arc::new(store), &Handle::current())
    });
    let limit = limit(Algorithm::SlidingWindow, 1_000_000_000);
    let take = Take { leased: true, ..Take::new(PLACE, &limit, 1) };
    c.bench_function("a slice, spent", |b| {
        let _entered = runtime.enter();
        b.iter(|| {
            let mut grants = [Grant::default()];
            let all = counters.take_now(black_box(&[take]), &mut grants, &name);
            all.unwrap_or_else(|| runtime.block_on(counters.take(&[take], &mut grants, &name)))
        });
    });
    println!("{:?}", counters.figures());
}

fn flood(c: &mut Criterion) {
    let limit = limit(Algorithm::SlidingWindow, 100);
    let memory = Memory::new(Bounds { keys: 100_000, ..Bounds::default() });
    let mut next = 0;
    c.bench_function("a new key in a full table", |b| {
        b.iter(|| {
            next += 1;
            take(&memory, &key(next), &limit)
        });
    });
}

criterion_group!(benches, algorithms, several, leased, flood);
criterion_main!(benches);
