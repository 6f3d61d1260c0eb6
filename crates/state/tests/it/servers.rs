//! The link to a store of several servers: they are found, and followed wherever they go.

use std::net::SocketAddr;
use std::time::Duration;

use lockgate_core::StoreFailure;
use lockgate_state::redis::{
    Address, Arg, Heard, Login, RedisStore, Script, Servers, Settings, Use,
};
use lockgate_testkit::redis::{Cluster, MASTER, Sentinels, ask};
use lockgate_testkit::{until, within};
use redis::Value;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

static ADD: Script = Script::new(Use::Counters, "return redis.call('INCRBY', KEYS[1], ARGV[1])");
static BOTH: Script = Script::new(
    Use::Counters,
    "return redis.call('INCRBY', KEYS[1], ARGV[1]) + redis.call('INCRBY', KEYS[2], ARGV[1])",
);

const LONG: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(100);

fn address(at: SocketAddr) -> Address {
    Address::new(&at.ip().to_string(), at.port())
}

fn start(servers: Servers) -> RedisStore {
    let settings = Settings {
        servers,
        login: Login::default(),
        tls: None,
        database: 0,
        prefix: "test".into(),
        timeout: None,
    };
    RedisStore::start("shared", &settings, &"a".into(), &Handle::current())
}

fn sentinel(all: &Sentinels) -> RedisStore {
    let sentinels = all.sentinels().into_iter().map(address).collect();
    start(Servers::Sentinel { master: MASTER.into(), sentinels, login: Login::default() })
}

fn cluster(all: &Cluster) -> RedisStore {
    // One is enough to find the others.
    start(Servers::Cluster(all.addresses().into_iter().take(1).map(address).collect()))
}

async fn add(store: &RedisStore, key: &str, by: i64) -> Result<i64, StoreFailure> {
    let keys = [store.key("n", key.as_bytes(), b"")];
    match store.run(&ADD, &keys, &[Arg::Int(by)], LONG).await {
        Ok(Value::Int(sum)) => Ok(sum),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.failure),
    }
}

