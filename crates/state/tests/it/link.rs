//! The link to one redis-server: scripts, messages, heartbeats, and what happens when the server
//! is not there, hangs or comes back.

use std::sync::Arc;
use std::time::Duration;

use lockgate_core::StoreFailure;
use lockgate_state::redis::{
    Address, Arg, Heard, Login, RedisStore, Script, Servers, Settings, Use,
};
use lockgate_testkit::redis::{RedisServer, Reply, Strait};
use lockgate_testkit::{until, within};
use redis::Value;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

static ADD: Script = Script::new(Use::Counters, "return redis.call('INCRBY', KEYS[1], ARGV[1])");
static SLOW: Script =
    Script::new(Use::Blobs, "local n = 0 for i = 1, tonumber(ARGV[1]) do n = n + i end return n");
static LARGE: Script = Script::new(Use::Blobs, "return string.rep('x', tonumber(ARGV[1]))");
static BROKEN: Script = Script::new(Use::Counters, "return redis.call('NOSUCH')");

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(50);

pub(crate) fn settings(server: &RedisServer) -> Settings {
    Settings {
        servers: Servers::One(Address::new("127.0.0.1", server.address().port())),
        login: Login::default(),
        tls: None,
        database: 0,
        prefix: "test".into(),
        timeout: None,
    }
}

fn store(server: &RedisServer, gateway: &str) -> RedisStore {
    RedisStore::start("shared", &settings(server), &Arc::from(gateway), &Handle::current())
}

