//! What one decision costs: by algorithm, with few keys and with many, when it refuses, with
//! several limits at once, and while a flood of keys pushes others out. And what so many lines of
//! memory cost alone, which no decision can beat.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench may stop"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use lockgate_core::{Algorithm, CounterName, Counters, Grant, Limit, Stem, Take};
use lockgate_state::redis::{Address, Login, RedisCounters, RedisStore, Servers, Settings};
use lockgate_state::{Bounds, Memory};
use lockgate_testkit::redis::RedisServer;
use tokio::runtime::Handle;
use tokio::time::Instant;

const PLACE: &[u8] = b"routes./orders/*.rate_limit\0";

fn limit(algorithm: Algorithm, count: u64) -> Limit {
    Limit { algorithm, count, window: Duration::from_secs(60), burst: count }
}

fn name(_: usize) -> CounterName {
    CounterName { limit: String::new(), key: String::new() }
}

/// As a request writes it: where the limit stands, an address, and a NUL.
fn key(number: u64) -> [u8; 33] {
    let mut key = [0; 33];
    key[..PLACE.len()].copy_from_slice(PLACE);
    key[28..32].copy_from_slice(&(number as u32).to_le_bytes());
    key
}

fn take(memory: &dyn Counters, takes: &[Take<'_>]) -> bool {
    let mut grants = [Grant::default(); 3];
    let all = black_box(memory).take_now(takes, &mut grants, &name);
    all.expect("at once").expect("memory answers")
}

/// Keys that come at random, and a clock that goes on as if each came `in_window` times in a
/// minute: windows move on and forget as they do in earnest, however fast this computer is.
struct Crowd {
    keys: u64,
    in_window: u64,
    random: fastrand::Rng,
    at: Instant,
    step: Duration,
}

impl Crowd {
    fn new(keys: u64, in_window: u64) -> Self {
        let step = Duration::from_nanos(60_000_000_000 / (keys * in_window));
        Self { keys, in_window, random: fastrand::Rng::with_seed(7), at: Instant::now(), step }
    }

    fn next(&mut self) -> (u64, Instant) {
        self.at += self.step;
        (self.random.u64(..self.keys), self.at)
    }

    /// Takes once by each of these limits.
    fn takes<const N: usize>(
        &mut self,
        memory: &dyn Counters,
        limits: &[Limit; N],
        stems: &[Option<Stem>; N],
    ) -> bool {
        let (number, at) = self.next();
        let number = number * N as u64;
        let keys: [_; N] = std::array::from_fn(|n| black_box(key(number + n as u64)));
        let one = |n: usize| {
            let (at, stem) = (Some(at), stems[n]);
            Take { at, stem, ..Take::new(&keys[n], &limits[n], 1) }
        };
        take(memory, &std::array::from_fn::<_, N, _>(one))
    }
}

const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("sliding_window", Algorithm::SlidingWindow),
    ("sliding_log", Algorithm::SlidingLog),
    ("token_bucket", Algorithm::TokenBucket),
    ("fixed_window", Algorithm::FixedWindow),
];

/// Of a limit of 100 in a minute each key takes about half; at a million, a twentieth.
fn algorithms(c: &mut Criterion) {
    let mut group = c.benchmark_group("take");
    for (word, algorithm) in ALGORITHMS {
        let limits = [limit(algorithm, 100)];
        for (keys, in_window) in [(1_000, 50), (100_000, 50), (1_000_000, 5)] {
            let id = BenchmarkId::new(word, format!("{keys} keys"));
            bench(&mut group, id, &limits, Crowd::new(keys, in_window));
        }
    }
    group.finish();
}

/// Every key has spent what it may.
fn refused(c: &mut Criterion) {
    let mut group = c.benchmark_group("refuse");
    for (word, algorithm) in ALGORITHMS {
        let limits = [Limit { window: Duration::from_secs(1 << 30), ..limit(algorithm, 20) }];
        for keys in [1, 100_000] {
            let id = BenchmarkId::new(word, format!("{keys} keys"));
            bench(&mut group, id, &limits, Crowd::new(keys, 60));
        }
    }
    group.finish();
}

fn several(c: &mut Criterion) {
    let mut group = c.benchmark_group("take at once");
    let window = limit(Algorithm::SlidingWindow, 1_000);
    let two = [window.clone(), Limit { window: Duration::from_secs(3_600), ..window.clone() }];
    let [bucket, fixed] =
        [Algorithm::TokenBucket, Algorithm::FixedWindow].map(|kind| limit(kind, 1_000));
    let three = [window, bucket, fixed];
    for keys in [1_000, 100_000] {
        let id = |what| BenchmarkId::new(what, format!("{keys} keys"));
        bench(&mut group, id("two windows"), &two, Crowd::new(keys, 5));
        bench(&mut group, id("three limits"), &three, Crowd::new(keys, 5));
    }
    group.finish();
}

/// Takes on and on, from a table in which each key has come as often as it does in a window.
fn bench<const N: usize>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    limits: &[Limit; N],
    mut crowd: Crowd,
) {
    let memory = Memory::new(Bounds::default());
    let stems = limits.each_ref().map(|limit| memory.stem(PLACE, limit));
    let mut warm = false;
    group.bench_function(id, |b| {
        if !warm {
            (0..crowd.keys * crowd.in_window).for_each(|_| {
                crowd.takes(&memory, limits, &stems);
            });
            warm = true;
        }
        b.iter(|| crowd.takes(&memory, limits, &stems));
    });
}

/// What this computer's memory takes for itself: so many lines of it, one after the other, each
/// anywhere in as much as so many keys take.
fn floor(c: &mut Criterion) {
    #[repr(align(64))]
    #[derive(Clone)]
    struct Line(u64);
    let mut group = c.benchmark_group("lines alone");
    for keys in [1_000_u64, 100_000, 1_000_000] {
        let mut table = vec![Line(0); keys as usize];
        let mut random = fastrand::Rng::with_seed(7);
        table.iter_mut().for_each(|line| *line = Line(random.u64(..keys)));
        for lines in [1, 2, 3] {
            let id = BenchmarkId::new(format!("{lines}"), format!("{keys} keys"));
            group.bench_function(id, |b| {
                let mut place = 0;
                b.iter(|| {
                    // Each is known only when the one before it has come.
                    for _ in 0..lines {
                        place = (table[place as usize].0 + random.u64(..keys)) % keys;
                    }
                    place
                });
            });
        }
    }
    group.finish();
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
    let mut group = c.benchmark_group("a new key");
    let limit = limit(Algorithm::SlidingWindow, 100);
    for keys in [100_000, 1_000_000] {
        let memory = Memory::new(Bounds { keys, ..Bounds::default() });
        let (mut next, at) = (0, Instant::now());
        let mut take = || {
            next += 1;
            take(&memory, &[Take { at: Some(at), ..Take::new(&key(next), &limit, 1) }])
        };
        let mut full = false;
        group.bench_function(format!("in a full table of {keys}"), |b| {
            if !full {
                (0..2 * keys).for_each(|_| assert!(take()));
                full = true;
            }
            b.iter(&mut take);
        });
    }
    group.finish();
}

criterion_group!(benches, floor, algorithms, refused, several, flood, leased);
criterion_main!(benches);
