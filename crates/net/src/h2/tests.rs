//! Both sides of HTTP/2 against each other, and each against a peer that misbehaves.

mod upstream;

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason as Code;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use lockgate_config::model::Http;
use lockgate_core::{Body, Connection, Fault, Resend};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;
use crate::testing::{End, Service, frames, limits, on_paused_worker, on_worker};
use crate::{ClientAnswer, Drain};

fn connection() -> Rc<Connection> {
    let (peer, local) = ("192.0.2.1:5".parse().unwrap(), "192.0.2.2:80".parse().unwrap());
    Rc::new(Connection::plain(peer, local))
}

/// A server on one end of a pipe.
struct Server {
    io: DuplexStream,
    service: Service,
    drain: Drain,
    task: JoinHandle<()>,
}

async fn server(limits: Http) -> Server {
    let (io, far) = duplex(64 * 1024);
    let service = Service::default();
    let drain = Drain::default();
    let (registrar, serving) = (drain.clone(), service.clone());
    let task = tokio::task::spawn_local(async move {
        let ticket =
            std::future::poll_fn(|cx| std::task::Poll::Ready(registrar.register(cx.waker()))).await;
        serve(far, Bytes::new(), connection(), Rc::new(limits), serving, ticket).await;
    });
    Server { io, service, drain, task }
}

fn head(method: Method, path: &str) -> http::request::Parts {
    let uri = format!("http://example.com{path}");
    Request::builder().method(method).uri(uri).body(()).unwrap().into_parts().0
}

async fn ask(handle: &Handle, path: &str, body: Body) -> Result<ClientAnswer, Fault> {
    handle.send(head(Method::POST, path), body).await.map_err(|(fault, _)| fault)
}

async fn settle() {
    // On a paused clock this lets every task run until it waits for something.
    sleep(Duration::from_millis(1)).await;
}

#[test]
fn bodies_stream_both_ways_and_lengths_are_known() {
    on_worker(async {
        let Server { io, service, .. } = server(limits()).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        for (body, length) in [
            (Body::Empty, Some(0)),
            (Body::from("short"), Some(5)),
            (Body::from(Bytes::from(vec![1; 300_000])), Some(300_000)),
            (frames(700, 1500, None), None),
        ] {
            let all = length.unwrap_or(700 * 1500);
            let ClientAnswer { response, upgraded } = ask(&handle, "/echo", body).await.unwrap();
            assert!(upgraded.is_none());
            assert_eq!(response.status(), 200);
            assert!(!response.headers().contains_key("content-length"));
            assert_eq!(response.body().len(), length);
            assert_eq!(response.into_body().collect(1 << 21).await.unwrap().len() as u64, all);
        }
        settle().await;
        let seen = service.0.borrow();
        assert_eq!(seen.heads[0].version, Version::HTTP_2);
        assert_eq!(seen.heads[0].uri.authority().unwrap(), "example.com");
        assert!(seen.heads.iter().all(|head| head.headers.is_empty()), "framing is taken out");
        let counts: Vec<_> = seen.finished.iter().map(|o| (o.received, o.sent)).collect();
        assert_eq!(counts, [(0, 0), (5, 5), (300_000, 300_000), (1_050_000, 1_050_000)]);
        assert!(seen.finished.iter().all(|o| o.broken.is_none()));
        assert_eq!(handle.in_flight(), 0);
    });
}

#[test]
fn trailers_pass_in_both_directions() {
    on_worker(async {
        let Server { io, .. } = server(limits()).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        let mut answer = ask(&handle, "/trailers", Body::Empty).await.unwrap().response;
        assert_eq!(last_trailers(answer.body_mut()).await.unwrap()["grpc-status"], "0");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "7".parse().unwrap());
        let upload = frames(3, 100, Some(End::Trailers(trailers)));
        let mut answer = ask(&handle, "/echo", upload).await.unwrap().response;
        assert_eq!(last_trailers(answer.body_mut()).await.unwrap()["x-sum"], "7");
    });
}

