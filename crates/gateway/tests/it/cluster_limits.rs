//! Limits that several gateways count together in a Redis: never more than the limit in any window,
//! and nearly all of it while the load lasts; through a restart, a killed gateway and an outage.
//!
//! When a request was counted lies between its sending and its answer. So a window surely holds
//! what was sent after its begin and answered before its end, and that is what is held against the
//! limit, by the test's own clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockgate_testkit::redis::{MASTER, RedisServer, Sentinels};
use lockgate_testkit::{Gateway, Wire, request, until};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::launch;

/// The window of all limits here, and how much passes in it.
const WINDOW: Duration = Duration::from_secs(2);
const LIMIT: usize = 60;
/// Of the token bucket.
const BURST: usize = 20;
/// Connections of a load; each waits as long between two requests that all offer five times the
/// limit.
const CLIENTS: usize = 12;

/// One answer.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Since the test began.
    sent: Duration,
    answered: Duration,
    status: u16,
    gateway: usize,
}

/// Requests for one path, each to a gateway at random.
struct Offered {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<Seen>>,
}

impl Offered {
    fn start(begin: Instant, gateways: &[Gateway], path: &str) -> Self {
        let addresses: Vec<_> = gateways.iter().map(Gateway::web).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let pause = WINDOW.mul_f64(CLIENTS as f64 / (5 * LIMIT) as f64);
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (addresses, stop, path) = (addresses.clone(), stop.clone(), path.to_owned());
            clients.spawn(async move {
                let mut random = fastrand::Rng::with_seed(client as u64);
                let mut wires: Vec<Option<Wire>> = addresses.iter().map(|_| None).collect();
                let mut seen = Vec::new();
                let mut next = begin;
                while !stop.load(SeqCst) {
                    next += pause.mul_f64(random.f64() * 2.0);
                    tokio::time::sleep_until(next).await;
                    let gateway = random.usize(..addresses.len());
                    let mut wire = match wires[gateway].take() {
                        Some(wire) => wire,
                        None => match Wire::try_connect(addresses[gateway]).await {
                            Ok(wire) => wire,
                            Err(_) => continue,
                        },
                    };
                    let sent = begin.elapsed();
                    let asked = request("GET", &path, &[], "");
                    if !wire.try_send(asked.as_bytes(), WINDOW).await {
                        continue;
                    }
                    let Ok(answer) = wire.answer_to("GET").await else { continue };
                    let (answered, status) = (begin.elapsed(), answer.status);
                    seen.push(Seen { sent, answered, status, gateway });
                    wires[gateway] = Some(wire);
                }
                seen
            });
        }
        Self { stop, clients }
    }

    async fn stop(mut self) -> Vec<Seen> {
        self.stop.store(true, SeqCst);
        let mut all = Vec::new();
        while let Some(seen) = self.clients.join_next().await {
            all.extend(seen.unwrap());
        }
        all.sort_by_key(|seen| seen.sent);
        all
    }
}

fn passed(all: &[Seen]) -> Vec<Seen> {
    all.iter().filter(|seen| seen.status == 200).copied().collect()
}

/// Most that surely passed within any time of this length.
fn most_within(all: &[Seen], length: Duration) -> usize {
    let passed = passed(all);
    let within = |begin: &Seen| {
        let in_it = |seen: &&Seen| seen.sent >= begin.sent && seen.answered < begin.sent + length;
        passed.iter().filter(in_it).count()
    };
    passed.iter().map(within).max().unwrap_or_default()
}

/// What passed by answers in a part of the test.
fn between(all: &[Seen], begin: Duration, end: Duration) -> usize {
    passed(all).iter().filter(|seen| seen.answered >= begin && seen.answered < end).count()
}

/// A store that has time enough on a busy machine.
fn url(redis: &RedisServer) -> String {
    format!("stores: {{ shared: {{ url: \"{}\", timeout: 1s }} }}\n", redis.url())
}

fn route(path: &str, settings: &str) -> String {
    format!(
        "  {path}: {{ rate_limit: {{ limit: {LIMIT}/2s, by: host, store: shared, {settings} }}, \
         to: {{ respond: {{}} }} }}\n"
    )
}

