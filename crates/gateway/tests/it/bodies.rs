//! Bodies on their way: streamed with backpressure, never held whole, never longer than the
//! client or the upstream lasts, never ended as if they were whole when they are not.

use std::time::Duration;

use lockgate_testkit::{Echo, Ended, Fail, Gateway, H2, Pieces, Raw, Step, request, until};

use crate::support::{start, start_to, to};

/// Resident memory of the gateway in KiB.
fn resident(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn an_upload_is_passed_on_while_it_comes() {
    let raw = Raw::start(vec![Step::Until("\r\n0\r\n\r\n"), Step::ok("done")]).await;
    let gateway = start_to(raw.address()).await;
    let mut wire = gateway.wire().await;
    wire.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    wire.send("5\r\nfirst\r\n").await;
    raw.seen("first").await;
    wire.send("6\r\nsecond\r\n").await;
    raw.seen("second").await;
    wire.send("0\r\n\r\n").await;
    assert_eq!(wire.answer().await.text(), "done");
}

#[tokio::test]
async fn a_download_is_passed_on_while_it_comes() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/gated/3", &[], "")).await;
    let mut head = wire.head("GET").await.unwrap();
    for n in 0..3 {
        assert_eq!(
            wire.piece(&mut head).await.unwrap().unwrap(),
            format!("piece {n}\n").as_bytes()
        );
        echo.open(1);
    }
    assert_eq!(wire.piece(&mut head).await, Ok(None));
}

#[tokio::test]
async fn an_upstream_that_does_not_read_holds_the_client_back() {
    const PIECE: usize = 1 << 20;
    let raw = Raw::start(vec![
        Step::Until("\r\n\r\n"),
        Step::Gate,
        Step::Bytes(64 * PIECE),
        Step::ok("all of it"),
    ])
    .await;
    let gateway = start_to(raw.address()).await;
    let mut wire = gateway.wire().await;
    let length = (64 * PIECE).to_string();
    wire.send(request("POST", "/", &[("Content-Length", &length)], "")).await;
    raw.seen("\r\n\r\n").await;
    let piece = vec![b'x'; 64 << 10];
    let mut sent = 0;
    while wire.try_send(&piece, Duration::from_millis(400)).await {
        sent += piece.len();
        assert!(sent < 48 * PIECE, "the gateway took {sent} bytes that nobody reads");
    }
    assert!(resident(&gateway) < 100 << 10, "{} KiB", resident(&gateway));
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_upstream_back() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let before = resident(&gateway);
    let mut wires = Vec::new();
    for _ in 0..3 {
        let mut wire = gateway.wire().await;
        wire.send(request("GET", "/bytes/100000000", &[], "")).await;
        wires.push((wire.head("GET").await.unwrap(), wire));
    }
    let grown = resident(&gateway).saturating_sub(before);
    assert!(grown < 40 << 10, "grew by {grown} KiB for three clients that do not read");
    let (mut head, mut wire) = wires.pop().unwrap();
    let mut total = 0;
    while let Some(piece) = wire.piece(&mut head).await.unwrap() {
        total += piece.len();
    }
    assert_eq!(total, 100_000_000, "and who reads after all gets everything");
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let raw = Raw::start(vec![
        Step::Until("\r\n\r\n"),
        Step::send("HTTP/1.1 413 No\r\nContent-Length: 7\r\nX-From: upstream\r\n\r\nenough!"),
    ])
    .await;
    let gateway = start_to(raw.address()).await;
    let mut wire = gateway.wire().await;
    wire.send(request("POST", "/", &[("Content-Length", "100000000")], "")).await;
    wire.send(vec![b'x'; 100_000]).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (413, "enough!"));
    assert_eq!(answer.header("x-from"), Some("upstream"));
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_the_upstream() {
    let raw = Raw::start(vec![Step::Request, Step::Drain]).await;
    let gateway = start_to(raw.address()).await;
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/", &[], "")).await;
    raw.seen("GET / ").await;
    drop(wire);
    assert_ne!(raw.ended(0).await, Ended::Ours);
    let line = gateway.logged(|line| line["reason"] == "client_closed").await;
    assert_eq!(line["status"], 499);
}

#[tokio::test]
async fn a_client_that_goes_away_in_a_download_cancels_it() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/gated/3", &[], "")).await;
    wire.head("GET").await.unwrap();
    drop(wire);
    until("the upstream to notice", async || echo.cancelled() == 1).await;
}

#[tokio::test]
async fn a_client_that_goes_away_in_an_upload_does_not_end_it_well() {
    let raw = Raw::start(vec![Step::Until("\r\n0\r\n\r\n"), Step::ok("done")]).await;
    let gateway = start_to(raw.address()).await;
    let mut wire = gateway.wire().await;
    wire.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    wire.send("5\r\nfirst\r\n").await;
    raw.seen("first").await;
    drop(wire);
    assert_ne!(raw.ended(0).await, Ended::Ours);
    assert!(!raw.received(0).contains("\r\n0\r\n"), "{}", raw.received(0));
}

