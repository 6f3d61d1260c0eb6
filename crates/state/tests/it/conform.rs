//! What holds for state wherever it is kept, and whatever its store goes through meanwhile: asked
//! of the memory, of one server, of Sentinels with a failover and of a Cluster with a failover and
//! a slot that moves, always through the registry that the gateway has.

use std::sync::Arc;
use std::time::Duration;

use lockgate_core::{
    Algorithm, Begin, Begun, Blobs, CounterName, Counters, End, Grant, Lease, Leases, Limit, Maker,
    Owner, Purge, Records, Settled, Step, StoreError, Tag, Take, Turn, Wanted,
};
use lockgate_state::{Depot, StoreSettings, Stores};
use lockgate_testkit::until;
use tokio::time::{Instant, sleep};

use crate::blobs::{blob, get, put, read};
use crate::grounds::Ground;

const HOUR: Duration = Duration::from_secs(3_600);
/// How long a store may take to find itself again.
const RECOVERY: Duration = Duration::from_secs(15);

/// The stores of a gateway: `memory`, and `shared` on the ground.
fn gateway(ground: &Ground) -> Stores {
    let shared = ("shared".to_owned(), StoreSettings::Redis(Box::new(ground.settings())));
    Depot::new().stores([shared], 1 << 20)
}

fn name(place: usize) -> CounterName {
    CounterName { limit: format!("l{place}"), key: "k".to_owned() }
}

async fn take(counters: &dyn Counters, take: Take<'_>) -> Result<bool, StoreError> {
    let (takes, mut grants) = ([take], [Grant::default()]);
    match counters.take_now(&takes, &mut grants, &name) {
        Some(all) => all,
        None => counters.take(&takes, &mut grants, &name).await,
    }
}

/// What became of some takes.
#[derive(Debug, Default)]
struct Taken {
    passed: u64,
    refused: u64,
    /// May have been taken.
    unknown: u64,
}

impl Taken {
    /// Takes so often, by turns from each. What was surely not done is tried again.
    async fn take(&mut self, from: &[Arc<dyn Counters>], what: Take<'_>, times: usize) {
        for counters in from.iter().cycle().take(times) {
            let begun = Instant::now();
            loop {
                match take(&**counters, what).await {
                    Ok(true) => self.passed += 1,
                    Ok(false) => self.refused += 1,
                    Err(error) if error.is_undone() && begun.elapsed() < RECOVERY => {
                        sleep(Duration::from_millis(10)).await;
                        continue;
                    }
                    Err(error) if error.is_undone() => panic!("it stays away: {error}"),
                    Err(_) => self.unknown += 1,
                }
                break;
            }
        }
    }
}

/// A limit lets exactly as much pass as it says, over all gateways, and over the death of a server
/// that had told its replica.
async fn a_limit_is_exact(counters: &[Arc<dyn Counters>], shaken: impl AsyncFnOnce()) {
    let algorithm = Algorithm::SlidingWindow;
    let limit = Limit { algorithm, count: 40, window: HOUR, burst: 40 };
    let what = Take::new(b"exact", &limit, 1);
    let mut taken = Taken::default();
    taken.take(counters, what, 25).await;
    assert_eq!((taken.passed, taken.unknown), (25, 0), "{taken:?}");
    shaken().await;
    taken.take(counters, what, 30).await;
    assert!(taken.passed <= 40, "{taken:?}");
    assert!(taken.passed + taken.unknown >= 40, "{taken:?}");
    assert!(taken.unknown <= 2, "one for each connection that was cut: {taken:?}");
}

#[tokio::test]
async fn limits_are_exact_everywhere() {
    let memory = Depot::new().stores([], 1 << 20).counters("memory").unwrap();
    a_limit_is_exact(&[memory], async || {}).await;
    Ground::each(async |mut ground| {
        let gateways = [gateway(&ground), gateway(&ground)];
        let counters = gateways.each_ref().map(|stores| stores.counters("shared").unwrap());
        a_limit_is_exact(&counters, async || ground.shake().await).await;
    })
    .await;
}

/// A lease, tried again as long as the store does not find itself.
async fn lease(leases: &dyn Leases, wait: Duration) -> Option<Lease> {
    let (hold, ttl) = (Duration::from_secs(60), Duration::from_secs(2));
    let wanted = Wanted { key: [7; 32], wait, hold, ttl, queue: 8 };
    let begun = Instant::now();
    loop {
        let turn = match leases.acquire(wanted) {
            Step::Now(turn) => turn,
            Step::Later(turn) => turn.await,
        };
        match turn {
            Ok(Turn::Held(lease)) => return Some(lease),
            Ok(Turn::Busy | Turn::Full) => return None,
            Err(_) if begun.elapsed() < RECOVERY => sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("it stays away: {error}"),
        }
    }
}

