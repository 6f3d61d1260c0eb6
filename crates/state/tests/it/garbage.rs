//! What somebody else has written under a store's keys: it breaks nothing but what it stands for,
//! and that is either as if it were not there, or an error that is counted; never a limit that waits
//! for ever, a lease with a number twice, a request that runs again, or a purge that is not heard.

use std::sync::Arc;
use std::time::Duration;

use lockgate_core::{
    Algorithm, Begin, Begun, Blobs, Calendar, CalendarUnit, CounterName, Counters, End, Grant,
    Leases, Limit, Owner, Purge, Records, Step, StoreError, StoreFailure, Tag, Take, Turn, Wanted,
};
use lockgate_state::redis::{RedisCounters, RedisLeases, RedisRecords, RedisStore};
use lockgate_testkit::redis::{RedisServer, Reply};
use lockgate_testkit::until;
use tokio::runtime::Handle;

use crate::blobs::{blob, gateway, get, has, put};
use crate::link::settings;

/// Long enough that nothing is over by itself.
const HOUR: Duration = Duration::from_secs(3600);
/// Longer than any number that is ours, and still one.
const LARGE: &str = "9000000000000000";
const NONSENSE: [&str; 8] =
    ["", "x", "-1", "1e300", "nan", "inf", LARGE, "99999999999999999999999999"];

fn store(server: &RedisServer) -> Arc<RedisStore> {
    let settings = lockgate_state::redis::Settings {
        timeout: Some(Duration::from_secs(5)),
        ..settings(server)
    };
    Arc::new(RedisStore::start("shared", &settings, &"a".into(), &Handle::current()))
}

async fn wait<T>(step: Step<'_, T>) -> T {
    match step {
        Step::Now(value) => value,
        Step::Later(value) => value.await,
    }
}

async fn keys(server: &RedisServer, pattern: &str) -> Vec<String> {
    server.ask(&["KEYS", pattern]).await.list().iter().map(Reply::text).collect()
}

async fn take(counters: &RedisCounters, key: &[u8], limit: &Limit) -> Result<Grant, StoreError> {
    let (takes, mut grants) = ([Take::new(key, limit, 1)], [Grant::default()]);
    let name = |_: usize| CounterName { limit: String::new(), key: String::new() };
    let taken = match counters.take_now(&takes, &mut grants, &name) {
        Some(taken) => taken,
        None => counters.take(&takes, &mut grants, &name).await,
    };
    taken.map(|_| grants[0])
}

/// Whatever stands there: another key is counted, and this one is let pass, refused for no longer
/// than its limit ever is, or an error that says so.
#[tokio::test]
async fn counters() {
    let server = RedisServer::start().await;
    let unit = |unit| Algorithm::Calendar(Calendar { unit, offset_seconds: 0 });
    let mut met = [0; 3];
    for algorithm in [
        Algorithm::SlidingWindow,
        Algorithm::SlidingLog,
        Algorithm::TokenBucket,
        Algorithm::FixedWindow,
        unit(CalendarUnit::Day),
        unit(CalendarUnit::Month),
    ] {
        let limit = Limit { algorithm, count: 5, window: HOUR, burst: 5 };
        for nonsense in NONSENSE {
            server.ask(&["FLUSHALL"]).await;
            let counters = RedisCounters::start(store(&server), &Handle::current());
            assert!(take(&counters, b"k", &limit).await.unwrap().allowed);
            let key = &keys(&server, "test:count:*").await[0];
            match server.ask(&["TYPE", key]).await.text().as_str() {
                "hash" => {
                    let fields = server.ask(&["HKEYS", key]).await;
                    for field in fields.list() {
                        server.ask(&["HSET", key, &field.text(), nonsense]).await;
                    }
                }
                "list" => drop(server.ask(&["LSET", key, "0", nonsense]).await),
                _ => drop(server.ask(&["SET", key, &format!("{nonsense} {nonsense}")]).await),
            }
            for _ in 0..8 {
                match take(&counters, b"k", &limit).await {
                    Ok(grant) if grant.allowed => met[0] += 1,
                    Ok(grant) => {
                        met[1] += 1;
                        let most = HOUR * 24 * 31;
                        assert!(grant.wait <= most, "{algorithm:?} {nonsense}: {grant:?}");
                    }
                    Err(error) => {
                        met[2] += 1;
                        assert_eq!(error.failure, StoreFailure::Answer, "{error}");
                    }
                }
            }
            assert!(take(&counters, b"other", &limit).await.unwrap().allowed, "{nonsense}");
        }
    }
    println!("passed, refused, errors: {met:?}");
    assert!(met[0] > 0);
    // Something else altogether.
    let limit = Limit { algorithm: Algorithm::SlidingWindow, count: 5, window: HOUR, burst: 5 };
    let store = store(&server);
    let counters = RedisCounters::start(Arc::clone(&store), &Handle::current());
    server.ask(&["FLUSHALL"]).await;
    take(&counters, b"k", &limit).await.unwrap();
    let key = &keys(&server, "test:count:*").await[0];
    server.ask(&["SET", key, "a string"]).await;
    let error = take(&counters, b"k", &limit).await.unwrap_err();
    assert_eq!(error.failure, StoreFailure::Answer, "{error}");
    let errors = store.figures();
    let errors = errors.calls.iter().find(|row| (row.0, row.1) == ("counters", "error"));
    assert_eq!(errors.map(|row| row.2), Some(1), "it is counted");
    assert!(store.is_open(), "and keeps nobody from anything else");
}

