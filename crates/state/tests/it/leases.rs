//! Leases: what holds of every store that grants them; and what only shows on a Redis, where
//! gateways vanish, stand still, and servers forget.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockgate_core::{Lease, LeaseKey, Leases, Over, Step, StoreError, Turn, Wanted};
use lockgate_state::redis::{RedisLeases, RedisStore, Script, Settings, Use};
use lockgate_state::{LeaseBounds, MemoryLeases};
use lockgate_testkit::redis::RedisServer;
use lockgate_testkit::{until, within};
use redis::Value;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use crate::grounds::Ground;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(30);

fn wanted(word: u8, wait: Duration) -> Wanted {
    Wanted { key: [b'a' + word; 32], wait, hold: LONG, ttl: 5 * SECOND, queue: 100 }
}

async fn ask(leases: &dyn Leases, wanted: Wanted) -> Result<Turn, StoreError> {
    match leases.acquire(wanted) {
        Step::Now(turn) => turn,
        Step::Later(turn) => turn.await,
    }
}

async fn take(leases: &dyn Leases, wanted: Wanted) -> Lease {
    match ask(leases, wanted).await.unwrap() {
        Turn::Held(lease) => lease,
        other => panic!("{other:?}"),
    }
}

/// Two views of one store, as two gateways have them; in memory they are one. `waiting` says how
/// many wait for a key.
async fn conforms(
    one: Arc<dyn Leases>,
    other: Arc<dyn Leases>,
    waiting: impl AsyncFn(u8) -> usize,
) {
    exclusive_and_in_order(&one, &other, &waiting).await;
    bounded(&one, &other, &waiting).await;
    let short = Wanted { hold: 300 * MS, ..wanted(4, LONG) };
    let slow = take(&*one, short).await;
    let next = take(&*other, short).await;
    assert_eq!(slow.over(), Some(Over::Expired), "before the next one had it");
    assert!(next.fence() > slow.fence());
    drop(slow);
    assert!(matches!(ask(&*one, wanted(4, Duration::ZERO)).await, Ok(Turn::Busy)));
}

async fn exclusive_and_in_order(
    one: &Arc<dyn Leases>,
    other: &Arc<dyn Leases>,
    waiting: &impl AsyncFn(u8) -> usize,
) {
    let first = take(&**one, wanted(0, Duration::ZERO)).await;
    let elsewhere = take(&**other, wanted(1, Duration::ZERO)).await;
    assert!(matches!(ask(&**other, wanted(0, Duration::ZERO)).await, Ok(Turn::Busy)));
    let asked = Instant::now();
    assert!(matches!(ask(&**other, wanted(0, 200 * MS)).await, Ok(Turn::Busy)));
    assert!(asked.elapsed() >= 200 * MS);
    until("it has left", async || waiting(0).await == 0).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let set = LocalSet::new();
    set.run_until(async {
        let mut waits = Vec::new();
        for number in 0..6 {
            let view = Arc::clone(if number % 2 == 0 { other } else { one });
            let order = Arc::clone(&order);
            waits.push(spawn_local(async move {
                let lease = take(&*view, wanted(0, LONG)).await;
                order.lock().unwrap().push((number, lease.fence()));
            }));
            until("it waits", async || waiting(0).await == number + 1).await;
        }
        let fence = first.fence();
        drop((first, elsewhere));
        for waits in waits {
            within("a turn", waits).await.unwrap();
        }
        let order = order.lock().unwrap();
        assert!(order.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "{order:?}");
        assert!(order[0].1 > fence);
    })
    .await;
}

async fn bounded(
    one: &Arc<dyn Leases>,
    other: &Arc<dyn Leases>,
    waiting: &impl AsyncFn(u8) -> usize,
) {
    let held = take(&**one, wanted(2, Duration::ZERO)).await;
    let small = Wanted { queue: 1, ..wanted(2, LONG) };
    let short = Wanted { wait: MS, ..small };
    let set = LocalSet::new();
    set.run_until(async {
        let view = Arc::clone(other);
        let waits = spawn_local(async move { take(&*view, small).await });
        until("it waits", async || waiting(2).await == 1).await;
        assert!(matches!(ask(&**one, short).await, Ok(Turn::Full)));
        // Who leaves makes room.
        waits.abort();
        until("it has left", async || waiting(2).await == 0).await;
        assert!(matches!(ask(&**one, short).await, Ok(Turn::Busy)));
        drop(held);
        take(&**other, wanted(2, LONG)).await;
    })
    .await;
}

#[tokio::test]
async fn memory_conforms() {
    let leases = Arc::new(MemoryLeases::new(LeaseBounds::default()));
    let (one, other) = (Arc::clone(&leases), Arc::clone(&leases));
    conforms(one, other, async |_| leases.waiting()).await;
}

static COUNT: Script = Script::new(Use::Leases, "return redis.call('ZCARD', KEYS[1])");

