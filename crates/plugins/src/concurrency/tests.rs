//! The queue and its order, permits under threads, and a service under five times its capacity.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Response, StatusCode};
use lockgate_core::{Body, Origin, Priority, Step, Verdict};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tokio::time::{Instant, advance, sleep, timeout};

use super::adaptive::Adaptive;
use super::keyed::Keyed;
use super::limiter::{Bound, Limiter, Permit};
use crate::cases;

const MS: Duration = Duration::from_millis(1);

fn fixed(limit: u32, queue: usize) -> Arc<Limiter> {
    Arc::new(Limiter::new(Bound::Fixed(limit), queue, 50 * MS))
}

#[tokio::test(start_paused = true)]
async fn permits_come_back_when_they_are_dropped() {
    let limiter = fixed(2, 0);
    let one = limiter.enter(Priority::Normal).unwrap();
    let _two = limiter.enter(Priority::Normal).unwrap();
    assert!(limiter.enter(Priority::High).is_none());
    assert!(limiter.wait(Priority::Normal).is_none(), "there is no queue");
    drop(one);
    assert!(limiter.enter(Priority::Normal).is_some());
}

#[tokio::test(start_paused = true)]
async fn the_last_fifth_is_not_for_low_priorities() {
    let limiter = fixed(10, 0);
    let low: Vec<Permit> = std::iter::from_fn(|| limiter.enter(Priority::Low)).collect();
    assert_eq!(low.len(), 8);
    let normal: Vec<Permit> = std::iter::from_fn(|| limiter.enter(Priority::Normal)).collect();
    assert_eq!(normal.len(), 2);
    let tiny = fixed(1, 0);
    assert!(tiny.enter(Priority::Low).is_some(), "but there is always one");
}

/// Who is served in which order, when all came while the only permit was taken.
async fn order(waiters: &[Priority], apart: Duration) -> Vec<usize> {
    let limiter = fixed(1, 10);
    let held = limiter.enter(Priority::Normal).unwrap();
    let served = Rc::new(RefCell::new(Vec::new()));
    let local = LocalSet::new();
    for (number, &priority) in waiters.iter().enumerate() {
        let waiting = limiter.wait(priority).unwrap();
        let served = Rc::clone(&served);
        local.spawn_local(async move {
            let permit = waiting.await;
            served.borrow_mut().push(number);
            drop(permit);
        });
        advance(apart).await;
    }
    drop(held);
    local.await;
    served.take()
}