#[test]
fn trailers_that_may_not_follow_a_body_do_not_pass() {
    on_worker(async {
        let Server { io, .. } = server(limits()).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        let mut trailers = HeaderMap::new();
        for name in ["authorization", "content-length", "host", "x-forwarded-for", "set-cookie"] {
            trailers.append(name, "1".parse().unwrap());
            trailers.append(name, "2".parse().unwrap());
        }
        let upload = frames(1, 10, Some(End::Trailers(trailers.clone())));
        let mut answer = ask(&handle, "/echo", upload).await.unwrap().response;
        assert!(last_trailers(answer.body_mut()).await.is_none(), "nothing is left to be said");
        trailers.append("x-sum", "7".parse().unwrap());
        let upload = frames(1, 10, Some(End::Trailers(trailers)));
        let mut answer = ask(&handle, "/echo", upload).await.unwrap().response;
        let passed = last_trailers(answer.body_mut()).await.unwrap();
        assert_eq!(passed.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-sum"]);
    });
}

async fn last_trailers(body: &mut Body) -> Option<HeaderMap> {
    let mut last = None;
    while let Some(frame) = body.frame().await {
        last = frame.unwrap().into_trailers().ok();
    }
    last
}

#[test]
fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    on_worker(async {
        let Server { io, service, .. } = server(limits()).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        let answer = ask(&handle, "/break", Body::Empty).await.unwrap().response;
        let fault = answer.into_body().collect(1000).await.unwrap_err();
        assert_eq!(fault.reason().code, "upstream_broke_off");
        assert_eq!(service.0.borrow().finished[0].broken.unwrap().code, "upstream_broke_off");
    });
}

#[test]
fn a_client_that_goes_cancels_the_request() {
    on_worker(async {
        let Server { io, service, .. } = server(limits()).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        let wait = ask(&handle, "/hang", Body::Empty);
        assert!(tokio::time::timeout(Duration::from_millis(50), wait).await.is_err());
        settle().await;
        ask(&handle, "/", Body::Empty).await.unwrap();
        assert_eq!(service.0.borrow().dropped, 1);
        assert_eq!(handle.in_flight(), 0);
        // And the same while an answer is read.
        let answer = ask(&handle, "/endless", Body::Empty).await.unwrap();
        assert_eq!(handle.in_flight(), 1);
        drop(answer);
        ask(&handle, "/", Body::Empty).await.unwrap();
        settle().await;
        let seen = service.0.borrow();
        let broken: Vec<_> = seen.finished.iter().filter_map(|o| o.broken).collect();
        assert_eq!(broken, [&lockgate_core::reasons::CLIENT_CLOSED]);
    });
}

#[test]
fn an_early_answer_arrives_while_the_upload_goes_on() {
    on_worker(async {
        let Server { io, .. } = server(limits()).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        let upload = frames(u64::MAX, 1000, None);
        let answer = ask(&handle, "/early", upload).await.unwrap().response;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        drop(answer);
        assert_eq!(ask(&handle, "/", Body::Empty).await.unwrap().response.status(), 200);
    });
}

#[test]
fn a_head_request_keeps_the_length_it_is_told() {
    on_worker(async {
        let Server { io, .. } = server(limits()).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        let answer = handle.send(head(Method::HEAD, "/echo"), Body::Empty).await;
        let answer = answer.map_err(|(fault, _)| fault).unwrap().response;
        assert!(answer.body().is_empty());
        assert!(answer.headers().contains_key("date"));
    });
}

#[test]
fn a_rewritten_host_goes_before_the_one_that_was_asked_for() {
    on_worker(async {
        let Server { io, service, .. } = server(limits()).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        let mut head = head(Method::GET, "/");
        head.headers.insert("host", "orders.internal:81".parse().unwrap());
        assert!(handle.send(head, Body::Empty).await.is_ok());
        let seen = service.0.borrow();
        assert_eq!(seen.heads[0].uri.authority().unwrap(), "orders.internal:81");
    });
}

