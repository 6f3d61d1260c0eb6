//! The server's side, from the first byte to the close.

mod ending;

use std::future::pending;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use lockgate_core::{Body, Fault, Incoming, Outcome, Reply, Size, reasons};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::{App, ask, failed, limits, rest, text, until, with_client};
use crate::Drain;

/// A body fed by the test.
pub(super) struct Fed(mpsc::Receiver<Result<Frame<Bytes>, Fault>>);

pub(super) type Feed = mpsc::Sender<Result<Frame<Bytes>, Fault>>;

pub(super) fn fed() -> (Feed, Body) {
    let (feed, body) = mpsc::channel(8);
    (feed, Body::stream(Fed(body)))
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.0.poll_recv(cx)
    }
}

/// An app that answers each request with a body fed by the test.
fn feeding() -> (App, mpsc::Receiver<Feed>) {
    let (give, feeds) = mpsc::channel(4);
    let app = App::new(move |_| {
        let (feed, body) = fed();
        give.try_send(feed).unwrap();
        async move { Response::new(body).into() }
    });
    (app, feeds)
}

fn data(text: &'static str) -> Result<Frame<Bytes>, Fault> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

#[tokio::test]
async fn lines_beside_the_head_are_a_part_of_it() {
    let app = App::new(async |_: Incoming| {
        let mut reply = text("hi");
        reply.lines.push(&header::VARY, &HeaderValue::from_static("Origin"));
        reply
    });
    let answer = ask(&app, limits(), b"GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nvary: Origin\r\nconnection: close\r\n";
    assert_eq!(answer, format!("{head}\r\nhi"));
}

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

async fn client<F: Future>(
    app: &App,
    test: impl FnOnce(tokio::io::DuplexStream) -> F,
) -> F::Output {
    with_client(app, limits(), &Drain::default(), test).await
}

#[tokio::test(start_paused = true)]
async fn requests_follow_each_other_even_when_sent_at_once() {
    let app = App::echo();
    let sent = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
        POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n\
        GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
        GET /5 HTTP/1.1\r\nHost: a\r\n\r\n";
    let start = Instant::now();
    let answer = ask(&app, limits(), sent).await;
    let places: Vec<_> = ["GET /1|", "POST /2|abc", "POST /3|def", "GET /4|"]
        .map(|echo| answer.find(echo).unwrap())
        .into();
    assert!(places.is_sorted(), "{answer}");
    assert!(!answer.contains("/5"), "after `Connection: close` nothing is served");
    assert_eq!(answer.matches("connection: close").count(), 1);
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(app.seen().outcomes.borrow().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_dribbles_in_is_the_same_request() {
    let app = App::echo();
    let sent = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    let answers = client(&app, async |mut client| {
        for byte in sent {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        until(&mut client, "GET /b|").await
    });
    assert!(answers.await.contains("POST /a|abcde"));
}

#[tokio::test(start_paused = true)]
async fn the_head_is_handed_up_without_framing_but_with_the_rest() {
    let app = App::new(async |incoming: Incoming| {
        let headers = &incoming.head.headers;
        assert!(
            !headers.contains_key("content-length") && !headers.contains_key("transfer-encoding")
        );
        let all =
            |name| headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        text(format!("{:?} {:?} {:?}", all("host"), all("x"), incoming.body.len()))
    });
    let answer = ask(
        &app,
        limits(),
        b"POST http://B:8/ HTTP/1.1\r\nHost: A\r\nX: 1\r\nContent-Length: 2\r\nX: 2\r\n\r\nab",
    )
    .await;
    assert!(answer.ends_with(r#"["B:8"] ["1", "2"] Some(2)"#), "authority wins: {answer}");
    let answer = ask(&app, limits(), b"GET / HTTP/1.1\r\nHost: ExAmple.COM:80\r\n\r\n").await;
    assert!(answer.contains(r#"["ExAmple.COM:80"]"#), "as sent: {answer}");
}

#[tokio::test(start_paused = true)]
async fn http_1_0_closes_unless_it_asks_not_to() {
    let app = App::echo();
    let start = Instant::now();
    let answer = ask(&app, limits(), b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.contains("connection: close\r\n") && start.elapsed().is_zero(), "{answer}");
    let twice = b"GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n";
    let answer = ask(&app, limits(), twice).await;
    assert!(answer.contains("connection: keep-alive\r\n"), "{answer}");
    assert!(answer.contains("GET /1|") && answer.ends_with("GET /2|"), "{answer}");
    // No chunks in 1.0: the end of the connection is the end of the body.
    let (app, mut feeds) = feeding();
    let answer = client(&app, async |mut client| {
        client.write_all(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
        let feed = feeds.recv().await.unwrap();
        feed.send(data("abc")).await.unwrap();
        drop(feed);
        rest(&mut client).await
    })
    .await;
    assert_eq!(answer, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc");
    // And half-closing is how some of its clients say that they have asked.
    let answer = client(&App::echo(), async |mut client| {
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        rest(&mut client).await
    })
    .await;
    assert!(answer.ends_with("GET /|"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_with_its_connection_resets_it() {
    for whole in [true, false] {
        let (app, mut feeds) = feeding();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let test = async {
            let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
            client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
            let feed = feeds.recv().await.unwrap();
            feed.send(data("abc")).await.unwrap();
            until(&mut client, "abc").await;
            if !whole {
                let _ = feed.send(Err(Fault::upstream(&reasons::UPSTREAM_BROKE_OFF))).await;
            }
            drop(feed);
            client.read(&mut [0; 10]).await
        };
        let server = async {
            let (io, _) = listener.accept().await.unwrap();
            let waker = std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let ticket = Drain::default().register(&waker);
            let limits = Rc::new(limits());
            crate::h1::serve(io, Bytes::new(), super::connection(), limits, app, ticket).await;
        };
        let (end, ()) = tokio::join!(test, server);
        match whole {
            true => assert_eq!(end.unwrap(), 0),
            false => {
                let error = end.expect_err("the end of half an answer looks like a whole one's");
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_streamed_answer_goes_out_chunk_by_chunk_with_its_trailers() {
    let (app, mut feeds) = feeding();
    client(&app, async |mut client| {
        client.write_all(GET).await.unwrap();
        let feed = feeds.recv().await.unwrap();
        let head = until(&mut client, "\r\n\r\n").await;
        assert_eq!(head, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        feed.send(data("hello")).await.unwrap();
        assert_eq!(until(&mut client, "hello\r\n").await, "5\r\nhello\r\n");
        let large = vec![b'x'; 20_000];
        feed.send(Ok(Frame::data(large.into()))).await.unwrap();
        let chunk = until(&mut client, "x\r\n").await;
        assert!(chunk.starts_with("4e20\r\nxx") && chunk.len() == 20_008);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("content-length", HeaderValue::from_static("9"));
        feed.send(Ok(Frame::trailers(trailers))).await.unwrap();
        assert_eq!(until(&mut client, "\r\n\r\n").await, "0\r\ngrpc-status: 0\r\n\r\n");
        client.write_all(GET).await.unwrap();
        drop(feeds.recv().await.unwrap());
        let again = until(&mut client, "\r\n0\r\n\r\n").await;
        assert!(again.starts_with("HTTP/1.1 200 OK\r\n"), "{again}");
    })
    .await;
    let sent: Vec<u64> = app.seen().outcomes.borrow().iter().map(|outcome| outcome.sent).collect();
    assert_eq!(sent, [20_005, 0]);
}

#[tokio::test(start_paused = true)]
async fn trailers_of_a_request_arrive_without_the_forbidden() {
    let app = App::new(async |mut incoming: Incoming| {
        let mut names = Vec::new();
        while let Some(frame) = incoming.body.frame().await {
            if let Ok(trailers) = frame.unwrap().into_trailers() {
                names.extend(trailers.keys().map(ToString::to_string));
            }
        }
        text(names.join(","))
    });
    let answer = ask(&app, limits(), b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        0\r\nGrpc-Status: 0\r\nHost: b\r\nContent-Length: 3\r\nAuthorization: c\r\nX-Forwarded-For: d\r\nX_User-Id: f\r\nX-Sum: e\r\n\r\n").await;
    assert!(answer.ends_with("grpc-status,x-sum"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn what_has_no_body_has_none() {
    let answer_with = |status: u16, length: Option<&'static str>, body: &'static str| {
        App::new(move |_| async move {
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(length) = length {
                response.headers_mut().insert("content-length", HeaderValue::from_static(length));
            }
            response.into()
        })
    };
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (method, app, expected) in [
        (head, answer_with(200, None, "abc"), "200 OK\r\ncontent-length: 3\r\n\r\n"),
        (head, answer_with(200, Some("77"), ""), "200 OK\r\ncontent-length: 77\r\n\r\n"),
        (head, answer_with(200, None, ""), "200 OK\r\n\r\n"),
        (get, answer_with(200, Some("77"), "abc"), "200 OK\r\ncontent-length: 3\r\n\r\nabc"),
        (get, answer_with(200, None, ""), "200 OK\r\ncontent-length: 0\r\n\r\n"),
        (get, answer_with(204, Some("3"), "abc"), "204 No Content\r\n\r\n"),
        (get, answer_with(304, Some("3"), "abc"), "304 Not Modified\r\ncontent-length: 3\r\n\r\n"),
    ] {
        let answers = ask(&app, limits(), method.repeat(2).as_bytes()).await;
        assert_eq!(answers, format!("HTTP/1.1 {expected}").repeat(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_100_is_sent_when_the_body_is_wanted_and_only_then() {
    let ask_first =
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let answer = client(&App::echo(), async |mut client| {
        client.write_all(ask_first).await.unwrap();
        assert_eq!(until(&mut client, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.write_all(b"abc").await.unwrap();
        until(&mut client, "POST /|abc").await
    })
    .await;
    assert!(!answer.contains("connection"), "it goes on: {answer}");
    // Refused before the body: no 100, and the connection ends, as the body may come or not.
    let refusing = App::new(async |_| failed(&Fault::client(&reasons::TOO_LARGE)));
    let answer = ask(&refusing, limits(), ask_first).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("connection: close\r\n"));
    // With the body already here there is nobody to tell; in 1.0 nobody would understand.
    let mut all = ask_first.to_vec();
    all.extend_from_slice(b"abc");
    assert!(!ask(&App::echo(), limits(), &all).await.contains("100 Continue"));
    let old = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let answer = client(&App::echo(), async |mut client| {
        client.write_all(old).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        client.write_all(b"abc").await.unwrap();
        rest(&mut client).await
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn what_broke_off_does_not_look_complete() {
    let broke = || Err(Fault::upstream(&reasons::UPSTREAM_BROKE_OFF));
    let (app, mut feeds) = feeding();
    let answer = client(&app, async |mut client| {
        client.write_all(GET).await.unwrap();
        let feed = feeds.recv().await.unwrap();
        feed.send(data("abc")).await.unwrap();
        feed.send(broke()).await.unwrap();
        rest(&mut client).await
    })
    .await;
    assert!(answer.ends_with("\r\n\r\n3\r\nabc\r\n"), "no last chunk: {answer}");
    let outcome = app.seen().outcomes.borrow()[0];
    assert_eq!((outcome.broken, outcome.sent), (Some(&reasons::UPSTREAM_BROKE_OFF), 3));

    /// Says that it has five bytes, and has others.
    struct Liar(Vec<&'static str>);
    impl http_body::Body for Liar {
        type Data = Bytes;
        type Error = Fault;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
            Poll::Ready(self.0.pop().map(data))
        }
        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(5)
        }
    }
    for (frames, end) in [(vec!["abc"], "\r\n\r\nabc"), (vec!["defg", "abc"], "\r\n\r\nabc")] {
        let app = App::new(move |_| {
            let body = Body::stream(Liar(frames.clone()));
            async { Response::new(body).into() }
        });
        let answer = ask(&app, limits(), &GET.repeat(2)).await;
        assert!(answer.contains("content-length: 5\r\n") && answer.ends_with(end), "{answer}");
        assert_eq!(app.seen().outcomes.borrow()[0].broken, Some(&reasons::INTERNAL));
    }
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_goes_out_while_the_upload_goes_on() {
    // Answers at once; the body is read through the answer's own stream, as a proxy does.
    let app = App::new(async |incoming: Incoming| Response::new(incoming.body).into());
    client(&app, async |mut client| {
        client
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        until(&mut client, "chunked\r\n\r\n").await;
        for _ in 0..3 {
            client.write_all(b"3\r\nabc\r\n").await.unwrap();
            assert_eq!(until(&mut client, "abc\r\n").await, "3\r\nabc\r\n");
        }
        client.write_all(b"0\r\n\r\n").await.unwrap();
        assert_eq!(until(&mut client, "\r\n\r\n").await, "0\r\n\r\n");
    })
    .await;
    assert_eq!(app.seen().outcomes.borrow()[0].received, 9);
    // A small rest is read away, and the connection lives.
    let refusing = || App::new(async |_| failed(&Fault::client(&reasons::NO_ROUTE)));
    let answer = client(&refusing(), async |mut client| {
        client
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
            .await
            .unwrap();
        let first = until(&mut client, "no_route").await;
        assert!(!first.contains("connection"), "{first}");
        client.write_all(&[b'x'; 1000]).await.unwrap();
        client.write_all(GET).await.unwrap();
        until(&mut client, "no_route").await
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    // A large one is not; but the client gets to read the answer, and to stop.
    let answer = client(&refusing(), async |mut client| {
        client
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
            .await
            .unwrap();
        client.write_all(&vec![b'x'; 500_000]).await.unwrap();
        rest(&mut client).await
    })
    .await;
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("no_route"), "{answer}");
    // A chunked one without end is given up.
    let app = refusing();
    let endless = client(&app, async |mut client| {
        client
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        let mut chunks = 0;
        while timeout(Duration::from_secs(20), client.write_all(b"400\r\n"))
            .await
            .is_ok_and(|w| w.is_ok())
            && client.write_all(&[b'x'; 1024]).await.is_ok()
            && client.write_all(b"\r\n").await.is_ok()
            && chunks < 100_000
        {
            chunks += 1;
        }
        chunks
    });
    assert!(endless.await < 20_000);
}

#[tokio::test(start_paused = true)]
async fn a_switch_of_protocols_hands_the_stream_over() {
    let app = App::new(async |incoming: Incoming| {
        if !incoming.upgrade {
            return text("no");
        }
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert("upgrade", HeaderValue::from_static("echo"));
        Reply {
            tunnel: Some(Box::new(|mut io| {
                Box::pin(async move {
                    let mut word = [0; 5];
                    io.read_exact(&mut word).await.unwrap();
                    io.write_all(&word).await.unwrap();
                    Outcome { received: 5, sent: 5, ..Outcome::default() }
                })
            })),
            ..response.into()
        }
    });
    let answer = client(&app, async |mut client| {
        let ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\nhe";
        client.write_all(ask).await.unwrap();
        let head = until(&mut client, "\r\n\r\n").await;
        client.write_all(b"llo").await.unwrap();
        head + &rest(&mut client).await
    })
    .await;
    assert_eq!(
        answer,
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nhello"
    );
    assert_eq!(app.seen().outcomes.borrow()[0].sent, 5);
    for no in [
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\nContent-Length: 1\r\n\r\nx",
    ] {
        assert!(ask(&app, limits(), no.as_bytes()).await.ends_with("no"), "{no}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_101_that_nobody_asked_for_is_an_error() {
    let app = App::new(async |_| {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.into()
    });
    let answer = ask(&app, limits(), GET).await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn the_date_is_there_once() {
    let dated = App::new(async |_| {
        let mut response = Response::new(Body::Empty);
        response.headers_mut().insert("date", HeaderValue::from_static("then"));
        response.into()
    });
    for (app, expected) in [(App::echo(), " GMT\r\n"), (dated, "date: then\r\n")] {
        let head = client(&app, async |mut client| {
            client.write_all(GET).await.unwrap();
            let mut head = vec![0; 40];
            client.read_exact(&mut head).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            let mut more = vec![0; 4096];
            let read = client.read(&mut more).await.unwrap();
            String::from_utf8([&head, &more[..read]].concat()).unwrap()
        })
        .await;
        assert_eq!(head.matches("date: ").count(), 1, "{head}");
        assert!(head.contains(expected), "{head}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_kept_beyond_its_request_says_so() {
    let kept = Rc::new(std::cell::RefCell::new(None));
    let keep = Rc::clone(&kept);
    let app = App::new(move |incoming: Incoming| {
        *keep.borrow_mut() = Some(incoming.body);
        async { text("ok") }
    });
    client(&app, async |mut client| {
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n").await.unwrap();
        until(&mut client, "ok").await;
        client.write_all(b"123456789").await.unwrap();
        let mut body = kept.borrow_mut().take().unwrap();
        client.write_all(GET).await.unwrap();
        until(&mut client, "ok").await;
        let frame = body.frame().await.unwrap();
        assert_eq!(frame.unwrap_err().reason(), &reasons::CLIENT_CLOSED);
    })
    .await;
}
