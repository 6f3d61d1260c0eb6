//! The client's side, against upstreams that do what a script says.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, request};
use http_body::Frame;
use lockgate_core::{Body, Duplex, Fault, Resend, reasons};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use super::server::fed;
use super::until;
use crate::ClientAnswer;
use crate::h1::{ClientConnection, ClientLimits, Reuse};

/// Keeps what is put back.
#[derive(Default)]
struct Shelf(RefCell<Vec<ClientConnection>>);

impl Reuse for Shelf {
    fn put_back(&self, connection: ClientConnection) {
        self.0.borrow_mut().push(connection);
    }
}

impl Shelf {
    fn holds(&self) -> usize {
        self.0.borrow().len()
    }
}

fn head(method: &str, target: &str) -> request::Parts {
    let request = Request::builder().method(method).uri(target).header("host", "up:80");
    request.body(()).unwrap().into_parts().0
}

fn connect() -> (ClientConnection, DuplexStream) {
    let (ours, theirs) = duplex(64 * 1024);
    (ClientConnection::new(Box::new(ours) as Box<dyn Duplex>), theirs)
}

type Sent = Result<ClientAnswer, (Fault, Option<Body>)>;

/// Sends a GET to an upstream that answers so, and then closes or not.
async fn get(answer: &[u8], close: bool) -> (Sent, Rc<Shelf>, DuplexStream) {
    let (connection, mut upstream) = connect();
    upstream.write_all(answer).await.unwrap();
    if close {
        upstream.shutdown().await.unwrap();
    }
    let shelf = Rc::new(Shelf::default());
    let reuse = Rc::clone(&shelf) as Rc<dyn Reuse>;
    let sent =
        connection.send(&head("GET", "/x?y"), Body::Empty, ClientLimits::default(), reuse).await;
    (sent, shelf, upstream)
}

async fn body(answer: Sent) -> Result<Bytes, Fault> {
    answer.map_err(|(fault, _)| fault)?.response.into_body().collect(1 << 20).await
}

