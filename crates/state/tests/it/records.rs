//! Records: what holds of every store, in memory and on a Redis, and what a Redis adds to it:
//! gateways that are gone, a server that is away, full, or set up wrongly.

use std::sync::Arc;
use std::time::Duration;

use lockgate_core::{
    Begin, Begun, End, Fingerprint, Owner, Records, Settled, Step, StoreError, StoreFailure,
};
use lockgate_state::redis::{Address, Login, RedisRecords, RedisStore, Servers, Settings};
use lockgate_state::{MemoryRecords, RecordBounds};
use lockgate_testkit::redis::RedisServer;
use lockgate_testkit::{until, until_is};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

const SAME: Fingerprint = [1; 32];
const OTHER: Fingerprint = [0xff; 32];
const KEEP: Duration = Duration::from_secs(3600);
/// As short as a policy may say it.
const LOST_AFTER: Duration = Duration::from_secs(3);

fn settings(server: &RedisServer) -> Settings {
    Settings {
        servers: Servers::One(Address::new("127.0.0.1", server.address().port())),
        login: Login::default(),
        database: 0,
        prefix: "test".into(),
        timeout: Some(Duration::from_secs(5)),
        tls: None,
    }
}

/// A gateway of this name, as far as records go.
fn gateway(server: &RedisServer, name: &str) -> RedisRecords {
    let store = RedisStore::start("shared", &settings(server), &name.into(), &Handle::current());
    RedisRecords::start(&Arc::new(store), &Handle::current())
}

fn memory() -> MemoryRecords {
    MemoryRecords::new(RecordBounds::default())
}

fn asks<'a>(key: &'a [u8], owner: u128) -> Begin<'a> {
    let (owner, fingerprint) = (Owner(owner), &SAME);
    Begin { key, owner, fingerprint, keep: KEEP, lost_after: LOST_AFTER, again: false }
}

fn done(text: &str) -> End {
    End::Done { record: text.as_bytes().to_vec().into(), keep: KEEP }
}

async fn wait<T>(step: Step<'_, T>) -> T {
    match step {
        Step::Now(value) => value,
        Step::Later(value) => value.await,
    }
}

async fn begin(records: &dyn Records, begin: Begin<'_>) -> Begun {
    wait(records.begin(&begin)).await.unwrap()
}

async fn settle(records: &dyn Records, key: &[u8], owner: u128, end: End) -> Settled {
    wait(records.settle(key, Owner(owner), &end)).await.unwrap()
}

fn is_running(begun: &Begun) -> bool {
    matches!(begun, Begun::Running { fingerprint, .. } if *fingerprint == SAME)
}

fn is_unknown(begun: &Begun) -> bool {
    matches!(begun, Begun::Unknown { fingerprint, .. } if *fingerprint == SAME)
}

fn says(text: &str) -> Begun {
    Begun::Done { record: text.as_bytes().to_vec().into(), fingerprint: SAME }
}