#[test]
fn a_drain_lets_requests_end_and_takes_no_new_ones() {
    on_worker(async {
        let Server { io, drain, task, .. } = server(limits()).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        let mut answer = ask(&handle, "/mega", Body::Empty).await.unwrap().response;
        answer.body_mut().frame().await.unwrap().unwrap();
        drain.start();
        let rest = answer.into_body().collect(1 << 21).await.unwrap();
        assert_eq!(rest.len(), 1023 * 1024);
        task.await.unwrap();
        drain.emptied().await;
        assert!(handle.is_closed());
        let (fault, body) = handle
            .send(head(Method::POST, "/"), frames(1, 1, None))
            .await
            .err()
            .expect("the connection is closed");
        assert_eq!(fault.may_resend(), Resend::Safe);
        assert!(body.is_some(), "nothing of it was taken");
    });
}

#[test]
fn an_idle_connection_is_told_to_go_and_a_busy_one_is_not() {
    on_paused_worker(async {
        let Server { io, task, .. } = server(limits()).await;
        let patient = Settings { headers: Duration::ZERO, ..Settings::default() };
        let handle = connect(io, &patient).await.unwrap();
        let start = Instant::now();
        let long = ask(&handle, "/hang", Body::Empty);
        assert!(tokio::time::timeout(Duration::from_secs(200), long).await.is_err());
        assert!(!handle.is_closed());
        task.await.unwrap();
        let idle = start.elapsed() - Duration::from_secs(200);
        assert!((59..=61).contains(&idle.as_secs()), "{idle:?}");
        assert!(handle.is_closed());
    });
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    on_paused_worker(async {
        let Server { io, service, .. } = server(limits()).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        let start = Instant::now();
        let _unread = ask(&handle, "/endless", Body::Empty).await.unwrap();
        while service.0.borrow().finished.is_empty() {
            sleep(Duration::from_secs(1)).await;
        }
        let took = start.elapsed().as_secs();
        assert!((29..=32).contains(&took), "after {took} s and not `write_timeout`");
        assert_eq!(service.0.borrow().finished[0].broken.unwrap().code, "client_too_slow");
    });
}

/// A body that counts what was taken of it.
struct Taken(Rc<std::cell::Cell<usize>>);

impl http_body::Body for Taken {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Fault>>> {
        self.0.set(self.0.get() + 8 * 1024);
        let piece = Bytes::from_static(&[b'x'; 8 * 1024]);
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(piece))))
    }
}

/// Answers without end.
#[derive(Clone)]
struct Generous {
    taken: Rc<std::cell::Cell<usize>>,
}

impl lockgate_core::Serve for Generous {
    fn serve(
        &self,
        _: lockgate_core::Incoming,
    ) -> impl Future<Output = lockgate_core::Reply> + 'static {
        let me = self.clone();
        async move { http::Response::new(Body::stream(Taken(me.taken))).into() }
    }

    fn refuse(&self, _: Fault, _: &Rc<Connection>) -> lockgate_core::Reply {
        http::Response::new(Body::Empty).into()
    }
}