#[tokio::test]
async fn the_master_is_found_and_followed_when_it_dies() {
    let mut all = Sentinels::start().await;
    let store = sentinel(&all);
    // The first call waits until it is known who the master is.
    assert_eq!(add(&store, "x", 1).await, Ok(1));
    let before = all.master().await;
    let now = all.fail_over().await;
    assert_ne!(before, now);
    until("the new master to be asked", async || add(&store, "y", 1).await.is_ok()).await;
    let key = ["GET", "test:n:{y}"];
    assert!(ask(now, &[], &key).await.int() >= 1);
    // What was a master is a replica when it comes back, and takes no writes.
    all.server(before).restart().await;
    for _ in 0..50 {
        assert!(add(&store, "y", 1).await.is_ok());
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_left_for_the_new_one() {
    let mut all = Sentinels::start().await;
    let store = sentinel(&all);
    add(&store, "x", 1).await.unwrap();
    let switched = all.switch();
    let mut done = 1;
    let calls = async {
        for _ in 0..100 {
            // Only what was certainly not done is asked again by the caller.
            match add(&store, "x", 1).await {
                Ok(_) => done += 1,
                Err(StoreFailure::Away | StoreFailure::Cut) => {}
                Err(other) => panic!("{other:?}"),
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let (now, ()) = tokio::join!(switched, calls);
    assert!(done > 1);
    // The old one takes writes until it is told, and they are lost: that is Sentinel's way.
    until("the new master to be asked", async || {
        let _ = add(&store, "y", 1).await;
        !ask(now, &[], &["GET", "test:n:{y}"]).await.text().is_empty()
    })
    .await;
}

#[tokio::test]
async fn without_a_sentinel_nobody_waits_twice() {
    let store = start(Servers::Sentinel {
        master: MASTER.into(),
        sentinels: vec![Address::new("127.0.0.1", 1)],
        login: Login::default(),
    });
    let keys = [store.key("n", b"x", b"")];
    let _ = store.run(&ADD, &keys, &[Arg::Int(1)], SHORT).await.unwrap_err();
    let asked = Instant::now();
    for _ in 0..100 {
        let error = store.run(&ADD, &keys, &[Arg::Int(1)], LONG).await.unwrap_err();
        assert_eq!(error.failure, StoreFailure::Away, "{error}");
    }
    assert!(asked.elapsed() < LONG);
}

#[tokio::test]
async fn a_cluster_is_found_by_one_server_and_each_slot_is_asked_where_it_is() {
    let all = Cluster::start().await;
    let store = cluster(&all);
    for n in 0..60 {
        assert_eq!(add(&store, &format!("key-{n}"), n).await, Ok(n));
    }
    assert_eq!(store.figures().servers, 3);
    let keys = [store.key("n", b"t", b"1"), store.key("n", b"t", b"2")];
    assert_eq!(store.run(&BOTH, &keys, &[Arg::Int(4)], LONG).await.unwrap(), Value::Int(8));
    // Messages go through the whole Cluster.
    let mut heard = store.listen("news");
    assert_eq!(within("listening to begin", heard.recv()).await, Ok(Heard::Gap));
    for _ in 0..8 {
        store.tell("news", b"x").await.unwrap();
        assert_eq!(within("it", heard.recv()).await, Ok(Heard::Message("x".into())));
    }
}

#[tokio::test]
async fn a_slot_is_followed_while_it_moves_and_no_call_is_lost_or_done_twice() {
    let all = Cluster::start().await;
    let store = cluster(&all);
    for key in ["x", "gone"] {
        assert_eq!(add(&store, key, 1).await, Ok(1));
    }
    let slot = ask(all.addresses()[0], &[], &["CLUSTER", "KEYSLOT", "{x}"]).await.int();
    let slot = u16::try_from(slot).unwrap();
    let moving = all.begin_to_move(slot).await;
    let to = moving.to;
    // The key is still where it was.
    assert_eq!(add(&store, "x", 1).await, Ok(2));
    moving.move_keys().await;
    // Now it is asked for with ASKING; scripts that the other server does not know are sent whole.
    assert_eq!(add(&store, "x", 1).await, Ok(3));
    let several = (0..100).map(|_| add(&store, "x", 1));
    let sums = futures(several).await;
    assert!(sums.iter().all(Result::is_ok), "{sums:?}");
    moving.finish().await;
    assert_eq!(add(&store, "x", 1).await, Ok(104));
    assert_eq!(ask(to, &[], &["GET", "test:n:{x}"]).await.int(), 104);
}

#[tokio::test]
async fn a_slot_that_nobody_has_is_not_looked_for_in_a_storm_and_the_others_are_served() {
    let all = Cluster::start().await;
    let store = cluster(&all);
    assert_eq!(add(&store, "x", 1).await, Ok(1));
    let slot = ask(all.addresses()[0], &[], &["CLUSTER", "KEYSLOT", "{x}"]).await.int();
    all.lose_slot(u16::try_from(slot).unwrap()).await;
    until("the loss to be noticed", async || add(&store, "x", 1).await.is_err()).await;
    let looks = async || {
        let mut looks = 0;
        for address in all.addresses() {
            let stats = ask(address, &[], &["INFO", "commandstats"]).await.text();
            let row = stats.lines().find_map(|line| line.strip_prefix("cmdstat_cluster|slots:"));
            let count = row.and_then(|row| row.strip_prefix("calls=")?.split(',').next());
            looks += count.map_or(0, |count| count.parse().unwrap());
        }
        looks
    };
    let (before, begun) = (looks().await, Instant::now());
    let mut asked = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        assert_eq!(add(&store, "x", 1).await, Err(StoreFailure::Away));
        asked += 1;
        // One for each of the servers.
        for key in ["a", "b", "c"] {
            assert!(add(&store, key, 1).await.is_ok(), "the others are served");
        }
        sleep(Duration::from_millis(1)).await;
    }
    let (looked, took): (u64, _) = (looks().await - before, begun.elapsed());
    println!("{asked} questions for a slot that nobody has, {looked} looks in {took:?}");
    assert!(u128::from(looked) < 8 + took.as_millis() / 100, "{looked} in {took:?}");
    assert_eq!(store.figures().breakers_open, 0);
}

/// What is asked of one server does not wait for what is asked of another.
#[tokio::test]
async fn a_server_that_hangs_holds_up_no_call_to_another() {
    let mut all = Cluster::start().await;
    let store = cluster(&all);
    let keys: Vec<String> = (0..60).map(|n| format!("key-{n}")).collect();
    let mut hung = Vec::new();
    let dead = all.master_of(0).await;
    for key in &keys {
        assert_eq!(add(&store, key, 1).await, Ok(1));
        let tag = format!("{{{key}}}");
        let slot = ask(all.addresses()[0], &[], &["CLUSTER", "KEYSLOT", &tag]).await.int();
        hung.push(all.master_of(u16::try_from(slot).unwrap()).await == dead);
    }
    all.server(dead).pause();
    let (theirs, others): (Vec<_>, Vec<_>) = keys.iter().zip(&hung).partition(|(_, hung)| **hung);
    let one = store.key("n", theirs[0].0.as_bytes(), b"");
    let mut waits =
        std::pin::pin!(store.run(&ADD, std::slice::from_ref(&one), &[Arg::Int(1)], LONG));
    let begun = Instant::now();
    // All of them are answered before the one that hangs is.
    tokio::select! {
        biased;
        answer = &mut waits => panic!("it is answered, {answer:?}"),
        () = async {
            for (key, _) in &others {
                assert_eq!(add(&store, key, 1).await, Ok(2));
            }
        } => {}
    }
    println!("{} calls beside one that hangs took {:?}", others.len(), begun.elapsed());
    assert!(others.len() > 20);
    all.server(dead).resume();
    let _ = waits.await;
}

async fn futures<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut done = Vec::new();
    for one in all {
        done.push(one.await);
    }
    done
}

#[tokio::test]
async fn a_masters_death_in_a_cluster_keeps_nobody_from_the_others() {
    let mut all = Cluster::start().await;
    let store = cluster(&all);
    let keys: Vec<String> = (0..60).map(|n| format!("key-{n}")).collect();
    for key in &keys {
        assert_eq!(add(&store, key, 1).await, Ok(1));
    }
    all.fail_over(0).await;
    for key in &keys {
        until("every slot to be served again", async || add(&store, key, 1).await.is_ok()).await;
    }
    assert_eq!(store.figures().breakers_open, 0);
}
