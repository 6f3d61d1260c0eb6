//! Requests that two readers could read in two ways, or not at all: each is refused, the
//! connection is closed, and nothing of it reaches an upstream.

use lockgate_testkit::{Gateway, Raw, Step, Wire};

use crate::support::start_to;

const MARK: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

async fn upstream() -> Raw {
    Raw::start(vec![Step::Repeat(vec![Step::Request, Step::ok("reached")])]).await
}

/// Sends bytes and the mark after them, and expects one refusal with one of these statuses and
/// these reasons, and the end of the connection.
async fn refused(gateway: &Gateway, case: &str, bytes: &[u8], statuses: &[u16]) {
    let mut wire = Wire::connect(gateway.web()).await;
    wire.send([bytes, MARK.as_bytes()].concat()).await;
    let answer = match wire.answer_to("GET").await {
        Ok(answer) => answer,
        Err(fail) => panic!("{case}: {fail}"),
    };
    assert!(statuses.contains(&answer.status), "{case}: {answer:?}");
    assert!(answer.reason().is_some(), "{case} has no reason: {answer:?}");
    assert_eq!(answer.json()["reason"], answer.reason().unwrap(), "{case}");
    wire.closed().await;
}

fn with(line: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nHost: a.test\r\n{line}\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn ambiguous_lengths_are_refused() {
    let raw = upstream().await;
    let gateway = start_to(raw.address()).await;
    for lines in [
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4\r\nContent-Length: 4",
        "Content-Length: 4, 4",
        "Content-Length: 4,5",
        "Content-Length: +4",
        "Content-Length: -4",
        "Content-Length: 0x4",
        "Content-Length: 4 4",
        "Content-Length: 4a",
        "Content-Length:",
        "Content-Length: 99999999999999999999999",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding:",
    ] {
        refused(&gateway, lines, &with(lines), &[400, 501]).await;
    }
    let old = b"POST /a HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    refused(&gateway, "a transfer coding in HTTP/1.0", old, &[400, 501]).await;
    assert_eq!(raw.all(), "", "nothing goes upstream");
}

#[tokio::test]
async fn broken_lines_are_refused() {
    let raw = upstream().await;
    let gateway = start_to(raw.address()).await;
    let cases: &[(&str, &[u8])] = &[
        ("bare line feeds", b"GET /a HTTP/1.1\nHost: a.test\n\n"),
        ("a bare line feed after the first line", b"GET /a HTTP/1.1\nHost: a.test\r\n\r\n"),
        ("a bare line feed after a header", b"GET /a HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n"),
        ("a bare line feed at the end", b"GET /a HTTP/1.1\r\nHost: a.test\r\n\n"),
        ("a bare carriage return", b"GET /a HTTP/1.1\r\nHost: a.test\r\nX: a\rb\r\n\r\n"),
        ("a folded line", b"GET /a HTTP/1.1\r\nHost: a.test\r\nX: a\r\n b\r\n\r\n"),
        ("a tab-folded line", b"GET /a HTTP/1.1\r\nHost: a.test\r\nX: a\r\n\tb\r\n\r\n"),
        ("a first line that is folded", b"GET /a HTTP/1.1\r\n Host: a.test\r\n\r\n"),
        ("a space before a colon", b"GET /a HTTP/1.1\r\nHost: a.test\r\nX : a\r\n\r\n"),
        ("a tab before a colon", b"GET /a HTTP/1.1\r\nHost: a.test\r\nX\t: a\r\n\r\n"),
        ("a header without a colon", b"GET /a HTTP/1.1\r\nHost: a.test\r\nX\r\n\r\n"),
        ("a header without a name", b"GET /a HTTP/1.1\r\nHost: a.test\r\n: a\r\n\r\n"),
        ("a header's name that is none", b"GET /a HTTP/1.1\r\nHost: a.test\r\nX(y): a\r\n\r\n"),
        ("a NUL in a name", b"GET /a HTTP/1.1\r\nHost: a.test\r\nX\0: a\r\n\r\n"),
        ("a NUL in a value", b"GET /a HTTP/1.1\r\nHost: a.test\r\nX: a\0b\r\n\r\n"),
        ("a control character in a value", b"GET /a HTTP/1.1\r\nHost: a.test\r\nX: a\x01\r\n\r\n"),
        ("DEL in a value", b"GET /a HTTP/1.1\r\nHost: a.test\r\nX: a\x7f\r\n\r\n"),
        ("a non-ASCII name", b"GET /a HTTP/1.1\r\nHost: a.test\r\nX\xe9: a\r\n\r\n"),
    ];
    for (case, bytes) in cases {
        refused(&gateway, case, bytes, &[400]).await;
    }
    assert_eq!(raw.all(), "", "nothing goes upstream");
}

#[tokio::test]
async fn broken_first_lines_are_refused() {
    let raw = upstream().await;
    let gateway = start_to(raw.address()).await;
    let cases: &[(&str, &[u8])] = &[
        ("two spaces", b"GET  /a HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a tab", b"GET\t/a HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("no version", b"GET /a\r\nHost: a.test\r\n\r\n"),
        ("a fourth word", b"GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a version in small letters", b"GET /a http/1.1\r\nHost: a.test\r\n\r\n"),
        ("a version that is none", b"GET /a HTTP/1.x\r\nHost: a.test\r\n\r\n"),
        ("a version to come", b"GET /a HTTP/9.1\r\nHost: a.test\r\n\r\n"),
        ("a method that is no token", b"G@T /a HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a target without a slash", b"GET a HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a NUL in the target", b"GET /a\0b HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a control character in the target", b"GET /a\x01 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a non-ASCII target", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("no text at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    ];
    for (case, bytes) in cases {
        refused(&gateway, case, bytes, &[400, 501, 505]).await;
    }
    let connect = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n";
    refused(&gateway, "CONNECT", connect, &[400, 405, 501]).await;
    assert_eq!(raw.all(), "", "nothing goes upstream");
}

#[tokio::test]
async fn doubtful_hosts_are_refused() {
    let raw = upstream().await;
    let gateway = start_to(raw.address()).await;
    for hosts in [
        "",
        "Host: a.test\r\nHost: a.test\r\n",
        "Host: a.test\r\nHost: b.test\r\n",
        "Host:\r\n",
        "Host: a.test b.test\r\n",
        "Host: a.test,b.test\r\n",
        "Host: a.test/b\r\n",
        "Host: me@a.test\r\n",
        "Host: a.test:port\r\n",
        "Host: [::1\r\n",
        "Host: a\\b\r\n",
        "Host: http://a.test\r\n",
    ] {
        let bytes = format!("GET /a HTTP/1.1\r\n{hosts}\r\n");
        refused(&gateway, &format!("{hosts:?}"), bytes.as_bytes(), &[400]).await;
    }
    assert_eq!(raw.all(), "", "nothing goes upstream");
}

#[tokio::test]
async fn broken_chunks_never_become_a_whole_body() {
    // A body may be under way upstream before its broken chunk comes, so what counts is that it
    // is never ended there as if it were whole, and that nothing after it is read as a request.
    let chunks: &[&[u8]] = &[
        b"zz\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3_0\r\nabc\r\n0\r\n\r\n",
        b"ffffffffffffffff3\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabcX\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3;a\nb\r\nabc\r\n0\r\n\r\n",
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        b"3;a=\0\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX : y\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX: y\r\n folded\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX: y\n\r\n",
    ];
    let raw = Raw::start(vec![Step::Until("\r\n0\r\n"), Step::ok("whole")]).await;
    let gateway = start_to(raw.address()).await;
    for chunk in chunks {
        let case = String::from_utf8_lossy(chunk).into_owned();
        let mut wire = gateway.wire().await;
        let head = "POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        wire.send([head.as_bytes(), chunk, MARK.as_bytes()].concat()).await;
        if let Ok(answer) = wire.answer_to("POST").await {
            assert_eq!(answer.status, 400, "{case:?}: {answer:?}");
            assert_eq!(answer.reason(), Some("bad_request_framing"), "{case:?}");
        }
        wire.closed().await;
    }
    let all = raw.all();
    assert!(!all.contains("smuggled"), "{all}");
    for connection in 0..raw.connections() {
        raw.ended(connection).await;
        let text = raw.received(connection);
        assert!(!text.ends_with("0\r\n\r\n"), "{text:?}");
        assert!(!text.contains("a\nb") && !text.contains("a\rb"), "{text:?}");
    }
}

#[tokio::test]
async fn trailers_cannot_bring_framing_or_credentials() {
    let one = vec![Step::Until("\r\n0\r\n"), Step::Until("\r\n"), Step::ok("")];
    let raw = Raw::start(vec![Step::Repeat(one)]).await;
    let gateway = start_to(raw.address()).await;
    for name in ["Content-Length: 3", "Transfer-Encoding: chunked", "Host: b.test"] {
        let mut wire = gateway.wire().await;
        let text = format!(
            "POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n0\r\n{name}\r\n\r\n"
        );
        wire.send(text).await;
        if let Ok(answer) = wire.answer_to("POST").await {
            assert!(matches!(answer.status, 200 | 400), "{name}: {answer:?}");
        }
    }
    for connection in 0..raw.connections() {
        let text = raw.received(connection).to_ascii_lowercase();
        for after in text.split("\r\n0\r\n").skip(1) {
            assert!(after.starts_with("\r\n") || after.is_empty(), "{text}");
        }
    }
}

#[tokio::test]
async fn an_expectation_that_is_not_known_is_refused() {
    let raw = upstream().await;
    let gateway = start_to(raw.address()).await;
    let bytes = with("Content-Length: 3\r\nExpect: 200-ok");
    refused(&gateway, "Expect", &bytes, &[417]).await;
    assert_eq!(raw.all(), "", "nothing goes upstream");
}

#[tokio::test]
async fn what_is_odd_but_clear_is_served() {
    let raw = upstream().await;
    let gateway = start_to(raw.address()).await;
    for text in [
        "GET /a HTTP/1.1\r\nhOST:a.test\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: \t a.test \t\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a.test:8080\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a.test\r\nX-Empty:\r\nX: \"q;=,\" \u{e9}\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0003\r\n\r\nabc",
        "FROB /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc",
        "\r\nGET /a HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ] {
        let mut wire = gateway.wire().await;
        wire.send(text).await;
        let answer = wire.answer_to("GET").await.unwrap_or_else(|fail| panic!("{text}: {fail}"));
        assert_eq!((answer.status, answer.text().as_str()), (200, "reached"), "{text:?}");
    }
}
