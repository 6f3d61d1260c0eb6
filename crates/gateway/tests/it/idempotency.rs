//! Idempotency keys, over real sockets: one run whatever clients, upstreams and gateways do.

use std::net::SocketAddr;

use lockgate_testkit::redis::RedisServer;
use lockgate_testkit::{Answer, Echo, Gateway, Raw, Step, Wire, request, until, until_is};
use tokio::task::JoinSet;

use crate::support::{pool, start};

/// A gateway with these settings, and everything to one address.
async fn keyed(address: SocketAddr, settings: &str) -> Gateway {
    start(&format!(
        "workers: 2\nroutes:\n  /*: {{ idempotency: {settings}, to: \"http://{address}\" }}\n"
    ))
    .await
}

async fn pay(gateway: &Gateway, path: &str, key: &str) -> Answer {
    gateway.ask("POST", path, &[("Idempotency-Key", key)], "7").await
}

fn replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

#[tokio::test]
async fn a_repeat_is_the_first_answer_byte_for_byte() {
    let first = "HTTP/1.1 201 Created\r\nLocation: /1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                 Date: Sat, 28 Nov 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\n\
                 Transfer-Encoding: chunked\r\n\r\n4\r\npaid\r\n2\r\n!!\r\n0\r\n\r\n";
    let raw = Raw::start(vec![Step::Repeat(vec![Step::Request, Step::send(first)])]).await;
    let gateway = keyed(raw.address(), "on").await;
    let lines = |answer: &Answer| {
        let mut lines: Vec<(String, String)> = answer.headers.clone();
        lines.retain(|(name, _)| {
            !["x-request-id", "idempotency-replayed"].contains(&name.to_lowercase().as_str())
        });
        lines.sort();
        lines
    };
    let one = pay(&gateway, "/pay", "k").await;
    let two = pay(&gateway, "/pay", "k").await;
    assert_eq!((one.status, one.text(), replayed(&one)), (201, "paid!!".to_owned(), false));
    assert_eq!((two.status, two.text(), replayed(&two)), (201, "paid!!".to_owned(), true));
    assert_eq!(lines(&one), lines(&two));
    assert_eq!(raw.requests(), 1);
    let line = gateway.logged(|line| line["origin"] == "cache").await;
    assert_eq!(line["status"], 201);
    let metric = "lockgate_idempotency_requests_total";
    for result in ["first", "replayed"] {
        let sum = gateway.metrics().await.sum(metric, &[("result", result)]);
        assert_eq!(sum, 1.0, "{result}");
    }
}

#[tokio::test]
async fn repeats_at_the_same_time_run_once() {
    let echo = Echo::start("a").await;
    let gateway = keyed(echo.address(), "{ wait: 60s }").await;
    let mut clients = JoinSet::new();
    let ask = request("POST", "/wait", &[("Idempotency-Key", "k")], "7");
    for _ in 0..50 {
        let mut wire = gateway.wire().await;
        wire.send(ask.clone()).await;
        clients.spawn(async move { wire.answer().await });
    }
    let metric = "lockgate_requests_in_flight";
    until("all to wait", async || gateway.metrics().await.sum(metric, &[]) >= 50.0).await;
    echo.open(50);
    let (mut bodies, mut replays) = (std::collections::BTreeSet::new(), 0);
    while let Some(answer) = clients.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        replays += usize::from(replayed(&answer));
        bodies.insert(answer.text());
    }
    assert_eq!((echo.hits(), bodies.len(), replays), (1, 1, 49));
}

