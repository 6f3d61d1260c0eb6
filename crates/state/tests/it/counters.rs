//! What holds for counters wherever they are kept: the same questions to the memory and to a Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use lockgate_core::{
    Algorithm, Calendar, CalendarUnit, CounterName, Counters, Grant, Limit, MOST_TAKES, Take,
};
use lockgate_state::redis::{Address, Login, RedisCounters, RedisStore, Servers, Settings};
use lockgate_state::{Bounds, Memory};
use lockgate_testkit::redis::{Cluster, RedisServer};
use lockgate_testkit::until;
use tokio::runtime::Handle;

const HOUR: Duration = Duration::from_secs(3_600);
const WINDOWS: [Algorithm; 5] = [
    Algorithm::SlidingWindow,
    Algorithm::SlidingLog,
    Algorithm::TokenBucket,
    Algorithm::FixedWindow,
    Algorithm::Calendar(Calendar { unit: CalendarUnit::Month, offset_seconds: 3_600 }),
];

fn limit(algorithm: Algorithm, count: u64, window: Duration) -> Limit {
    Limit { algorithm, count, window, burst: count }
}

fn name(place: usize) -> CounterName {
    CounterName { limit: format!("l{place}"), key: "k".to_owned() }
}

async fn take(counters: &dyn Counters, takes: &[Take<'_>]) -> (bool, Vec<Grant>) {
    let mut grants = vec![Grant::default(); takes.len()];
    let all = match counters.take_now(takes, &mut grants, &name) {
        Some(all) => all,
        None => counters.take(takes, &mut grants, &name).await,
    };
    (all.unwrap(), grants)
}

/// How many of these pass, one after the other.
async fn passed(counters: &dyn Counters, take_one: Take<'_>, of: usize) -> usize {
    let mut passed = 0;
    for _ in 0..of {
        passed += usize::from(take(counters, &[take_one]).await.0);
    }
    passed
}

/// Another gateway at the same Redis, with time enough on a busy machine.
fn gateway(server: &RedisServer, name: &str) -> RedisCounters {
    let address = server.address();
    at(Servers::One(Address::new(&address.ip().to_string(), address.port())), name)
}

fn at(servers: Servers, name: &str) -> RedisCounters {
    let settings = Settings {
        servers,
        login: Login::default(),
        tls: None,
        database: 0,
        prefix: "test".to_owned(),
        timeout: Some(Duration::from_secs(5)),
    };
    let store = RedisStore::start("shared", &settings, &Arc::from(name), &Handle::current());
    RedisCounters::start(Arc::new(store), &Handle::current())
}

async fn behaves(counters: &dyn Counters) {
    limits_hold(counters).await;
    all_or_none(counters).await;
    looks_take_nothing(counters).await;
    what_is_given_back_counts_no_more(counters).await;
    refusals_say_when(counters).await;
    too_many_are_an_error(counters).await;
}

async fn limits_hold(counters: &dyn Counters) {
    for leased in [false, true] {
        for algorithm in WINDOWS {
            let limit = limit(algorithm, 30, HOUR);
            let key = format!("hold {leased} {algorithm:?}");
            let one = Take { leased, ..Take::new(key.as_bytes(), &limit, 1) };
            assert_eq!(passed(counters, one, 80).await, 30, "{key}");
            // The same key under another limit is another counter.
            let other = Limit { window: HOUR * 2, ..limit.clone() };
            if !matches!(algorithm, Algorithm::Calendar(_)) {
                assert!(take(counters, &[Take { limit: &other, ..one }]).await.0, "{key}");
            }
        }
    }
}

async fn all_or_none(counters: &dyn Counters) {
    let (tight, wide) =
        (limit(Algorithm::SlidingWindow, 3, HOUR), limit(Algorithm::FixedWindow, 10, HOUR));
    let both = [Take::new(b"tight", &tight, 1), Take::new(b"wide", &wide, 1)];
    let mut seen = Vec::new();
    for _ in 0..5 {
        let (all, grants) = take(counters, &both).await;
        seen.push((all, grants[0].allowed, grants[1].allowed));
    }
    let (yes, no) = ((true, true, true), (false, false, true));
    assert_eq!(seen, [yes, yes, yes, no, no]);
    let (_, grants) = take(counters, &[Take::new(b"wide", &wide, 0)]).await;
    assert_eq!(grants[0].remaining, 7, "nothing was taken from it");
    let dry = [Take { dry: true, ..both[0] }, both[1]];
    let (all, grants) = take(counters, &dry).await;
    assert_eq!((all, grants[0].allowed, grants[1].allowed), (true, false, true));
    assert_eq!(grants[1].remaining, 6);
}

async fn looks_take_nothing(counters: &dyn Counters) {
    for algorithm in WINDOWS {
        let limit = limit(algorithm, 3, HOUR);
        let key = format!("look {algorithm:?}");
        for _ in 0..5 {
            let (all, grants) = take(counters, &[Take::new(key.as_bytes(), &limit, 0)]).await;
            assert!(all);
            assert_eq!((grants[0].remaining, grants[0].reset), (3, Duration::ZERO), "{key}");
        }
    }
}

async fn what_is_given_back_counts_no_more(counters: &dyn Counters) {
    for leased in [false, true] {
        for algorithm in WINDOWS.into_iter().filter(|word| *word != Algorithm::TokenBucket) {
            let limit = limit(algorithm, 5, HOUR);
            let key = format!("back {leased} {algorithm:?}");
            let one = Take { leased, returnable: true, ..Take::new(key.as_bytes(), &limit, 1) };
            let two = Take { cost: 2, ..one };
            let (all, grants) = take(counters, &[two]).await;
            assert!(all);
            assert_eq!(passed(counters, one, 9).await, 3, "{key}");
            counters.give_back(&two, &grants[0]);
            let mut again = 0;
            until("what was given back", async || {
                again += usize::from(take(counters, &[one]).await.0);
                again == 2
            })
            .await;
            assert_eq!(passed(counters, one, 9).await, 0, "{key}: more than was given back");
        }
    }
}

async fn refusals_say_when(counters: &dyn Counters) {
    for (algorithm, least, most) in [
        (Algorithm::SlidingWindow, HOUR - HOUR / 60, HOUR + HOUR / 60),
        (Algorithm::SlidingLog, HOUR - HOUR / 60, HOUR),
        (Algorithm::TokenBucket, HOUR / 4 - HOUR / 60, HOUR / 4),
        (Algorithm::FixedWindow, Duration::ZERO, HOUR),
    ] {
        let limit = limit(algorithm, 4, HOUR);
        let key = format!("when {algorithm:?}");
        let one = Take::new(key.as_bytes(), &limit, 1);
        assert_eq!(passed(counters, one, 4).await, 4);
        for _ in 0..3 {
            let (all, grants) = take(counters, &[one]).await;
            assert!(!all && !grants[0].allowed && grants[0].remaining == 0, "{grants:?}");
            let wait = grants[0].wait;
            assert!(wait > least && wait <= most, "{key}: {wait:?}");
            assert!(grants[0].reset >= wait.min(HOUR - HOUR / 30), "{key}: {grants:?}");
        }
    }
}

async fn too_many_are_an_error(counters: &dyn Counters) {
    let limit = limit(Algorithm::SlidingWindow, 3, HOUR);
    let takes = [Take::new(b"many", &limit, 1); MOST_TAKES + 1];
    let mut grants = [Grant::default(); MOST_TAKES + 1];
    assert!(counters.take_now(&takes, &mut grants, &name).unwrap().is_err());
}

#[tokio::test]
async fn memory_behaves() {
    behaves(&Memory::new(Bounds::default())).await;
}

#[tokio::test]
async fn redis_behaves() {
    let server = RedisServer::start().await;
    behaves(&gateway(&server, "a")).await;
}

/// What many who ask at once of several gateways are granted together.
async fn together(gateways: &[Arc<RedisCounters>], limit: &Limit, leased: bool) -> usize {
    let granted = Arc::new(AtomicUsize::new(0));
    let key = format!("together {leased} {:?}", limit.algorithm);
    let tasks = (0..40).map(|number| {
        let (counters, granted) = (Arc::clone(&gateways[number % gateways.len()]), granted.clone());
        let (limit, key) = (limit.clone(), key.clone());
        async move {
            for _ in 0..25 {
                let one = Take { leased, ..Take::new(key.as_bytes(), &limit, 1) };
                granted.fetch_add(usize::from(take(&*counters, &[one]).await.0), SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    futures_util::future::join_all(tasks).await;
    granted.load(SeqCst)
}

#[tokio::test]
async fn gateways_never_exceed_a_limit_together_nor_fall_short_of_it() {
    let server = RedisServer::start().await;
    let gateways: Vec<_> =
        ["a", "b", "c"].iter().map(|name| Arc::new(gateway(&server, name))).collect();
    for algorithm in WINDOWS {
        for leased in [false, true] {
            let limit = limit(algorithm, 300, HOUR);
            let granted = together(&gateways, &limit, leased).await;
            assert!(granted <= 300, "{algorithm:?}, leased {leased}: {granted}");
            // A slice that nobody has spent yet may be away.
            let least = if leased { 285 } else { 300 };
            assert!(granted >= least, "{algorithm:?}, leased {leased}: {granted}");
        }
    }
    for gateway in &gateways {
        let figures = gateway.figures();
        assert!(figures.granted_here > 200 && figures.refused_here > 100, "{figures:?}");
    }
}

#[tokio::test]
async fn a_hot_key_costs_a_call_for_a_slice() {
    let server = RedisServer::start().await;
    let counters = gateway(&server, "a");
    let limit = limit(Algorithm::SlidingWindow, 1_000_000, HOUR);
    let one = Take { leased: true, ..Take::new(b"hot", &limit, 1) };
    let mut waited = 0;
    for _ in 0..20_000 {
        let mut grants = [Grant::default()];
        if counters.take_now(&[one], &mut grants, &name).is_none() {
            waited += 1;
            assert!(take(&counters, &[one]).await.0);
        }
        tokio::task::yield_now().await;
    }
    let figures = counters.figures();
    assert!(waited < 200 && figures.asked + figures.refilled < 400, "{waited}, {figures:?}");
    assert_eq!(figures.granted_here + figures.asked, 20_000, "{figures:?}");
}

#[tokio::test]
async fn whoever_is_over_is_refused_without_a_call() {
    let server = RedisServer::start().await;
    let counters = gateway(&server, "a");
    let limit = limit(Algorithm::SlidingLog, 2, HOUR);
    let one = Take::new(b"over", &limit, 1);
    assert_eq!(passed(&counters, one, 100).await, 2);
    let figures = counters.figures();
    assert_eq!((figures.asked, figures.refused_here), (3, 97));
    assert_eq!(counters.refused()[0].refused, 98);
    // A limit that has been raised since is another.
    let raised = Limit { count: 5, ..limit.clone() };
    assert_eq!(passed(&counters, Take { limit: &raised, ..one }, 10).await, 3);
}

#[tokio::test]
async fn what_is_left_of_slices_is_given_back() {
    let server = RedisServer::start().await;
    let (one, other) = (gateway(&server, "a"), gateway(&server, "b"));
    let limit = limit(Algorithm::FixedWindow, 1_000, HOUR);
    let leased = Take { leased: true, ..Take::new(b"back", &limit, 1) };
    assert_eq!(passed(&one, leased, 100).await, 100);
    assert!(one.figures().sliced > 100, "{:?}", one.figures());
    // Its life over, what it had left is there for others.
    until("what was left", async || {
        let look = Take { cost: 0, ..Take::new(b"back", &limit, 0) };
        take(&other, &[look]).await.1[0].remaining == 900
    })
    .await;
    let figures = one.figures();
    assert!(figures.returned > 0 && figures.lost == 0, "{figures:?}");
}

#[tokio::test]
async fn quotas_are_listed_by_whoever_has_met_them() {
    let server = RedisServer::start().await;
    let (one, other) = (gateway(&server, "a"), gateway(&server, "b"));
    let day = Calendar { unit: CalendarUnit::Day, offset_seconds: 0 };
    let limit = limit(Algorithm::Calendar(day), 10, HOUR);
    let listed = Take { listed: true, cost: 3, ..Take::new(b"q", &limit, 3) };
    take(&one, &[listed]).await;
    take(&other, &[listed]).await;
    let all = other.listed(10);
    assert_eq!((all.len(), all[0].used, all[0].of), (1, 6, 10));
    assert!(all[0].resets_in_seconds <= 86_400);
}

/// On a Cluster, where each counter is on a server of its own.
#[tokio::test]
async fn on_a_cluster_all_limits_let_pass_or_nothing_is_spent() {
    let cluster = Cluster::start().await;
    let servers = cluster.addresses();
    let servers = servers.iter().map(|at| Address::new(&at.ip().to_string(), at.port())).collect();
    let counters = at(Servers::Cluster(servers), "a");
    limits_hold(&counters).await;
    let day = Calendar { unit: CalendarUnit::Day, offset_seconds: 0 };
    let limits = [
        limit(Algorithm::SlidingWindow, 6, HOUR),
        limit(Algorithm::SlidingLog, 4, HOUR),
        limit(Algorithm::FixedWindow, 9, HOUR),
        limit(Algorithm::Calendar(day), 9, HOUR),
    ];
    for leased in [false, true] {
        let keys = ["one", "two", "three", "four"].map(|key| format!("{key} {leased}"));
        let takes: Vec<_> = keys
            .iter()
            .zip(&limits)
            .map(|(key, limit)| Take {
                leased,
                returnable: true,
                ..Take::new(key.as_bytes(), limit, 1)
            })
            .collect();
        let mut passed = 0;
        for _ in 0..12 {
            passed += usize::from(take(&counters, &takes).await.0);
        }
        assert_eq!(passed, 4);
        // What the others had taken comes back.
        until("what was given back", async || {
            let mut left = Vec::new();
            for one in &takes {
                let look = Take { cost: 0, leased: false, ..*one };
                left.push(take(&counters, &[look]).await.1[0].remaining);
            }
            left == [2, 0, 5, 5]
        })
        .await;
    }
}
