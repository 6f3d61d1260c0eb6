//! The memory as a whole: several threads, several limits, floods, and what is counted of it.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;

use super::*;
use crate::clock::TICK;
use crate::count::tests::Plain;

fn limit(algorithm: Algorithm, count: u64, window: u64) -> Limit {
    Limit { algorithm, count, window: Duration::from_secs(window), burst: count }
}

fn name(_: usize) -> lockgate_core::CounterName {
    lockgate_core::CounterName { limit: "l".to_owned(), key: "k".to_owned() }
}

fn one<'a>(key: &'a [u8], limit: &'a Limit) -> Take<'a> {
    Take::new(key, limit, 1)
}

fn take(memory: &Memory, takes: &[Take<'_>]) -> (bool, Vec<Grant>) {
    let mut grants = vec![Grant::default(); takes.len()];
    let all = memory.take_now(takes, &mut grants, &name).unwrap().unwrap();
    (all, grants)
}

/// What threads that all ask at once are granted together.
fn granted(memory: &Arc<Memory>, takes: impl Fn(&Memory) -> bool + Send + Sync + Clone) -> usize {
    let granted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let takes = takes.clone();
            let (memory, granted) = (Arc::clone(memory), &granted);
            scope.spawn(move || {
                let passed = (0..2_000).filter(|_| takes(&memory)).count();
                granted.fetch_add(passed, Relaxed);
            });
        }
    });
    granted.into_inner()
}

#[test]
fn threads_never_exceed_a_limit_nor_fall_short_of_it() {
    for algorithm in [
        Algorithm::SlidingWindow,
        Algorithm::SlidingLog,
        Algorithm::TokenBucket,
        Algorithm::FixedWindow,
    ] {
        // From a calendar in the middle of a window; a token comes back in an hour.
        let start = Duration::from_secs(3_600_000 * 500 + 1_000_000);
        let memory = Arc::new(Memory::in_time(Bounds::default(), start));
        let limit = limit(algorithm, 1_000, 3_600_000);
        let passed = granted(&memory, |memory| take(memory, &[one(b"k", &limit)]).0);
        assert_eq!(passed, 1_000, "{algorithm:?}");
    }
}

#[test]
fn of_several_limits_all_are_taken_from_or_none() {
    for others in 1..6 {
        let memory = Arc::new(Memory::new(Bounds::default()));
        let tight = limit(Algorithm::SlidingWindow, 500, 3_600_000);
        let wide = limit(Algorithm::SlidingLog, 1_000, 3_600_000);
        let keys: Vec<[u8; 1]> = (0..others).map(|number| [number]).collect();
        let passed = granted(&memory, |memory| {
            // In another order each time, as routes may list them.
            let mut takes: Vec<Take<'_>> = keys.iter().map(|key| one(key, &wide)).collect();
            takes.push(one(b"tight", &tight));
            (0..takes.len()).any(|_| {
                takes.rotate_left(1);
                take(memory, &takes).0
            })
        });
        assert_eq!(passed, 500);
        for key in &keys {
            let look = Take { cost: 0, ..one(key, &wide) };
            assert_eq!(take(&memory, &[look]).1[0].remaining, 500);
        }
    }
}

/// What is taken of one of six counters.
fn takes_of_six() -> impl Strategy<Value = Vec<(usize, u64, bool)>> {
    let which = prop::sample::subsequence((0..6).collect::<Vec<usize>>(), 1..=6).prop_shuffle();
    which.prop_flat_map(|which| {
        let rest = prop::collection::vec((0_u64..3, prop::bool::weighted(0.2)), which.len());
        rest.prop_map(move |rest| {
            let all = which.iter().zip(rest);
            all.map(|(which, (cost, dry))| (*which, cost, dry)).collect()
        })
    })
}

