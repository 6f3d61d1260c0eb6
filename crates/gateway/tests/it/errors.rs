//! The errors that the gateway makes: one reason for each cause, in the form that was asked for.

use lockgate_testkit::{Answer, Echo, Gateway, Port};

use crate::support::{start, upstream};

async fn gateway() -> (Gateway, Port) {
    let port = Port::reserve();
    let config = format!(
        "upstreams:\n{}routes:\n  GET /gone: {{ to: gone }}\n",
        upstream("gone", &[port.address()], "outlier: off\nretry: { attempts: 0 }")
    );
    (start(&config).await, port)
}

/// The parts of a problem that must hold whatever it is.
fn problem(answer: &Answer) -> serde_json::Value {
    assert!(answer.header("content-type").unwrap().starts_with("application/problem+json"));
    let body = answer.json();
    assert_eq!(body["status"], answer.status, "{body}");
    assert_eq!(body["reason"].as_str(), answer.reason(), "{body}");
    assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"), "{body}");
    assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{body}");
    body
}

#[tokio::test]
async fn errors_are_problems_with_a_reason_and_an_id() {
    let (gateway, port) = gateway().await;
    for (method, path, status, reason) in [
        ("GET", "/nowhere", 404, "no_route"),
        ("POST", "/gone", 405, "method_not_allowed"),
        ("GET", "/gone", 502, "upstream_refused"),
        ("GET", "/..", 400, "bad_target"),
    ] {
        let answer = gateway.ask(method, path, &[("X-Request-Id", "my-id")], "").await;
        assert_eq!((answer.status, answer.reason()), (status, Some(reason)), "{method} {path}");
        assert_eq!(problem(&answer)["request_id"], "my-id");
        let text = answer.text();
        assert!(!text.contains(&port.address().to_string()), "no address is told: {text}");
        assert!(!text.contains("gone"), "no upstream is named: {text}");
        let line = gateway.logged(|line| line["reason"] == reason).await;
        assert_eq!(line["status"], status, "{line}");
        assert_eq!(line["id"], "my-id", "{line}");
    }
    let metrics = gateway.metrics().await;
    for reason in ["no_route", "method_not_allowed", "upstream_refused", "bad_target"] {
        assert_eq!(metrics.sum("lockgate_faults_total", &[("reason", reason)]), 1.0, "{reason}");
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_read_has_an_id_too() {
    let (gateway, _port) = gateway().await;
    let mut wire = gateway.wire().await;
    let answer = wire.ask("GET / HTTP/1.1\r\nHost: a.test\r\nX : y\r\n\r\n").await;
    assert_eq!(answer.status, 400);
    let id = problem(&answer)["request_id"].as_str().unwrap().to_owned();
    let line = gateway.logged(|line| line["id"] == id.as_str()).await;
    assert_eq!(line["reason"], "bad_request_framing");
}

#[tokio::test]
async fn people_get_a_page() {
    let (gateway, _port) = gateway().await;
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for path in ["/nowhere", "/gone"] {
        let answer = gateway.ask("GET", path, &[("Accept", browser)], "").await;
        assert!(answer.header("content-type").unwrap().starts_with("text/html"), "{answer:?}");
        let reason = answer.reason().unwrap();
        assert!(answer.text().contains(reason), "{}", answer.text());
        assert!(answer.text().contains(answer.header("x-request-id").unwrap()));
    }
    for accept in ["*/*", "application/json", "application/json, text/html;q=0.5", "text/plain"] {
        let answer = gateway.ask("GET", "/nowhere", &[("Accept", accept)], "").await;
        problem(&answer);
    }
}

#[tokio::test]
async fn a_page_shows_nothing_that_the_client_wrote() {
    let (gateway, _port) = gateway().await;
    let answer = gateway
        .ask("GET", "/<script>", &[("Accept", "text/html"), ("X-Request-Id", "<b>")], "")
        .await;
    assert!(!answer.text().contains("<script"), "{}", answer.text());
    assert!(!answer.text().contains("<b>"), "{}", answer.text());
}

#[tokio::test]
async fn refused_requests_that_were_read_leave_the_connection_open() {
    let (gateway, _port) = gateway().await;
    let mut wire = gateway.wire().await;
    for _ in 0..3 {
        let answer = wire.ask(lockgate_testkit::request("GET", "/nowhere", &[], "")).await;
        assert_eq!(answer.status, 404);
    }
}

#[tokio::test]
async fn an_upstreams_own_errors_are_left_alone() {
    let echo = Echo::start("a").await;
    let gateway = crate::support::start_to(echo.address()).await;
    for status in [400, 404, 500, 502] {
        let answer = gateway.ask("POST", &format!("/status/{status}"), &[], "").await;
        assert_eq!((answer.status, answer.reason()), (status, None));
        assert_eq!(answer.json()["endpoint"], "a");
        let path = format!("/status/{status}");
        let line = gateway.logged(|line| line["path"] == path.as_str()).await;
        assert_eq!(line["origin"], "upstream");
        assert!(line.get("reason").is_none(), "{line}");
    }
}