#[test]
fn many_streams_that_nobody_reads_hold_little_together() {
    on_paused_worker(async {
        let (mut io, far) = duplex(4096);
        let taken = Rc::new(std::cell::Cell::new(0));
        let serving = Generous { taken: taken.clone() };
        let drain = Drain::default();
        let ticket =
            std::future::poll_fn(|cx| std::task::Poll::Ready(drain.register(cx.waker()))).await;
        let task = tokio::task::spawn_local(async move {
            serve(far, Bytes::new(), connection(), Rc::new(limits()), serving, ticket).await;
        });
        // Windows as large as they get, a hundred streams, and then nothing is read.
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
        bytes.extend(frame(8, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
        for stream in (1..200).step_by(2) {
            bytes.extend(frame(1, 5, stream, &get_block()));
        }
        io.write_all(&bytes).await.unwrap();
        settle().await;
        let held = taken.get();
        assert!(held > 100 * 1024, "{held}: nothing was served");
        assert!(held < 2 * queue::MOST, "{held} bytes wait for a client that reads nothing");
        // Who reads again is served again.
        let mut some = vec![0; 1 << 20];
        io.read_exact(&mut some).await.unwrap();
        settle().await;
        assert!(taken.get() > held + (1 << 19));
        // Meanwhile each stream may have a piece in its hand, but no more.
        sleep(Duration::from_secs(40)).await;
        let after = taken.get() - held;
        assert!(after < (1 << 20) + 100 * 16 * 1024, "{after}");
        drop(io);
        task.await.unwrap();
    });
}

#[test]
fn who_waits_to_be_asked_for_a_body_is_asked_when_it_is_wanted() {
    on_worker(async {
        let Server { io, service, .. } = server(limits()).await;
        let (client, driver) = h2::client::handshake(io).await.unwrap();
        tokio::task::spawn_local(driver);
        for (path, asked) in [("/read", true), ("/early", false)] {
            let uri = format!("http://example.com{path}");
            let request = Request::post(uri).header("expect", "100-continue").body(()).unwrap();
            let (mut answer, mut body) = client.clone().send_request(request, false).unwrap();
            let told = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
            assert_eq!(told.map(|head| head.unwrap().status().as_u16()), asked.then_some(100));
            let _ = body.send_data(Bytes::from_static(b"asked for"), true);
            answer.await.unwrap();
        }
        assert!(service.0.borrow().heads.iter().all(|head| head.headers.is_empty()));
    });
}

#[test]
fn a_connection_that_nobody_holds_ends() {
    on_worker(async {
        let Server { io, task, .. } = server(limits()).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        let answer = ask(&handle, "/mega", Body::Empty).await.unwrap().response;
        drop(handle);
        assert_eq!(answer.into_body().collect(1 << 21).await.unwrap().len(), 1 << 20);
        task.await.unwrap();
    });
}

#[test]
fn a_body_that_does_not_come_is_a_fault_of_the_client() {
    on_paused_worker(async {
        let Server { io, service, .. } = server(limits()).await;
        let (mut client, driver) = h2::client::handshake(io).await.unwrap();
        tokio::task::spawn_local(driver);
        let request = Request::post("http://example.com/read").body(()).unwrap();
        let start = Instant::now();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        let drip = async {
            // A byte a second never makes one wait too long, but is no rate either.
            for _ in 0..1000 {
                sleep(Duration::from_secs(1)).await;
                if body.send_data(Bytes::from_static(b"x"), false).is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            answer = answer => drop(answer.unwrap()),
            () = drip => {}
        }
        let took = start.elapsed().as_secs();
        assert!((9..=12).contains(&took), "after {took} s and not the grace");
        let seen = service.0.borrow();
        assert_eq!(seen.body_fault.as_ref().unwrap().reason().code, "request_timeout");
    });
}

#[test]
fn many_streams_a_second_are_too_many() {
    on_worker(async {
        let mut limits = limits();
        limits.http2.max_streams_per_second = 10;
        let Server { io, task, service, .. } = server(limits).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        let mut answered = 0;
        let fault = loop {
            match ask(&handle, "/", Body::Empty).await {
                Ok(_) => answered += 1,
                Err(fault) => break fault,
            }
            assert!(answered <= 10, "the limit does not hold");
        };
        assert_eq!(answered, 10);
        assert!(fault.story().contains("calm") || handle.is_closed(), "{}", fault.story());
        task.await.unwrap();
        assert!(service.0.borrow().heads.len() <= 11);
    });
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// GET http://example.com/ in HPACK: three indexed fields and one literal.
fn get_block() -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x84, 0x41, 11];
    block.extend(b"example.com");
    block
}

#[test]
fn a_burst_of_resets_is_cut_off() {
    on_worker(async {
        let Server { mut io, task, service, .. } = server(limits()).await;
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        for stream in (1..400).step_by(2) {
            bytes.extend(frame(1, 5, stream, &get_block()));
            bytes.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
        }
        io.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        io.read_to_end(&mut answer).await.unwrap();
        task.await.unwrap();
        let calm = Code::ENHANCE_YOUR_CALM;
        let code = u32::from(calm).to_be_bytes();
        assert!(answer.windows(4).any(|window| window == code), "GOAWAY says why");
        assert!(service.0.borrow().heads.len() < 50, "the work was not done");
    });
}

#[test]
fn a_peer_that_never_finishes_its_preface_is_cut() {
    on_paused_worker(async {
        let Server { mut io, task, .. } = server(limits()).await;
        io.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
        let start = Instant::now();
        task.await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 10);
    });
}

#[test]
fn a_websocket_over_http2_is_an_upgrade_above() {
    on_worker(async {
        let Server { io, service, .. } = server(limits()).await;
        let (mut client, driver) = h2::client::handshake(io).await.unwrap();
        tokio::task::spawn_local(driver);
        while !client.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let mut request = Request::builder().method(Method::CONNECT);
        request = request.uri("https://example.com/upgrade");
        request = request.extension(h2::ext::Protocol::from_static("websocket"));
        let (answer, mut send) = client.send_request(request.body(()).unwrap(), false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().contains_key("upgrade"));
        send.send_data(Bytes::from_static(b"ping"), true).unwrap();
        let mut body = answer.into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "ping");
        assert!(body.data().await.is_none_or(|end| end.unwrap().is_empty()));
        assert!(body.is_end_stream());
        let seen = service.0.borrow();
        let head = &seen.heads[0];
        assert_eq!(head.method, Method::GET);
        assert_eq!(head.headers["upgrade"], "websocket");
        assert_eq!(head.headers["sec-websocket-key"].len(), 24);
        assert_eq!(seen.finished[0].received, 4);
    });
}