proptest! {
    /// However many are decided together, and whether they share a cell: each grant is what looks
    /// and spendings alone would make of it.
    #[test]
    fn it_decides_as_a_plain_table_does(
        keys in prop_oneof![Just(100_usize), Just(1_000), Just(1_000_000)],
        steps in prop::collection::vec((0_u64..3_000, takes_of_six()), 1..80),
    ) {
        let day =
            lockgate_core::Calendar { unit: lockgate_core::CalendarUnit::Day, offset_seconds: 0 };
        let limits = [
            limit(Algorithm::SlidingWindow, 5, 10),
            limit(Algorithm::SlidingLog, 4, 10),
            limit(Algorithm::TokenBucket, 3, 10),
            limit(Algorithm::FixedWindow, 5, 10),
            limit(Algorithm::SlidingWindow, 60, 100),
            limit(Algorithm::Calendar(day), 40, 1),
        ];
        let memory = Memory::in_time(Bounds { keys, bytes: 1 << 20 }, Duration::from_secs(86_300));
        let mut plain: [Option<Plain>; 6] = Default::default();
        let mut at = tokio::time::Instant::now();
        for (millis, wanted) in steps {
            at += Duration::from_millis(millis);
            let now = memory.clock.at(Some(at), true);
            let takes: Vec<Take<'_>> = wanted
                .iter()
                .map(|(which, cost, dry)| {
                    let (cost, dry, listed, at) = (*cost, *dry, *which == 5, Some(at));
                    Take { cost, dry, listed, at, ..one(b"key", &limits[*which]) }
                })
                .collect();
            let mut expected: Vec<Grant> = wanted
                .iter()
                .map(|(which, cost, _)| match &plain[*which] {
                    Some(count) => count.look(&limits[*which], now, *cost),
                    None => Plain::fresh(&limits[*which]).look(&limits[*which], now, *cost),
                })
                .collect();
            let all = expected.iter().zip(&takes).all(|(grant, take)| grant.allowed || take.dry);
            for ((which, cost, _), grant) in wanted.iter().zip(&mut expected) {
                if all && grant.allowed && *cost > 0 {
                    let limit = &limits[*which];
                    let count = plain[*which].get_or_insert_with(|| Plain::fresh(limit));
                    count.spend(limit, now, *cost, grant);
                }
            }
            prop_assert_eq!(take(&memory, &takes), (all, expected));
        }
        consistent(&memory);
    }
}

#[test]
fn a_dry_limit_counts_and_keeps_nothing_back() {
    let memory = Memory::new(Bounds::default());
    let (tight, wide) =
        (limit(Algorithm::TokenBucket, 1, 60), limit(Algorithm::TokenBucket, 3, 60));
    let dry = Take { dry: true, ..one(b"tight", &tight) };
    let mut seen = Vec::new();
    for _ in 0..4 {
        let (all, grants) = take(&memory, &[dry, one(b"wide", &wide)]);
        seen.push((all, grants[0].allowed, grants[1].allowed));
    }
    assert_eq!(
        seen,
        [(true, true, true), (true, false, true), (true, false, true), (false, false, false)]
    );
}

#[test]
fn a_look_takes_nothing_and_keeps_nothing() {
    let memory = Memory::new(Bounds::default());
    let limit = limit(Algorithm::SlidingWindow, 3, 60);
    let look = Take { cost: 0, ..one(b"k", &limit) };
    for _ in 0..10 {
        assert_eq!(take(&memory, &[look]).1[0].remaining, 3);
    }
    assert_eq!(memory.figures().keys, 0);
}

#[test]
fn more_takes_than_are_decided_together_are_an_error() {
    let memory = Memory::new(Bounds::default());
    let limit = limit(Algorithm::SlidingWindow, 3, 60);
    let takes = [one(b"k", &limit); MOST_TAKES + 1];
    let mut grants = [Grant::default(); MOST_TAKES + 1];
    assert!(memory.take_now(&takes, &mut grants, &name).unwrap().is_err());
}

/// The figures are those of the cells, counted one by one.
fn consistent(memory: &Memory) {
    let (mut keys, mut bytes) = (0, 0);
    for cell in &memory.cells {
        let cell = cell.lock();
        keys += cell.entries().len() as u64;
        bytes += cell.bytes() as u64;
    }
    let figures = memory.figures();
    assert_eq!((figures.keys, figures.bytes), (keys, bytes));
    assert!(keys <= figures.max_keys, "{figures:?}");
    assert!(bytes <= figures.max_bytes, "{figures:?}");
}

