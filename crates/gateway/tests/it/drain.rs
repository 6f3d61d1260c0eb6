//! SIGTERM: nobody new comes in, everybody inside is served, and then it ends.

use lockgate_testkit::{Echo, H2, Pieces, Socket, Wire, request, until};

use crate::support::{start, start_to, to};

#[tokio::test]
async fn requests_in_flight_are_served_to_their_end() {
    let echo = Echo::start("a").await;
    let mut gateway = start_to(echo.address()).await;
    let mut slow = gateway.wire().await;
    slow.send(request("GET", "/wait", &[], "")).await;
    let mut stream = gateway.wire().await;
    stream.send(request("GET", "/gated/3", &[], "")).await;
    let mut head = stream.head("GET").await.unwrap();
    let h2 = H2::plain(gateway.web()).await;
    let held = h2.request("GET", "a.test", "/wait").body(Pieces::whole("")).unwrap();
    let mut sender = h2.sender();
    let held = tokio::spawn(async move { sender.send_request(held).await.map(|a| a.status()) });
    until("all requests", async || echo.hits() == 3).await;

    gateway.signal("TERM");
    let web = gateway.web();
    until("the listener to close", async || Wire::try_connect(web).await.is_err()).await;
    assert!(gateway.runs(), "it waits for who is inside");
    echo.open(10);
    let answer = slow.answer().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"), "keep-alives are told");
    slow.closed().await;
    let mut body = Vec::new();
    while let Some(piece) = stream.piece(&mut head).await.unwrap() {
        body.extend(piece);
    }
    assert_eq!(body, b"piece 0\npiece 1\npiece 2\n");
    assert_eq!(held.await.unwrap().unwrap(), 200);
    assert_eq!(gateway.ended().await, 0, "{}", gateway.said());
}

#[tokio::test]
async fn idle_connections_do_not_hold_it_up() {
    let echo = Echo::start("a").await;
    let mut gateway = start_to(echo.address()).await;
    let mut kept = gateway.wire().await;
    assert_eq!(kept.ask(request("GET", "/", &[], "")).await.status, 200);
    let silent = gateway.wire().await;
    let mut h2 = H2::plain(gateway.web()).await;
    assert_eq!(h2.get("a.test", "/").await.status, 200);
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await, 0, "{}", gateway.said());
    kept.closed().await;
    until("the end of HTTP/2", async || h2.is_closed()).await;
    drop(silent);
}

#[tokio::test]
async fn nothing_logged_is_lost() {
    let echo = Echo::start("a").await;
    let mut gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    for _ in 0..50 {
        wire.ask(request("GET", "/", &[], "")).await;
    }
    gateway.signal("TERM");
    gateway.ended().await;
    assert_eq!(gateway.log("stdout").len(), 50);
}

#[tokio::test]
async fn the_deadline_ends_what_does_not_end() {
    let echo = Echo::start("a").await;
    let config = format!("http: {{ drain_timeout: 500ms }}\n{}", to(echo.address()));
    let mut gateway = start(&config).await;
    let mut socket = Socket::open(gateway.wire().await, "/ws", &[]).await.unwrap();
    socket.echoes("hello").await;
    let mut hung = gateway.wire().await;
    hung.send(request("GET", "/hang", &[], "")).await;
    until("the request", async || echo.hits() == 2).await;
    gateway.signal("TERM");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    socket.echoes("still there").await;
    gateway.ended().await;
    assert_eq!(socket.next().await, None);
    assert!(hung.answer_to("GET").await.is_err());
    let said = gateway.said().to_ascii_lowercase();
    assert!(said.contains("drain"), "a progress line: {said}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let echo = Echo::start("a").await;
    let mut gateway = start_to(echo.address()).await;
    let mut hung = gateway.wire().await;
    hung.send(request("GET", "/hang", &[], "")).await;
    until("the request", async || echo.hits() == 1).await;
    gateway.signal("TERM");
    let web = gateway.web();
    until("the listener to close", async || Wire::try_connect(web).await.is_err()).await;
    gateway.signal("TERM");
    gateway.ended().await;
    assert!(hung.answer_to("GET").await.is_err());
}

#[tokio::test]
async fn a_hangup_while_draining_ends_nothing() {
    let echo = Echo::start("a").await;
    let mut gateway = start_to(echo.address()).await;
    let mut slow = gateway.wire().await;
    slow.send(request("GET", "/wait", &[], "")).await;
    until("the request", async || echo.hits() == 1).await;
    gateway.signal("TERM");
    let web = gateway.web();
    until("the listener to close", async || Wire::try_connect(web).await.is_err()).await;
    let health = gateway.admin("GET", "/health", "").await;
    assert_eq!(health.status, 503, "{health:?}");
    assert!(health.text().contains("draining"), "{health:?}");
    gateway.signal("HUP");
    // Long enough for a process that ends at once to be gone.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(gateway.runs(), "{}", gateway.said());
    echo.open(1);
    assert_eq!(slow.answer().await.status, 200);
    assert_eq!(gateway.ended().await, 0, "{}", gateway.said());
}

#[tokio::test]
async fn a_successor_starts_while_the_old_one_drains() {
    let echo = Echo::start("a").await;
    let mut gateway = start_to(echo.address()).await;
    let mut slow = gateway.wire().await;
    slow.send(request("GET", "/wait", &[], "")).await;
    until("the request", async || echo.hits() == 1).await;
    gateway.signal("TERM");
    let web = gateway.web();
    until("the listener to close", async || Wire::try_connect(web).await.is_err()).await;
    let file = gateway.dir().path().join("lockgate.yaml");
    let mut next = std::process::Command::new(crate::support::BINARY)
        .args(["run", "-c"])
        .arg(file)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("the successor", async || Wire::try_connect(web).await.is_ok()).await;
    assert!(gateway.runs(), "both at once");
    next.kill().unwrap();
    next.wait().unwrap();
    echo.open(1);
    assert_eq!(slow.answer().await.status, 200);
    assert_eq!(gateway.ended().await, 0, "{}", gateway.said());
}

#[tokio::test]
async fn an_interrupt_does_the_same() {
    let mut gateway = start("routes:\n  /*: { to: { respond: {} } }\n").await;
    assert_eq!(gateway.get("/").await.status, 200);
    gateway.signal("INT");
    assert_eq!(gateway.ended().await, 0);
}