#[tokio::test]
async fn a_client_that_goes_away_finds_its_answer_later() {
    let echo = Echo::start("a").await;
    let gateway = keyed(echo.address(), "on").await;
    let mut wire = gateway.wire().await;
    wire.send(request("POST", "/wait", &[("Idempotency-Key", "k")], "7")).await;
    until("the upstream to have it", async || echo.hits() == 1).await;
    drop(wire);
    let gone = gateway.logged(|line| line["reason"] == "client_closed").await;
    assert_eq!(gone["status"], 499);
    let early = pay(&gateway, "/wait", "k").await;
    assert_eq!((early.status, early.reason()), (409, Some("idempotency_running")));
    assert!(early.header("retry-after").is_some());
    echo.open(1);
    let ask = async || pay(&gateway, "/wait", "k").await;
    let answer = until_is("the first to be done", ask, |answer| answer.status != 409).await;
    assert_eq!((answer.status, replayed(&answer), echo.hits()), (200, true, 1));
    assert_eq!((echo.cancelled(), answer.json()["body"].as_str()), (0, Some("7")));
}

#[tokio::test]
async fn a_gateway_that_ends_brings_what_runs_to_its_end() {
    let echo = Echo::start("a").await;
    let mut gateway = keyed(echo.address(), "on").await;
    let mut wire = gateway.wire().await;
    wire.send(request("POST", "/wait", &[("Idempotency-Key", "k")], "7")).await;
    until("the upstream to have it", async || echo.hits() == 1).await;
    drop(wire);
    gateway.logged(|line| line["reason"] == "client_closed").await;
    gateway.signal("TERM");
    let web = gateway.web();
    until("the listener to close", async || Wire::try_connect(web).await.is_err()).await;
    assert!(gateway.runs());
    echo.open(1);
    assert_eq!(gateway.ended().await, 0);
    assert_eq!(echo.cancelled(), 0, "the upstream was heard out");
}