/// How many wait for a key, by what Redis knows.
async fn waiting(store: &RedisStore, word: u8) -> usize {
    let keys = [store.key("lease", &wanted(word, LONG).key, b"queue")];
    match store.run(&COUNT, &keys, &[], 5 * SECOND).await {
        Ok(Value::Int(count)) => count as usize,
        other => panic!("{other:?}"),
    }
}

/// A gateway's link to a store.
fn store(ground: &Ground, gateway: &str) -> Arc<RedisStore> {
    let (settings, control) = (ground.settings(), Handle::current());
    Arc::new(RedisStore::start("shared", &settings, &Arc::from(gateway), &control))
}

/// Leases as one gateway has them.
fn of_gateway(ground: &Ground, gateway: &str) -> Arc<RedisLeases> {
    Arc::new(RedisLeases::new(&store(ground, gateway), &Handle::current()))
}

#[tokio::test]
async fn redis_conforms() {
    Ground::each(async |ground| {
        let (one, other) = (of_gateway(&ground, "a"), of_gateway(&ground, "b"));
        let looks = store(&ground, "c");
        conforms(one, other, async |word| waiting(&looks, word).await).await;
    })
    .await;
}

#[tokio::test]
async fn a_lease_is_renewed_for_as_long_as_it_is_held() {
    let ground = Ground::One(RedisServer::start().await);
    let leases = of_gateway(&ground, "a");
    let held = take(&*leases, Wanted { ttl: 3 * SECOND, ..wanted(0, SECOND) }).await;
    sleep(5 * SECOND).await;
    assert_eq!(held.over(), None);
    let busy = ask(&*of_gateway(&ground, "b"), wanted(0, Duration::ZERO)).await;
    assert!(matches!(busy, Ok(Turn::Busy)));
}

/// A gateway with a control runtime of its own, that ends with it.
fn doomed(runtime: &Runtime, settings: &Settings, gateway: &str) -> Arc<RedisLeases> {
    let control = runtime.handle();
    runtime.block_on(async {
        let store = RedisStore::start("shared", settings, &Arc::from(gateway), control);
        Arc::new(RedisLeases::new(&Arc::new(store), control))
    })
}

/// Everything of a gateway stops at once, as with SIGKILL: nothing of it runs any more.
#[tokio::test]
async fn a_gateway_that_dies_is_followed_after_its_ttl_and_its_waiters_are_passed_over() {
    let ground = Ground::One(RedisServer::start().await);
    let survivor = of_gateway(&ground, "b");
    let short = Wanted { ttl: SECOND, ..wanted(0, LONG) };
    let settings = ground.settings();
    let dies = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let leases = doomed(&runtime, &settings, "a");
        let held = runtime.block_on(take(&*leases, short));
        let set = LocalSet::new();
        let view = Arc::clone(&leases);
        set.spawn_local(async move { take(&*view, short).await });
        let some = async { sleep(200 * MS).await };
        runtime.block_on(set.run_until(some));
        drop(runtime);
        held.fence()
    });
    let fence = dies.join().unwrap();
    let looks = store(&ground, "c");
    assert_eq!(waiting(&looks, 0).await, 1, "the dead still wait");
    let next = within("the lease of the dead", take(&*survivor, short)).await;
    assert!(next.fence() > fence);
}

#[tokio::test]
async fn a_server_that_forgets_or_hangs_loses_the_lease_before_another_has_it() {
    let mut ground = Ground::One(RedisServer::start().await);
    let (one, other) = (of_gateway(&ground, "a"), of_gateway(&ground, "b"));
    let Ground::One(server) = &mut ground else { return };
    let short = Wanted { ttl: 900 * MS, ..wanted(0, LONG) };
    let held = take(&*one, short).await;
    // It answers nothing: the lease is over by the holder's own clock.
    server.pause();
    let asked = Instant::now();
    assert_eq!(within("the loss", held.until_over()).await, Over::Lost);
    assert!(asked.elapsed() <= 5 * SECOND);
    server.resume();
    let next = within("the next", take(&*other, short)).await;
    assert!(next.fence() > held.fence());
    drop(held);
    // It comes back and knows nothing; the number grows all the same.
    server.kill();
    server.restart().await;
    let forgotten = next.fence();
    assert_eq!(within("the loss", next.until_over()).await, Over::Lost);
    until("the store is well", async || {
        matches!(ask(&*one, short).await, Ok(Turn::Held(lease)) if lease.fence() > forgotten)
    })
    .await;
}

