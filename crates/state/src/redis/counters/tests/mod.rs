//! The script against the counters in memory, over random times: with its clock replaced, so that
//! years pass in a moment. And what it grants ahead, against a plain account of what may be spent
//! when.

mod protocol;
mod store;

use std::time::Duration;

use lockgate_core::{Algorithm, Calendar, CalendarUnit, Grant, Limit};
use lockgate_testkit::redis::RedisServer;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::{Connection, Value};

use super::known::Told;
use super::question::{DECIDE, Question, read, takes_back};
use crate::clock::Now;
use crate::count::tests::Plain;
use store::{Store, Without};

/// A Redis whose script is told the time.
pub(super) struct Told4Time {
    connection: Connection,
    script: redis::Script,
    pub(super) _server: RedisServer,
}

/// A moment in 2026, in microseconds.
pub(super) const START: u64 = 1_796_000_000_000_000;

impl Told4Time {
    pub(super) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = runtime.block_on(RedisServer::start());
        let connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
        let clock = "redis.call('TIME')";
        assert_eq!(DECIDE.text().matches(clock).count(), 1);
        let script = DECIDE.text().replace(clock, "{ ARGV[#KEYS + 1], ARGV[#KEYS + 2] }");
        // Keys expire by the real clock.
        let script = script.replace("math.ceil(micros / 1000)", "100000000");
        Self { connection, script: redis::Script::new(&script), _server: server }
    }

    /// Decides at a moment.
    pub(super) fn decide(
        &mut self,
        at: u64,
        asked: &[(&str, &Limit, Question)],
    ) -> (bool, Vec<Told>) {
        let mut call = self.script.prepare_invoke();
        for (key, limit, question) in asked {
            call.key(*key).arg(question.packed(limit, 2));
        }
        call.arg(at / 1_000_000).arg(at % 1_000_000);
        let answer: Value = call.invoke(&mut self.connection).unwrap();
        let mut told = vec![Told::default(); asked.len()];
        let all = read(&answer, &mut told).unwrap_or_else(|| panic!("{answer:?}"));
        (all, told)
    }

    pub(super) fn forget(&mut self) {
        redis::cmd("FLUSHALL").exec(&mut self.connection).unwrap();
    }
}

fn now(at: u64) -> Now {
    Now { mono: at * 1_000, unix: Duration::from_micros(at) }
}

/// Steps of time in thousandths of a window, each with a cost, and whether it is given back.
fn steps() -> impl Strategy<Value = Vec<(u64, u64, bool)>> {
    let step = prop_oneof![
        4 => 0_u64..20,
        4 => 0_u64..400,
        2 => 0_u64..2_000,
        1 => Just(1_000_u64),
        1 => 0_u64..100_000,
    ];
    let cost = prop_oneof![4 => Just(1_u64), 2 => 0_u64..6];
    prop::collection::vec((step, cost, prop::bool::weighted(0.1)), 1..60)
}

fn limits() -> impl Strategy<Value = Limit> {
    let offset = prop_oneof![Just(0), -50_000..50_000];
    let unit = prop_oneof![Just(CalendarUnit::Day), Just(CalendarUnit::Month)];
    let calendar = (unit, offset)
        .prop_map(|(unit, offset_seconds)| Algorithm::Calendar(Calendar { unit, offset_seconds }));
    let algorithm = prop_oneof![
        3 => Just(Algorithm::SlidingWindow),
        2 => Just(Algorithm::SlidingLog),
        2 => Just(Algorithm::TokenBucket),
        1 => Just(Algorithm::FixedWindow),
        1 => calendar,
    ];
    // Sixtieths of a window are whole microseconds: rounding is not the same else.
    let window =
        prop_oneof![Just(60_000_u64), Just(3_600_000_000), (1_u64..1 << 30).prop_map(|n| n * 60)];
    let count = prop_oneof![1_u64..12, Just(100_u64), Just(300)];
    (algorithm, count, window, 1_u64..40).prop_map(|(algorithm, count, window, burst)| Limit {
        algorithm,
        count,
        window: Duration::from_micros(window),
        burst,
    })
}

