//! HTTP/1.1 towards clients, where everybody behaves.

use lockgate_testkit::{Echo, Raw, Step, request};

use crate::support::{start, start_to};

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    for n in 0..5 {
        let answer = wire.ask(request("GET", &format!("/{n}"), &[], "")).await;
        assert_eq!(answer.json()["path"], format!("/{n}"));
    }
    assert_eq!(echo.connections(), 1, "the upstream's connection is kept too");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    let slow = request("GET", "/delay/50", &[], "");
    let post = request("POST", "/b", &[], "body");
    let last = request("GET", "/c", &[], "");
    wire.send(slow + &post + &last).await;
    for (path, body) in [("/delay/50", ""), ("/b", "body"), ("/c", "")] {
        let answer = wire.answer().await;
        assert_eq!(answer.json()["path"], path);
        assert_eq!(answer.json()["body"], body);
    }
}

#[tokio::test]
async fn chunks_and_trailers_pass_up() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    let head = "POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\
                Trailer: X-Sum\r\n\r\n";
    let answer =
        wire.ask(format!("{head}3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n")).await;
    assert_eq!(answer.json()["body"], "abcde");
    assert_eq!(echo.last().trailers.get("x-sum").unwrap(), "5");
    let again = wire.ask(request("GET", "/again", &[], "")).await;
    assert_eq!(again.status, 200, "the connection is still in step");
}

#[tokio::test]
async fn chunks_and_trailers_pass_down() {
    let raw = Raw::start(vec![
        Step::Request,
        Step::send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
             3\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n",
        ),
    ])
    .await;
    let gateway = start_to(raw.address()).await;
    let answer = gateway.ask("GET", "/", &[("TE", "trailers")], "").await;
    assert_eq!(answer.text(), "abc");
    assert_eq!(answer.trailer("x-sum"), Some("3"));
}

#[tokio::test]
async fn a_body_that_is_announced_is_asked_for() {
    let echo = Echo::start("a").await;
    let config = format!("routes:\n  /a: {{ to: \"http://{}\" }}\n", echo.address());
    let gateway = start(&config).await;
    let mut wire = gateway.wire().await;
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\
                 Expect: 100-continue\r\n\r\n"
        )
    };
    wire.send(head("/a")).await;
    assert_eq!(wire.interim().await, Ok(100));
    wire.send("body").await;
    assert_eq!(wire.answer().await.json()["body"], "body");

    let mut wire = gateway.wire().await;
    wire.send(head("/nowhere")).await;
    let refusal = wire.head("POST").await.unwrap();
    assert_eq!((refusal.status, refusal.before), (404, vec![]), "what is refused is not asked for");
}

#[tokio::test]
async fn head_has_the_headers_and_no_body() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    wire.send(request("HEAD", "/bytes/1000", &[], "")).await;
    let answer = wire.answer_to("HEAD").await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-length"), Some("1000"));
    let next = wire.ask(request("GET", "/bytes/3", &[], "")).await;
    assert_eq!(next.text(), "xxx", "the connection is still in step");
    wire.send(request("HEAD", "/status/404", &[], "")).await;
    assert_eq!(wire.answer_to("HEAD").await.unwrap().status, 404);
    assert_eq!(wire.ask(request("GET", "/bytes/1", &[], "")).await.text(), "x");
}

#[tokio::test]
async fn a_refused_head_has_no_body_either() {
    let gateway = start("routes:\n  /a: { to: { respond: { body: hello } } }\n").await;
    let mut wire = gateway.wire().await;
    for (path, status) in [("/nowhere", 404), ("/a", 200)] {
        wire.send(request("HEAD", path, &[], "")).await;
        assert_eq!(wire.answer_to("HEAD").await.unwrap().status, status);
    }
    assert_eq!(wire.ask(request("GET", "/a", &[], "")).await.text(), "hello");
}

#[tokio::test]
async fn an_absolute_target_names_the_host() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    let answer = wire.ask("GET http://b.test/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(answer.json()["path"], "/x?y");
    assert_eq!(answer.seen_all("host"), ["b.test"], "the target outranks the Host");
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    for status in [204, 304] {
        let answer = wire.ask(request("GET", &format!("/status/{status}"), &[], "")).await;
        assert_eq!((answer.status, answer.body.len()), (status, 0));
    }
    assert_eq!(wire.ask(request("GET", "/bytes/1", &[], "")).await.text(), "x");
}

#[tokio::test]
async fn a_client_that_closes_is_closed_after_its_answer() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    let answer = wire.ask(request("GET", "/", &[("Connection", "close")], "")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    wire.closed().await;
}

#[tokio::test]
async fn http_1_0_is_answered_without_chunks_and_closed() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    wire.send("GET /stream/2/1 HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    while wire.fill().await.unwrap() {}
    let text = String::from_utf8_lossy(&wire.buffer).into_owned();
    assert!(text.starts_with("HTTP/1."), "{text}");
    assert!(text.ends_with("\r\n\r\npiece 0\npiece 1\n"), "{text}");
    assert!(!text.to_ascii_lowercase().contains("transfer-encoding"), "{text}");
}

#[tokio::test]
async fn unknown_methods_keep_their_bodies() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    for method in ["FROB", "PATCH", "DELETE", "GET"] {
        let answer = wire.ask(request(method, "/", &[("Content-Length", "3")], "abc")).await;
        assert_eq!(answer.json()["method"], method);
        assert_eq!(answer.json()["body"], "abc");
    }
}

#[tokio::test]
async fn an_offer_of_h2c_is_passed_over() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let offer = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
    ];
    let answer = gateway.ask("GET", "/", &offer, "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.seen("http2-settings"), None);
    assert_ne!(answer.seen("upgrade").as_deref(), Some("h2c"), "nobody else is offered it");
}

#[tokio::test]
async fn large_bodies_pass_whole_both_ways() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    let body: String = (0..3_000_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    let answer = wire.ask(request("PUT", "/", &[("Content-Length", "3000000")], &body)).await;
    assert_eq!(answer.status, 200);
    assert!(echo.last().body == body.as_bytes(), "the body came whole");
    assert!(answer.json()["body"] == body, "and came back whole");
}