#[tokio::test]
async fn a_reset_stream_cancels_the_upstream() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut h2 = H2::plain(gateway.web()).await;
    let request = h2.request("GET", "a.test", "/hang").body(Pieces::whole("")).unwrap();
    let mut sender = h2.sender();
    let asked = tokio::spawn(async move { sender.send_request(request).await.map(drop) });
    until("the request to come", async || echo.hits() == 1).await;
    asked.abort();
    until("the upstream to notice", async || echo.cancelled() == 1).await;
    assert_eq!(h2.get("a.test", "/").await.status, 200, "the connection lives on");
}

/// Answers that end before they are whole.
fn cut_short() -> Vec<(&'static str, Vec<Step>)> {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let plain = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst";
    let bad = format!("{chunked}zz\r\n");
    let pause = Step::Pause(Duration::from_millis(30));
    vec![
        (
            "a length not reached",
            vec![Step::Request, Step::send(plain), pause.clone(), Step::Close],
        ),
        ("no last chunk", vec![Step::Request, Step::send(chunked), pause.clone(), Step::Close]),
        ("a reset", vec![Step::Request, Step::send(chunked), pause.clone(), Step::Reset]),
        ("a bad chunk", vec![Step::Request, Step::send(&bad), pause, Step::Drain]),
    ]
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_cut_short_for_the_client() {
    for (case, script) in cut_short() {
        let raw = Raw::start(script).await;
        let gateway = start_to(raw.address()).await;
        let mut wire = gateway.wire().await;
        wire.send(request("GET", "/", &[], "")).await;
        let mut head = wire.head("GET").await.unwrap();
        assert_eq!(head.status, 200, "{case}");
        let mut got = Vec::new();
        let end = loop {
            match wire.piece(&mut head).await {
                Ok(Some(piece)) => got.extend(piece),
                end => break end,
            }
        };
        assert_eq!(end, Err(Fail::Broken), "{case}");
        assert_eq!(got, b"first", "{case}");
        let line = gateway.logged(|line| line["path"] == "/").await;
        let bad = if case == "a bad chunk" { "upstream_bad_answer" } else { "upstream_broke_off" };
        assert_eq!(line["reason"], bad, "{case}: {line}");
        assert_eq!(line["blame"], "upstream", "{case}: {line}");
        assert_eq!(raw.requests(), 1, "{case}: it is not asked for again");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_short_resets_the_stream() {
    for (case, script) in cut_short() {
        let raw = Raw::start(script).await;
        let gateway = start_to(raw.address()).await;
        let mut h2 = H2::plain(gateway.web()).await;
        let request = h2.request("GET", "a.test", "/").body(Pieces::whole("")).unwrap();
        let answer = h2.ask(request).await;
        assert!(answer.is_err(), "{case}: {answer:?}");
    }
}

#[tokio::test]
async fn a_body_that_lasts_to_the_end_of_the_connection_is_whole() {
    for head in ["HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"] {
        let raw = Raw::start(vec![
            Step::Request,
            Step::send(head),
            Step::send("to the end"),
            Step::Close,
        ])
        .await;
        let gateway = start_to(raw.address()).await;
        let mut wire = gateway.wire().await;
        assert_eq!(wire.ask(request("GET", "/", &[], "")).await.text(), "to the end", "{head}");
        assert_eq!(wire.ask(request("GET", "/", &[], "")).await.text(), "to the end", "{head}");
    }
}

#[tokio::test]
async fn a_silent_body_is_given_up_after_the_idle_timeout() {
    let echo = Echo::start("a").await;
    let config = format!(
        "upstreams:\n{}routes:\n  /*: {{ to: slow }}\n",
        crate::support::upstream("slow", &[echo.address()], "timeout: { idle: 200ms }")
    );
    let gateway = start(&config).await;
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/gated/2", &[], "")).await;
    let mut head = wire.head("GET").await.unwrap();
    assert!(wire.piece(&mut head).await.unwrap().is_some());
    assert_eq!(wire.piece(&mut head).await, Err(Fail::Broken));
    until("the upstream to notice", async || echo.cancelled() == 1).await;
}

#[tokio::test]
async fn an_upload_is_not_kept_for_a_retry_beyond_reason() {
    let echo = Echo::start("a").await;
    let gateway = start(&to(echo.address())).await;
    let before = resident(&gateway);
    let mut wire = gateway.wire().await;
    let body = "x".repeat(60_000_000);
    let answer = wire.ask(request("PUT", "/bytes/1", &[], &body)).await;
    assert_eq!(answer.status, 200);
    let grown = resident(&gateway).saturating_sub(before);
    assert!(grown < 30 << 10, "grew by {grown} KiB");
}