#[tokio::test]
async fn an_upstream_that_breaks_off_leaves_an_unknown_outcome() {
    let half = Step::send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npa");
    for script in [vec![Step::Request, Step::Close], vec![Step::Request, half, Step::Close]] {
        let raw = Raw::start(script).await;
        let settings = "{ upstream_retries: false }";
        let gateway = keyed(raw.address(), settings).await;
        let first = pay(&gateway, "/pay", "k").await;
        assert_eq!(first.status, 502, "{first:?}");
        for _ in 0..2 {
            let repeat = pay(&gateway, "/pay", "k").await;
            assert_eq!((repeat.status, repeat.reason()), (409, Some("unknown_outcome")));
            assert!(repeat.json()["age_seconds"].is_u64());
        }
        assert_eq!(raw.requests(), 1);
        let other = gateway.ask("POST", "/pay", &[("Idempotency-Key", "k")], "8").await;
        assert_eq!((other.status, other.reason()), (422, Some("idempotency_key_reused")));
    }
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_leaves_nothing() {
    let port = lockgate_testkit::Port::reserve();
    let gateway = keyed(port.address(), "on").await;
    for _ in 0..3 {
        let answer = pay(&gateway, "/pay", "k").await;
        assert_eq!((answer.status, answer.reason()), (502, Some("upstream_refused")));
    }
}

#[tokio::test]
async fn an_upstream_that_knows_keys_is_asked_again_and_another_is_not() {
    for (settings, statuses) in
        [("on", [200, 200, 200, 200]), ("{ upstream_retries: false }", [200, 200, 503, 503])]
    {
        let (bad, good) = (Echo::start("bad").await, Echo::start("good").await);
        bad.answer_with(503);
        let retry = "outlier: off\nretry: { attempts: 1, on: [connect, 503], budget: 100% }";
        let config = pool(&[bad.address(), good.address()], retry);
        let config = config.replace("to: pool", &format!("idempotency: {settings}, to: pool"));
        let gateway = start(&config).await;
        let mut found = Vec::new();
        for n in 0..4 {
            let answer = pay(&gateway, "/pay", &format!("k{n}")).await;
            found.push(answer.status);
        }
        found.sort_unstable();
        assert_eq!(found, statuses, "{settings}");
        let seen = good.seen();
        assert!(seen.iter().all(|seen| seen.header("idempotency-key").is_some()));
    }
}

/// Whatever the method, and without a record too.
#[tokio::test]
async fn who_is_not_to_be_asked_twice_is_not_without_a_record_either() {
    for (method, settings) in [
        ("PUT", "{ methods: [PUT], upstream_retries: false }"),
        ("PATCH", "{ methods: [POST], upstream_retries: false }"),
        ("POST", "{ key: \"header:X-Own-Key\", upstream_retries: false }"),
        ("POST", "{ store: away, on_store_error: allow, upstream_retries: false }"),
    ] {
        let (bad, good) = (Echo::start("bad").await, Echo::start("good").await);
        bad.answer_with(503);
        let retry = "outlier: off\nretry: { attempts: 1, on: [connect, 503], budget: 100% }";
        let config = pool(&[bad.address(), good.address()], retry);
        let config = config.replace("to: pool", &format!("idempotency: {settings}, to: pool"));
        let gateway = start(&format!("stores: {{ away: redis://127.0.0.1:1 }}\n{config}")).await;
        let mut found = Vec::new();
        for n in 0..4 {
            let key = format!("k{n}");
            let answer = gateway.ask(method, "/pay", &[("Idempotency-Key", &key)], "7").await;
            found.push(answer.status);
        }
        found.sort_unstable();
        assert_eq!(found, [200, 200, 503, 503], "{method} {settings}");
    }
}

#[tokio::test]
async fn a_reload_keeps_the_records() {
    let echo = Echo::start("a").await;
    let gateway = keyed(echo.address(), "on").await;
    let first = pay(&gateway, "/pay", "k").await;
    gateway.rewrite(&format!(
        "workers: 2\nroutes:\n  /*: {{ idempotency: {{ keep: 1h }}, to: \"http://{}\" }}\n",
        echo.address()
    ));
    until("the reload", async || {
        gateway.metrics().await.sum("lockgate_config_generation", &[]) >= 2.0
    })
    .await;
    let again = pay(&gateway, "/pay", "k").await;
    assert!(replayed(&again));
    assert_eq!((again.text(), echo.hits()), (first.text(), 1));
}

/// Gateways over one Redis, all to one address.
async fn several(redis: &RedisServer, address: SocketAddr, settings: &str) -> [Gateway; 3] {
    let config = format!(
        "stores: {{ shared: \"{}\" }}\nroutes:\n  /*: {{ idempotency: {{ store: shared{settings} }}, \
         to: \"http://{address}\" }}\n",
        redis.url()
    );
    let (a, b, c) = tokio::join!(start(&config), start(&config), start(&config));
    [a, b, c]
}

#[tokio::test]
async fn repeats_at_several_gateways_run_once() {
    let (redis, echo) = (RedisServer::start().await, Echo::start("a").await);
    let gateways = several(&redis, echo.address(), ", wait: 60s").await;
    let mut clients = JoinSet::new();
    let ask = request("POST", "/wait", &[("Idempotency-Key", "k")], "7");
    for n in 0..30 {
        let mut wire = gateways[n % 3].wire().await;
        wire.send(ask.clone()).await;
        clients.spawn(async move { wire.answer().await });
    }
    let metric = "lockgate_requests_in_flight";
    for gateway in &gateways {
        until("all to wait", async || gateway.metrics().await.sum(metric, &[]) >= 10.0).await;
    }
    echo.open(30);
    let (mut bodies, mut replays) = (std::collections::BTreeSet::new(), 0);
    while let Some(answer) = clients.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        replays += usize::from(replayed(&answer));
        bodies.insert(answer.text());
    }
    assert_eq!((echo.hits(), bodies.len(), replays), (1, 1, 29));
    let other = gateways[2].ask("POST", "/wait", &[("Idempotency-Key", "k")], "8").await;
    assert_eq!((other.status, other.reason()), (422, Some("idempotency_key_reused")));
}