/// What holds of every store.
async fn conforms(records: &dyn Records) {
    // One is first; what it is said to be, it is.
    assert_eq!(begin(records, asks(b"a", 1)).await, Begun::First);
    assert_eq!(begin(records, asks(b"a", 1)).await, Begun::First, "said again");
    assert!(is_running(&begin(records, asks(b"a", 2)).await));
    let other = Begin { fingerprint: &OTHER, ..asks(b"a", 2) };
    assert!(is_running(&begin(records, other).await), "of the one that runs");
    assert_eq!(settle(records, b"a", 2, done("x")).await, Settled::Lost);
    assert_eq!(settle(records, b"a", 1, done("\0\u{ff}\r\n")).await, Settled::Yes);
    assert_eq!(settle(records, b"a", 1, done("x")).await, Settled::Yes, "said again");
    assert_eq!(settle(records, b"a", 1, End::Unknown).await, Settled::Lost, "it stays done");
    assert_eq!(settle(records, b"a", 1, End::Forgotten).await, Settled::Lost);
    assert_eq!(begin(records, asks(b"a", 3)).await, says("\0\u{ff}\r\n"));

    // Other keys know nothing of it, whatever they look like.
    for (number, key) in [&b""[..], b"a\0", b"{a}", b"}", &[b'x'; 300]].into_iter().enumerate() {
        assert_eq!(begin(records, asks(key, 100 + number as u128)).await, Begun::First);
    }

    // What is forgotten runs again.
    assert_eq!(begin(records, asks(b"b", 1)).await, Begun::First);
    assert_eq!(settle(records, b"b", 1, End::Forgotten).await, Settled::Yes);
    assert_eq!(settle(records, b"b", 1, End::Forgotten).await, Settled::Lost);
    assert_eq!(begin(records, asks(b"b", 2)).await, Begun::First);

    // What is unknown does not, unless that is asked for, and then once.
    assert_eq!(settle(records, b"b", 2, End::Unknown).await, Settled::Yes);
    assert!(is_unknown(&begin(records, asks(b"b", 3)).await));
    let again = |owner, fingerprint| Begin { again: true, fingerprint, ..asks(b"b", owner) };
    assert!(is_unknown(&begin(records, again(4, &OTHER)).await));
    assert_eq!(begin(records, again(5, &SAME)).await, Begun::First);
    assert!(is_running(&begin(records, again(6, &SAME)).await));
    assert_eq!(settle(records, b"b", 2, done("late")).await, Settled::Lost);
    assert_eq!(settle(records, b"b", 5, done("b")).await, Settled::Yes);
    assert_eq!(begin(records, again(7, &SAME)).await, says("b"));

    // An end that comes late counts.
    assert_eq!(begin(records, asks(b"c", 1)).await, Begun::First);
    assert_eq!(settle(records, b"c", 1, End::Unknown).await, Settled::Yes);
    assert_eq!(settle(records, b"c", 1, done("late")).await, Settled::Yes);
    assert_eq!(begin(records, asks(b"c", 2)).await, says("late"));

    // What need not be waited for is said soon.
    assert_eq!(begin(records, asks(b"d", 1)).await, Begun::First);
    records.settle_later(b"d", Owner(1), done("d"));
    until("the record to be settled", async || begin(records, asks(b"d", 2)).await == says("d"))
        .await;

    // Who waits is not kept waiting beyond the end, nor beyond its time.
    assert_eq!(begin(records, asks(b"e", 1)).await, Begun::First);
    let began = Instant::now();
    records.ended(b"e", Duration::from_millis(20)).await;
    assert!(is_running(&begin(records, asks(b"e", 2)).await));
    let waits = async {
        while is_running(&begin(records, asks(b"e", 2)).await) {
            records.ended(b"e", Duration::from_secs(60)).await;
        }
    };
    tokio::join!(waits, settle(records, b"e", 1, done("e")));
    assert!(began.elapsed() < Duration::from_secs(30));

    // A record is over after its time.
    assert_eq!(begin(records, asks(b"f", 1)).await, Begun::First);
    let short = End::Done { record: "f".into(), keep: Duration::from_millis(50) };
    assert_eq!(settle(records, b"f", 1, short).await, Settled::Yes);
    until("the record to be over", async || begin(records, asks(b"f", 2)).await == Begun::First)
        .await;
}

#[tokio::test]
async fn memory_conforms() {
    conforms(&memory()).await;
}

#[tokio::test]
async fn a_redis_conforms() {
    let server = RedisServer::start().await;
    conforms(&gateway(&server, "a")).await;
}

