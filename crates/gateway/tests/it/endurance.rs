//! Under load: an endpoint's process is killed, and the configuration changes fifty times a
//! second. Nobody who asks for something that may be asked for twice may notice.

use std::time::Duration;

use lockgate_testkit::{Echo, Endpoint, Load, Socket, request, serve_if_asked, until};
use tokio::time::{Instant, sleep_until};

use crate::support::{pool, start};

const ENDPOINT: &str = "endurance::an_endpoint_process";

#[tokio::test]
#[ignore = "not a test: the endpoint that others start as a process of its own"]
async fn an_endpoint_process() {
    serve_if_asked().await;
}

#[tokio::test]
async fn a_killed_endpoint_fails_no_idempotent_request() {
    let (mut a, b) = tokio::join!(Endpoint::start(ENDPOINT), Endpoint::start(ENDPOINT));
    let settings = "health: { path: /health, interval: 200ms, timeout: 500ms }\n\
                    outlier: { eject_for: 500ms, max_eject_for: 500ms }";
    let config = pool(&[a.address(), b.address()], settings);
    let gateway = start(&format!("workers: 2\n{config}")).await;
    let load = Load::start(gateway.web(), 16, &request("GET", "/", &[], ""));
    load.more(300).await;
    for _ in 0..2 {
        a.kill();
        load.more(500).await;
        a.restart(ENDPOINT).await;
        let address = a.address().to_string();
        until("the endpoint to be back", async || {
            let up = [("endpoint", address.as_str())];
            gateway.metrics().await.sum("lockgate_endpoint_up", &up) == 1.0
        })
        .await;
        load.more(300).await;
    }
    load.stop().await.flawless(1500);
}

#[tokio::test]
async fn an_endpoint_killed_in_mid_flight_fails_no_idempotent_request_without_probes() {
    let (mut a, b) = tokio::join!(Endpoint::start(ENDPOINT), Endpoint::start(ENDPOINT));
    let gateway = start(&pool(&[a.address(), b.address()], "")).await;
    let load = Load::start(gateway.web(), 16, &request("GET", "/", &[], ""));
    load.more(300).await;
    a.kill();
    load.more(1000).await;
    load.stop().await.flawless(1300);
}

#[tokio::test]
async fn fifty_reloads_a_second_fail_nobody() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let config = |n: usize| {
        let mut text = pool(&[a.address(), b.address()], "");
        // Now with one upstream more, now with one fewer, and other routes each time.
        if n.is_multiple_of(2) {
            let more = crate::support::upstream("more", &[a.address()], "");
            text = text.replacen("upstreams:\n", &format!("upstreams:\n{more}"), 1);
            text.push_str("  /more/*: { to: more }\n");
        }
        text + &format!("  /version: {{ to: {{ respond: {{ body: \"{n}\" }} }} }}\n")
    };
    let gateway = start(&format!("workers: 2\n{}", config(0))).await;
    let mut socket = Socket::open(gateway.wire().await, "/ws", &[]).await.unwrap();
    let load = Load::start(gateway.web(), 8, &request("GET", "/", &[], ""));
    load.more(50).await;
    let began = Instant::now();
    let mut written = 0;
    while began.elapsed() < Duration::from_secs(10) {
        written += 1;
        gateway.rewrite(&format!("workers: 2\n{}", config(written)));
        if written.is_multiple_of(50) {
            socket.echoes(&format!("after {written} reloads")).await;
        }
        sleep_until(began + Duration::from_millis(20) * written as u32).await;
    }
    let tally = load.stop().await;
    until("the last configuration", async || {
        gateway.get("/version").await.text() == written.to_string()
    })
    .await;
    socket.echoes("to the end").await;
    tally.flawless(500);
    let metrics = gateway.metrics().await;
    assert!(written >= 450, "{written} changes were made");
    let generation = metrics.sum("lockgate_config_generation", &[]);
    assert!(generation >= 300.0, "{generation} of {written} changes were taken");
    assert_eq!(metrics.sum("lockgate_config_reloads_total", &[("result", "refused")]), 0.0);
    assert_eq!(metrics.sum("lockgate_panics_total", &[]), 0.0);
    assert!(a.hits().abs_diff(b.hits()) <= 20, "{} and {}", a.hits(), b.hits());
}