async fn add(store: &RedisStore, key: &str, by: i64) -> i64 {
    let keys = [store.key("n", key.as_bytes(), b"")];
    match store.run(&ADD, &keys, &[Arg::Int(by)], LONG).await {
        Ok(Value::Int(sum)) => sum,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_script_is_sent_whole_only_when_it_is_unknown() {
    let server = RedisServer::start().await;
    let store = store(&server, "a");
    assert_eq!(add(&store, "x", 2).await, 2);
    assert_eq!(add(&store, "x", 3).await, 5);
    assert_eq!(server.ask(&["GET", "test:n:{x}"]).await.text(), "5");
    let stats = server.ask(&["INFO", "commandstats"]).await.text();
    assert!(stats.contains("cmdstat_eval:calls="), "{stats}");
    // A server that has lost its scripts is told them again.
    server.ask(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(add(&store, "x", 1).await, 6);
    let figures = store.figures();
    let answered = figures.calls.iter().find(|row| (row.0, row.1) == ("counters", "answered"));
    assert_eq!(answered.map(|row| row.2), Some(3), "{figures:?}");
}

#[tokio::test]
async fn many_calls_share_one_connection() {
    let server = RedisServer::start().await;
    let store = Arc::new(store(&server, "a"));
    add(&store, "x", 0).await;
    let before = store.figures().connections;
    let calls = (0..500).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { add(&store, "x", 1).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert_eq!(add(&store, "x", 0).await, 500);
    assert_eq!(store.figures().connections, before);
}

#[tokio::test]
async fn errors_of_a_script_say_what_redis_said_and_keep_the_link() {
    let server = RedisServer::start().await;
    let store = store(&server, "a");
    let error = store.run(&BROKEN, &[], &[], LONG).await.unwrap_err();
    assert_eq!(error.failure, StoreFailure::Answer);
    assert!(error.to_string().contains("the store `shared` answered:"), "{error}");
    assert!(store.is_open());
    assert_eq!(add(&store, "x", 1).await, 1);
}

#[tokio::test]
async fn a_dead_server_costs_nobody_anything_and_is_found_when_it_is_back() {
    let mut server = RedisServer::prepared(&[]);
    let store = store(&server, "a");
    let keys = [store.key("n", b"x", b"")];
    until("the refused connection to be known", async || !store.is_open()).await;
    let asked = Instant::now();
    for _ in 0..1000 {
        let error = store.run(&ADD, &keys, &[Arg::Int(1)], LONG).await.unwrap_err();
        assert_eq!(error.failure, StoreFailure::Away, "{error}");
        assert!(error.is_undone());
    }
    assert!(asked.elapsed() < LONG, "nobody waits");
    server.restart().await;
    until("the store to be well", async || store.is_open()).await;
    assert_eq!(add(&store, "x", 1).await, 1);
    // Again, while it is in use.
    server.kill();
    until("the loss to be noticed", async || {
        store.run(&ADD, &keys, &[Arg::Int(1)], LONG).await.is_err() && !store.is_open()
    })
    .await;
    server.restart().await;
    until("the store to be well", async || store.is_open()).await;
    assert_eq!(add(&store, "x", 1).await, 1);
}

#[tokio::test]
async fn a_hung_server_costs_a_call_its_time_once() {
    let server = RedisServer::start().await;
    let store = store(&server, "a");
    add(&store, "x", 1).await;
    server.pause();
    let keys = [store.key("n", b"x", b"")];
    let error = store.run(&ADD, &keys, &[Arg::Int(1)], SHORT).await.unwrap_err();
    assert_eq!(error.failure, StoreFailure::Timeout, "{error}");
    assert!(!error.is_undone());
    for _ in 0..100 {
        let error = store.run(&ADD, &keys, &[Arg::Int(1)], SHORT).await.unwrap_err();
        assert_eq!(error.failure, StoreFailure::Away, "{error}");
        assert!(error.to_string().contains("does not answer in time"), "{error}");
        sleep(Duration::from_millis(1)).await;
    }
    server.resume();
    until("the store to be well", async || store.is_open()).await;
    add(&store, "x", 1).await;
}

#[tokio::test]
async fn a_long_call_for_blobs_does_not_cut_the_link() {
    let server = RedisServer::start().await;
    let store = store(&server, "a");
    assert!(store.run(&SLOW, &[], &[Arg::Int(1000)], LONG).await.is_ok());
    assert_eq!(add(&store, "x", 1).await, 1);
    // The control runtime's is this thread's here; blobs have one of their own.
    assert_eq!(store.figures().connections, 2);
}

/// A large value that takes its time is not waited for any more; and limits, leases and records do
/// not notice.
#[tokio::test]
async fn large_values_that_are_slow_hold_up_nothing_small() {
    let server = RedisServer::start().await;
    let strait = Strait::to(server.address()).await;
    let at = Address::new("127.0.0.1", strait.address().port());
    let store = store_of(&Settings { servers: Servers::One(at), ..settings(&server) });
    add(&store, "x", 1).await;
    let large = async || store.run(&LARGE, &[], &[Arg::Int(8 << 20)], LONG / 10).await;
    let error = large().await.unwrap_err();
    assert_eq!(error.failure, StoreFailure::Timeout, "{error}");
    assert!(!store.is_open_for(Use::Blobs), "they are asked for no more");
    let error = large().await.unwrap_err();
    assert_eq!(error.failure, StoreFailure::Away, "{error}");
    for sum in 2..200 {
        assert!(store.is_open() && store.is_open_for(Use::Leases));
        assert_eq!(add(&store, "x", 1).await, sum);
    }
    let figures = store.figures();
    assert_eq!(figures.breakers_open, 0, "{figures:?}");
    let calls = |of: &str, how: &str| {
        let row = figures.calls.iter().find(|row| (row.0, row.1) == (of, how));
        row.map_or(0, |row| row.2)
    };
    assert_eq!((calls("blobs", "timeout"), calls("counters", "timeout")), (1, 0));
    assert_eq!(calls("counters", "away"), 0);
    // By itself, once it gives something at all; and what is small has no need of that.
    until("large ones to be asked for again", async || store.is_open_for(Use::Blobs)).await;
    assert!(store.run(&LARGE, &[], &[Arg::Int(8)], LONG).await.is_ok());
    // Who does not even answer what is small is asked for nothing.
    server.pause();
    let keys = [store.key("n", b"x", b"")];
    assert!(store.run(&ADD, &keys, &[Arg::Int(1)], SHORT).await.is_err());
    assert!(!store.is_open() && !store.is_open_for(Use::Blobs));
    server.resume();
    until("both to be well", async || store.is_open_for(Use::Blobs)).await;
}

#[tokio::test]
async fn a_wrong_password_is_named_and_never_shown() {
    let server = RedisServer::start_with_password("right-one").await;
    let login = Login { username: None, password: Some("wrong-one".into()) };
    let wrong = Settings { login, ..settings(&server) };
    assert!(!format!("{wrong:?}").contains("wrong-one"));
    let store = RedisStore::start("shared", &wrong, &"a".into(), &Handle::current());
    until("the refusal", async || !store.is_open()).await;
    let error = store.run(&ADD, &[], &[], LONG).await.unwrap_err();
    assert!(error.to_string().contains("refuses the user or the password"), "{error}");
    assert!(!error.to_string().contains("wrong-one"), "{error}");
    // None at all.
    let store = store_of(&settings(&server));
    until("the refusal", async || {
        let answer = store.run(&ADD, &[b"k".to_vec()], &[Arg::Int(1)], LONG).await;
        answer.is_err_and(|error| error.to_string().contains("refuses the user or the password"))
    })
    .await;
    let login = Login { username: None, password: Some("right-one".into()) };
    add(&store_of(&Settings { login, ..settings(&server) }), "x", 1).await;
}

fn store_of(settings: &Settings) -> RedisStore {
    RedisStore::start("shared", settings, &"a".into(), &Handle::current())
}

#[tokio::test]
async fn gateways_are_counted_while_they_live() {
    let server = RedisServer::start().await;
    let (one, two) = (store(&server, "one"), store(&server, "two"));
    until("both to be counted", async || one.live() == 2 || two.live() == 2).await;
    let seen = server.ask(&["ZRANGE", "test:live:{gateways}", "0", "-1"]).await;
    assert_eq!(seen.list().len(), 2, "{seen:?}");
    two.leave().await;
    // Or its next heartbeat brings it back.
    drop(two);
    let seen = server.ask(&["ZRANGE", "test:live:{gateways}", "0", "-1"]).await;
    assert_eq!(seen, Reply::List(vec![Reply::Bulk(b"one".to_vec())]));
    // A word that is too old does not count, by the time of Redis.
    server.ask(&["ZADD", "test:live:{gateways}", "1000", "long-gone"]).await;
    until("one to be counted alone", async || one.live() == 1).await;
}

#[tokio::test]
async fn what_is_sent_is_done_in_the_background() {
    let server = RedisServer::start().await;
    let store = store(&server, "a");
    for _ in 0..100 {
        store.send(&ADD, vec![store.key("n", b"bg", b"")], vec![Arg::Int(1)]);
    }
    until("all to be done", async || server.ask(&["GET", "test:n:{bg}"]).await.text() == "100")
        .await;
    server.pause();
    for _ in 0..20_000 {
        store.send(&ADD, vec![store.key("n", b"bg", b"")], vec![Arg::Int(1)]);
    }
    // More than the queue takes; what it took is dropped too while the server hangs.
    assert!(store.figures().dropped > 10_000);
    server.resume();
}

#[tokio::test]
async fn messages_reach_all_who_listen_and_gaps_are_marked() {
    let mut server = RedisServer::start().await;
    let (one, two) = (store(&server, "one"), store(&server, "two"));
    let (mut here, mut there) = (one.listen("news"), two.listen("news"));
    let mut other = two.listen("other");
    for heard in [&mut here, &mut there, &mut other] {
        assert_eq!(within("listening to begin", heard.recv()).await, Ok(Heard::Gap));
    }
    one.tell("news", b"first").await.unwrap();
    for heard in [&mut here, &mut there] {
        let message = within("the message", heard.recv()).await;
        assert_eq!(message, Ok(Heard::Message("first".into())));
    }
    assert!(other.try_recv().is_err());
    server.kill();
    assert_eq!(within("the cut", here.recv()).await, Ok(Heard::Gap));
    server.restart().await;
    let mut gap = false;
    until("the message to be heard again", async || {
        let _ = two.tell("news", b"second").await;
        while let Ok(heard) = here.try_recv() {
            match heard {
                Heard::Gap => gap = true,
                Heard::Message(text) => {
                    assert!(gap, "the gap comes first");
                    return text == "second";
                }
            }
        }
        false
    })
    .await;
}

#[tokio::test]
async fn connections_end_with_the_store() {
    let server = RedisServer::start().await;
    let store = store(&server, "a");
    let _heard = store.listen("news");
    add(&store, "x", 1).await;
    // The one that asks is one of them.
    let mine = async || server.ask(&["CLIENT", "LIST"]).await.text().lines().count() - 1;
    until("two connections", async || mine().await == 2).await;
    drop(store);
    until("no connection", async || mine().await == 0).await;
}