#[tokio::test(start_paused = true)]
async fn the_queue_serves_the_first_come_and_under_overload_the_last() {
    use Priority::Normal;
    assert_eq!(order(&[Normal, Normal, Normal], MS).await, [0, 1, 2]);
    assert_eq!(order(&[Normal, Normal, Normal], 40 * MS).await, [2, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_higher_priority_goes_first() {
    use Priority::{High, Low, Normal};
    assert_eq!(order(&[Low, Normal, High, Normal, High], MS).await, [2, 4, 1, 3, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_sheds_the_lowest_and_of_these_the_oldest() {
    let limiter = fixed(1, 2);
    let held = limiter.enter(Priority::Normal).unwrap();
    let low = limiter.wait(Priority::Low).unwrap();
    let first = limiter.wait(Priority::Normal).unwrap();
    let second = limiter.wait(Priority::Normal).unwrap();
    assert!(low.await.is_none(), "it has made room");
    assert!(limiter.wait(Priority::Low).is_none(), "others go first");
    let high = limiter.wait(Priority::High).unwrap();
    assert!(first.await.is_none());
    assert_eq!(limiter.waiting(), 2);
    drop(held);
    drop(high.await.unwrap());
    assert!(second.await.is_some());
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_no_trace() {
    let limiter = fixed(1, 10);
    let held = limiter.enter(Priority::Normal).unwrap();
    for _ in 0..5 {
        let waiting = limiter.wait(Priority::Normal).unwrap();
        assert!(timeout(10 * MS, waiting).await.is_err());
    }
    assert_eq!(limiter.waiting(), 0);
    // Granted, and gone before it was seen: the permit is not lost.
    let granted = limiter.wait(Priority::Normal).unwrap();
    drop(held);
    assert_eq!(limiter.in_flight(), 1);
    drop(granted);
    assert_eq!(limiter.in_flight(), 0);
}

#[test]
fn threads_never_hold_more_permits_than_there_are_and_none_waits_for_ever() {
    const LIMIT: u32 = 3;
    let limiter = fixed(LIMIT, 64);
    let now = Arc::new(AtomicU32::new(0));
    let work = |seed: u64| {
        let (limiter, now) = (Arc::clone(&limiter), Arc::clone(&now));
        move || {
            let mut random = fastrand::Rng::with_seed(seed);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for _ in 0..2_000 {
                let permit = match limiter.enter(Priority::Normal) {
                    Some(permit) => permit,
                    None => {
                        let waiting = limiter.wait(Priority::Normal).unwrap();
                        if random.u8(..) < 32 {
                            continue; // the client has gone
                        }
                        runtime.block_on(waiting).unwrap()
                    }
                };
                assert!(now.fetch_add(1, SeqCst) < LIMIT);
                if random.bool() {
                    std::thread::yield_now();
                }
                now.fetch_sub(1, SeqCst);
                drop(permit);
            }
        }
    };
    let threads: Vec<_> = (0..8).map(|seed| std::thread::spawn(work(seed))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!((limiter.in_flight(), limiter.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_keys_limiter_lasts_as_long_as_its_requests() {
    let keyed = Keyed::new(1, 0, 100 * MS);
    let held = keyed.limiter(b"alice").enter(Priority::Normal).unwrap();
    assert!(keyed.limiter(b"alice").enter(Priority::Normal).is_none());
    assert!(keyed.limiter(b"bob").enter(Priority::Normal).is_some());
    drop(held);
    assert!(keyed.limiter(b"alice").enter(Priority::Normal).is_some());
    for number in 0..100_000_u32 {
        keyed.limiter(&number.to_le_bytes());
    }
    assert!(keyed.len() < 32 * 2 * 64, "{} are kept", keyed.len());
}

/// A service with so many hands, each busy for so long with a request; more requests wait inside
/// it, as they do in real ones.
struct Service {
    hands: Semaphore,
    takes: Cell<Duration>,
}

/// What came of a load.
#[derive(Default)]
struct Load {
    /// Latencies of what was answered before its client gave up, and when.
    good: RefCell<Vec<(Duration, Duration)>>,
    refused: Cell<usize>,
}

impl Load {
    /// Good answers a second between two moments.
    fn goodput(&self, from: u64, to: u64) -> f64 {
        let range = Duration::from_secs(from)..Duration::from_secs(to);
        let good = self.good.borrow();
        let count = good.iter().filter(|(at, _)| range.contains(at)).count();
        count as f64 / (to - from) as f64
    }

    fn p99(&self, from: u64, to: u64) -> Duration {
        let range = Duration::from_secs(from)..Duration::from_secs(to);
        let good = self.good.borrow();
        let mut took: Vec<Duration> =
            good.iter().filter(|(at, _)| range.contains(at)).map(|(_, took)| *took).collect();
        took.sort_unstable();
        took[took.len() * 99 / 100]
    }
}

/// Offers requests at a steady rate, whatever becomes of them. Clients give up after a second.
async fn offer(
    service: Rc<Service>,
    limiter: Option<Arc<Limiter>>,
    every: Duration,
    time: Duration,
) -> Rc<Load> {
    let load = Rc::new(Load::default());
    let (local, begun) = (LocalSet::new(), Instant::now());
    let arrivals = {
        let load = Rc::clone(&load);
        async move {
            while begun.elapsed() < time {
                let one = request(Rc::clone(&service), limiter.clone(), Rc::clone(&load), begun);
                tokio::task::spawn_local(timeout(Duration::from_secs(1), one));
                sleep(every).await;
            }
        }
    };
    local.run_until(arrivals).await;
    load
}

async fn request(
    service: Rc<Service>,
    limiter: Option<Arc<Limiter>>,
    load: Rc<Load>,
    begun: Instant,
) {
    let arrived = Instant::now();
    let permit = match &limiter {
        None => None,
        Some(limiter) => match limiter.enter(Priority::Normal) {
            Some(permit) => Some(permit),
            None => {
                let permit = match limiter.wait(Priority::Normal) {
                    Some(waiting) => timeout(100 * MS, waiting).await.ok().flatten(),
                    None => None,
                };
                if permit.is_none() {
                    load.refused.set(load.refused.get() + 1);
                    return;
                }
                permit
            }
        },
    };
    let sent = Instant::now();
    // A service does not notice that its client has gone: its hands are busy all the same.
    let served = tokio::task::spawn_local(async move {
        let _hand = service.hands.acquire().await.unwrap();
        sleep(service.takes.get().mul_f64(0.5 + fastrand::f64())).await;
    });
    served.await.unwrap();
    if let Some(limiter) = &limiter {
        limiter.observe(sent.elapsed(), false);
    }
    drop(permit);
    load.good.borrow_mut().push((begun.elapsed(), arrived.elapsed()));
}

fn adaptive() -> Arc<Limiter> {
    let bound = Bound::Adaptive(Box::new(Adaptive::new(20, 4, 1000)));
    Arc::new(Limiter::new(bound, 64, 50 * MS))
}

/// 16 hands that take 40 ms: 400 a second at most.
fn service() -> Rc<Service> {
    Rc::new(Service { hands: Semaphore::new(16), takes: Cell::new(40 * MS) })
}

#[tokio::test(start_paused = true)]
async fn five_times_the_capacity_costs_little_goodput_and_no_latency() {
    fastrand::seed(7);
    // Arrivals are on whole milliseconds, as the timer's are.
    let every = Duration::from_micros(500);
    let offered = |limiter| offer(service(), limiter, every, Duration::from_secs(40));

    let with = offered(Some(adaptive())).await;
    let peak = 400.0;
    for (from, to) in [(5, 15), (15, 30), (30, 40)] {
        let goodput = with.goodput(from, to);
        assert!(goodput >= 0.9 * peak, "{goodput} of {peak} in {from}..{to} s");
    }
    let (early, late) = (with.p99(5, 15), with.p99(30, 40));
    assert!(late < early.mul_f64(1.3), "the latency grows: {early:?}, then {late:?}");
    assert!(late < 300 * MS, "{late:?}");
    assert!(with.refused.get() > 0);

    let without = offered(None).await;
    let goodput = without.goodput(15, 30);
    assert!(goodput < 0.5 * peak, "without a limit there is nothing to prove: {goodput}");
}

#[tokio::test(start_paused = true)]
async fn the_limit_follows_the_service() {
    fastrand::seed(7);
    let (service, limiter) = (service(), adaptive());
    let every = Duration::from_micros(1000);
    let time = Duration::from_secs(20);
    let load = offer(Rc::clone(&service), Some(Arc::clone(&limiter)), every, time).await;
    assert!(load.goodput(5, 20) >= 0.9 * 400.0);
    let fast = limiter.limit();
    assert!((16..80).contains(&fast), "{fast} for 16 hands");
    // Half of the hands are gone.
    service.hands.forget_permits(8);
    let time = Duration::from_secs(60);
    let load = offer(Rc::clone(&service), Some(Arc::clone(&limiter)), every, time).await;
    assert!(load.goodput(10, 60) >= 0.9 * 200.0, "{}", load.goodput(10, 60));
    assert!(limiter.limit() < fast, "{} after {fast}", limiter.limit());
    service.hands.add_permits(8);
    let time = Duration::from_secs(60);
    let load = offer(service, Some(limiter), every, time).await;
    assert!(load.goodput(40, 60) >= 0.9 * 400.0, "it comes back: {}", load.goodput(40, 60));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_not_used_does_not_grow() {
    let limiter = adaptive();
    let time = Duration::from_secs(20);
    let load = offer(service(), Some(Arc::clone(&limiter)), 10 * MS, time).await;
    assert!(load.goodput(1, 20) > 90.0);
    assert!(limiter.limit() <= 24, "{}", limiter.limit());
}

#[tokio::test(start_paused = true)]
async fn requests_that_become_slower_by_themselves_are_soon_no_load() {
    fastrand::seed(7);
    // Hands enough, so that nothing ever queues.
    let service = Rc::new(Service { hands: Semaphore::new(200), takes: Cell::new(2 * MS) });
    let limiter = adaptive();
    let every = Duration::from_micros(1000);
    let time = Duration::from_secs(20);
    let load = offer(Rc::clone(&service), Some(Arc::clone(&limiter)), every, time).await;
    let offered = load.goodput(1, 20);
    // Others of the same upstream are asked for now, of which fifty are under way at a time.
    service.takes.set(50 * MS);
    let time = Duration::from_secs(20);
    let load = offer(service, Some(limiter), every, time).await;
    let goodput = load.goodput(6, 20);
    assert!(goodput >= 0.95 * offered, "{goodput} of {offered} a second");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_loses_most_of_its_hands_is_no_slow_one() {
    fastrand::seed(7);
    let (service, limiter) = (service(), adaptive());
    let every = Duration::from_micros(1000);
    let time = Duration::from_secs(20);
    offer(Rc::clone(&service), Some(Arc::clone(&limiter)), every, time).await;
    service.hands.forget_permits(13);
    let time = Duration::from_secs(25);
    let load = offer(service, Some(Arc::clone(&limiter)), every, time).await;
    assert!(load.goodput(5, 25) >= 0.9 * 75.0, "{}", load.goodput(5, 25));
    // Each of three at 40 ms: what waits behind them is a queue, however long it stands.
    assert!(limiter.limit() <= 14, "{}", limiter.limit());
    assert!(load.p99(10, 25) < 400 * MS, "{:?}", load.p99(10, 25));
}

/// What an upstream's answer with this status, and this of gRPC, tells an adaptive limit.
async fn heard(status: u16, grpc: Option<&'static str>) -> String {
    let policy = cases::policy("concurrency", &json!("adaptive")).unwrap();
    for _ in 0..60 {
        let mut exchange = cases::request(&json!("GET /"));
        assert!(matches!(policy.request(&mut exchange), Step::Now(Ok(Verdict::Pass))));
        advance(10 * MS).await;
        (exchange.origin, exchange.grpc) = (Origin::Upstream, grpc.is_some());
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response.headers_mut().extend(
            grpc.map(|code| {
                (HeaderName::from_static("grpc-status"), HeaderValue::from_static(code))
            }),
        );
        assert!(matches!(policy.response(&mut exchange, &mut response), Step::Now(Ok(()))));
    }
    policy.describe()
}

#[tokio::test(start_paused = true)]
async fn failures_are_no_measure() {
    for (status, grpc) in [(200, None), (404, None), (200, Some("0"))] {
        let told = heard(status, grpc).await;
        assert!(told.contains("latency without load 10.0ms"), "{status} {grpc:?}: {told}");
    }
    for (status, grpc) in [(500, None), (503, None), (200, Some("14"))] {
        let told = heard(status, grpc).await;
        assert!(!told.contains("latency without load"), "{status} {grpc:?}: {told}");
    }
}
