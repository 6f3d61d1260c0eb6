//! One attempt after another: what is tried again and what is not, how long anything may take,
//! and when nothing is tried any more.

use std::time::Duration;

use lockgate_testkit::{Echo, Full, Port, Raw, Step, request, until};
use tokio::time::Instant;

use crate::support::{pool, start};

#[tokio::test]
async fn what_was_surely_not_sent_is_sent_elsewhere() {
    let a = Echo::start("a").await;
    let port = Port::reserve();
    let settings = "outlier: off\nretry: { attempts: 1, on: [connect], budget: 100% }";
    let gateway = start(&pool(&[a.address(), port.address()], settings)).await;
    for n in 0..10 {
        assert_eq!(gateway.get("/").await.status, 200);
        let answer = gateway.ask("POST", "/", &[], &format!("body {n}")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["body"], format!("body {n}"), "whole, on the second try too");
    }
    assert_eq!(a.hits(), 20);
    let retries = gateway.metrics().await.sum("lockgate_upstream_retries_total", &[]);
    assert!((1.0..=20.0).contains(&retries), "{retries}");
}

#[tokio::test]
async fn a_failure_is_tried_again_only_when_that_is_safe() {
    let (bad, good) = (Echo::start("bad").await, Echo::start("good").await);
    bad.answer_with(503);
    let settings = "outlier: off\nretry: { attempts: 1, on: [connect, 503], budget: 100% }";
    let gateway = start(&pool(&[bad.address(), good.address()], settings)).await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        for _ in 0..4 {
            let mut wire = gateway.wire().await;
            wire.send(request(method, "/", &[], "")).await;
            assert_eq!(wire.answer_to(method).await.unwrap().status, 200, "{method}");
        }
    }
    let (before_bad, before_good) = (bad.hits(), good.hits());
    for method in ["POST", "PATCH"] {
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(gateway.ask(method, "/", &[], "body").await.status);
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 503, 503], "{method}");
    }
    assert_eq!(bad.hits() - before_bad, 4);
    assert_eq!(good.hits() - before_good, 4, "nothing that failed was sent again");
    for n in 0..4 {
        let key = [("Idempotency-Key", n.to_string())];
        let key: Vec<(&str, &str)> = key.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let answer = gateway.ask("POST", "/", &key, "body").await;
        assert_eq!(answer.status, 200, "a key makes it safe");
        assert_eq!(answer.json()["body"], "body");
    }
}

#[tokio::test]
async fn an_endpoint_that_closes_is_asked_again_only_when_that_is_safe() {
    let raw = Raw::start(vec![Step::Request, Step::Close]).await;
    let good = Echo::start("good").await;
    let settings = "outlier: off\nretry: { attempts: 1, on: [connect, 502], budget: 100% }";
    let gateway = start(&pool(&[raw.address(), good.address()], settings)).await;
    for _ in 0..4 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    let before = good.hits();
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        let answer = gateway.ask("POST", "/", &[], "body").await;
        outcomes.push((answer.status, answer.reason().map(str::to_owned)));
    }
    outcomes.sort_unstable();
    let closed = (502, Some("upstream_closed".to_owned()));
    assert_eq!(outcomes, [(200, None), (200, None), closed.clone(), closed]);
    assert_eq!(good.hits() - before, 2);
}

#[tokio::test]
async fn the_status_of_the_last_try_is_the_answer() {
    let echo = Echo::start("a").await;
    echo.answer_with(503);
    let settings = "outlier: off\nretry: { attempts: 2, on: [503], budget: 100% }";
    let gateway = start(&pool(&[echo.address()], settings)).await;
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.reason()), (503, None), "the upstream's own, as it came");
    assert_eq!(answer.endpoint(), "a");
    assert_eq!(echo.hits(), 3);
}

#[tokio::test]
async fn a_route_may_forbid_retries() {
    let echo = Echo::start("a").await;
    echo.answer_with(503);
    let config = pool(&[echo.address()], "outlier: off").replace("to: pool", "to: pool, retry: 0");
    let gateway = start(&config).await;
    assert_eq!(gateway.get("/").await.status, 503);
    assert_eq!(echo.hits(), 1);
}