#[test]
fn what_http2_itself_does_not_refuse_is_refused_here() {
    on_worker(async {
        let mut limits = limits();
        limits.max_headers = 20;
        let Server { io, service, .. } = server(limits).await;
        let (client, driver) = h2::client::handshake(io).await.unwrap();
        tokio::task::spawn_local(driver);
        let base = || Request::builder().uri("http://example.com/");
        let many = (0..21).fold(base(), |r, n| r.header(format!("x-{n}"), "v"));
        let long = format!("http://example.com/{}", "a".repeat(9000));
        for (request, status, code) in [
            (base().header("host", "other.example"), 400, "bad_host"),
            (base().header("host", "example.com").header("host", "example.com"), 400, "bad_host"),
            (Request::builder().uri("http://user@example.com/"), 400, "bad_host"),
            (Request::builder().uri("http://a!b/"), 400, "bad_host"),
            (Request::builder().uri("http://example.com:/"), 400, "bad_host"),
            (Request::builder().uri("http://a,b/"), 400, "bad_host"),
            (base().header("x-a", " blank"), 400, "bad_request_framing"),
            (base().header("expect", "200-maybe"), 417, "expectation_failed"),
            (Request::connect("example.com:443"), 501, "not_implemented"),
            (many, 431, "headers_too_large"),
            (base().header("x-a", "v".repeat(40_000)), 431, "headers_too_large"),
            (Request::builder().uri(long), 414, "uri_too_long"),
        ] {
            let request = request.body(()).unwrap();
            let (answer, _) = client.clone().send_request(request, true).unwrap();
            assert_eq!(answer.await.unwrap().status(), status, "{code}");
            assert_eq!(service.0.borrow_mut().refused.pop(), Some(code));
        }
        let cookies = base().header("host", "EXAMPLE.com").header("cookie", "a=1");
        let cookies = cookies.header("cookie", "b=2").header("te", "trailers").body(()).unwrap();
        let (answer, _) = client.clone().send_request(cookies, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
        let seen = service.0.borrow();
        let headers = &seen.heads[0].headers;
        assert_eq!(headers["cookie"], "a=1; b=2");
        assert_eq!(headers["te"], "trailers");
        assert!(!headers.contains_key("host"));
    });
}
