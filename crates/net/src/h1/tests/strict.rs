//! What is refused, row by row: the reason, and that the connection ends with it.

use super::{App, ask, limits};

/// Name, bytes, the reason it is refused for.
#[rustfmt::skip]
const REFUSED: &[(&str, &[u8], &str)] = &[
    ("TE with CL", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad_request_framing"),
    ("CL with TE", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "bad_request_framing"),
    ("two different CL", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "bad_request_framing"),
    ("two equal CL", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "bad_request_framing"),
    ("CL list", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", "bad_request_framing"),
    ("CL plus", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", "bad_request_framing"),
    ("CL minus", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc", "bad_request_framing"),
    ("CL inner space", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 2\r\n\r\nabc", "bad_request_framing"),
    ("CL hex", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", "bad_request_framing"),
    ("CL empty", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", "bad_request_framing"),
    ("CL overflow", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", "bad_request_framing"),
    ("CL long overflow", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", "bad_request_framing"),
    ("TE gzip", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "not_implemented"),
    ("TE list", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "not_implemented"),
    ("TE identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", "not_implemented"),
    ("TE chunked twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "not_implemented"),
    ("TE then identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", "not_implemented"),
    ("TE quoted", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "not_implemented"),
    ("TE with tab inside", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n", "bad_request_framing"),
    ("TE empty", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", "not_implemented"),
    ("TE on 1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad_request_framing"),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", "bad_host"),
    ("no Host, absolute", b"GET http://a/ HTTP/1.1\r\n\r\n", "bad_host"),
    ("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "bad_host"),
    ("two equal Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "bad_host"),
    ("two Hosts on 1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "bad_host"),
    ("empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", "bad_host"),
    ("Host with path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "bad_host"),
    ("Host with user", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "bad_host"),
    ("Host with list", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "bad_host"),
    ("Host with space", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "bad_host"),
    ("Host with percent", b"GET / HTTP/1.1\r\nHost: a%2fb\r\n\r\n", "bad_host"),
    ("Host port word", b"GET / HTTP/1.1\r\nHost: a:http\r\n\r\n", "bad_host"),
    ("Host port too large", b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", "bad_host"),
    ("Host port empty", b"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "bad_host"),
    ("Host two ports", b"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", "bad_host"),
    ("Host bare IPv6", b"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", "bad_host"),
    ("Host open bracket", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "bad_host"),
    ("Host not IPv6", b"GET / HTTP/1.1\r\nHost: [a]\r\n\r\n", "bad_host"),
    ("bare LF lines", b"GET / HTTP/1.1\nHost: a\n\n", "bad_request_framing"),
    ("bare LF after request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", "bad_request_framing"),
    ("bare LF in headers", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "bad_request_framing"),
    ("bare LF at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\n", "bad_request_framing"),
    ("bare CR in value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "bad_request_framing"),
    ("CR CR LF", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "bad_request_framing"),
    ("obs-fold", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", "bad_request_framing"),
    ("obs-fold tab", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", "bad_request_framing"),
    ("leading space in first header", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "bad_request_framing"),
    ("space before colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "bad_request_framing"),
    ("tab before colon", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 3\r\n\r\nabc", "bad_request_framing"),
    ("empty name", b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", "bad_request_framing"),
    ("name with space", b"GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", "bad_request_framing"),
    ("name with quote", b"GET / HTTP/1.1\r\nHost: a\r\nX\"Y: b\r\n\r\n", "bad_request_framing"),
    ("name not ASCII", b"GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa4: b\r\n\r\n", "bad_request_framing"),
    ("name with NUL", b"GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", "bad_request_framing"),
    ("no colon", b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", "bad_request_framing"),
    ("NUL in value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", "bad_request_framing"),
    ("CTL in value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", "bad_request_framing"),
    ("DEL in value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", "bad_request_framing"),
    ("asterisk for GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    ("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "not_implemented"),
    ("fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    ("target with space", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    ("two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    ("target with tab", b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    ("target not ASCII", b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    ("target with NUL", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    ("no target", b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    ("relative target", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    ("query alone", b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    ("other scheme", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    ("absolute with user", b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    ("absolute without host", b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target"),
    ("version 1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "version_not_supported"),
    ("version 2.0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "version_not_supported"),
    ("version 0.9", b"GET / HTTP/0.9\r\n\r\n", "version_not_supported"),
    ("version word", b"GET / HTTP/one\r\nHost: a\r\n\r\n", "bad_request_framing"),
    ("lower case version", b"GET / http/1.1\r\nHost: a\r\n\r\n", "bad_request_framing"),
    ("space after version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "bad_request_framing"),
    ("no version", b"GET /\r\n\r\n", "bad_request_framing"),
    ("method not a token", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request_framing"),
    ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "bad_request_framing"),
    ("garbage", b"\0\0\0\0", "bad_request_framing"),
    ("space first", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request_framing"),
    ("three empty lines", b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request_framing"),
    ("empty line of bare LF", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request_framing"),
    ("other expectation", b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\na", "expectation_failed"),
];

#[tokio::test(start_paused = true)]
async fn each_row_is_refused_and_the_connection_closed() {
    for (name, bytes, reason) in REFUSED {
        let app = App::echo();
        // A request behind it must never be served: it could be smuggled.
        let mut sent = bytes.to_vec();
        sent.extend_from_slice(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = ask(&app, limits(), &sent).await;
        assert_eq!(*app.seen().refused.borrow(), [*reason], "{name}: {answer}");
        assert_eq!(app.seen().served.get(), 0, "{name}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{name}: {answer}");
        assert!(answer.ends_with(reason), "{name}: {answer}");
    }
}

/// Chunked bodies that must not be read: the reason reaches whoever reads the body.
const CHUNKED: &[(&str, &[u8])] = &[
    ("LF in extension", b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    ("bare LF after size", b"3\nabc\r\n0\r\n\r\n"),
    ("bare CR in extension", b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    ("NUL in extension", b"3;\0\r\nabc\r\n0\r\n\r\n"),
    ("17 digits", b"00000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("no digits", b"\r\nabc\r\n0\r\n\r\n"),
    ("plus", b"+3\r\nabc\r\n0\r\n\r\n"),
    ("minus", b"-3\r\nabc\r\n0\r\n\r\n"),
    ("0x", b"0x3\r\nabc\r\n0\r\n\r\n"),
    ("space before", b" 3\r\nabc\r\n0\r\n\r\n"),
    ("space after", b"3 \r\nabc\r\n0\r\n\r\n"),
    ("space before extension", b"3 ;a\r\nabc\r\n0\r\n\r\n"),
    ("no CRLF after data", b"3\r\nabc0\r\n\r\n"),
    ("bare LF after data", b"3\r\nabc\n0\r\n\r\n"),
    ("data too long", b"3\r\nabcd\r\n0\r\n\r\n"),
    ("bare LF in trailer", b"0\r\nA: b\n\r\n"),
    ("folded trailer", b"0\r\nA: b\r\n c\r\n\r\n"),
    ("NUL in trailer", b"0\r\nA: \0\r\n\r\n"),
    ("no colon in trailer", b"0\r\nA\r\n\r\n"),
];

#[tokio::test(start_paused = true)]
async fn broken_chunks_break_the_request_and_the_connection() {
    for (name, body) in CHUNKED {
        let app = App::echo();
        let mut sent = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        sent.extend_from_slice(body);
        sent.extend_from_slice(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = ask(&app, limits(), &sent).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{name}: {answer}");
        assert!(answer.ends_with("bad_request_framing"), "{name}: {answer}");
        assert_eq!(app.seen().served.get(), 1, "{name}");
    }
}

/// What is unusual and yet means one thing only.
#[rustfmt::skip]
const SERVED: &[(&str, &[u8], &str)] = &[
    ("two empty lines first", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /|"),
    ("no space after colon", b"GET / HTTP/1.1\r\nHost:a\r\n\r\n", "GET /|"),
    ("blanks around a value", b"POST / HTTP/1.1\r\nHost: \t a \t\r\nContent-Length:  3\t\r\n\r\nabc", "POST /|abc"),
    ("empty value", b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n", "GET /|"),
    ("obs-text value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe4\r\n\r\n", "GET /|"),
    ("IPv6 host", b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "GET /|"),
    ("asterisk", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS *|"),
    ("absolute", b"GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://b:81/x?y|"),
    ("double slash", b"GET //b/c HTTP/1.1\r\nHost: a\r\n\r\n", "GET //b/c|"),
    ("unknown method", b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", "BREW /pot|"),
    ("CL zero", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST /|"),
    ("leading zeros", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\n\r\nabc", "POST /|abc"),
    ("chunked in capitals", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "POST /|abc"),
    ("chunk extension", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0\r\n\r\n", "POST /|abc"),
    ("16 digits", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0000000000000003\r\nabc\r\n00\r\n\r\n", "POST /|abc"),
];

#[tokio::test(start_paused = true)]
async fn what_is_unusual_but_clear_is_served() {
    for (name, bytes, echo) in SERVED {
        let app = App::echo();
        let answer = ask(&app, limits(), bytes).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{name}: {answer}");
        assert!(answer.ends_with(echo), "{name}: {answer}");
        assert!(app.seen().refused.borrow().is_empty(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn sizes_are_bounded() {
    let line = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(length));
    let headers =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    let large =
        |size: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(size));
    let endless = format!("GET /{}", "x".repeat(5000));
    let no_end = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(5000));
    for (bytes, reason) in [
        (line(1023), None),
        (line(1024), Some("uri_too_long")),
        (endless, Some("uri_too_long")),
        (headers(20), None),
        (headers(21), Some("headers_too_large")),
        (large(4000), None),
        (large(4100), Some("headers_too_large")),
        (no_end, Some("headers_too_large")),
    ] {
        let app = App::echo();
        ask(&app, limits(), bytes.as_bytes()).await;
        assert_eq!(app.seen().refused.borrow().first().copied(), reason, "{bytes:.40}");
        assert_eq!(app.seen().served.get(), usize::from(reason.is_none()));
    }
}

#[tokio::test(start_paused = true)]
async fn extensions_and_trailers_are_bounded() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let padded = format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(100);
    let long = format!("1;{}\r\na\r\n", "x".repeat(300));
    let trailers = format!("0\r\n{}", format!("A: {}\r\n", "b".repeat(1000)).repeat(9));
    for body in [padded, long, trailers] {
        let app = App::echo();
        let answer = ask(&app, limits(), format!("{head}{body}0\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{body:.20}: {answer}");
    }
}
