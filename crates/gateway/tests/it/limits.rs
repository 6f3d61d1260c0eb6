//! The limits towards clients: how large, how many, how slow.

use std::time::Duration;

use lockgate_testkit::{Echo, H2, Pieces, Raw, Step, Wire, request, until};
use tokio::time::Instant;

use crate::support::{pool, start, start_to, to};

async fn refused(wire: &mut Wire, status: u16, reason: &str) {
    let answer = wire.answer_to("GET").await.unwrap_or_else(|fail| panic!("{reason}: {fail}"));
    assert_eq!((answer.status, answer.reason()), (status, Some(reason)));
    wire.closed().await;
}

#[tokio::test]
async fn heads_have_a_size() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let fits = "x".repeat(20_000);
    assert_eq!(gateway.ask("GET", "/", &[("X-Large", &fits)], "").await.status, 200);

    let mut wire = gateway.wire().await;
    let large = "x".repeat(40_000);
    wire.send(request("GET", "/", &[("X-Large", &large)], "")).await;
    refused(&mut wire, 431, "headers_too_large").await;

    let mut wire = gateway.wire().await;
    let many: Vec<(String, String)> = (0..200).map(|n| (format!("X-{n}"), "y".into())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    wire.send(request("GET", "/", &many, "")).await;
    refused(&mut wire, 431, "headers_too_large").await;

    let mut wire = gateway.wire().await;
    wire.send(request("GET", &format!("/{}", "x".repeat(10_000)), &[], "")).await;
    refused(&mut wire, 414, "uri_too_long").await;
    assert_eq!(echo.hits(), 1);
}

/// Sends this again and again, until the other side does not even read it to throw it away.
async fn is_cut(wire: &mut Wire, piece: &[u8]) {
    let began = Instant::now();
    while wire.try_send(piece, Duration::from_secs(10)).await {
        assert!(began.elapsed() < Duration::from_secs(10), "it is still read");
        tokio::task::yield_now().await;
    }
    assert!(began.elapsed() < Duration::from_secs(10), "it is not read, but not closed either");
}

#[tokio::test]
async fn a_head_without_an_end_is_cut() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    for begin in ["GET / HTTP/1.1\r\nX: ", "GET /", ""] {
        let mut wire = gateway.wire().await;
        wire.send(begin).await;
        wire.send(vec![b'x'; 40_000]).await;
        let answer = wire.answer().await;
        assert!(matches!(answer.status, 400 | 414 | 431), "{begin:?}: {answer:?}");
        is_cut(&mut wire, &[b'x'; 8192]).await;
    }
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test]
async fn endless_trailers_and_chunk_extensions_are_cut() {
    let raw = Raw::start(vec![Step::Drain]).await;
    let config = pool(&[raw.address()], "timeout: { headers: 60s, request: 60s }");
    let gateway = start(&config).await;
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (begin, piece) in [("1;", "x"), ("0\r\n", "X: y\r\n"), ("", "0")] {
        let mut wire = gateway.wire().await;
        wire.send(format!("{head}{begin}")).await;
        is_cut(&mut wire, piece.repeat(8192 / piece.len()).as_bytes()).await;
    }
}

#[tokio::test]
async fn a_slow_head_is_cut() {
    let echo = Echo::start("a").await;
    let config = format!("http: {{ header_timeout: 300ms }}\n{}", to(echo.address()));
    let gateway = start(&config).await;
    let began = Instant::now();
    let mut wire = gateway.wire().await;
    wire.send("GET / HTTP/1.1\r\nHost: a.test\r\n").await;
    for n in 0..40 {
        wire.send(format!("X-{n}: y\r\n")).await;
        if n < 10 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    refused(&mut wire, 408, "request_timeout").await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(echo.hits(), 0);
}

#[tokio::test]
async fn a_slow_second_head_is_cut_too() {
    let echo = Echo::start("a").await;
    let config = format!("http: {{ header_timeout: 300ms }}\n{}", to(echo.address()));
    let gateway = start(&config).await;
    let mut wire = gateway.wire().await;
    assert_eq!(wire.ask(request("GET", "/", &[], "")).await.status, 200);
    wire.send("GET / HT").await;
    refused(&mut wire, 408, "request_timeout").await;
}

#[tokio::test]
async fn a_slow_body_is_cut() {
    let echo = Echo::start("a").await;
    let config =
        format!("http: {{ min_rate: 1KB, min_rate_grace: 300ms }}\n{}", to(echo.address()));
    let gateway = start(&config).await;
    let mut wire = gateway.wire().await;
    wire.send(request("POST", "/", &[("Content-Length", "1000")], "")).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10)
        && wire.try_send(b"x", Duration::from_millis(100)).await
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(8), "it was cut after a while");
    if let Ok(answer) = wire.answer_to("POST").await {
        assert_eq!((answer.status, answer.reason()), (408, Some("request_timeout")));
    }
    let line = gateway.logged(|_| true).await;
    assert_eq!(line["reason"], "request_timeout", "{line}");
}