#[tokio::test]
async fn retries_have_a_budget() {
    let echo = Echo::start("a").await;
    echo.answer_with(503);
    let settings = "outlier: off\nretry: { attempts: 3, on: [503], budget: 20%, backoff: 1ms }";
    let gateway = start(&pool(&[echo.address()], settings)).await;
    for _ in 0..200 {
        gateway.get("/").await;
    }
    let retries = echo.hits() - 200;
    assert!(retries > 0, "some are made");
    assert!(retries <= 60, "a fifth, and a few to begin with: {retries}");
}

#[tokio::test]
async fn a_pooled_connection_that_has_ended_is_not_used() {
    let raw = Raw::start(vec![Step::Request, Step::ok("once"), Step::Close]).await;
    let gateway = start(&pool(&[raw.address()], "outlier: off\nretry: { attempts: 0 }")).await;
    for n in 0..10 {
        let answer = gateway.ask("POST", "/", &[], "body").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "once"), "{n}");
        raw.ended(n).await;
        // The end has left the upstream; it needs a moment to be known on the other side.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn all_tries_too_late_is_503() {
    let raw = Raw::start(vec![Step::Request, Step::Drain]).await;
    let settings =
        "outlier: off\ntimeout: { headers: 150ms }\nretry: { attempts: 2, budget: 100% }";
    let gateway = start(&pool(&[raw.address()], settings)).await;
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.reason()), (503, Some("upstream_all_timed_out")));
    assert_eq!(raw.requests(), 3, "each try on its own connection: {}", raw.connections());
}

#[tokio::test]
async fn a_late_endpoint_is_passed_over() {
    let late = Raw::start(vec![Step::Request, Step::Drain]).await;
    let good = Echo::start("good").await;
    let settings =
        "outlier: off\ntimeout: { headers: 150ms }\nretry: { attempts: 1, budget: 100% }";
    let gateway = start(&pool(&[late.address(), good.address()], settings)).await;
    for _ in 0..4 {
        let answer = gateway.get("/").await;
        assert_eq!((answer.status, answer.endpoint()), (200, "good"));
    }
    assert!(late.requests() >= 1);
}

#[tokio::test]
async fn a_connection_that_never_comes_about_is_late_too() {
    let full = Full::listen();
    let settings =
        "outlier: off\ntimeout: { connect: 150ms }\nretry: { attempts: 1, budget: 100% }";
    let gateway = start(&pool(&[full.address()], settings)).await;
    let began = Instant::now();
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.reason()), (503, Some("upstream_all_timed_out")));
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// Nothing was sent, so that it is retried as a connect, and for any method.
#[tokio::test]
async fn a_connect_that_is_too_late_is_retried_elsewhere() {
    let (full, good) = (Full::listen(), Echo::start("good").await);
    let settings = "outlier: off\nhealth: off\ntimeout: { connect: 150ms }\n\
                    retry: { attempts: 2, on: [connect, 502, 503], budget: 100% }";
    let gateway = start(&pool(&[full.address(), good.address()], settings)).await;
    for _ in 0..4 {
        let answer = gateway.ask("POST", "/", &[], "body").await;
        assert_eq!((answer.status, answer.endpoint()), (200, "good"));
    }
}

#[tokio::test]
async fn the_whole_request_too_late_is_504() {
    let raw = Raw::start(vec![Step::Request, Step::Drain]).await;
    let settings = "outlier: off\ntimeout: { request: 250ms }\nretry: { attempts: 0 }";
    let gateway = start(&pool(&[raw.address()], settings)).await;
    let began = Instant::now();
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.reason()), (504, Some("upstream_timeout")));
    assert!(began.elapsed() >= Duration::from_millis(240), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5));
    raw.ended(0).await;
}

#[tokio::test]
async fn a_route_has_its_own_timeout() {
    let echo = Echo::start("a").await;
    let config = format!(
        "upstreams:\n{}routes:\n  /*: {{ to: pool }}\n  /hang: {{ to: pool, timeout: 200ms }}\n",
        crate::support::upstream("pool", &[echo.address()], "retry: { attempts: 0 }")
    );
    let gateway = start(&config).await;
    let answer = gateway.get("/hang").await;
    assert_eq!((answer.status, answer.reason()), (504, Some("upstream_timeout")));
    assert_eq!(gateway.get("/delay/400").await.status, 200);
    until("the request to be given up", async || echo.cancelled() == 1).await;
}

