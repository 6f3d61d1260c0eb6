//! One cache for several gateways: real processes on one Redis, which is cut, hung and restarted.

use std::net::SocketAddr;
use std::time::Duration;

use lockgate_testkit::redis::{RedisServer, Strait};
use lockgate_testkit::{Answer, Echo, Gateway, Raw, Step, request, until};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::start;

/// A purge is heard in milliseconds; on a machine that has other things to do, not much later.
const SOON: Duration = Duration::from_secs(2);

/// A gateway that keeps what this address answers in the store, by these further settings. It has
/// heard of all purges.
async fn gateway(redis: &RedisServer, upstream: SocketAddr, settings: &str) -> Gateway {
    let (url, to) = (redis.url(), format!("\"http://{upstream}\""));
    let config = [
        // Time enough for a busy machine.
        format!("workers: 2\nstores: {{ shared: {{ url: \"{url}\", timeout: 2s }} }}"),
        "defaults: { retry: { attempts: 1 } }".to_owned(),
        "routes:".to_owned(),
        format!("  /*: {{ cache: {{ ttl: 60s, wait: 30s, store: shared{settings} }}, to: {to} }}"),
        "  POST /accounts/{id}/transfers:".to_owned(),
        format!("    {{ invalidate: [\"/accounts/{{id}}/**\", \"tag:sums\"], to: {to} }}\n"),
    ];
    let gateway = start(&config.join("\n")).await;
    hears(&gateway).await;
    gateway
}

async fn hears(gateway: &Gateway) {
    until("the purges to be known", async || {
        let unheard = figure(gateway, "unheard_seconds", &[]).await;
        (0.0..1.0).contains(&unheard)
    })
    .await;
}

async fn figure(gateway: &Gateway, name: &str, labels: &[(&str, &str)]) -> f64 {
    gateway.metrics().await.sum(&format!("lockgate_shared_cache_{name}"), labels)
}

/// An upstream that answers everything with tags.
async fn tagged() -> Raw {
    let answer = "HTTP/1.1 200 OK\r\nCache-Tag: sums\r\nContent-Length: 4\r\n\r\nkept";
    Raw::start(vec![Step::Repeat(vec![Step::Request, Step::send(answer)])]).await
}

fn is_hit(answer: &Answer) -> bool {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("cache-status").is_some_and(|status| status.contains("; hit;"))
}

/// Asks until all of them have the answer at hand.
async fn primed(gateways: &[Gateway], path: &str) {
    until("all to have it", async || {
        for gateway in gateways {
            if !is_hit(&gateway.get(path).await) {
                return false;
            }
        }
        true
    })
    .await;
}

/// Asks until each of them has been seen not to have it any more.
async fn gone(gateways: &[Gateway], path: &str) {
    for gateway in gateways {
        let forget = [("Cache-Control", "only-if-cached")];
        until("it to be gone", async || gateway.ask("GET", path, &forget, "").await.status == 504)
            .await;
    }
}

#[tokio::test]
async fn what_one_has_kept_another_gives_and_only_the_first_has_asked() {
    let (redis, raw) = (RedisServer::start().await, tagged().await);
    let one = gateway(&redis, raw.address(), "").await;
    let two = gateway(&redis, raw.address(), "").await;
    let first = one.get("/a").await;
    assert_eq!(first.header("cache-status"), Some("Lockgate; fwd=uri-miss; stored"));
    let put = [("result", "put")];
    until("it to be put", async || figure(&one, "puts_total", &put).await == 1.0).await;
    let second = two.get("/a").await;
    assert!(is_hit(&second), "{second:?}");
    assert_eq!((second.text(), second.header("cache-tag")), ("kept".to_owned(), None));
    assert!(second.header("age").is_some() && raw.requests() == 1);
    let hit = [("store", "shared"), ("result", "hit")];
    assert_eq!(figure(&two, "lookups_total", &hit).await, 1.0);
    assert!(is_hit(&two.get("/a").await));
    assert_eq!(figure(&two, "lookups_total", &hit).await, 1.0, "from memory from then on");
    let stats: serde_json::Value =
        serde_json::from_str(&two.admin("GET", "/admin/cache/stats", "").await.text()).unwrap();
    assert_eq!(stats["stores"]["shared"]["entries"], 1, "{stats}");
}

#[tokio::test]
async fn an_operators_purge_on_one_reaches_all() {
    let (redis, raw) = (RedisServer::start().await, tagged().await);
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(gateway(&redis, raw.address(), "").await);
    }
    for (n, what) in [
        r#"{"url": "http://example.test/x/1"}"#,
        r#"{"tag": "sums"}"#,
        r#"{"pattern": "/x/*"}"#,
        "",
    ]
    .into_iter()
    .enumerate()
    {
        primed(&all, "/x/1").await;
        let (began, asked) = (Instant::now(), raw.requests());
        let cleared = all[n % 3].admin("POST", "/admin/cache/clear", what).await;
        assert_eq!(cleared.text(), r#"{"cleared":1}"#, "{what}");
        gone(&all, "/x/1").await;
        let took = began.elapsed();
        println!("a purge was seen on three gateways after {took:?}: {what}");
        assert!(took < SOON, "{what}: {took:?}");
        assert_eq!(raw.requests(), asked, "nobody asked for it meanwhile");
    }
    for gateway in &all {
        let lag = figure(gateway, "purge_lag_seconds", &[]).await;
        println!("the last purge was heard after {:.3} ms", lag * 1e3);
        assert!(lag < SOON.as_secs_f64());
        // Whether as it was made or in the log, and it may be both.
        let heard = async |how| figure(gateway, "purges_total", &[("how", how)]).await;
        assert!(heard("heard").await + heard("read").await >= 4.0);
        assert_eq!(figure(gateway, "purges_untold", &[]).await, 0.0);
    }
}