/// Rounded up to microseconds, as the script does.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000)).unwrap()
}

fn same(
    limit: &Limit,
    steps: &[(u64, u64, bool)],
    redis: &mut Told4Time,
) -> Result<(), TestCaseError> {
    redis.forget();
    let mut count = Plain::fresh(limit);
    let mut at = START;
    let window = match limit.algorithm {
        Algorithm::Calendar(_) => 86_400_000_000,
        _ => u64::try_from(limit.window.as_micros()).unwrap(),
    };
    let mut last: Option<(u64, Grant, u64)> = None;
    for (parts, cost, back) in steps {
        at += window / 1_000 * parts + parts % 3;
        let most = match limit.algorithm {
            Algorithm::TokenBucket => limit.burst,
            _ => limit.count,
        };
        let cost = &(*cost).min(most);
        let mut question = Question { cost: *cost, ..Question::default() };
        if let Some((cost, grant, stamp)) = last.take().filter(|_| *back) {
            count.give_back(limit, now(at), cost, grant.at);
            question.back = (cost, stamp);
        }
        let (all, told) = redis.decide(at, &[("k", limit, question)]);
        let mut grant = count.look(limit, now(at), *cost);
        if grant.allowed && *cost > 0 {
            count.spend(limit, now(at), *cost, &mut grant);
            last = Some((*cost, grant, told[0].stamp));
        }
        prop_assert_eq!(all, grant.allowed, "at {}: {:?} or {:?}", at, told, grant);
        prop_assert_eq!(told[0].remaining, grant.remaining, "{:?} or {:?}", told, grant);
        prop_assert_eq!(micros(told[0].wait), micros(grant.wait), "{:?} or {:?}", told, grant);
        // What was given back may have been the newest: the script knows that no better.
        if !back {
            let reset = micros(told[0].reset);
            prop_assert!(
                reset.abs_diff(micros(grant.reset)) <= 1 || *back,
                "{told:?} or {grant:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn the_script_decides_as_memory_does() {
    let mut redis = Told4Time::start();
    let config = Config { cases: 600, ..Config::default() };
    let cases = (limits(), steps());
    let redis = std::cell::RefCell::new(&mut redis);
    TestRunner::new(config)
        .run(&cases, |(limit, steps)| same(&limit, &steps, &mut redis.borrow_mut()))
        .unwrap();
}

/// Questions with slices, each after so many thousandths of a window.
fn asked() -> impl Strategy<Value = Vec<(u64, u64, u64, bool)>> {
    let step = prop_oneof![4 => 0_u64..8, 4 => 0_u64..40, 1 => 0_u64..2_000];
    prop::collection::vec((step, 0_u64..3, 0_u64..30, prop::bool::weighted(0.2)), 1..60)
}

fn slices_as_told(
    limit: &Limit,
    steps: &[(u64, u64, u64, bool)],
    redis: &mut Told4Time,
) -> Result<(), TestCaseError> {
    redis.forget();
    let mut plain = Store::default();
    let window = u64::try_from(limit.window.as_micros()).unwrap();
    let (mut at, mut last) = (START, (0, 0));
    for (parts, cost, want, back) in steps {
        at += window / 1_000 * parts + parts % 3;
        let mut question = Question { cost: *cost, want: *want, ..Question::default() };
        if *back && takes_back(limit) {
            question.back = std::mem::take(&mut last);
        }
        let (all, told) = redis.decide(at, &[("k", limit, question)]);
        let plain = plain.decide(limit, at, 4, &question, Without::Nothing);
        prop_assert_eq!(all, plain.allowed);
        let told = Told { reset: Duration::ZERO, wait: Duration::ZERO, ..told[0] };
        prop_assert_eq!(told, plain);
        if told.slice > 0 {
            last = (told.slice / 2, told.stamp);
        }
    }
    Ok(())
}

#[test]
fn the_script_grants_slices_as_the_protocol_says() {
    let redis = std::cell::RefCell::new(Told4Time::start());
    let algorithm = prop_oneof![
        Just(Algorithm::SlidingWindow),
        Just(Algorithm::SlidingLog),
        Just(Algorithm::TokenBucket),
        Just(Algorithm::FixedWindow),
    ];
    let limits = (algorithm, 1_u64..200, 120_u64..100_000, 1_u64..200).prop_map(
        |(algorithm, count, window, burst)| Limit {
            algorithm,
            count,
            window: Duration::from_millis(window),
            burst,
        },
    );
    TestRunner::new(Config { cases: 600, ..Config::default() })
        .run(&(limits, asked()), |(limit, steps)| {
            slices_as_told(&limit, &steps, &mut redis.borrow_mut())
        })
        .unwrap();
}

/// Also where all that was counted before is forgotten.
#[test]
fn more_than_a_limit_ever_gives_is_refused() {
    let mut redis = Told4Time::start();
    let window = Duration::from_secs(60);
    for algorithm in [
        Algorithm::SlidingWindow,
        Algorithm::SlidingLog,
        Algorithm::TokenBucket,
        Algorithm::FixedWindow,
    ] {
        let limit = Limit { algorithm, count: 1, window, burst: 1 };
        let steps = [(0, 2, 0, false), (1, 1, 0, false), (5_000, 2, 0, false), (1, 1, 0, false)];
        slices_as_told(&limit, &steps, &mut redis).unwrap();
    }
}

#[test]
fn counters_are_forgotten_when_they_say_nothing_any_more() {
    let mut redis = Told4Time::start();
    let script = redis::Script::new(DECIDE.text());
    for algorithm in [
        Algorithm::SlidingWindow,
        Algorithm::SlidingLog,
        Algorithm::TokenBucket,
        Algorithm::FixedWindow,
    ] {
        let limit = Limit { algorithm, count: 10, window: Duration::from_secs(600), burst: 10 };
        let mut call = script.prepare_invoke();
        let question = Question { cost: 4, want: 8, ..Question::default() };
        let answer: Value =
            call.key("ttl").arg(question.packed(&limit, 1)).invoke(&mut redis.connection).unwrap();
        let mut told = [Told::default()];
        assert_eq!(read(&answer, &mut told), Some(true));
        assert_eq!(told[0].slice, 3, "a half of six");
        let ttl: u64 = redis::cmd("PTTL").arg("ttl").query(&mut redis.connection).unwrap();
        let reset = told[0].reset.as_millis() as u64;
        assert!(ttl <= reset + 1 && ttl + 1_000 > reset, "{algorithm:?}: {ttl}, {reset}");
        redis.forget();
    }
}

#[test]
fn of_several_counters_all_are_taken_from_or_none() {
    let mut redis = Told4Time::start();
    let limit = |count| Limit {
        algorithm: Algorithm::SlidingWindow,
        count,
        window: Duration::from_secs(60),
        burst: 1,
    };
    let (tight, wide) = (limit(1), limit(10));
    let one = Question { cost: 1, ..Question::default() };
    let (all, _) = redis.decide(START, &[("a", &tight, one), ("b", &wide, one)]);
    assert!(all);
    let (all, told) = redis.decide(START, &[("a", &tight, one), ("b", &wide, one)]);
    assert!(!all && !told[0].allowed && told[1].allowed);
    assert_eq!(told[1].remaining, 9, "nothing was taken from it");
    let dry = Question { dry: true, ..one };
    let (all, told) = redis.decide(START, &[("a", &tight, dry), ("b", &wide, one)]);
    assert!(all && !told[0].allowed && told[1].allowed);
    assert_eq!(told[1].remaining, 8);
}