#[tokio::test]
async fn the_whole_has_its_body_in_it_unless_it_is_a_stream() {
    let echo = Echo::start("a").await;
    let config = format!(
        "upstreams:\n{}routes:\n  /*: {{ to: pool }}\n  /stream/4/*: {{ to: pool, timeout: off }}\n",
        crate::support::upstream("pool", &[echo.address()], "timeout: { request: 300ms }")
    );
    let gateway = start(&config).await;
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/stream/400/25", &[], "")).await;
    assert!(wire.answer_to("GET").await.is_err(), "ten seconds of body");
    let line = gateway.logged(|line| line["path"] == "/stream/400/25").await;
    assert_eq!((&line["status"], &line["reason"]), (&200.into(), &"upstream_timeout".into()));
    until("the endpoint to be let go", async || {
        gateway.metrics().await.sum("lockgate_endpoint_requests_in_flight", &[]) == 0.0
    })
    .await;
    assert_eq!(gateway.get("/stream/4/150").await.status, 200, "a route may have all the time");

    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/sse", &[], "")).await;
    let mut head = wire.head("GET").await.unwrap();
    for _ in 0..3 {
        assert!(wire.piece(&mut head).await.unwrap().is_some());
        tokio::time::sleep(Duration::from_millis(200)).await;
        echo.open(1);
    }
}

#[tokio::test]
async fn a_slow_upload_does_not_use_up_the_wait_for_the_head() {
    let echo = Echo::start("a").await;
    let settings = "timeout: { headers: 300ms }\nretry: { attempts: 0 }";
    let gateway = start(&pool(&[echo.address()], settings)).await;
    let mut wire = gateway.wire().await;
    wire.send(request("POST", "/", &[("Content-Length", "10")], "")).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        wire.send("x").await;
    }
    assert_eq!(wire.answer().await.status, 200);
}

#[tokio::test]
async fn a_breaker_opens_and_closes() {
    let echo = Echo::start("a").await;
    echo.answer_with(500);
    let settings = "outlier: off\nretry: { attempts: 0 }\n\
                    breaker: { failures: 50%, of_last: 10, open_for: 500ms, trials: 1 }";
    let gateway = start(&pool(&[echo.address()], settings)).await;
    for _ in 0..10 {
        assert_eq!(gateway.get("/").await.reason(), None);
    }
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.reason()), (503, Some("breaker_open")));
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(echo.hits(), 10, "it is left in peace");
    let metrics = gateway.metrics().await;
    let open = [("upstream", "pool"), ("state", "open")];
    assert_eq!(metrics.sum("lockgate_breaker_state", &open), 1.0);
    echo.answer_with(0);
    until("the breaker to close", async || gateway.get("/").await.status == 200).await;
    for _ in 0..10 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn an_open_breaker_that_finds_failure_opens_again() {
    let echo = Echo::start("a").await;
    echo.answer_with(500);
    let settings = "outlier: off\nretry: { attempts: 0 }\n\
                    breaker: { failures: 50%, of_last: 4, open_for: 300ms, trials: 1 }";
    let gateway = start(&pool(&[echo.address()], settings)).await;
    for _ in 0..5 {
        gateway.get("/").await;
    }
    assert_eq!(gateway.get("/").await.reason(), Some("breaker_open"));
    until("a trial", async || gateway.get("/").await.reason().is_none()).await;
    assert_eq!(gateway.get("/").await.reason(), Some("breaker_open"));
    assert_eq!(echo.hits(), 5, "four, and one trial");
}

