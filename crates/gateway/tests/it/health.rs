//! Which endpoints are asked: what probes say, what real requests saw, what the operator says.

use lockgate_testkit::{Echo, Gateway, Port, Wire, request, until};

use crate::support::{pool, start};

const FAST: &str = "health: { interval: 100ms, timeout: 500ms, unhealthy_after: 3 }\noutlier: off";

/// Whether the next ten requests are all served by this endpoint.
async fn only(gateway: &Gateway, name: &str) -> bool {
    for _ in 0..10 {
        let answer = gateway.get("/").await;
        if answer.status != 200 || answer.endpoint() != name {
            return false;
        }
    }
    true
}

async fn both(gateway: &Gateway) -> bool {
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..10 {
        names.insert(gateway.get("/").await.endpoint().to_owned());
    }
    names.len() == 2
}

#[tokio::test]
async fn a_sick_endpoint_is_out_and_comes_back() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let gateway = start(&pool(&[a.address(), b.address()], FAST)).await;
    until("both endpoints", async || both(&gateway).await).await;
    a.healthy(false);
    until("only b", async || only(&gateway, "b").await).await;
    assert!(gateway.said().contains(&a.address().to_string()), "and the log says so");
    a.healthy(true);
    until("both endpoints again", async || both(&gateway).await).await;
}

#[tokio::test]
async fn two_failures_are_only_warnings() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let slow = "health: { interval: 300ms, unhealthy_after: 3 }\noutlier: off";
    let gateway = start(&pool(&[a.address(), b.address()], slow)).await;
    until("a probe", async || a.probes() >= 1).await;
    a.healthy(false);
    let before = a.probes();
    until("a failed probe", async || a.probes() > before).await;
    assert!(both(&gateway).await, "one failure takes nobody out");
    until("a word about it", async || gateway.said().contains(&a.address().to_string())).await;
}

#[tokio::test]
async fn probes_run_once_for_all_workers() {
    let echo = Echo::start("a").await;
    let health = "health: { interval: 200ms }";
    let config = format!("workers: 4\n{}", pool(&[echo.address()], health));
    let _gateway = start(&config).await;
    until("a probe", async || echo.probes() >= 1).await;
    let before = echo.probes();
    tokio::time::sleep(std::time::Duration::from_millis(1000)).await;
    let made = echo.probes() - before;
    assert!((2..=8).contains(&made), "{made} probes in a second at every 200 ms");
}

#[tokio::test]
async fn a_probe_may_ask_for_more_than_a_status() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    for health in ["body: another", "status: [418]", "path: /status/500"] {
        let settings = format!(
            "health: {{ interval: 100ms, unhealthy_after: 1, {health} }}\noutlier: off\n\
             panic_threshold: 0%"
        );
        let gateway = start(&pool(&[a.address(), b.address()], &settings)).await;
        until("no healthy endpoint", async || gateway.get("/").await.status == 503).await;
        let answer = gateway.get("/").await;
        assert_eq!(answer.reason(), Some("no_healthy_endpoint"), "{health}");
    }
    let good =
        "health: { interval: 100ms, unhealthy_after: 1, body: health, status: [\"200-299\"] }";
    let gateway = start(&pool(&[a.address(), b.address()], good)).await;
    until("a probe", async || a.probes() > 3).await;
    assert!(both(&gateway).await);
}

#[tokio::test]
async fn a_bare_connection_may_be_the_probe() {
    let a = Echo::start("a").await;
    let port = Port::reserve();
    let settings = "health: { kind: tcp, interval: 100ms, unhealthy_after: 1 }\noutlier: off\n\
                    retry: { attempts: 0 }";
    let gateway = start(&pool(&[a.address(), port.address()], settings)).await;
    until("only a", async || only(&gateway, "a").await).await;
    assert_eq!(a.probes(), 0, "nothing was asked for");
}