#[tokio::test]
async fn a_gateway_that_is_killed_leaves_an_unknown_outcome() {
    let (redis, echo) = (RedisServer::start().await, Echo::start("a").await);
    let [mut dies, refuses, _] = several(&redis, echo.address(), ", lost_after: 3s").await;
    let [retries, ..] = several(&redis, echo.address(), ", on_unknown: retry").await;
    let mut wire = dies.wire().await;
    wire.send(request("POST", "/wait", &[("Idempotency-Key", "k")], "7")).await;
    until("the upstream to have it", async || echo.hits() == 1).await;
    let running = pay(&refuses, "/wait", "k").await;
    assert_eq!((running.status, running.reason()), (409, Some("idempotency_running")));
    dies.signal("KILL");
    dies.ended().await;
    let ask = async || pay(&refuses, "/wait", "k").await;
    let unknown = |answer: &Answer| answer.reason() == Some("unknown_outcome");
    let answer = until_is("the loss to be noticed", ask, unknown).await;
    assert_eq!(answer.status, 409);
    assert!(answer.json()["age_seconds"].as_u64().unwrap() >= 3, "{answer:?}");
    let again = pay(&refuses, "/wait", "k").await;
    assert_eq!(again.reason(), Some("unknown_outcome"), "and so it stays");
    assert_eq!(echo.hits(), 1, "never a silent second run");
    // The operator may have it run again.
    echo.open(2);
    let answer = pay(&retries, "/wait", "k").await;
    assert_eq!((answer.status, replayed(&answer), echo.hits()), (200, false, 2));
    let answer = pay(&refuses, "/wait", "k").await;
    assert_eq!((answer.status, replayed(&answer), echo.hits()), (200, true, 2));
}

#[tokio::test]
async fn records_outlive_gateways_and_a_redis_that_writes_them_down() {
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut redis = RedisServer::start_with(&options).await;
    let echo = Echo::start("a").await;
    let gateways = several(&redis, echo.address(), "").await;
    let first = pay(&gateways[0], "/pay", "k").await;
    assert_eq!(first.status, 200);
    drop(gateways);
    let gateways = several(&redis, echo.address(), "").await;
    let again = pay(&gateways[1], "/pay", "k").await;
    assert_eq!((again.status, again.text(), replayed(&again)), (200, first.text(), true));
    redis.kill();
    until("the loss to be noticed", async || {
        let answer = pay(&gateways[2], "/pay", "k").await;
        (answer.status, answer.reason()) == (503, Some("store_unavailable"))
    })
    .await;
    assert_eq!(echo.hits(), 1);
    redis.restart().await;
    let ask = async || pay(&gateways[2], "/pay", "k").await;
    let answer = until_is("the store to be back", ask, |answer| answer.status == 200).await;
    assert_eq!((answer.text(), replayed(&answer), echo.hits()), (first.text(), true, 1));
}

#[tokio::test]
async fn a_store_that_goes_while_the_upstream_works_hears_of_it_later() {
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut redis = RedisServer::start_with(&options).await;
    let echo = Echo::start("a").await;
    let [one, two, _] = several(&redis, echo.address(), "").await;
    let mut wire = one.wire().await;
    wire.send(request("POST", "/wait", &[("Idempotency-Key", "k")], "7")).await;
    until("the upstream to have it", async || echo.hits() == 1).await;
    redis.kill();
    echo.open(1);
    let first = wire.answer().await;
    assert_eq!(first.status, 200, "the client has its answer");
    redis.restart().await;
    let ask = async || pay(&two, "/wait", "k").await;
    let answer = until_is("the answer to be known", ask, |answer| answer.status == 200).await;
    assert_eq!((answer.text(), replayed(&answer), echo.hits()), (first.text(), true, 1));
}

#[tokio::test]
async fn the_operator_may_let_requests_run_unprotected() {
    let redis = RedisServer::prepared(&[]);
    let echo = Echo::start("a").await;
    let [gateway, ..] = several(&redis, echo.address(), ", on_store_error: allow").await;
    for _ in 0..2 {
        let answer = pay(&gateway, "/pay", "k").await;
        assert_eq!((answer.status, replayed(&answer)), (200, false));
    }
    assert_eq!(echo.hits(), 2);
    let metric = "lockgate_idempotency_requests_total";
    let sum = gateway.metrics().await.sum(metric, &[("result", "unprotected")]);
    assert_eq!(sum, 2.0);
}