/// Three gateways that know of each other.
async fn three(config: &str) -> Vec<Gateway> {
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(launch().start(config).await);
    }
    gateways
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn together_they_admit_the_limit_and_no_more() {
    let redis = RedisServer::start().await;
    let ways = [
        ("/exact", "precision: exact, on_store_error: deny"),
        ("/leased", "precision: leased, on_store_error: deny"),
        ("/log", "algorithm: sliding_log, precision: leased, on_store_error: deny"),
        ("/fixed", "algorithm: fixed_window, precision: leased, on_store_error: deny"),
        ("/bucket", "algorithm: token_bucket, burst: 20, precision: leased, on_store_error: deny"),
    ];
    let routes: String = ways.iter().map(|(path, settings)| route(path, settings)).collect();
    let gateways = three(&format!("{}routes:\n{routes}", url(&redis))).await;
    // From the begin of a fixed window on, so that it is seen whole.
    let begin = Instant::now() + until_round();
    let loads: Vec<_> =
        ways.iter().map(|(path, _)| (*path, Offered::start(begin, &gateways, path))).collect();
    let lasts = WINDOW * 4;
    tokio::time::sleep_until(begin + lasts).await;
    for (path, load) in loads {
        let seen = load.stop().await;
        let all = between(&seen, Duration::ZERO, lasts);
        let denied = seen.iter().filter(|seen| seen.status == 503).count();
        println!("{path}: {all} of {} in {lasts:?}, {denied} denied", seen.len());
        let most = match path {
            "/fixed" => {
                let in_one = |n: u32| {
                    let (from, to) = (WINDOW * n, WINDOW * (n + 1));
                    let surely = |seen: &&Seen| seen.sent >= from && seen.answered < to;
                    passed(&seen).iter().filter(surely).count()
                };
                (0..4).map(in_one).max().unwrap()
            }
            "/bucket" => bucket_excess(&seen),
            _ => most_within(&seen, WINDOW),
        };
        assert!(most <= LIMIT, "{path}: {most} in a window");
        let expected = if path == "/bucket" { BURST + LIMIT * 4 } else { LIMIT * 4 };
        assert!(all * 100 >= expected * 95, "{path}: {all} of {expected}");
        assert!(seen.len() > LIMIT * 4 * 3, "too little load: {}", seen.len());
    }
    let metrics = gateways[0].metrics().await;
    let store = [("store", "shared")];
    let granted = metrics.sum("lockgate_limit_granted_here_total", &store);
    let refused = metrics.sum("lockgate_limit_refused_here_total", &store);
    println!("a gateway passed {granted} and refused {refused} without a call");
    assert!(granted > 0.0 && refused > 0.0, "{granted}, {refused}");
}

/// Until the next round time of the window, by the clock that Redis has too.
fn until_round() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let window = WINDOW.as_micros();
    Duration::from_micros((window - now % window).try_into().unwrap())
}