/// Of many that begin at the same time one is first, at whichever gateway.
async fn one_is_first(all: &[&dyn Records]) {
    for round in 0..20_u8 {
        let key = [b'r', round];
        let mut begins = Vec::new();
        for number in 0..30_u128 {
            let records = all[number as usize % all.len()];
            let asked = Begin { key: &key, ..asks(b"", number) };
            begins.push(Box::pin(async move { begin(records, asked).await }));
        }
        let mut firsts = 0;
        let mut results = Vec::new();
        std::future::poll_fn(|cx| {
            begins.retain_mut(|begin| match begin.as_mut().poll(cx) {
                std::task::Poll::Ready(begun) => {
                    results.push(begun);
                    false
                }
                std::task::Poll::Pending => true,
            });
            if begins.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        for begun in results {
            firsts += usize::from(begun == Begun::First);
            assert!(begun == Begun::First || is_running(&begun), "{begun:?}");
        }
        assert_eq!(firsts, 1);
    }
}

#[tokio::test]
async fn one_of_many_is_first() {
    one_is_first(&[&memory()]).await;
    let server = RedisServer::start().await;
    let gateways = ["a", "b", "c"].map(|name| gateway(&server, name));
    one_is_first(&[&gateways[0], &gateways[1], &gateways[2]]).await;
}

#[tokio::test]
async fn what_a_lost_gateway_ran_is_unknown_and_what_lives_runs() {
    let server = RedisServer::start().await;
    let (lives, watches) = (gateway(&server, "lives"), gateway(&server, "watches"));
    let lost = gateway(&server, "lost");
    assert_eq!(begin(&lives, asks(b"a", 1)).await, Begun::First);
    assert_eq!(begin(&lost, asks(b"b", 2)).await, Begun::First);
    assert!(is_running(&begin(&watches, asks(b"b", 3)).await));
    // As a process that is killed: it says nothing more.
    drop(lost);
    let began = Instant::now();
    until("the loss to be noticed", async || is_unknown(&begin(&watches, asks(b"b", 3)).await))
        .await;
    assert!(began.elapsed() < LOST_AFTER * 3);
    assert!(is_running(&begin(&watches, asks(b"a", 3)).await), "for longer than `lost_after`");
    let Begun::Unknown { age, .. } = begin(&watches, asks(b"b", 3)).await else { panic!() };
    assert!(age >= LOST_AFTER && age < LOST_AFTER * 10, "{age:?}");
    let again = Begin { again: true, ..asks(b"b", 4) };
    assert_eq!(begin(&watches, again).await, Begun::First);
}

#[tokio::test]
async fn an_end_is_said_when_the_store_is_back() {
    let mut server =
        RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let (one, two) = (gateway(&server, "one"), gateway(&server, "two"));
    for key in [b"a", b"b", b"c"] {
        assert_eq!(begin(&one, asks(key, 1)).await, Begun::First);
    }
    assert_eq!(settle(&one, b"a", 1, done("a")).await, Settled::Yes);
    server.kill();
    let error: StoreError = wait(one.settle(b"b", Owner(1), &done("b"))).await.unwrap_err();
    assert!(matches!(error.failure, StoreFailure::Cut | StoreFailure::Away), "{error}");
    one.settle_later(b"b", Owner(1), done("b"));
    one.settle_later(b"c", Owner(1), End::Forgotten);
    assert_eq!(one.stats().entries, 2);
    server.restart().await;
    let heard = async |key: &'static [u8], begun: Begun| {
        until("the end to be heard", async || {
            wait(two.begin(&asks(key, 9))).await.is_ok_and(|there| there == begun)
        })
        .await;
    };
    heard(b"a", says("a")).await;
    heard(b"b", says("b")).await;
    heard(b"c", Begun::First).await;
    until("nothing to be left to say", async || one.stats().entries == 0).await;
}

/// While the store was away nobody could say that it lives: nobody is lost for that.
#[tokio::test]
async fn a_store_that_is_back_waits_for_a_sign_of_life_before_it_judges() {
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = RedisServer::start_with(&options).await;
    let (one, two) = (gateway(&server, "one"), gateway(&server, "two"));
    assert_eq!(begin(&one, asks(b"a", 1)).await, Begun::First);
    let gone = gateway(&server, "gone");
    assert_eq!(begin(&gone, asks(b"b", 2)).await, Begun::First);
    server.kill();
    drop(gone);
    // Longer than it takes to count as lost.
    sleep(LOST_AFTER + LOST_AFTER / 2).await;
    server.restart().await;
    let (back, mut heard) = (Instant::now(), 0);
    while back.elapsed() < LOST_AFTER * 2 {
        if let Ok(begun) = wait(two.begin(&asks(b"a", 3))).await {
            assert!(is_running(&begun), "{begun:?} {:?} after", back.elapsed());
            heard += 1;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(heard > 10, "{heard}");
    // Who is gone is lost all the same, a little later.
    until("the loss to be noticed", async || {
        wait(two.begin(&asks(b"b", 4))).await.is_ok_and(|begun| is_unknown(&begun))
    })
    .await;
}

/// A repeat that comes to the gateway which knows the end is told it, though the store was not yet.
#[tokio::test]
async fn what_is_still_to_be_said_is_said_before_a_repeat_is_judged() {
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = RedisServer::start_with(&options).await;
    let one = gateway(&server, "one");
    let keys: Vec<[u8; 2]> = (0..40).map(|n| [b'k', n]).collect();
    for key in &keys {
        assert_eq!(begin(&one, asks(key, 1)).await, Begun::First);
    }
    server.kill();
    for key in &keys {
        one.settle_later(key, Owner(1), done("end"));
    }
    server.restart().await;
    // The last of them first, as it would be said last.
    for key in keys.iter().rev() {
        let asked = asks(key, 9);
        let ask = async || wait(one.begin(&asked)).await;
        let begun = until_is("an answer", ask, |begun| begun.is_ok()).await;
        assert_eq!(begun.unwrap(), says("end"));
    }
}

#[tokio::test]
async fn a_beginning_that_was_not_heard_of_is_taken_back() {
    let server = RedisServer::start().await;
    let settings = Settings { timeout: Some(Duration::from_millis(50)), ..settings(&server) };
    let store = RedisStore::start("shared", &settings, &"one".into(), &Handle::current());
    let one = RedisRecords::start(&Arc::new(store), &Handle::current());
    let two = gateway(&server, "two");
    begin(&one, asks(b"warm", 1)).await;
    server.pause();
    let asked = asks(b"a", 1);
    let error = wait(one.begin(&asked)).await.unwrap_err();
    assert_eq!(error.failure, StoreFailure::Timeout, "{error}");
    one.settle_later(b"a", Owner(1), End::Forgotten);
    server.resume();
    until("another to be first", async || {
        wait(two.begin(&asks(b"a", 2))).await.is_ok_and(|begun| begun == Begun::First)
    })
    .await;
}

#[tokio::test]
async fn a_full_redis_refuses_and_one_that_evicts_is_known() {
    let server = RedisServer::start().await;
    let records = gateway(&server, "a");
    assert_eq!(begin(&records, asks(b"a", 1)).await, Begun::First);
    assert_eq!(begin(&records, asks(b"b", 2)).await, Begun::First);
    assert_eq!(begin(&records, asks(b"e", 6)).await, Begun::First);
    assert_eq!(settle(&records, b"a", 1, done("a")).await, Settled::Yes);
    server.ask(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    assert_eq!(begin(&records, asks(b"c", 3)).await, Begun::Full);
    assert_eq!(settle(&records, b"b", 2, done("b")).await, Settled::Full);
    assert_eq!(begin(&records, asks(b"a", 4)).await, says("a"));
    assert!(is_running(&begin(&records, asks(b"b", 4)).await));
    // That nobody knows how one ended takes no room, whether its gateway lives or not.
    assert_eq!(begin(&records, asks(b"d", 5)).await, Begun::Full);
    assert_eq!(settle(&records, b"e", 6, End::Unknown).await, Settled::Yes);
    assert!(is_unknown(&begin(&records, asks(b"e", 7)).await));
    assert!(!records.may_lose());
    server.ask(&["CONFIG", "SET", "maxmemory", "100mb"]).await;
    assert_eq!(begin(&records, asks(b"c", 3)).await, Begun::First);
    assert_eq!(settle(&records, b"b", 2, done("b")).await, Settled::Yes);
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let other = gateway(&server, "b");
    until("the policy to be known", async || other.may_lose()).await;
}

#[tokio::test]
async fn keys_and_requests_do_not_stand_in_the_store() {
    let server = RedisServer::start().await;
    let records = gateway(&server, "a");
    assert_eq!(begin(&records, asks(b"my-secret-key", 1)).await, Begun::First);
    let keys = server.ask(&["KEYS", "*"]).await.text();
    assert!(keys.contains("test:record:{r") && !keys.contains("secret"), "{keys}");
}