/// One holder at a time, over all gateways, whatever happens to the servers; and each token is
/// larger than the one before.
async fn a_lease_is_one_holders(leases: &[Arc<dyn Leases>], shaken: impl AsyncFnOnce()) {
    let (soon, long) = (Duration::from_millis(50), Duration::from_secs(10));
    let mut last = 0;
    let mut next = async |leases: &dyn Leases| {
        let lease = lease(leases, long).await.expect("a turn");
        assert!(lease.fence() > last, "{} after {last}", lease.fence());
        last = lease.fence();
        lease
    };
    for leases in leases.iter().cycle().take(6) {
        drop(next(&**leases).await);
    }
    let held = next(&*leases[0]).await;
    for leases in leases {
        assert!(lease(&**leases, soon).await.is_none(), "held by another");
    }
    shaken().await;
    if held.over().is_none() {
        for leases in leases {
            let other = lease(&**leases, soon).await;
            assert!(other.is_none() || held.over().is_some(), "two hold it");
        }
    }
    drop(held);
    for leases in leases.iter().cycle().take(6) {
        drop(next(&**leases).await);
    }
}

#[tokio::test]
async fn leases_are_one_holders_everywhere() {
    let memory = Depot::new().stores([], 1 << 20).leases("memory").unwrap();
    a_lease_is_one_holders(&[memory], async || {}).await;
    Ground::each(async |mut ground| {
        let gateways = [gateway(&ground), gateway(&ground)];
        let leases = gateways.each_ref().map(|stores| stores.leases("shared").unwrap());
        a_lease_is_one_holders(&leases, async || ground.shake().await).await;
    })
    .await;
}

async fn wait<T>(step: Step<'_, T>) -> T {
    match step {
        Step::Now(value) => value,
        Step::Later(value) => value.await,
    }
}

/// Begins a request; the same owner may say so again until it is heard.
async fn begin(records: &dyn Records, key: &[u8], owner: u128) -> Begun {
    let begin = Begin {
        key,
        owner: Owner(owner),
        fingerprint: &[3; 32],
        keep: HOUR,
        lost_after: HOUR,
        again: false,
    };
    let begun = Instant::now();
    loop {
        match wait(records.begin(&begin)).await {
            Ok(begun) => return begun,
            Err(_) if begun.elapsed() < RECOVERY => sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("it stays away: {error}"),
        }
    }
}

/// Of all that begin under one key, one is the first; and what it left is there for the others,
/// whatever happens to the servers.
async fn one_is_the_first(records: &[Arc<dyn Records>], shaken: impl AsyncFnOnce()) {
    let kept = |text: &str| End::Done { record: text.as_bytes().to_vec().into(), keep: HOUR };
    for (number, key) in [b"one", b"two"].into_iter().enumerate() {
        let first = begin(&*records[0], key, 1).await;
        assert_eq!(first, Begun::First, "{number}");
        for records in records {
            let other = begin(&**records, key, 2).await;
            assert!(matches!(other, Begun::Running { .. }), "{other:?}");
        }
    }
    let settled = wait(records[0].settle(b"one", Owner(1), &kept("done"))).await;
    assert_eq!(settled.ok(), Some(Settled::Yes));
    shaken().await;
    for records in records {
        let other = begin(&**records, b"one", 3).await;
        let Begun::Done { record, .. } = other else { panic!("{other:?}") };
        assert_eq!(record, "done");
        let other = begin(&**records, b"two", 3).await;
        assert!(matches!(other, Begun::Running { .. }), "{other:?}");
    }
    let settled = wait(records[0].settle(b"two", Owner(1), &kept("late"))).await;
    assert_eq!(settled.ok(), Some(Settled::Yes));
    let other = begin(&**records.last().expect("one"), b"two", 4).await;
    assert!(matches!(other, Begun::Done { .. }), "{other:?}");
}

#[tokio::test]
async fn records_have_one_first_everywhere() {
    let memory = Depot::new().stores([], 1 << 20).records("memory").unwrap();
    one_is_the_first(&[memory], async || {}).await;
    Ground::each(async |mut ground| {
        let gateways = [gateway(&ground), gateway(&ground)];
        let records = gateways.each_ref().map(|stores| stores.records("shared").unwrap());
        one_is_the_first(&records, async || ground.shake().await).await;
    })
    .await;
}

