//! `/metrics`: what is counted, and that `promtool` has nothing to say about it.

use std::process::{Command, Stdio};

use lockgate_testkit::{Authority, Echo, H2, client_config, needs, request, until};

use crate::support::{launch, pool, start};

#[tokio::test]
async fn promtool_has_nothing_to_say() {
    needs("promtool");
    let echo = Echo::start("a").await;
    let settings = "breaker: { of_last: 10 }\nhealth: { interval: 100ms }";
    let gateway = start(&pool(&[echo.address()], settings)).await;
    for path in ["/", "/status/500", "/bytes/10000", "/.."] {
        gateway.get(path).await;
    }
    let scrape = gateway.metrics().await.0;
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), scrape.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let echo = Echo::start("a").await;
    let gateway = start(&pool(&[echo.address()], "retry: { attempts: 0 }\noutlier: off")).await;
    for _ in 0..5 {
        gateway.ask("POST", "/x", &[], "12345").await;
    }
    for _ in 0..3 {
        gateway.get("/status/500").await;
    }
    // A client has its answer a moment before the worker has counted it.
    let counted =
        async || gateway.metrics().await.sum("lockgate_requests_total", &[("route", "/*")]) == 8.0;
    until("all are counted", counted).await;
    let metrics = gateway.metrics().await;
    let count = |status: &str| {
        metrics.sum("lockgate_requests_total", &[("route", "/*"), ("status", status)])
    };
    assert_eq!((count("200"), count("500")), (5.0, 3.0));
    let route = [("route", "/*")];
    assert_eq!(metrics.sum("lockgate_request_seconds_count", &route), 8.0);
    assert_eq!(metrics.sum("lockgate_received_bytes_total", &route), 25.0);
    assert!(metrics.sum("lockgate_sent_bytes_total", &route) > 100.0);
    let upstream = [("upstream", "pool")];
    assert_eq!(metrics.sum("lockgate_upstream_attempts_total", &upstream), 8.0);
    assert_eq!(metrics.sum("lockgate_upstream_requests_total", &upstream), 8.0);
    assert_eq!(metrics.sum("lockgate_requests_in_flight", &[]), 0.0);
    assert_eq!(metrics.sum("lockgate_config_generation", &[]), 1.0);
    assert_eq!(metrics.sum("lockgate_worker_requests_total", &[]), 8.0);
    // One for each request, and one that looked whether the gateway was ready.
    assert_eq!(metrics.sum("lockgate_connections_total", &[]), 9.0);
    assert_eq!(metrics.sum("lockgate_pool_connections", &upstream), 1.0);
    assert!(metrics.sum("process_resident_memory_bytes", &[]) > 0.0);
}

#[tokio::test]
async fn what_is_in_flight_is_told() {
    let echo = Echo::start("a").await;
    let gateway = start(&pool(&[echo.address()], "")).await;
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/wait", &[], "")).await;
    lockgate_testkit::until("the request", async || echo.hits() == 1).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("lockgate_requests_in_flight", &[]), 1.0);
    let endpoint = [("upstream", "pool")];
    assert_eq!(metrics.sum("lockgate_endpoint_requests_in_flight", &endpoint), 1.0);
    assert_eq!(metrics.sum("lockgate_connections", &[]), 1.0);
    echo.open(1);
    wire.answer().await;
    lockgate_testkit::until("nothing in flight", async || {
        gateway.metrics().await.sum("lockgate_requests_in_flight", &[]) == 0.0
    })
    .await;
}

#[tokio::test]
async fn handshakes_are_counted() {
    let ours = Authority::new("ours");
    let leaf = ours.server(&["a.test"]);
    let config = "listeners:\n  web: { address: \"127.0.0.1:$WEB\", tls: { certificates: \
                  [{ cert: c.pem, key: c.key }] } }\nroutes:\n  /*: { to: { respond: {} } }\n";
    let gateway = launch().file("c.pem", &leaf.cert).file("c.key", &leaf.key).start(config).await;
    let config = client_config(&ours, &["h2"], &[], None);
    assert_eq!(H2::tls(gateway.web(), "a.test", config).await.get("a.test", "/").await.status, 200);
    let mut wire = gateway.wire().await;
    wire.send("no handshake at all\r\n\r\n").await;
    while wire.fill().await.unwrap() {}
    lockgate_testkit::until("both to be counted", async || {
        let metrics = gateway.metrics().await;
        let count = |result| metrics.sum("lockgate_tls_handshakes_total", &[("result", result)]);
        count("ok") == 1.0 && count("failed") >= 1.0
    })
    .await;
    let served = [("listener", "web"), ("name", "a.test")];
    let ends =
        gateway.metrics().await.sum("lockgate_certificate_expiry_timestamp_seconds", &served);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(ends > now.as_secs_f64(), "{ends}");
}

#[tokio::test]
async fn hosts_and_paths_make_no_series() {
    let echo = Echo::start("a").await;
    let gateway = start(&pool(&[echo.address()], "")).await;
    let before = gateway.metrics().await.0.lines().count();
    let mut wire = gateway.wire().await;
    for n in 0..200 {
        let host = format!("host-{n}.test");
        wire.ask(request("GET", &format!("/path-{n}"), &[("Host", &host)], "")).await;
    }
    for n in 0..20 {
        gateway.ask(&format!("METHOD{n}"), "/", &[], "").await;
    }
    let after = gateway.metrics().await.0;
    assert!(after.lines().count() < before + 60, "{} then {}", before, after.lines().count());
    assert!(!after.contains("host-7") && !after.contains("path-7") && !after.contains("METHOD7"));
}

#[tokio::test]
async fn the_admin_listener_keeps_web_pages_and_strangers_out() {
    let config = "admin: { address: \"127.0.0.1:$ADMIN\", token: \"${env:TOKEN}\" }\n\
                  routes:\n  /*: { to: { respond: {} } }\n";
    let gateway = launch().env("TOKEN", "the-admin-token").start(config).await;
    let mut wire = lockgate_testkit::Wire::connect(gateway.at("ADMIN")).await;
    for path in ["/health", "/metrics"] {
        assert_eq!(wire.ask(request("GET", path, &[("Host", "127.0.0.1")], "")).await.status, 200);
    }
    let path = "/admin/upstreams";
    assert_eq!(wire.ask(request("GET", path, &[("Host", "127.0.0.1")], "")).await.status, 401);
    let wrong = [("Host", "127.0.0.1"), ("Authorization", "Bearer the-admin-toke")];
    assert_eq!(wire.ask(request("GET", path, &wrong, "")).await.status, 401);
    let right = [("Host", "127.0.0.1"), ("Authorization", "Bearer the-admin-token")];
    assert_eq!(wire.ask(request("GET", path, &right, "")).await.status, 200);
    let page = [("Host", "127.0.0.1"), ("Origin", "http://evil.test")];
    let answer = wire.ask(request("PUT", "/admin/health/x", &page, "{}")).await;
    assert!(matches!(answer.status, 401 | 403), "{answer:?}");
    assert_eq!(gateway.get("/metrics").await.text(), "", "and nothing of it is on the web port");

    let open = start("routes:\n  /*: { to: { respond: {} } }\n").await;
    let mut wire = lockgate_testkit::Wire::connect(open.at("ADMIN")).await;
    let rebound = [("Host", "evil.test")];
    assert_eq!(wire.ask(request("GET", path, &rebound, "")).await.status, 403);
    assert_eq!(wire.ask(request("GET", path, &[("Host", "localhost")], "")).await.status, 200);
}
