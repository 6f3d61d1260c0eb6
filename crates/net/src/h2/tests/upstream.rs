//! The side towards upstreams: what may be sent again, and who is to blame for a silence.

use super::*;

#[test]
fn no_more_streams_than_the_upstream_takes() {
    on_worker(async {
        let mut limits = limits();
        limits.http2.max_concurrent_streams = 2;
        let Server { io, .. } = server(limits).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        ask(&handle, "/", Body::Empty).await.unwrap();
        assert!(handle.is_ready());
        let first = ask(&handle, "/endless", Body::Empty).await.unwrap();
        let _second = ask(&handle, "/endless", Body::Empty).await.unwrap();
        assert!(!handle.is_ready() && !handle.is_closed());
        let third = handle.send(head(Method::POST, "/"), frames(1, 1, None)).await;
        let (fault, body) = third.err().expect("no room");
        assert_eq!((fault.reason().code, fault.may_resend()), ("endpoints_busy", Resend::Safe));
        assert!(body.is_some());
        drop(first);
        assert!(handle.is_ready());
        ask(&handle, "/", Body::Empty).await.unwrap();
    });
}

/// An upstream that treats every stream in one way.
async fn upstream_that(
    does: impl Fn(h2::server::SendResponse<Bytes>) + 'static,
) -> (Handle, JoinHandle<()>) {
    let (io, far) = duplex(64 * 1024);
    let task = tokio::task::spawn_local(async move {
        let mut connection = h2::server::handshake(far).await.unwrap();
        while let Some(Ok((_, respond))) = connection.accept().await {
            does(respond);
        }
    });
    (connect(io, &Settings::default()).await.unwrap(), task)
}

#[test]
fn a_refused_stream_may_be_sent_again_and_another_reset_only_if_idempotent() {
    on_worker(async {
        for (code, resend) in [
            (Code::REFUSED_STREAM, Resend::Safe),
            (Code::INTERNAL_ERROR, Resend::IfIdempotent),
            (Code::CANCEL, Resend::IfIdempotent),
        ] {
            let (handle, _task) = upstream_that(move |mut r| r.send_reset(code)).await;
            let sent = handle.send(head(Method::POST, "/"), Body::from("small")).await;
            let (fault, body) = sent.err().expect("it was reset");
            assert_eq!((fault.reason().code, fault.may_resend()), ("upstream_closed", resend));
            assert_eq!(body.unwrap().len(), Some(5), "a body in memory is always given back");
        }
    });
}

#[test]
fn a_stream_after_the_last_one_of_a_goaway_is_safe_to_resend() {
    on_worker(async {
        let (io, mut far) = duplex(64 * 1024);
        let handle = connect(io, &Settings::default()).await.unwrap();
        let upstream = async move {
            let mut some = [0; 4096];
            let _ = far.read(&mut some).await.unwrap();
            let mut bytes = frame(4, 0, 0, &[]);
            bytes.extend(frame(7, 0, 0, &[0; 8]));
            far.write_all(&bytes).await.unwrap();
            far
        };
        let asked = handle.send(head(Method::POST, "/"), Body::Empty);
        let (asked, _far) = tokio::join!(asked, upstream);
        let (fault, body) = asked.err().expect("told to go");
        assert_eq!(fault.may_resend(), Resend::Safe);
        assert!(body.is_some());
        assert!(handle.is_closed());
    });
}

#[test]
fn an_upstream_that_speaks_something_else_gave_a_bad_answer() {
    on_worker(async {
        let (io, mut far) = duplex(64 * 1024);
        let handle = connect(io, &Settings::default()).await.unwrap();
        far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let fault = ask(&handle, "/", Body::Empty).await.err().expect("no HTTP/2");
        assert_eq!(fault.reason().code, "upstream_bad_answer");
        assert_eq!(fault.may_resend(), Resend::IfIdempotent);
    });
}

#[test]
fn an_upstream_that_dies_is_told_from_one_that_answers() {
    on_worker(async {
        let (io, far) = duplex(64 * 1024);
        let handle = connect(io, &Settings::default()).await.unwrap();
        let sent = async {
            tokio::task::yield_now().await;
            drop(far);
        };
        let (answer, ()) = tokio::join!(ask(&handle, "/", Body::Empty), sent);
        let fault = answer.err().expect("it is dead");
        assert_eq!(fault.reason().code, "upstream_closed");
    });
}