/// A gateway's blobs, as soon as it hears of purges.
async fn keeps(stores: &Stores) -> Arc<dyn Blobs> {
    let blobs = stores.blobs("shared").expect("the store");
    blobs.reads(read);
    until("purges to be heard", async || blobs.hears()).await;
    blobs
}

async fn finds(blobs: &dyn Blobs, path: &str) -> bool {
    get(blobs, path).await.is_ok_and(|blob| blob.is_some_and(|blob| blob.body == path))
}

async fn all_find(blobs: &[Arc<dyn Blobs>], path: &str, wanted: bool) {
    for blobs in blobs {
        let what = format!("{path} to be {}", if wanted { "found" } else { "gone" });
        until(&what, async || finds(&**blobs, path).await == wanted).await;
    }
}

/// Whose turn it is, once the store says it: this one's, or not.
async fn leads(blobs: &dyn Blobs, path: &str) -> Option<Maker> {
    let begun = Instant::now();
    loop {
        match wait(blobs.turn(path.as_bytes(), None)).await {
            Ok(Maker::Waits(_)) => return None,
            Ok(other) => return Some(other),
            Err(_) if begun.elapsed() < RECOVERY => sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("it stays away: {error}"),
        }
    }
}

/// One at a time makes what is missing; in memory there is nobody else.
async fn one_makes_it(blobs: &[Arc<dyn Blobs>], path: &str) {
    let (first, last) = (&blobs[0], blobs.last().expect("one"));
    let lead = leads(&**first, path).await;
    assert!(lead.is_some());
    if blobs.len() > 1 {
        assert!(leads(&**last, path).await.is_none(), "two make it");
    }
    drop(lead);
    until("the lead to be given back", async || leads(&**last, path).await.is_some()).await;
}

/// What one keeps the others find, what one purges or takes away none does, and one at a time makes
/// what is missing: whatever happens to the servers, and for one who comes after that too.
async fn answers_are_kept_for_all(
    blobs: &[Arc<dyn Blobs>],
    late: impl AsyncFn() -> Arc<dyn Blobs>,
    shaken: impl AsyncFnOnce(),
) {
    let (first, last) = (&blobs[0], blobs.last().expect("one"));
    let paths: Vec<String> = (0..24).map(|n| format!("/kept/{n}")).collect();
    for path in paths.iter().map(String::as_str).chain(["/purged/1", "/removed/1", "/all/1"]) {
        assert!(put(&**first, path));
        all_find(blobs, path, true).await;
    }
    let told = last.purge(&Purge::Tag(Tag::uri("a.test", "/purged/1"))).told().await;
    assert!(told.is_ok(), "{told:?}");
    all_find(blobs, "/purged/1", false).await;
    first.remove(b"/removed/1");
    one_makes_it(blobs, "/made/1").await;
    shaken().await;
    for blobs in blobs {
        until("purges to be heard again", async || blobs.hears()).await;
    }
    let new = late().await;
    all_find(std::slice::from_ref(&new), "/purged/1", false).await;
    all_find(std::slice::from_ref(&new), "/removed/1", false).await;
    for path in &paths {
        all_find(blobs, path, true).await;
        all_find(std::slice::from_ref(&new), path, true).await;
    }
    one_makes_it(blobs, "/made/2").await;
    until("a purge to be told", async || new.purge(&Purge::All).told().await.is_ok()).await;
    all_find(blobs, "/all/1", false).await;
    // What was asked for before a purge is kept by nobody; what comes after it is.
    for path in &paths {
        let fresh = || put(&**last, path);
        until("it to be kept", async || fresh() && finds(&*new, path).await).await;
    }
    let early = blob(&**first, "/early", "/early");
    until("a purge to be told", async || last.purge(&Purge::All).told().await.is_ok()).await;
    until("it to be refused", async || {
        !first.put(b"/early", Arc::clone(&early), HOUR) || !finds(&**first, "/early").await
    })
    .await;
    assert!(!finds(&*new, "/early").await);
}

#[tokio::test]
async fn answers_are_kept_for_all_everywhere() {
    let memory = Depot::new().stores([], 1 << 20).blobs("memory").unwrap();
    let same = async || Arc::clone(&memory);
    answers_are_kept_for_all(&[Arc::clone(&memory)], same, async || {}).await;
    Ground::each(async |mut ground| {
        let gateways = [gateway(&ground), gateway(&ground), gateway(&ground)];
        let blobs = [keeps(&gateways[0]).await, keeps(&gateways[1]).await];
        let late = async || keeps(&gateways[2]).await;
        answers_are_kept_for_all(&blobs, late, async || ground.shake().await).await;
    })
    .await;
}
