//! gRPC: passed through with its trailers, balanced call by call, refused in its own words.

use std::time::Duration;

use lockgate_testkit::{Answer, Echo, Gateway, H2, Pieces, Port};
use tokio::time::Instant;

use crate::support::{pool, start};

const MESSAGE: &[u8] = b"\0\0\0\0\x05hello";

async fn call(h2: &mut H2, method: &str, headers: &[(&str, &str)]) -> Answer {
    let path = format!("/test.Echo/{method}");
    let mut request = h2
        .request("POST", "a.test", &path)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = h2.ask(request.body(Pieces::whole(MESSAGE)).unwrap()).await;
    answer.unwrap_or_else(|error| panic!("{method}: {error:?}"))
}

/// The status of a call, wherever it stands.
fn status(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{answer:?}");
    let found = answer.trailer("grpc-status").or_else(|| answer.header("grpc-status"));
    found.unwrap_or_else(|| panic!("no grpc-status: {answer:?}"))
}

async fn over(echo: &Echo, more: &str) -> (Gateway, H2) {
    let settings = format!("http2: true\n{more}");
    let gateway = start(&pool(&[echo.address()], &settings)).await;
    let h2 = H2::plain(gateway.web()).await;
    (gateway, h2)
}

#[tokio::test]
async fn a_call_passes_with_its_trailers() {
    let echo = Echo::h2c("a").await;
    let (_gateway, mut h2) = over(&echo, "").await;
    let answer = call(&mut h2, "Unary", &[("x-meta", "data")]).await;
    assert_eq!(answer.body, MESSAGE);
    assert_eq!(answer.trailer("grpc-status"), Some("0"));
    assert_eq!(echo.last().header("te"), Some("trailers"));
    assert_eq!(echo.last().header("x-meta"), Some("data"));
}

#[tokio::test]
async fn a_stream_passes_whole() {
    let echo = Echo::h2c("a").await;
    let (_gateway, mut h2) = over(&echo, "").await;
    let answer = call(&mut h2, "Stream", &[]).await;
    assert_eq!(answer.body, MESSAGE.repeat(3));
    assert_eq!(status(&answer), "0");
}

#[tokio::test]
async fn a_failure_of_the_service_is_its_own() {
    let echo = Echo::h2c("a").await;
    let (gateway, mut h2) = over(&echo, "").await;
    let answer = call(&mut h2, "Fail", &[]).await;
    assert_eq!(status(&answer), "5");
    let message = answer.header("grpc-message").or_else(|| answer.trailer("grpc-message"));
    assert_eq!(message, Some("none such"));
    assert_eq!(answer.reason(), None);
    assert_eq!(gateway.logged(|_| true).await["origin"], "upstream");
}

#[tokio::test]
async fn a_deadline_holds() {
    let echo = Echo::h2c("a").await;
    let (_gateway, mut h2) = over(&echo, "").await;
    let began = Instant::now();
    let answer = call(&mut h2, "Hang", &[("grpc-timeout", "200m")]).await;
    assert!(began.elapsed() >= Duration::from_millis(190));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(status(&answer), "4");
    assert_eq!(answer.reason(), Some("upstream_timeout"));
    lockgate_testkit::until("the call to be given up", async || echo.cancelled() == 1).await;
}

#[tokio::test]
async fn a_deadline_holds_for_a_stream_and_the_request_timeout_does_not() {
    let echo = Echo::h2c("a").await;
    let (gateway, mut h2) = over(&echo, "timeout: { request: 300ms }").await;
    let answer = call(&mut h2, "Slow", &[("grpc-timeout", "10S")]).await;
    assert_eq!((answer.body.len(), status(&answer)), (40 * MESSAGE.len(), "0"), "a second of it");

    let request = h2.request("POST", "a.test", "/test.Echo/Slow").header("grpc-timeout", "300m");
    let request = request.header("content-type", "application/grpc");
    let answer = h2.ask(request.body(Pieces::whole(MESSAGE)).unwrap()).await;
    assert!(answer.is_err(), "cut: {answer:?}");
    gateway.logged(|line| line["reason"] == "upstream_timeout").await;
}

#[tokio::test]
async fn refusals_speak_grpc() {
    let port = Port::reserve();
    let config = format!(
        "upstreams:\n{}routes:\n  /test.Echo/*: {{ to: gone }}\n",
        crate::support::upstream("gone", &[port.address()], "http2: true\noutlier: off")
    );
    let gateway = start(&config).await;
    let mut h2 = H2::plain(gateway.web()).await;
    let answer = call(&mut h2, "Unary", &[]).await;
    assert_eq!(status(&answer), "14");
    assert_eq!(answer.reason(), Some("upstream_refused"));
    assert!(answer.header("content-type").unwrap().starts_with("application/grpc"));

    let request = h2.request("POST", "a.test", "/other.Service/X");
    let request = request.header("content-type", "application/grpc+proto");
    let answer = h2.ask(request.body(Pieces::whole(MESSAGE)).unwrap()).await.unwrap();
    assert_eq!(status(&answer), "5");
    assert_eq!(answer.reason(), Some("no_route"));
}

#[tokio::test]
async fn calls_of_one_connection_are_spread() {
    let (a, b) = (Echo::h2c("a").await, Echo::h2c("b").await);
    let gateway = start(&pool(&[a.address(), b.address()], "http2: true")).await;
    let mut h2 = H2::plain(gateway.web()).await;
    for _ in 0..10 {
        assert_eq!(status(&call(&mut h2, "Unary", &[]).await), "0");
    }
    assert_eq!((a.hits(), b.hits()), (5, 5));
}

#[tokio::test]
async fn messages_flow_both_ways_at_once() {
    let echo = Echo::h2c("a").await;
    let (_gateway, mut h2) = over(&echo, "").await;
    let (sender, body) = Pieces::fed();
    let request = h2
        .request("POST", "a.test", "/test.Echo/Unary")
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap();
    let feed = async {
        for _ in 0..3 {
            sender.data(MESSAGE).await;
        }
        drop(sender);
    };
    let (answer, ()) = tokio::join!(h2.ask(request), feed);
    assert_eq!(answer.unwrap().body, MESSAGE.repeat(3));
}