#[test]
fn a_switch_of_protocols_is_not_sent_over_http2() {
    on_worker(async {
        let Server { io, .. } = server(limits()).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        let mut head = head(Method::GET, "/");
        head.headers.insert("upgrade", "websocket".parse().unwrap());
        let (fault, _) = handle.send(head, Body::Empty).await.err().expect("not sent");
        assert_eq!(fault.reason().code, "not_implemented");
    });
}

/// A body that comes from a channel.
struct Fed(tokio::sync::mpsc::Receiver<Bytes>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Fault>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(http_body::Frame::data(piece))))
    }
}

fn fed() -> (tokio::sync::mpsc::Sender<Bytes>, Body) {
    let (feed, pieces) = tokio::sync::mpsc::channel(1);
    (feed, Body::stream(Fed(pieces)))
}

#[test]
fn the_heads_time_runs_from_the_uploads_end_and_its_end_condemns_the_connection() {
    on_paused_worker(async {
        let Server { io, .. } = server(limits()).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        let (feed, body) = fed();
        tokio::task::spawn_local(async move {
            for _ in 0..6 {
                sleep(Duration::from_secs(4)).await;
                feed.send(Bytes::from_static(&[b'x'; 2000])).await.unwrap();
            }
        });
        let start = Instant::now();
        assert_eq!(ask(&handle, "/read", body).await.unwrap().response.status(), 200);
        assert_eq!(start.elapsed().as_secs(), 24);
        let other = ask(&handle, "/mega", Body::Empty).await.unwrap();
        let start = Instant::now();
        let fault = ask(&handle, "/hang", Body::from("all")).await.err().expect("no head");
        assert_eq!(start.elapsed().as_secs(), 10);
        assert_eq!(fault.reason().code, "upstream_all_timed_out");
        assert_eq!(fault.may_resend(), Resend::IfIdempotent);
        assert!(handle.is_closed() && !handle.is_ready(), "it may be dead");
        let fault = ask(&handle, "/", Body::Empty).await.err().expect("not given out");
        assert_eq!(fault.may_resend(), Resend::Safe);
        // What was under way goes on.
        assert_eq!(other.response.into_body().collect(1 << 21).await.unwrap().len(), 1 << 20);
    });
}

#[test]
fn a_silent_upstream_is_cut_within_a_body_and_within_an_upload() {
    on_paused_worker(async {
        let (handle, _task) = upstream_that(|mut respond| {
            let body = respond.send_response(http::Response::new(()), false).unwrap();
            // Never ended, and never reset.
            std::mem::forget(body);
        })
        .await;
        let answer = ask(&handle, "/", Body::Empty).await.unwrap().response;
        let start = Instant::now();
        let fault = answer.into_body().collect(10).await.unwrap_err();
        assert_eq!(fault.reason().code, "upstream_broke_off");
        assert_eq!(start.elapsed().as_secs(), 60);
        assert!(handle.is_closed());

        // One that keeps the answer open, and reads no more than its windows hold.
        let (handle, _task) = upstream_that(std::mem::forget).await;
        let start = Instant::now();
        let upload = frames(u64::MAX, 1000, None);
        let fault = ask(&handle, "/", upload).await.err().expect("it is stuck");
        assert_eq!(fault.reason().code, "upstream_all_timed_out");
        assert_eq!(start.elapsed().as_secs(), 60);
    });
}

#[test]
fn a_silence_that_is_the_clients_own_is_borne() {
    on_paused_worker(async {
        let mut patient = limits();
        patient.min_rate.0 = 0;
        patient.body_timeout.0 = Duration::ZERO;
        let Server { io, .. } = server(patient).await;
        let handle = connect(io, &Settings::default()).await.unwrap();
        let (feed, body) = fed();
        feed.send(Bytes::from_static(b"one")).await.unwrap();
        let mut body = ask(&handle, "/echo", body).await.unwrap().response.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        let wait = tokio::time::timeout(Duration::from_secs(500), body.frame());
        assert!(wait.await.is_err(), "the upstream waits for us");
        feed.send(Bytes::from_static(b"two")).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
        drop(feed);
        assert!(body.collect(10).await.unwrap().is_empty());
    });
}