#[tokio::test]
async fn a_write_through_one_clears_on_all() {
    let (redis, raw) = (RedisServer::start().await, tagged().await);
    let one = gateway(&redis, raw.address(), "").await;
    let two = gateway(&redis, raw.address(), "").await;
    let all = [one, two];
    primed(&all, "/accounts/7").await;
    assert_eq!(all[0].ask("PUT", "/accounts/7", &[], "x").await.status, 200);
    gone(&all, "/accounts/7").await;
    primed(&all, "/accounts/7/cards").await;
    assert_eq!(all[1].ask("POST", "/accounts/7/transfers", &[], "x").await.status, 200);
    gone(&all, "/accounts/7/cards").await;
    // A client that does not wait for the answer does not undo what it wrote.
    let redis = RedisServer::start().await;
    let slow = Raw::start(vec![Step::Repeat(vec![Step::Request, Step::Gate, Step::ok("kept")])]);
    let slow = slow.await;
    let all =
        [gateway(&redis, slow.address(), "").await, gateway(&redis, slow.address(), "").await];
    slow.open(1);
    primed(&all, "/accounts/7").await;
    let mut wire = all[0].wire().await;
    wire.send(request("PUT", "/accounts/7", &[], "")).await;
    slow.seen("PUT /accounts/7").await;
    assert!(is_hit(&all[1].get("/accounts/7").await), "nothing is over yet");
    drop(wire);
    gone(&all, "/accounts/7").await;
}

#[tokio::test]
async fn a_thousand_clients_on_three_gateways_are_one_request_upstream() {
    let (redis, echo) = (RedisServer::start().await, Echo::start("a").await);
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(gateway(&redis, echo.address(), "").await);
    }
    let mut clients = JoinSet::new();
    for n in 0..1000 {
        let mut wire = all[n % 3].wire().await;
        wire.send(request("GET", "/wait", &[], "")).await;
        clients.spawn(async move { wire.answer().await });
    }
    until("all to wait", async || {
        let mut waiting = 0.0;
        for gateway in &all {
            waiting += gateway.metrics().await.sum("lockgate_requests_in_flight", &[]);
        }
        waiting >= 1000.0
    })
    .await;
    assert_eq!(echo.hits(), 1);
    echo.open(1000);
    let mut bodies = std::collections::BTreeSet::new();
    while let Some(answer) = clients.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        bodies.insert(answer.text());
    }
    assert_eq!((echo.hits(), bodies.len()), (1, 1));
}

#[tokio::test]
async fn a_leader_that_dies_hands_over_to_another_gateway() {
    let (redis, echo) = (RedisServer::start().await, Echo::start("a").await);
    let one = gateway(&redis, echo.address(), "").await;
    let two = gateway(&redis, echo.address(), "").await;
    let mut leader = one.wire().await;
    leader.send(request("GET", "/wait", &[], "")).await;
    until("the leader's request", async || echo.hits() == 1).await;
    let mut follower = two.wire().await;
    follower.send(request("GET", "/wait", &[], "")).await;
    let waits = [("result", "waits")];
    until("the other to wait", async || figure(&two, "turns_total", &waits).await > 0.0).await;
    assert_eq!(echo.hits(), 1);
    drop(one);
    until("the other to lead", async || echo.hits() == 2).await;
    echo.open(10);
    assert_eq!(follower.answer().await.status, 200);
}

