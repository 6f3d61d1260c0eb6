//! What holds for state wherever it is kept, and whatever its store goes through meanwhile: asked
//! of the memory, of one server, of Sentinels with a failover and of a Cluster with a failover and
//! a slot that moves, always through the registry that the gateway has.

use std::sync::Arc;
use std::time::Duration;

use lockgate_core::{
    Algorithm, CounterName, Counters, Grant, Lease, Leases, Limit, Step, StoreError, Take, Turn,
    Wanted,
};
use lockgate_state::{Depot, StoreSettings, Stores};
use tokio::time::{Instant, sleep};

use crate::grounds::Ground;

const HOUR: Duration = Duration::from_secs(3_600);
/// How long a store may take to find itself again.
const RECOVERY: Duration = Duration::from_secs(15);

/// The stores of a gateway: `memory`, and `shared` on the ground.
fn gateway(ground: &Ground) -> Stores {
    let shared = ("shared".to_owned(), StoreSettings::Redis(ground.settings()));
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