#[tokio::test]
async fn a_body_that_stops_is_cut() {
    let raw = Raw::start(vec![Step::Until("never"), Step::ok("")]).await;
    let config = format!("http: {{ body_timeout: 300ms }}\n{}", to(raw.address()));
    let gateway = start(&config).await;
    let mut wire = gateway.wire().await;
    wire.send(request("POST", "/", &[("Content-Length", "1000")], "")).await;
    wire.send("some").await;
    refused(&mut wire, 408, "request_timeout").await;
    raw.ended(0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let echo = Echo::start("a").await;
    let config = format!("http: {{ write_timeout: 300ms }}\n{}", to(echo.address()));
    let gateway = start(&config).await;
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/bytes/100000000", &[], "")).await;
    let line = gateway.logged(|_| true).await;
    assert!(line["reason"].is_string(), "{line}");
    assert!(line["sent"].as_u64() < Some(100_000_000), "{line}");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let echo = Echo::start("a").await;
    let config = format!("http: {{ idle_timeout: 300ms }}\n{}", to(echo.address()));
    let gateway = start(&config).await;
    let mut wire = gateway.wire().await;
    assert_eq!(wire.ask(request("GET", "/", &[], "")).await.status, 200);
    wire.closed().await;
    let mut h2 = H2::plain(gateway.web()).await;
    assert_eq!(h2.get("a.test", "/").await.status, 200);
    until("the end of an idle HTTP/2 connection", async || h2.is_closed()).await;
}

#[tokio::test]
async fn connections_have_a_number() {
    let echo = Echo::start("a").await;
    let config = format!("http: {{ max_connections: 3 }}\n{}", to(echo.address()));
    let gateway = start(&config).await;
    until("the first connections to be gone", async || {
        gateway.metrics().await.sum("lockgate_connections", &[]) == 0.0
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut wire = gateway.wire().await;
        assert_eq!(wire.ask(request("GET", "/", &[], "")).await.status, 200);
        open.push(wire);
    }
    let mut more = gateway.wire().await;
    more.send(request("GET", "/", &[], "")).await;
    if let Ok(answer) = more.answer_to("GET").await {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    assert_eq!(echo.hits(), 3);
    drop(open.pop());
    until("a place", async || {
        let mut wire = gateway.wire().await;
        wire.send(request("GET", "/", &[], "")).await;
        wire.answer_to("GET").await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
}

#[tokio::test]
async fn connections_of_one_address_have_a_number() {
    let echo = Echo::start("a").await;
    let config = format!("http: {{ max_connections_per_ip: 2 }}\n{}", to(echo.address()));
    let gateway = start(&config).await;
    until("the first connections to be gone", async || {
        gateway.metrics().await.sum("lockgate_connections", &[]) == 0.0
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut wire = gateway.wire().await;
        assert_eq!(wire.ask(request("GET", "/", &[], "")).await.status, 200);
        open.push(wire);
    }
    let mut more = gateway.wire().await;
    more.send(request("GET", "/", &[], "")).await;
    assert!(more.answer_to("GET").await.map_or(true, |answer| answer.status == 503));
    let refused = [("reason", "max_connections_per_ip")];
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("lockgate_connections_refused_total", &refused), 1.0);
}

#[tokio::test]
async fn requests_of_one_connection_have_a_number() {
    let echo = Echo::start("a").await;
    let config = format!("http: {{ max_requests_per_connection: 2 }}\n{}", to(echo.address()));
    let gateway = start(&config).await;
    let mut wire = gateway.wire().await;
    assert_eq!(wire.ask(request("GET", "/", &[], "")).await.header("connection"), None);
    let last = wire.ask(request("GET", "/", &[], "")).await;
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    wire.closed().await;
}

#[tokio::test]
async fn streams_have_a_number() {
    let echo = Echo::start("a").await;
    let config =
        format!("http: {{ http2: {{ max_concurrent_streams: 4 }} }}\n{}", to(echo.address()));
    let gateway = start(&config).await;
    let mut h2 = H2::plain(gateway.web()).await;
    // The client knows the limit once it has been answered.
    assert_eq!(h2.get("a.test", "/").await.status, 200);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..12 {
        let mut sender = h2.sender();
        let request = h2.request("GET", "a.test", &format!("/wait?{n}"));
        let request = request.body(Pieces::whole("")).unwrap();
        tasks.spawn(async move { sender.send_request(request).await.unwrap().status() });
    }
    until("four requests", async || echo.hits() == 5).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(echo.hits(), 5);
    echo.open(12);
    while let Some(status) = tasks.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
}

#[tokio::test]
async fn a_flood_of_resets_ends_the_connection() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut h2 = H2::plain(gateway.web()).await;
    assert_eq!(h2.get("a.test", "/").await.status, 200);
    let mut made = 0;
    while !h2.is_closed() && made < 20_000 {
        for _ in 0..20 {
            let request = h2.request("GET", "a.test", "/hang").body(Pieces::whole("")).unwrap();
            let mut sender = h2.sender();
            drop(
                tokio::time::timeout(Duration::from_micros(10), sender.send_request(request)).await,
            );
            made += 1;
        }
        tokio::task::yield_now().await;
    }
    assert!(h2.is_closed(), "{made} streams were opened and reset");
    assert_eq!(gateway.get("/").await.status, 200, "others do not notice");
}

#[tokio::test]
async fn a_flood_of_streams_ends_the_connection() {
    let config = "http: { http2: { max_streams_per_second: 50 } }\n\
                  routes:\n  /*: { to: { respond: {} } }\n";
    let gateway = start(config).await;
    let mut h2 = H2::plain(gateway.web()).await;
    let mut made = 0;
    while made < 2_000 && !h2.is_closed() {
        let request = h2.request("GET", "a.test", "/").body(Pieces::whole("")).unwrap();
        if h2.ask(request).await.is_err() {
            break;
        }
        made += 1;
    }
    assert!((40..500).contains(&made), "{made} streams were taken");
}

#[tokio::test]
async fn a_routes_own_limits_hold_while_a_body_streams() {
    let echo = Echo::start("a").await;
    let gateway = start(&format!(
        "routes:\n  /*:\n    limits: {{ body: 1KB, headers: 5, uri: 40B }}\n    to: \"http://{}\"\n",
        echo.address()
    ))
    .await;
    // Told beforehand: refused without waiting for a byte of it.
    let mut wire = gateway.wire().await;
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n").await;
    refused(&mut wire, 413, "too_large").await;

    // Told by nobody: counted while it passes.
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut wire = gateway.wire().await;
    let answer = wire.ask(format!("{head}{chunk}{chunk}0\r\n\r\n")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut wire = gateway.wire().await;
    wire.send(format!("{head}{chunk}{chunk}1\r\n")).await;
    wire.send("x\r\n").await;
    refused(&mut wire, 413, "too_large").await;
    assert_eq!(echo.seen().iter().filter(|seen| seen.method == "POST").count(), 1);

    let answer = gateway.get(&format!("/{}", "x".repeat(40))).await;
    assert_eq!((answer.status, answer.reason()), (414, Some("uri_too_long")));
    let many = ["1", "2", "3", "4", "5"].map(|value| ("X-A", value));
    let answer = gateway.ask("GET", "/", &many, "").await;
    assert_eq!((answer.status, answer.reason()), (431, Some("headers_too_large")));
    assert_eq!(gateway.get("/fine").await.status, 200);
}