#[tokio::test]
async fn a_purge_during_a_cut_is_honoured_after_it() {
    let mut redis = RedisServer::start_with(&["--appendonly", "yes"]).await;
    let raw = tagged().await;
    let one = gateway(&redis, raw.address(), "").await;
    let two = gateway(&redis, raw.address(), "").await;
    let careful = gateway(&redis, raw.address(), ", on_store_error: miss").await;
    let all = [one, two, careful];
    primed(&all, "/x").await;
    redis.stop();
    until("the cut to be noticed", async || !is_hit(&all[2].get("/x").await)).await;
    let missed = all[2].get("/x").await;
    let said = missed.header("cache-status").unwrap_or_default().to_owned();
    assert!(said.contains("detail=\"the store failed\""), "{said}");
    // The write is answered, and clears here; the others cannot know.
    assert_eq!(all[0].ask("PUT", "/x", &[], "x").await.status, 200);
    gone(&all[..1], "/x").await;
    assert!(is_hit(&all[1].get("/x").await), "for as long as it is good");
    let cleared = all[0].admin("POST", "/admin/cache/clear", r#"{"tag": "sums"}"#).await;
    assert_eq!(cleared.status, 503, "{}", cleared.text());
    assert!(cleared.text().contains("the others are told once they can be"));
    redis.restart().await;
    let began = Instant::now();
    gone(&all[1..2], "/x").await;
    println!("a purge during a cut was honoured {:?} after it", began.elapsed());
    for gateway in &all {
        hears(gateway).await;
    }
    primed(&all, "/x").await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_kept_by_each_gateway() {
    let (redis, echo) = (RedisServer::start().await, Echo::start("a").await);
    let one = gateway(&redis, echo.address(), ", max_shared_body: 64KB").await;
    let two = gateway(&redis, echo.address(), ", max_shared_body: 64KB").await;
    let all = [one, two];
    primed(&all, "/bytes/60000").await;
    assert_eq!(echo.hits(), 1);
    primed(&all, "/bytes/70000").await;
    assert_eq!(echo.hits(), 3, "each has asked once");
    assert_eq!(figure(&all[0], "puts_total", &[("result", "apart")]).await, 1.0);
    let memory = redis.ask(&["INFO", "memory"]).await.text();
    println!("{}", memory.lines().nth(1).unwrap_or_default());
}

#[tokio::test]
async fn a_hung_store_is_a_miss_and_costs_no_request_more_than_its_time() {
    let (redis, raw) = (RedisServer::start().await, tagged().await);
    let gateway = gateway(&redis, raw.address(), "").await;
    primed(std::slice::from_ref(&gateway), "/x").await;
    redis.pause();
    let began = Instant::now();
    let first = gateway.get("/0").await;
    println!("the first request after the store hung took {:?}", began.elapsed());
    let said = first.header("cache-status").unwrap_or_default().to_owned();
    assert_eq!(said, "Lockgate; fwd=uri-miss; stored; detail=\"the store failed\"");
    let began = Instant::now();
    for n in 1..=50 {
        assert_eq!(gateway.get(&format!("/{n}")).await.text(), "kept");
        assert_eq!(gateway.ask("PUT", &format!("/{n}"), &[], "x").await.status, 200);
    }
    println!("a hundred more took {:?}", began.elapsed());
    assert!(is_hit(&gateway.get("/x").await), "what is in memory is given");
    assert!(figure(&gateway, "lookups_total", &[("result", "failed")]).await >= 51.0);
    redis.resume();
    until("the purges to be told", async || figure(&gateway, "purges_untold", &[]).await == 0.0)
        .await;
    hears(&gateway).await;
}

#[tokio::test]
async fn a_large_answer_that_is_slow_holds_up_no_limit() {
    let (redis, echo) = (RedisServer::start().await, Echo::start("a").await);
    let strait = Strait::to(redis.address()).await;
    let gateway = async |at: SocketAddr| {
        let gateway = start(&format!(
            "stores: {{ shared: {{ url: \"redis://{at}\", timeout: 400ms }} }}\nroutes:\n  \
             /bytes/*: {{ cache: {{ ttl: 60s, store: shared }}, to: \"http://{}\" }}\n  \
             /limited: {{ rate_limit: {{ limit: 100000/h, by: ip, precision: exact, store: shared, \
             on_store_error: deny }}, to: {{ respond: {{}} }} }}\n",
            echo.address()
        ))
        .await;
        hears(&gateway).await;
        gateway
    };
    let near = gateway(redis.address()).await;
    assert_eq!(near.get("/bytes/1000000").await.status, 200);
    let put = [("result", "put")];
    until("it to be put", async || figure(&near, "puts_total", &put).await == 1.0).await;
    let far = gateway(strait.address()).await;
    let mut waits = far.wire().await;
    waits.send(request("GET", "/bytes/1000000", &[], "")).await;
    let failed = [("use", "blobs"), ("outcome", "timeout")];
    let mut passed = 0;
    until("it to have waited in vain", async || {
        for _ in 0..5 {
            let answer = far.get("/limited").await;
            assert_eq!(answer.status, 200, "{answer:?}");
            passed += 1;
        }
        far.metrics().await.sum("lockgate_store_calls_total", &failed) == 1.0
    })
    .await;
    let answer = waits.answer().await;
    assert_eq!((answer.status, answer.body.len()), (200, 1_000_000));
    let said = answer.header("cache-status").unwrap_or_default();
    assert!(said.contains("detail=\"the store failed\""), "{said}");
    for _ in 0..50 {
        assert_eq!(far.get("/limited").await.status, 200);
        passed += 1;
    }
    println!("{passed} limits were counted beside it");
    assert!(far.said().contains("it is asked for no kept answers until it gives them"));
    assert!(!far.said().contains("it is asked no more"), "{}", far.said());
    let metrics = far.metrics().await;
    assert_eq!(metrics.sum("lockgate_limit_store_errors_total", &[]), 0.0);
    assert_eq!(metrics.sum("lockgate_store_breakers_open", &[("use", "all")]), 0.0);
    until("kept answers to be asked for again", async || {
        far.metrics().await.sum("lockgate_store_breakers_open", &[]) == 0.0
    })
    .await;
}