#[tokio::test(start_paused = true)]
async fn requests_are_written_with_the_framing_of_their_bodies() {
    let fed_with = |text: &'static str| {
        let (feed, body) = fed();
        feed.try_send(Ok(Frame::data(Bytes::from_static(text.as_bytes())))).unwrap();
        body
    };
    for (method, target, body, expected) in [
        ("GET", "/x?y", Body::Empty, "GET /x?y HTTP/1.1\r\nhost: up:80\r\n\r\n"),
        ("GET", "http://a", Body::Empty, "GET / HTTP/1.1\r\nhost: up:80\r\n\r\n"),
        ("GET", "http://a?q", Body::Empty, "GET /?q HTTP/1.1\r\nhost: up:80\r\n\r\n"),
        ("OPTIONS", "*", Body::Empty, "OPTIONS * HTTP/1.1\r\nhost: up:80\r\n\r\n"),
        ("POST", "/", Body::Empty, "POST / HTTP/1.1\r\nhost: up:80\r\ncontent-length: 0\r\n\r\n"),
        (
            "POST",
            "/",
            Body::from("abc"),
            "POST / HTTP/1.1\r\nhost: up:80\r\ncontent-length: 3\r\n\r\nabc",
        ),
        (
            "POST",
            "/",
            fed_with("abc"),
            "POST / HTTP/1.1\r\nhost: up:80\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
    ] {
        let (connection, mut upstream) = connect();
        upstream.write_all(b"HTTP/1.1 204 No\r\n\r\n").await.unwrap();
        let mut head = head(method, target);
        // Framing headers in the head are ignored: they could contradict the body.
        head.headers.insert("content-length", HeaderValue::from_static("99"));
        head.headers.insert("transfer-encoding", HeaderValue::from_static("gzip"));
        let shelf = Rc::new(Shelf::default());
        let limits = ClientLimits::default();
        let sent = connection.send(&head, body, limits, Rc::clone(&shelf) as _).await;
        assert_eq!(sent.unwrap().response.status(), 204);
        drop(shelf);
        let mut written = String::new();
        upstream.read_to_string(&mut written).await.unwrap();
        assert_eq!(written, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn whole_answers_need_no_stream_and_give_the_connection_back_at_once() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n",
            "abcdef",
        ),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", "abc"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "abc",
        ),
    ] {
        let (sent, shelf, _upstream) = get(answer.as_bytes(), false).await;
        let sent = sent.unwrap();
        assert!(!matches!(sent.response.body(), Body::Stream(_)), "{answer}");
        assert!(!sent.response.headers().contains_key("content-length"), "{answer}");
        assert_eq!(body(Ok(sent)).await.unwrap(), expected, "{answer}");
        assert_eq!(shelf.holds(), 1, "{answer}");
        let connection = &mut shelf.0.borrow_mut()[0];
        assert!(connection.is_live());
        assert_eq!(connection.requests(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_carry_another_request_is_not_given_back() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", "abc"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200", "abc"),
        ("HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc", ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nx", "abc"),
        ("HTTP/1.1 200 OK\r\n\r\nabc", "abc"),
    ] {
        let (sent, shelf, _upstream) = get(answer.as_bytes(), true).await;
        assert_eq!(body(sent).await.unwrap(), expected, "{answer}");
        assert_eq!(shelf.holds(), 0, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_no_http_are_refused() {
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: x\r\n".repeat(300));
    let interim = "HTTP/1.1 103 Early\r\n\r\n".repeat(17);
    for answer in [
        "garbage\r\n\r\n",
        "\x15\x03\x01\x00\x02",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n0\r\n\r\n",
        &large,
        &many,
        &interim,
    ] {
        let (connection, mut upstream) = connect();
        let script = async {
            let _ = upstream.write_all(answer.as_bytes()).await;
            sleep(Duration::from_secs(5)).await;
        };
        let shelf = Rc::new(Shelf::default());
        let head = head("GET", "/");
        let call =
            connection.send(&head, Body::Empty, ClientLimits::default(), Rc::clone(&shelf) as _);
        let (sent, ()) = tokio::join!(call, script);
        let (fault, _) = sent.err().unwrap_or_else(|| panic!("accepted: {answer:.60}"));
        assert_eq!(fault.reason(), &reasons::UPSTREAM_BAD_ANSWER, "{answer:.60}");
        assert_eq!(fault.may_resend(), Resend::IfIdempotent);
    }
}

#[tokio::test(start_paused = true)]
async fn the_bodys_first_wait_does_not_count_the_heads() {
    let second = Duration::from_secs(1);
    let (connection, mut upstream) = connect();
    let script = async {
        sleep(9 * second).await;
        upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").await.unwrap();
        sleep(9 * second).await;
        upstream.write_all(b"abc").await.unwrap();
        upstream
    };
    let limits =
        ClientLimits { headers: 10 * second, idle: 10 * second, ..ClientLimits::default() };
    let head = head("GET", "/");
    let call = async {
        body(connection.send(&head, Body::Empty, limits, Rc::new(Shelf::default())).await).await
    };
    let (answer, _upstream) = tokio::join!(call, script);
    assert_eq!(answer.unwrap(), "abc");
}

#[tokio::test(start_paused = true)]
async fn an_end_before_the_head_says_whether_to_send_again() {
    // After the whole request went out, it may have been acted on.
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let (sent, _, _upstream) = get(answer.as_bytes(), true).await;
        let (fault, body) = sent.err().unwrap();
        assert_eq!(fault.reason(), &reasons::UPSTREAM_CLOSED, "{answer}");
        assert_eq!(fault.may_resend(), Resend::IfIdempotent);
        assert!(matches!(body, Some(Body::Empty)));
    }
    // Nothing could be written: it has not.
    let (connection, upstream) = connect();
    drop(upstream);
    let limits = ClientLimits::default();
    let shelf = Rc::new(Shelf::default());
    let (_feed, stream) = fed();
    let sent = connection.send(&head("POST", "/"), stream, limits, shelf).await;
    let (fault, body) = sent.err().unwrap();
    assert_eq!((fault.reason(), fault.may_resend()), (&reasons::UPSTREAM_CLOSED, Resend::Safe));
    assert!(matches!(body, Some(Body::Stream(_))), "untouched, so it comes back");
    // A body at hand comes back even when it was written; a stream that was begun does not.
    for (body, back) in [(Body::from("abc"), true), (stream_of("abc"), false)] {
        let (connection, mut upstream) = connect();
        let head = head("POST", "/");
        let shelf = Rc::new(Shelf::default());
        let call = connection.send(&head, body, limits, shelf);
        let script = async {
            until(&mut upstream, "abc").await;
            drop(upstream);
        };
        let (sent, ()) = tokio::join!(call, script);
        let (fault, body) = sent.err().unwrap();
        assert_eq!(fault.may_resend(), Resend::IfIdempotent);
        assert_eq!(body.is_some(), back);
        if let Some(body) = body {
            assert_eq!(body.collect(10).await.unwrap(), "abc");
        }
    }
}

fn stream_of(text: &'static str) -> Body {
    let (feed, body) = fed();
    feed.try_send(Ok(Frame::data(Bytes::from_static(text.as_bytes())))).unwrap();
    body
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_early_is_an_error() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    ] {
        let (sent, shelf, _upstream) = get(answer.as_bytes(), true).await;
        let fault = body(sent).await.unwrap_err();
        assert_eq!(fault.reason(), &reasons::UPSTREAM_BROKE_OFF, "{answer}");
        assert_eq!(shelf.holds(), 0);
    }
    let bad = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n";
    let (sent, shelf, _upstream) = get(bad.as_bytes(), false).await;
    assert_eq!(body(sent).await.unwrap_err().reason(), &reasons::UPSTREAM_BAD_ANSWER);
    assert_eq!(shelf.holds(), 0);
}

#[tokio::test(start_paused = true)]
async fn silence_has_a_limit() {
    let start = Instant::now();
    let (sent, _, _upstream) = get(b"HTTP/1.1 100 Continue\r\n\r\n", false).await;
    let (fault, _) = sent.err().unwrap();
    assert_eq!(fault.reason(), &reasons::UPSTREAM_TIMEOUTS);
    assert_eq!(fault.may_resend(), Resend::IfIdempotent);
    assert_eq!(start.elapsed().as_secs(), 10);
    let start = Instant::now();
    let (sent, _, _upstream) = get(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", false).await;
    let fault = body(sent).await.unwrap_err();
    assert_eq!(fault.reason(), &reasons::UPSTREAM_BROKE_OFF);
    assert_eq!(start.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_head_begins_when_the_request_is_out() {
    let (connection, mut upstream) = connect();
    let (feed, stream) = fed();
    let head = head("POST", "/");
    let shelf = Rc::new(Shelf::default());
    let call = connection.send(&head, stream, ClientLimits::default(), Rc::clone(&shelf) as _);
    let script = async {
        for _ in 0..4 {
            sleep(Duration::from_secs(9)).await;
            feed.send(Ok(Frame::data(Bytes::from_static(b"abc")))).await.unwrap();
        }
        drop(feed);
        until(&mut upstream, "0\r\n\r\n").await;
        sleep(Duration::from_secs(9)).await;
        upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    };
    let (sent, ()) = tokio::join!(call, script);
    assert_eq!(sent.unwrap().response.status(), 200);
    assert_eq!(shelf.holds(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_streams_and_then_the_connection_goes_back() {
    let (sent, shelf, mut upstream) =
        get(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", false).await;
    let mut stream = sent.unwrap().response.into_body();
    let mut next = async || stream.frame().await.unwrap().unwrap();
    assert_eq!(next().await.into_data().unwrap(), "abc");
    upstream.write_all(b"3\r\ndef\r\n").await.unwrap();
    assert_eq!(next().await.into_data().unwrap(), "def");
    assert_eq!(shelf.holds(), 0);
    upstream.write_all(b"0\r\nX-Sum: 1\r\n\r\n").await.unwrap();
    let trailers: HeaderMap = next().await.into_trailers().unwrap();
    assert_eq!(trailers["x-sum"], "1");
    assert_eq!(shelf.holds(), 1);
    assert!(stream.frame().await.is_none());

    let (sent, shelf, mut upstream) =
        get(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", false).await;
    let mut stream = sent.unwrap().response.into_body();
    assert_eq!(stream.len(), Some(6));
    assert_eq!(stream.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
    upstream.write_all(b"def").await.unwrap();
    assert_eq!(stream.frame().await.unwrap().unwrap().into_data().unwrap(), "def");
    assert!(stream.is_empty(), "known without asking again");
    assert_eq!(shelf.holds(), 1);
}

#[tokio::test(start_paused = true)]
async fn trailers_that_came_at_once_are_not_lost() {
    let (sent, shelf, _upstream) = get(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: 0\r\n\r\n",
        false,
    )
    .await;
    let mut stream = sent.unwrap().response.into_body();
    assert_eq!(stream.len(), None, "chunked, so that the trailers have a place");
    assert_eq!(stream.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
    assert_eq!(stream.frame().await.unwrap().unwrap().into_trailers().unwrap()["a"], "0");
    assert!(stream.frame().await.is_none());
    assert_eq!(shelf.holds(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_head_keeps_its_length_as_information() {
    let (connection, mut upstream) = connect();
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await.unwrap();
    let shelf = Rc::new(Shelf::default());
    let limits = ClientLimits::default();
    let sent =
        connection.send(&head("HEAD", "/"), Body::Empty, limits, Rc::clone(&shelf) as _).await;
    let response = sent.unwrap().response;
    assert_eq!(response.headers()["content-length"], "5");
    assert!(response.body().is_empty());
    assert_eq!(shelf.holds(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_is_passed_on_and_the_upload_goes_on_behind_it() {
    let (connection, mut upstream) = connect();
    let (feed, stream) = fed();
    upstream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    let shelf = Rc::new(Shelf::default());
    let limits = ClientLimits::default();
    let sent = connection.send(&head("POST", "/"), stream, limits, Rc::clone(&shelf) as _).await;
    let mut answer = sent.unwrap().response.into_body();
    until(&mut upstream, "\r\n\r\n").await;
    let reading = answer.frame();
    let script = async {
        feed.send(Ok(Frame::data(Bytes::from_static(b"abc")))).await.unwrap();
        assert_eq!(until(&mut upstream, "abc\r\n").await, "3\r\nabc\r\n");
        drop(feed);
        assert_eq!(until(&mut upstream, "\r\n\r\n").await, "0\r\n\r\n");
        upstream.write_all(b"3\r\ndef\r\n0\r\n\r\n").await.unwrap();
    };
    let (frame, ()) = tokio::join!(reading, script);
    assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "def");
    assert_eq!(shelf.holds(), 1, "both directions ended cleanly");
    // An answer that is over before the upload: the rest of that is given up.
    let (connection, mut upstream) = connect();
    let (feed, stream) = fed();
    upstream.write_all(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
    let sent = connection.send(&head("POST", "/"), stream, limits, Rc::clone(&shelf) as _).await;
    assert_eq!(sent.unwrap().response.status(), 413);
    assert_eq!(shelf.holds(), 1, "not this one");
    feed.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_requests_own_body_is_passed_on() {
    let (connection, _upstream) = connect();
    let (feed, stream) = fed();
    feed.try_send(Ok(Frame::data(Bytes::from_static(b"abc")))).unwrap();
    feed.try_send(Err(Fault::client(&reasons::CLIENT_CLOSED))).unwrap();
    let shelf = Rc::new(Shelf::default());
    let sent = connection.send(&head("POST", "/"), stream, ClientLimits::default(), shelf).await;
    let (fault, body) = sent.err().unwrap();
    assert_eq!((fault.reason(), fault.may_resend()), (&reasons::CLIENT_CLOSED, Resend::No));
    assert!(body.is_none());
}

#[tokio::test(start_paused = true)]
async fn letting_go_closes_the_connection() {
    let (connection, mut upstream) = connect();
    let head = head("GET", "/");
    let shelf = Rc::new(Shelf::default());
    let call = connection.send(&head, Body::Empty, ClientLimits::default(), shelf);
    assert!(tokio::time::timeout(Duration::from_secs(1), call).await.is_err());
    until(&mut upstream, "\r\n\r\n").await;
    assert_eq!(upstream.read(&mut [0; 9]).await.unwrap(), 0);
    let (sent, _, mut upstream) =
        get(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", false).await;
    drop(sent);
    until(&mut upstream, "\r\n\r\n").await;
    assert_eq!(upstream.read(&mut [0; 9]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_101_hands_over_the_stream_with_what_was_read_ahead() {
    let (connection, mut upstream) = connect();
    upstream.write_all(b"HTTP/1.1 101 Yes\r\nUpgrade: echo\r\n\r\nhello").await.unwrap();
    let mut head = head("GET", "/");
    head.headers.insert("upgrade", HeaderValue::from_static("echo"));
    let shelf = Rc::new(Shelf::default());
    let sent = connection.send(&head, Body::Empty, ClientLimits::default(), shelf).await.unwrap();
    assert_eq!(sent.response.status(), 101);
    let mut io = sent.upgraded.unwrap();
    let mut word = [0; 5];
    io.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"hello");
    io.write_all(b"bye").await.unwrap();
    until(&mut upstream, "bye").await;
}

#[tokio::test]
async fn a_pooled_tcp_connection_knows_whether_it_lives() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    let shelf = Rc::new(Shelf::default());
    let limits = ClientLimits::default();
    let head = head("GET", "/");
    let mut connection = ClientConnection::new(stream);
    for round in 1..=3 {
        assert!(connection.is_live());
        let call = connection.send(&head, Body::Empty, limits, Rc::clone(&shelf) as _);
        let script = async {
            until(&mut upstream, "\r\n\r\n").await;
            upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        };
        let (sent, ()) = tokio::join!(call, script);
        assert_eq!(body(sent).await.unwrap(), "ok");
        connection = shelf.0.borrow_mut().pop().unwrap();
        assert_eq!(connection.requests(), round);
    }
    drop(upstream);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
        if !connection.is_live() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the close was never noticed");
}