#[tokio::test]
async fn grpc_services_are_asked_for_their_health() {
    let (a, b) = (Echo::h2c("a").await, Echo::h2c("b").await);
    let settings = "http2: true\nhealth: { kind: grpc, interval: 100ms, unhealthy_after: 1 }\n\
                    outlier: off";
    let gateway = start(&pool(&[a.address(), b.address()], settings)).await;
    until("both to be asked", async || a.probes() > 0 && b.probes() > 0).await;
    assert!(both(&gateway).await);
    a.healthy(false);
    until("only b", async || only(&gateway, "b").await).await;
}

#[tokio::test]
async fn when_most_are_sick_health_is_ignored() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    a.healthy(false);
    b.healthy(false);
    let gateway = start(&pool(&[a.address(), b.address()], FAST)).await;
    until("probes", async || a.probes() > 5 && b.probes() > 5).await;
    assert!(both(&gateway).await, "better a doubtful answer than none");
}

#[tokio::test]
async fn failing_requests_eject_an_endpoint() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let settings = "outlier: { consecutive: 3, eject_for: 60s }\nretry: { attempts: 0 }";
    let gateway = start(&pool(&[a.address(), b.address()], settings)).await;
    a.answer_with(500);
    let mut failed = 0;
    for _ in 0..20 {
        failed += usize::from(gateway.get("/").await.status == 500);
    }
    assert_eq!(failed, 3);
    assert!(only(&gateway, "b").await);
    let metrics = gateway.metrics().await;
    let endpoint = a.address().to_string();
    let labels = [("upstream", "pool"), ("endpoint", endpoint.as_str())];
    assert_eq!(metrics.sum("lockgate_endpoint_ejections_total", &labels), 1.0);
    assert_eq!(metrics.sum("lockgate_endpoint_ejected", &labels), 1.0);
}

#[tokio::test]
async fn answers_that_break_off_eject_an_endpoint_by_either_protocol() {
    for http2 in [false, true] {
        let (a, b) = match http2 {
            false => (Echo::start("a").await, Echo::start("b").await),
            true => (Echo::h2c("a").await, Echo::h2c("b").await),
        };
        let settings = format!(
            "outlier: {{ consecutive: 3, eject_for: 60s }}\nretry: {{ attempts: 0 }}\nhttp2: {http2}"
        );
        let gateway = start(&pool(&[a.address(), b.address()], &settings)).await;
        let broken = |echo: &Echo| {
            echo.seen().iter().filter(|seen| seen.uri.path().starts_with("/broken")).count()
        };
        // Each in turn: after the one, the other. Each broken answer has had a good head.
        for _ in 0..20 {
            if gateway.get("/").await.endpoint() == "b" && broken(&a) < 3 {
                let mut wire = gateway.wire().await;
                wire.send(request("GET", "/broken/1000", &[], "")).await;
                assert!(wire.answer_to("GET").await.is_err(), "http2: {http2}");
            }
        }
        assert_eq!((broken(&a), broken(&b)), (3, 0), "http2: {http2}");
        assert!(only(&gateway, "b").await);
    }
}

/// Lets a process have no more file descriptors than it has, or as many as it may.
fn starve(gateway: &Gateway, starved: bool) {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let most = getrlimit(Resource::Nofile);
    let current = if starved { Some(3) } else { most.maximum };
    let limit = Rlimit { current, maximum: most.maximum };
    let pid = Pid::from_raw(gateway.pid() as i32);
    prlimit(pid, Resource::Nofile, limit).unwrap();
}