fn flood(memory: &Memory, keys: u64) {
    let limit = limit(Algorithm::SlidingWindow, 100, 60);
    for number in 0..keys {
        assert!(take(memory, &[one(&number.to_le_bytes(), &limit)]).0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_keys_stays_within_the_bounds_and_pushes_out_no_busy_one() {
    let bounds = Bounds { keys: 10_000, bytes: 2 << 20 };
    let memory = Memory::in_time(bounds, Duration::ZERO);
    let limit = limit(Algorithm::SlidingWindow, 100, 3_600);
    let busy: Vec<Vec<u8>> = (0..100_u8).map(|n| vec![b'b', n]).collect();
    let mut number = 0_u64;
    for round in 0..20 {
        for key in &busy {
            take(&memory, &[one(key, &limit)]);
        }
        // Busy is who comes again, not who comes in a burst.
        tokio::time::advance(Duration::from_nanos(1 << TICK)).await;
        let flood = if round < 5 { 0 } else { 10_000 };
        for _ in 0..flood {
            number += 1;
            assert!(take(&memory, &[one(&number.to_le_bytes(), &limit)]).0);
        }
    }
    consistent(&memory);
    assert!(memory.figures().evicted > 130_000, "{:?}", memory.figures());
    let kept = busy.iter().filter(|key| {
        let look = Take { cost: 0, ..one(key, &limit) };
        take(&memory, &[look]).1[0].remaining == 80
    });
    // Where keys fall is drawn anew each time. Each flood fills the table: with evictions by chance
    // none would be left after fifteen of them.
    let kept = kept.count();
    assert!(kept >= 90, "{kept}");
}

/// `cargo test -p lockgate-state --release -- --ignored --nocapture`
#[test]
#[ignore = "some seconds in a release build, a minute in a debug one"]
fn ten_million_keys_neither_grow_nor_stall_it() {
    for algorithm in [Algorithm::SlidingWindow, Algorithm::SlidingLog] {
        let memory = Memory::new(Bounds::default());
        let limit = limit(algorithm, 100, 600);
        // What single decisions take by the clock, in nanoseconds, and a hundred of them of the
        // processor's time: however often another thread comes in between.
        let (mut each, mut hundreds) = (vec![0_u32; 1 << 20], Vec::new());
        let mut begun = cpu_time();
        for number in 0..10_000_000_u64 {
            let one_begun = tokio::time::Instant::now();
            assert!(take(&memory, &[one(&number.to_le_bytes(), &limit)]).0);
            let took = one_begun.elapsed().as_nanos() as usize;
            each[took.min((1 << 20) - 1)] += 1;
            if number % 100 == 99 {
                hundreds.push(cpu_time() - begun);
                begun = cpu_time();
            }
        }
        consistent(&memory);
        let figures = memory.figures();
        let mut sum = 0;
        let in_time = |nanos: &usize| {
            sum += each[*nanos];
            sum >= 9_990_000
        };
        println!("{algorithm:?}: {figures:?}, {} bytes a key", figures.bytes / figures.keys);
        println!("  99.9 % in {:?} ns", (0..each.len()).find(in_time));
        let all: Duration = hundreds.iter().sum();
        println!("  {all:?} in all, {:?} the slowest hundred", hundreds.iter().max());
        // Logs have a line more each, and come to the bound of the bytes first.
        let full = if algorithm == Algorithm::SlidingLog { 900_000 } else { 1_000_000 };
        assert!((full..=1_000_000).contains(&figures.keys));
    }
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn wide_entries_are_bounded_too() {
    let memory = Memory::new(Bounds { keys: 10_000, bytes: 1 << 20 });
    let limit = limit(Algorithm::SlidingLog, 500, 60);
    for number in 0..2_000_u64 {
        let key = number.to_le_bytes();
        for _ in 0..20 {
            take(&memory, &[Take { cost: 10, ..one(&key, &limit) }]);
        }
    }
    consistent(&memory);
    assert!(memory.figures().evicted > 0);
}

#[tokio::test(start_paused = true)]
async fn what_no_longer_counts_makes_room_first() {
    let memory = Memory::in_time(Bounds { keys: 1_000, bytes: 1 << 20 }, Duration::ZERO);
    flood(&memory, 500);
    tokio::time::advance(Duration::from_secs(70)).await;
    let limit = limit(Algorithm::TokenBucket, 1, 60);
    for number in 0..2_000_u64 {
        take(&memory, &[one(&number.to_be_bytes(), &limit)]);
        if number % 50 == 49 {
            tokio::time::advance(Duration::from_secs(7)).await;
        }
    }
    consistent(&memory);
    assert_eq!(memory.figures().evicted, 0, "all that went was over");
}

#[tokio::test(start_paused = true)]
async fn listed_counters_are_told_by_name_until_their_window_ends() {
    let day = lockgate_core::Calendar { unit: lockgate_core::CalendarUnit::Day, offset_seconds: 0 };
    let limit = limit(Algorithm::Calendar(day), 10, 1);
    let memory = Memory::in_time(Bounds::default(), Duration::from_secs(86_400 * 5 + 86_300));
    let listed = Take { listed: true, cost: 3, ..one(b"a", &limit) };
    take(&memory, &[listed]);
    take(&memory, &[listed]);
    take(&memory, &[one(b"b", &limit)]);
    let all = memory.listed(10);
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].used, all[0].of, all[0].resets_in_seconds), (6, 10, 100));
    let refused = memory.refused();
    assert!(refused.is_empty(), "{refused:?}");
    take(&memory, &[Take { cost: 5, ..listed }]);
    assert_eq!(memory.refused()[0].refused, 1);
    tokio::time::advance(Duration::from_secs(101)).await;
    assert!(memory.listed(10).is_empty());
}