#[tokio::test]
async fn leases() {
    let server = RedisServer::start().await;
    let store = store(&server);
    let leases = RedisLeases::new(&store, &Handle::current());
    let take = async |key: u8| {
        let ttl = Duration::from_secs(5);
        let wanted = Wanted { key: [key; 32], wait: Duration::ZERO, hold: HOUR, ttl, queue: 8 };
        wait(leases.acquire(wanted)).await
    };
    for (number, nonsense) in NONSENSE.into_iter().enumerate() {
        let number = u8::try_from(number).unwrap();
        let Ok(Turn::Held(first)) = take(number).await else { panic!("nobody has it") };
        let fence = first.fence();
        drop(first);
        let key = async || {
            let all = keys(&server, "test:lease:*").await;
            all.into_iter().find(|key| !key.ends_with("alive") && !key.ends_with("queue"))
        };
        until("it to be let go", async || {
            let Some(key) = key().await else { return false };
            server.ask(&["HGET", &key, "holder"]).await == Reply::Nil
        })
        .await;
        let key = key().await.unwrap();
        server.ask(&["HSET", &key, "fence", nonsense]).await;
        let mut last = 0;
        for _ in 0..3 {
            match take(number).await {
                Ok(Turn::Held(lease)) => {
                    assert!(lease.fence() > last && lease.fence() >= fence, "{nonsense}");
                    last = lease.fence();
                }
                Ok(_) => {}
                Err(error) => assert_eq!(error.failure, StoreFailure::Answer, "{error}"),
            }
        }
        assert!(matches!(take(100 + number).await, Ok(Turn::Held(_))), "another is free");
        server.ask(&["FLUSHALL"]).await;
    }
    assert!(store.is_open());
}

/// A record that cannot be understood lets nothing run.
#[tokio::test]
async fn records() {
    let server = RedisServer::start().await;
    let store = store(&server);
    let records = RedisRecords::start(&store, &Handle::current());
    let begin = async |key: &[u8], owner: u128, again: bool| {
        let (fingerprint, lost_after) = (&[1; 32], Duration::from_secs(3));
        let owner = Owner(owner);
        wait(records.begin(&Begin { key, owner, fingerprint, keep: HOUR, lost_after, again })).await
    };
    let fields = ["state", "owner", "fingerprint", "began", "gateway", "lost_after", "kept"];
    for is_done in [false, true] {
        for field in fields {
            for nonsense in NONSENSE {
                server.ask(&["FLUSHALL"]).await;
                assert_eq!(begin(b"k", 1, false).await.unwrap(), Begun::First);
                if is_done {
                    let end = End::Done { record: "kept".into(), keep: HOUR };
                    wait(records.settle(b"k", Owner(1), &end)).await.unwrap();
                }
                let key = &keys(&server, "test:record:*").await[0];
                server.ask(&["HSET", key, field, nonsense]).await;
                match begin(b"k", 2, false).await {
                    Ok(Begun::First | Begun::Full) => panic!("it runs again: {field} {nonsense}"),
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.failure, StoreFailure::Answer, "{error}"),
                }
            }
        }
    }
    server.ask(&["FLUSHALL"]).await;
    assert_eq!(begin(b"k", 1, false).await.unwrap(), Begun::First);
    let key = &keys(&server, "test:record:*").await[0];
    for command in [["DEL", key, ""], ["SET", key, "a string"]] {
        server.ask(&command[..if command[2].is_empty() { 2 } else { 3 }]).await;
    }
    for again in [false, true] {
        let error = begin(b"k", 2, again).await.unwrap_err();
        assert_eq!(error.failure, StoreFailure::Answer, "{error}");
    }
    assert_eq!(begin(b"other", 3, false).await.unwrap(), Begun::First);
}