/// A lost message costs a look, no more.
#[tokio::test]
async fn who_waits_looks_by_itself() {
    let ground = Ground::One(RedisServer::start().await);
    let (leases, looks) = (of_gateway(&ground, "a"), store(&ground, "c"));
    let Ground::One(server) = &ground else { return };
    let held = take(&*leases, wanted(0, LONG)).await;
    let set = LocalSet::new();
    set.run_until(async {
        let view = Arc::clone(&leases);
        let waits = spawn_local(async move { take(&*view, wanted(0, LONG)).await });
        until("it waits", async || waiting(&looks, 0).await == 1).await;
        // Nobody tells it.
        server.ask(&["DEL", &format!("test:lease:{{{}}}", "a".repeat(32))]).await;
        within("its turn", waits).await.unwrap();
    })
    .await;
    drop(held);
}

/// Many at once over three gateways, some of which leave while they wait or hold, and gateways
/// that die with a lease in their hands: never two holders, and numbers that grow in the order of
/// the holds.
#[tokio::test]
async fn many_gateways_take_turns() {
    const TASKS: usize = 45;
    const ROUNDS: usize = 12;
    let ground = Ground::One(RedisServer::start().await);
    let gateways: Vec<_> = ["a", "b", "c"].map(|name| of_gateway(&ground, name)).into();
    let board = Arc::new(Board::default());
    let mut threads = Vec::new();
    for (place, leases) in gateways.iter().enumerate() {
        let (leases, board) = (Arc::clone(leases), Arc::clone(&board));
        threads.push(std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let set = LocalSet::new();
            let tasks = (0..TASKS / 3).map(|task| {
                let (leases, board) = (Arc::clone(&leases), Arc::clone(&board));
                set.spawn_local(plays(leases, board, (place * TASKS + task) as u64, ROUNDS))
            });
            let tasks: Vec<_> = tasks.collect();
            runtime.block_on(async {
                set.await;
                for task in tasks {
                    task.await.unwrap();
                }
            });
        }));
    }
    let (settings, dying) = (ground.settings(), Arc::clone(&board));
    threads.push(std::thread::spawn(move || die(&settings, &dying)));
    let ended = tokio::task::spawn_blocking(move || {
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    ended.await.unwrap();
    assert_eq!(board.most.load(SeqCst), 1, "two held one key");
    assert!(board.holds.load(SeqCst) as usize >= TASKS * ROUNDS / 4);
    assert_eq!(board.deaths.load(SeqCst), 5);
    // Nothing is left but numbers.
    let looks = store(&ground, "c");
    for word in 0..3 {
        until("all have left", async || waiting(&looks, word).await == 0).await;
    }
}

/// Gateways that take a lease and die with it, one after the other.
fn die(settings: &Settings, board: &Arc<Board>) {
    for death in 0..5 {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let leases = doomed(&runtime, settings, &format!("doomed-{death}"));
        let wanted = Wanted { ttl: 600 * MS, ..wanted(death % 3, LONG) };
        let lease = runtime.block_on(take(&*leases, wanted));
        let held = board.hold(wanted.key, lease.fence());
        runtime.block_on(async { sleep(20 * MS).await });
        board.deaths.fetch_add(1, SeqCst);
        drop(held);
        // Nothing of it runs when the lease is let go.
        drop(runtime);
        drop(lease);
    }
}

#[derive(Default)]
struct Board {
    /// By key: how many hold it now, and the last number.
    keys: Mutex<HashMap<LeaseKey, (usize, u64)>>,
    most: AtomicUsize,
    holds: AtomicU64,
    deaths: AtomicU64,
}

async fn plays(leases: Arc<RedisLeases>, board: Arc<Board>, seed: u64, rounds: usize) {
    let mut chance = fastrand::Rng::with_seed(seed);
    for _ in 0..rounds {
        let wanted = wanted(chance.u8(0..3), LONG);
        let patience = MS * chance.u32(1..120);
        let work = MS * chance.u32(0..8);
        let leaves = chance.u8(0..3) == 0;
        let turn = async {
            let lease = take(&*leases, wanted).await;
            let held = board.hold(wanted.key, lease.fence());
            sleep(work).await;
            assert_eq!(lease.over(), None);
            drop(held);
        };
        if leaves {
            // Gone in the middle of whatever it does.
            let _ = tokio::time::timeout(patience, turn).await;
        } else {
            turn.await;
        }
    }
}

impl Board {
    fn hold(self: &Arc<Self>, key: LeaseKey, fence: u64) -> OnBoard {
        let mut keys = self.keys.lock().unwrap();
        let (now, last) = keys.entry(key).or_default();
        *now += 1;
        assert!(fence > *last, "the number has not grown");
        *last = fence;
        self.most.fetch_max(*now, SeqCst);
        self.holds.fetch_add(1, SeqCst);
        OnBoard(Arc::clone(self), key)
    }
}

/// Off the board before its lease is let go.
struct OnBoard(Arc<Board>, LeaseKey);

impl Drop for OnBoard {
    fn drop(&mut self) {
        self.0.keys.lock().unwrap().get_mut(&self.1).unwrap().0 -= 1;
    }
}
