//! What is no request and answer any more: WebSockets, other upgrades, events as they come.

use lockgate_testkit::{Echo, Ended, Fail, Raw, Socket, Step, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{pool, start, start_to};

#[tokio::test]
async fn a_websocket_echoes() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let headers = [("Sec-WebSocket-Protocol", "chat"), ("Origin", "http://a.test")];
    let mut socket = Socket::open(gateway.wire().await, "/ws", &headers).await.unwrap();
    assert_eq!(socket.head.header("sec-websocket-protocol"), Some("chat"));
    socket.echoes("hello").await;
    socket.echoes(&"long ".repeat(50_000)).await;
    for n in 0..20 {
        socket.echoes(&n.to_string()).await;
    }
    socket.close().await;
    let line = gateway.logged(|line| line["path"] == "/ws").await;
    assert_eq!(line["status"], 101);
    assert!(line["sent"].as_u64() > Some(250_000), "{line}");
}

#[tokio::test]
async fn a_refused_websocket_is_an_ordinary_answer() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let refusal = Socket::open(gateway.wire().await, "/ws/refuse", &[]).await;
    let refusal = refusal.err().expect("a refusal");
    assert_eq!((refusal.status, refusal.text().as_str()), (403, "not this socket"));
    assert_eq!(refusal.header("x-refused"), Some("yes"));
    let nowhere = start("routes:\n  /a: { to: { respond: {} } }\n").await;
    let refusal = Socket::open(nowhere.wire().await, "/ws", &[]).await.err().expect("a refusal");
    assert_eq!((refusal.status, refusal.reason()), (404, Some("no_route")));
}

#[tokio::test]
async fn other_protocols_are_tunnelled_too() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    let upgrade = [("Connection", "upgrade"), ("Upgrade", "parrot/1")];
    wire.send(request("GET", "/upgrade", &upgrade, "")).await;
    let head = wire.head("GET").await.unwrap();
    assert_eq!(head.status, 101);
    assert_eq!(head.header("upgrade"), Some("parrot/1"));
    let mut stream = wire.into_stream();
    stream.write_all(b"any bytes \x00\xff").await.unwrap();
    let mut back = [0; 12];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"any bytes \x00\xff");
}

#[tokio::test]
async fn what_is_sent_ahead_of_the_switch_is_not_lost() {
    let switch = "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: parrot\r\n\r\nhello first";
    let raw = Raw::start(vec![Step::Request, Step::send(switch), Step::Until("early")]).await;
    let gateway = start_to(raw.address()).await;
    let mut wire = gateway.wire().await;
    let upgrade = [("Connection", "upgrade"), ("Upgrade", "parrot")];
    wire.send(request("GET", "/", &upgrade, "") + "early").await;
    assert_eq!(wire.head("GET").await.unwrap().status, 101);
    while wire.buffer.len() < 11 {
        assert!(wire.fill().await.unwrap());
    }
    assert_eq!(wire.buffer, b"hello first");
    raw.seen("early").await;
}

#[tokio::test]
async fn nothing_is_tunnelled_before_the_upstream_agrees() {
    let raw = Raw::start(vec![
        Step::Until("\r\n\r\n"),
        Step::Pause(std::time::Duration::from_millis(50)),
        Step::ok("no"),
        Step::Repeat(vec![Step::Request, Step::ok("second")]),
    ])
    .await;
    let gateway = start_to(raw.address()).await;
    let mut wire = gateway.wire().await;
    let upgrade = [("Connection", "upgrade"), ("Upgrade", "websocket")];
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    wire.send(request("GET", "/ws", &upgrade, "") + smuggled).await;
    assert_eq!(wire.answer().await.text(), "no");
    let second = wire.answer_to("GET").await;
    let first = raw.received(0);
    let (head, rest) = first.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("GET /ws "), "{first}");
    // It may be served as the next request, on its own, or not at all; never as raw bytes.
    assert!(rest.is_empty() || rest.contains("\r\nvia: ") || rest.contains("\r\nVia: "), "{first}");
    assert!(matches!(second, Ok(_) | Err(Fail::Closed)), "{second:?}");
}

#[tokio::test]
async fn either_end_ends_the_tunnel() {
    let switch = "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: parrot\r\n\r\n";
    let go = vec![Step::Request, Step::send(switch), Step::Until("bye"), Step::Close];
    let raw = Raw::start(go).await;
    let gateway = start_to(raw.address()).await;
    let upgrade = [("Connection", "upgrade"), ("Upgrade", "parrot")];
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/", &upgrade, "")).await;
    assert_eq!(wire.head("GET").await.unwrap().status, 101);
    wire.send("bye").await;
    wire.closed().await;

    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/", &upgrade, "")).await;
    assert_eq!(wire.head("GET").await.unwrap().status, 101);
    drop(wire);
    assert_ne!(raw.ended(1).await, Ended::Ours);
}

#[tokio::test]
async fn a_silent_tunnel_is_ended_after_the_idle_timeout() {
    let echo = Echo::start("a").await;
    let gateway = start(&pool(&[echo.address()], "timeout: { idle: 300ms }")).await;
    let mut socket = Socket::open(gateway.wire().await, "/ws", &[]).await.unwrap();
    socket.echoes("still there").await;
    assert_eq!(socket.next().await, None);
}

#[tokio::test]
async fn the_request_timeout_does_not_end_a_tunnel() {
    let echo = Echo::start("a").await;
    let gateway = start(&pool(&[echo.address()], "timeout: { request: 200ms }")).await;
    let mut socket = Socket::open(gateway.wire().await, "/ws", &[]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    socket.echoes("still there").await;
}

#[tokio::test]
async fn events_come_one_by_one() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/sse", &[("Accept", "text/event-stream")], "")).await;
    let mut head = wire.head("GET").await.unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    for n in 0..3 {
        // The next event is not even sent before this one has been read.
        let event = wire.piece(&mut head).await.unwrap().unwrap();
        assert_eq!(event, format!("data: {n}\n\n").as_bytes());
        echo.open(1);
    }
}