/// By how much more than it may have, the bucket let pass in the worst time: as if the limit were
/// the sum.
fn bucket_excess(all: &[Seen]) -> usize {
    let passed = passed(all);
    let mut worst = 0;
    for begin in &passed {
        let mut inside: Vec<Duration> = passed
            .iter()
            .filter(|seen| seen.sent >= begin.sent)
            .map(|seen| seen.answered)
            .collect();
        inside.sort_unstable();
        for (count, end) in inside.iter().enumerate() {
            let time = end.saturating_sub(begin.sent).as_secs_f64();
            let may = BURST as f64 + time * LIMIT as f64 / WINDOW.as_secs_f64();
            let over = (count + 1) as f64 - may;
            worst = worst.max(LIMIT.saturating_add_signed(over.ceil() as isize));
        }
    }
    worst
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_redis_and_a_killed_gateway_let_no_more_pass() {
    let mut redis =
        RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let routes = route("/leased", "precision: leased, on_store_error: deny")
        + &route("/exact", "precision: exact, on_store_error: deny");
    let mut gateways = three(&format!("{}routes:\n{routes}", url(&redis))).await;
    let begin = Instant::now();
    let leased = Offered::start(begin, &gateways, "/leased");
    let exact = Offered::start(begin, &gateways, "/exact");
    // The outage is where the next window's requests would pass.
    sleep(WINDOW - WINDOW / 20).await;
    redis.stop();
    sleep(WINDOW / 4).await;
    redis.restart().await;
    let back = begin.elapsed();
    sleep(WINDOW).await;
    gateways[1].signal("KILL");
    gateways[1].ended().await;
    // The breakers close by themselves; the windows after that are full again.
    sleep(WINDOW * 3).await;
    let end = begin.elapsed();
    for (path, load) in [("/leased", leased), ("/exact", exact)] {
        let seen = load.stop().await;
        let most = most_within(&seen, WINDOW);
        assert!(most <= LIMIT, "{path}: {most} in a window");
        let from = back + WINDOW;
        let all = between(&seen, from, end);
        let expected = LIMIT as f64 * (end - from).as_secs_f64() / WINDOW.as_secs_f64();
        println!("{path}: {all} of {expected} after the restart");
        assert!(all as f64 >= expected * 0.95 - LIMIT as f64 * 0.2, "{path}: {all} of {expected}");
        let denied = seen.iter().filter(|seen| seen.status == 503).count();
        assert!(denied > 0, "{path}: nobody met the outage");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_lets_no_more_pass_than_its_lost_writes_had_granted() {
    let mut redis = Sentinels::start().await;
    let sentinels: Vec<String> =
        redis.sentinels().iter().map(|address| format!("\"{address}\"")).collect();
    let store = format!(
        "stores: {{ shared: {{ redis_sentinel: {{ master: {MASTER}, sentinels: [{}] }}, \
         timeout: 1s }} }}\n",
        sentinels.join(", ")
    );
    let routes = route("/leased", "precision: leased, on_store_error: deny")
        + &route("/exact", "precision: exact, on_store_error: deny");
    let gateways = three(&format!("{store}routes:\n{routes}")).await;
    let begin = Instant::now();
    let leased = Offered::start(begin, &gateways, "/leased");
    let exact = Offered::start(begin, &gateways, "/exact");
    sleep(WINDOW + WINDOW / 3).await;
    let killed = begin.elapsed();
    redis.fail_over().await;
    let back = begin.elapsed();
    sleep(WINDOW * 3).await;
    let end = begin.elapsed();
    for (path, load) in [("/leased", leased), ("/exact", exact)] {
        let seen = load.stop().await;
        // Replicas are milliseconds behind: they have what passed a tenth of a second before.
        let last = between(&seen, killed - WINDOW / 20, killed + WINDOW / 20);
        let most = most_within(&seen, WINDOW);
        println!("{path}: {most} in a window, {last} just before; back after {:?}", back - killed);
        assert!(most <= LIMIT + last, "{path}: {most} in a window");
        let from = back + WINDOW;
        let all = between(&seen, from, end);
        let expected = LIMIT as f64 * (end - from).as_secs_f64() / WINDOW.as_secs_f64();
        println!("{path}: {all} of {expected} after the failover");
        assert!(all as f64 >= expected * 0.95 - LIMIT as f64 * 0.2, "{path}: {all} of {expected}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_gateway_counts_its_share() {
    let mut redis = RedisServer::start().await;
    let routes = route("/local", "precision: leased")
        + &route("/allow", "on_store_error: allow")
        + &route("/deny", "on_store_error: deny");
    let gateways = three(&format!("{}routes:\n{routes}", url(&redis))).await;
    for gateway in &gateways {
        until("all gateways to know of each other", async || {
            gateway.metrics().await.sum("lockgate_store_live_gateways", &[("store", "shared")])
                == 3.0
        })
        .await;
    }
    redis.kill();
    for gateway in &gateways {
        let denied = gateway.get("/deny").await;
        assert_eq!((denied.status, denied.reason()), (503, Some("store_unavailable")));
        assert_eq!(gateway.get("/allow").await.status, 200);
    }
    let begin = Instant::now();
    let load = Offered::start(begin, &gateways, "/local");
    sleep(WINDOW * 3).await;
    let (seen, end) = (load.stop().await, WINDOW * 3);
    let most = most_within(&seen, WINDOW);
    assert!(most <= LIMIT, "{most} in a window");
    let all = between(&seen, Duration::ZERO, end);
    assert!(all * 100 >= LIMIT * 3 * 95, "{all} of {}", LIMIT * 3);
    for number in 0..3 {
        let own: Vec<Seen> = seen.iter().filter(|seen| seen.gateway == number).copied().collect();
        assert!(most_within(&own, WINDOW) <= LIMIT / 3, "{number}");
    }
    // Time has gone on since the load ended, so that some may pass again.
    let mut refused = gateways[0].get("/local").await;
    for _ in 0..LIMIT {
        if refused.status == 200 {
            refused = gateways[0].get("/local").await;
        }
    }
    assert_eq!((refused.status, refused.reason()), (429, Some("rate_limited")));
    assert_eq!(refused.json()["counted"], "local");
    let metrics = gateways[0].metrics().await;
    for went in ["local", "allow", "deny"] {
        let labels = [("store", "shared"), ("went", went)];
        assert!(metrics.sum("lockgate_limit_store_errors_total", &labels) > 0.0, "{went}");
    }
    // When it is back, they count together again.
    redis.restart().await;
    until("the store to be asked again", async || gateways[0].get("/deny").await.status == 200)
        .await;
}

#[tokio::test]
async fn a_quota_is_one_for_all_gateways_and_listed_by_each() {
    let redis = RedisServer::start().await;
    let config = format!(
        "{}routes:\n  /*: {{ quota: {{ limit: 5/day, by: ip, store: shared }}, \
         to: {{ respond: {{}} }} }}\n",
        url(&redis)
    );
    let (one, other) = (launch().start(&config).await, launch().start(&config).await);
    for gateway in [&one, &other, &one, &other, &one] {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    for gateway in [&other, &one] {
        let refused = gateway.get("/").await;
        assert_eq!((refused.status, refused.reason()), (429, Some("quota_exceeded")));
        assert_eq!(refused.header("x-quota-remaining"), Some("0"));
        let listed = gateway.admin("GET", "/admin/quotas", "").await.json();
        let listed = &listed["quotas"];
        assert_eq!(listed[0]["used"], 5, "{listed}");
        assert_eq!((&listed[0]["of"], &listed[0]["store"]), (&5.into(), &"shared".into()));
    }
    // Nothing of whoever is counted stands in Redis.
    let keys = redis.ask(&["KEYS", "*"]).await.text();
    assert!(keys.contains("lockgate:count:{") && !keys.contains("127.0.0.1"), "{keys}");
}

/// How often Redis has been asked to run a script.
async fn scripts_run(redis: &RedisServer) -> f64 {
    let stats = redis.ask(&["INFO", "commandstats"]).await.text();
    let row = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    row.map_or(0.0, |row| row.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn all_limits_of_a_request_are_one_round_trip() {
    let redis = RedisServer::start().await;
    let limit = |by: &str| {
        format!(
            "{{ limit: 1000/h, by: \"{by}\", store: shared, precision: exact, name: {} }}",
            &by[..2]
        )
    };
    let limits = ["ip", "host", "header:X-Own", "query:q"].map(limit).join(", ");
    let config = format!(
        "{}routes:\n  /*: {{ rate_limit: [{limits}], to: {{ respond: {{}} }} }}\n",
        url(&redis)
    );
    let gateway = launch().start(&config).await;
    let ask = async || {
        let answer = gateway.ask("GET", "/?q=1", &[("X-Own", "me")], "").await;
        assert_eq!(answer.status, 200);
        answer
    };
    // The script is known from then on.
    ask().await;
    let calls = async |labels: &[(&str, &str)]| {
        gateway.metrics().await.sum("lockgate_store_calls_total", labels)
    };
    redis.ask(&["CONFIG", "RESETSTAT"]).await;
    let (of_limits, all) = (calls(&[("use", "counters")]).await, calls(&[]).await);
    for _ in 0..20 {
        ask().await;
    }
    assert_eq!(calls(&[("use", "counters")]).await - of_limits, 20.0, "one for each request");
    // What the gateway says that it asked, heartbeats included, is what Redis has been asked.
    until("both to say the same", async || {
        let before = calls(&[]).await;
        let run = scripts_run(&redis).await;
        calls(&[]).await == before && run >= 20.0 && (run - (before - all)).abs() <= 1.0
    })
    .await;
    // And each of the four was counted in it.
    let keys = redis.ask(&["KEYS", "lockgate:count:*"]).await;
    assert_eq!(keys.list().len(), 4, "{keys:?}");
    for key in keys.list() {
        assert_eq!(redis.ask(&["HGET", &key.text(), "t"]).await.int(), 21);
    }
}