/// Numbers of purges that no clock has made, wherever they stand.
#[tokio::test]
async fn purges_and_stamps() {
    let server = RedisServer::start().await;
    let (a, b) = (gateway(&server, "a").await, gateway(&server, "b").await);
    let log = "test:purges:{purges}";
    let purged = async |path: &str| {
        until("it to be shared", async || put(&*a, path) && has(&*b, path).await).await;
        a.purge(&Purge::Tag(Tag::uri("a.test", path))).told().await.unwrap();
        until("the purge to be heard", async || !has(&*b, path).await).await;
    };
    purged("/1").await;
    // As messages, and in the log.
    for number in ["9223372036854775807", "9223372036854775808", LARGE, "x", "-5"] {
        for message in [format!("0 {number} f"), format!("{number} {number} n/**")] {
            server.ask(&["PUBLISH", "test:channel:purges", &message]).await;
        }
        purged("/2").await;
    }
    for score in ["9e18", LARGE, "inf", "-inf"] {
        server.ask(&["ZADD", log, score, "t12345678"]).await;
        let what = Purge::Tag(Tag::word("w"));
        until("the log to be told", async || a.purge(&what).told().await.is_ok()).await;
        until("it to be read", async || a.hears() && b.hears()).await;
        purged("/3").await;
    }
    // A stamp beside a blob: what is asked for later takes its place.
    for nonsense in NONSENSE {
        until("it to be shared", async || put(&*a, "/4") && has(&*b, "/4").await).await;
        let there = keys(&server, "test:blob:*").await;
        for key in there.iter().filter(|key| !key.ends_with("lead")) {
            server.ask(&["HSET", key, "s", nonsense]).await;
        }
        let again = blob(&*a, "/4", "/4");
        assert!(a.put(b"/4", Arc::clone(&again), HOUR));
        let fresh = gateway(&server, "fresh").await;
        until("the new one to be there", async || {
            let got = get(&*fresh, "/4").await.unwrap();
            got.is_some_and(|got| got.id == again.id)
        })
        .await;
        a.purge(&Purge::Tag(Tag::uri("a.test", "/4"))).told().await.unwrap();
    }
    // A stamp within a blob, far ahead of the log: it is not taken for what it says, or the purges
    // after it would count as before it.
    until("it to be shared", async || put(&*a, "/5") && has(&*b, "/5").await).await;
    let c = gateway(&server, "c").await;
    for key in keys(&server, "test:blob:*").await {
        let head = server.ask(&["HGET", &key, "m"]).await;
        if matches!(head, Reply::Bulk(_)) {
            // The number follows the version, its highest byte first: in eighty years.
            let ahead = "local m = redis.call('HGET', KEYS[1], 'm') return redis.call('HSET', \
                         KEYS[1], 'm', m:sub(1, 2) .. string.char(0x0f) .. m:sub(4))";
            server.ask(&["EVAL", ahead, "1", &key]).await;
        }
    }
    assert!(!has(&*c, "/5").await);
    assert_eq!(c.figures().unread, 1, "{:?}", c.figures());
    purged("/6").await;
    until("c to have it", async || put(&*a, "/7") && has(&*c, "/7").await).await;
    b.purge(&Purge::Tag(Tag::uri("a.test", "/7"))).told().await.unwrap();
    until("the purge to be heard", async || !has(&*c, "/7").await).await;
}

/// Who says to be alive in a time to come is not counted for ever.
#[tokio::test]
async fn heartbeats() {
    let server = RedisServer::start().await;
    server.ask(&["ZADD", "test:live:{gateways}", LARGE, "nobody"]).await;
    let store = store(&server);
    until("the first word", async || {
        server.ask(&["ZSCORE", "test:live:{gateways}", "a"]).await != Reply::Nil
    })
    .await;
    assert_eq!(store.live(), 1);
    assert_eq!(server.ask(&["ZCARD", "test:live:{gateways}"]).await.int(), 1);
}