#[tokio::test]
async fn an_endpoint_takes_no_more_than_its_limit() {
    let echo = Echo::start("a").await;
    let settings = "retry: { attempts: 0 }\npool: { max_requests: 2, max_pending: 0 }";
    let gateway = start(&pool(&[echo.address()], settings)).await;
    let mut held = Vec::new();
    for n in 0..2 {
        let mut wire = gateway.wire().await;
        wire.send(request("GET", "/wait", &[], "")).await;
        until("the held request", async || echo.hits() == n + 1).await;
        held.push(wire);
    }
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.reason()), (503, Some("endpoints_busy")));
    assert_eq!(echo.hits(), 2);
    echo.open(2);
    for wire in &mut held {
        assert_eq!(wire.answer().await.status, 200);
    }
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test]
async fn who_waits_for_a_place_gets_it() {
    let echo = Echo::start("a").await;
    let settings = "retry: { attempts: 0 }\npool: { max_requests: 1, max_pending: 10 }\n\
                    timeout: { connect: 10s }";
    let gateway = start(&pool(&[echo.address()], settings)).await;
    let mut held = gateway.wire().await;
    held.send(request("GET", "/wait", &[], "")).await;
    until("the held request", async || echo.hits() == 1).await;
    let mut waiting = gateway.wire().await;
    waiting.send(request("GET", "/next", &[], "")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(echo.hits(), 1);
    echo.open(1);
    assert_eq!(held.answer().await.status, 200);
    assert_eq!(waiting.answer().await.status, 200);
}

#[tokio::test]
async fn all_who_wait_are_served_on_every_worker() {
    for (kind, limit) in
        [("h1", "max_requests: 2"), ("h1", "max_connections: 2"), ("h2", "max_connections: 1")]
    {
        let echo = if kind == "h2" { Echo::h2c("a").await } else { Echo::start("a").await };
        let settings = format!(
            "http2: {}\nretry: {{ attempts: 0 }}\npool: {{ {limit} }}\ntimeout: {{ connect: 10s }}",
            kind == "h2"
        );
        let gateway = start(&format!("workers: 3\n{}", pool(&[echo.address()], &settings))).await;
        let began = Instant::now();
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..24 {
            let mut wire = gateway.wire().await;
            clients.spawn(async move {
                for _ in 0..20 {
                    let answer = wire.ask(request("GET", "/delay/1", &[], "")).await;
                    assert_eq!((answer.status, answer.reason()), (200, None), "{limit}");
                }
            });
        }
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
        assert_eq!(echo.hits(), 480, "{limit}");
        assert!(began.elapsed() < Duration::from_secs(20), "{limit}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn who_waits_too_long_is_told_so() {
    let echo = Echo::start("a").await;
    let settings = "retry: { attempts: 0 }\npool: { max_requests: 1, max_pending: 1 }\n\
                    timeout: { connect: 200ms }";
    let gateway = start(&pool(&[echo.address()], settings)).await;
    let mut held = gateway.wire().await;
    held.send(request("GET", "/wait", &[], "")).await;
    until("the held request", async || echo.hits() == 1).await;
    let began = Instant::now();
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.reason()), (503, Some("endpoints_busy")));
    assert!(began.elapsed() >= Duration::from_millis(190), "{:?}", began.elapsed());
    // One that goes away while it waits leaves its place in the queue.
    for _ in 0..3 {
        let mut gone = gateway.wire().await;
        gone.send(request("GET", "/", &[], "")).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(gone);
        gateway.logged(|line| line["reason"] == "client_closed").await;
    }
    let mut waiting = gateway.wire().await;
    waiting.send(request("GET", "/next", &[], "")).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    echo.open(1);
    assert_eq!(held.answer().await.status, 200);
    assert_eq!(waiting.answer().await.status, 200);
    assert_eq!(echo.hits(), 2);
}

#[tokio::test]
async fn connections_are_not_kept_beyond_their_time() {
    let echo = Echo::start("a").await;
    let gateway = start(&pool(&[echo.address()], "pool: { idle_timeout: 100ms }")).await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!(echo.connections(), 1);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(echo.connections(), 2);
}

#[tokio::test]
async fn names_are_resolved() {
    let echo = Echo::start("a").await;
    let port = echo.address().port();
    let config = format!("routes:\n  /*: {{ to: \"http://localhost:{port}\" }}\n");
    let gateway = start(&config).await;
    assert_eq!(gateway.get("/").await.status, 200, "from the first request on");
    let config = "routes:\n  /*: { to: \"http://nowhere.invalid:80\" }\n";
    let gateway = start(config).await;
    let answer = gateway.get("/").await;
    assert!(matches!(answer.status, 502 | 503), "{answer:?}");
    assert!(
        ["upstream_refused", "no_endpoints"].contains(&answer.reason().unwrap_or("")),
        "{answer:?}"
    );
}