#[tokio::test]
async fn a_probe_that_finds_no_file_descriptor_says_nothing_of_the_endpoint() {
    let a = Echo::start("a").await;
    let gateway = start(&pool(&[a.address()], FAST)).await;
    until("probes", async || a.probes() > 2).await;
    starve(&gateway, true);
    let unmade = || gateway.said().matches("could not be made").count();
    until("probes that cannot be made", async || unmade() > 5).await;
    starve(&gateway, false);
    let probes = a.probes();
    until("probes again", async || a.probes() > probes).await;
    assert!(!gateway.said().contains("health check failed"), "{}", gateway.said());
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test]
async fn an_ejected_endpoint_comes_back_in_time() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let settings = "outlier: { consecutive: 2, eject_for: 200ms }\nretry: { attempts: 0 }";
    let gateway = start(&pool(&[a.address(), b.address()], settings)).await;
    a.answer_with(500);
    for _ in 0..8 {
        gateway.get("/").await;
    }
    a.answer_with(0);
    until("both endpoints again", async || both(&gateway).await).await;
}

#[tokio::test]
async fn the_operators_word_stands_above_probes() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let gateway = start(&pool(&[a.address(), b.address()], FAST)).await;
    until("both endpoints", async || both(&gateway).await).await;
    let path = format!("/admin/health/{}", a.address());
    for word in ["down", "drain"] {
        let answer = gateway.admin("PUT", &path, &format!("{{\"override\":\"{word}\"}}")).await;
        assert!(matches!(answer.status, 200 | 415), "{answer:?}");
        let mut wire = lockgate_testkit::Wire::connect(gateway.at("ADMIN")).await;
        let body = format!("{{\"override\":\"{word}\"}}");
        let json = [("Host", "127.0.0.1"), ("Content-Type", "application/json")];
        let answer = wire.ask(lockgate_testkit::request("PUT", &path, &json, &body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let probes = a.probes();
        until("more probes that find it well", async || a.probes() > probes + 2).await;
        assert!(only(&gateway, "b").await, "{word}");
        let clear = lockgate_testkit::request("PUT", &path, &json, "{\"override\":\"clear\"}");
        assert_eq!(wire.ask(clear).await.status, 200);
        until("both endpoints again", async || both(&gateway).await).await;
    }
}

#[tokio::test]
async fn nobody_left_is_said_so() {
    let a = Echo::start("a").await;
    a.healthy(false);
    let settings = "health: { interval: 100ms, unhealthy_after: 1 }\npanic_threshold: 0%";
    let gateway = start(&pool(&[a.address()], settings)).await;
    until("a refusal", async || gateway.get("/").await.status == 503).await;
    let answer = gateway.get("/").await;
    assert_eq!(answer.reason(), Some("no_healthy_endpoint"));
    let hits = a.hits();
    gateway.get("/").await;
    assert_eq!(a.hits(), hits, "it is not asked");
}

#[tokio::test]
async fn what_the_admin_listener_refuses_has_a_reason() {
    let gateway = start(&pool(&["127.0.0.1:1".parse().unwrap()], "")).await;
    let (admin, host) = (gateway.at("ADMIN"), ("Host", "127.0.0.1"));
    let long = format!("{{\"override\": \"{}\"}}", "x".repeat(70 << 10));
    for (method, path, body, status, reason) in [
        ("GET", "/nothing", "", 404, "no_page"),
        ("POST", "/health", "", 405, "method_not_allowed"),
        ("GET", "/admin/explain", "", 400, "bad_question"),
        ("PUT", "/admin/health/pool", "", 400, "bad_body"),
        ("PUT", "/admin/health/pool", "{\"override\": \"gone\"}", 400, "bad_body"),
        ("PUT", "/admin/health/pool", &long, 413, "bad_body"),
        ("PUT", "/admin/health/other", "{\"override\": \"up\"}", 404, "no_service"),
    ] {
        let mut wire = Wire::connect(admin).await;
        let answer = wire.ask(request(method, path, &[host], body)).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
        assert_eq!(answer.json()["reason"], reason, "{answer:?}");
    }
    let mut wire = Wire::connect(admin).await;
    let body = "{\"override\": \"down\"}";
    for kind in [&[host][..], &[host, ("Content-Type", "application/x-www-form-urlencoded")]] {
        let answer = wire.ask(request("PUT", "/admin/health/pool", kind, body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}
