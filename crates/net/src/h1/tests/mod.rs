//! Tests of the engine: a scripted client on one side, a scripted upstream on the other.

mod client;
mod parse;
mod proxied;
mod server;
mod strict;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use lockgate_config::model::{Http, Http2};
use lockgate_core::{
    Body, Connection, Fault, Finish, Incoming, LocalFuture, Outcome, Reply, Serve, Size, Time,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::LocalSet;

use super::serve;
use crate::Drain;

pub(super) fn limits() -> Http {
    let seconds = |seconds| Time(Duration::from_secs(seconds));
    Http {
        max_headers: 20,
        max_header_size: Size(4096),
        max_uri: Size(1024),
        max_buffered_body: Size(1 << 20),
        header_timeout: seconds(10),
        idle_timeout: seconds(60),
        body_timeout: seconds(30),
        write_timeout: seconds(30),
        min_rate: Size(0),
        min_rate_grace: seconds(10),
        max_connections: 100,
        max_connections_per_ip: 0,
        max_requests_per_connection: 0,
        drain_delay: seconds(0),
        drain_timeout: seconds(30),
        http2: Http2 {
            max_concurrent_streams: 128,
            max_pending_resets: 20,
            max_streams_per_second: 0,
            stream_window: Size(1 << 18),
            connection_window: Size(1 << 20),
        },
    }
}

pub(super) fn connection() -> Rc<Connection> {
    let address = "127.0.0.1:1".parse().unwrap();
    Rc::new(Connection::plain(address, address))
}

type Handler = dyn Fn(Incoming) -> LocalFuture<'static, Reply>;

/// Serves by a closure, and remembers what it saw.
#[derive(Clone)]
pub(super) struct App(Rc<Seen>);

pub(super) struct Seen {
    handler: Box<Handler>,
    pub(super) served: Cell<usize>,
    pub(super) dropped: Cell<usize>,
    pub(super) refused: RefCell<Vec<&'static str>>,
    pub(super) outcomes: RefCell<Vec<Outcome>>,
}

impl App {
    pub(super) fn new<F>(handler: impl Fn(Incoming) -> F + 'static) -> Self
    where
        F: Future<Output = Reply> + 'static,
    {
        Self(Rc::new(Seen {
            handler: Box::new(move |incoming| Box::pin(handler(incoming))),
            served: Cell::new(0),
            dropped: Cell::new(0),
            refused: RefCell::default(),
            outcomes: RefCell::default(),
        }))
    }

    /// Answers with the method, the target, and the body as it was read.
    pub(super) fn echo() -> Self {
        Self::new(|incoming: Incoming| async move {
            let line = format!("{} {}|", incoming.head.method, incoming.head.uri);
            match incoming.body.collect(1 << 20).await {
                Ok(body) => text(line + &String::from_utf8_lossy(&body)),
                Err(fault) => failed(&fault),
            }
        })
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.0
    }
}

/// Counts a request's future being dropped before it was ready.
struct Dropped(Option<Rc<Seen>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(seen) = self.0.take() {
            seen.dropped.set(seen.dropped.get() + 1);
        }
    }
}

struct Note(Rc<Seen>);

impl Finish for Note {
    fn finish(self: Box<Self>, outcome: Outcome) {
        self.0.outcomes.borrow_mut().push(outcome);
    }
}

impl Serve for App {
    fn serve(&self, incoming: Incoming) -> impl Future<Output = Reply> + 'static {
        let seen = Rc::clone(&self.0);
        seen.served.set(seen.served.get() + 1);
        let reply = (seen.handler)(incoming);
        async move {
            let mut dropped = Dropped(Some(Rc::clone(&seen)));
            let mut reply = reply.await;
            dropped.0 = None;
            reply.finish = Some(Box::new(Note(seen)));
            reply
        }
    }

    fn refuse(&self, fault: Fault, _: &Rc<Connection>) -> Reply {
        self.0.refused.borrow_mut().push(fault.reason().code);
        failed(&fault)
    }
}

pub(super) fn text(text: impl Into<String>) -> Reply {
    Response::new(Body::from(text.into())).into()
}

pub(super) fn failed(fault: &Fault) -> Reply {
    let mut response = Response::new(Body::from(fault.reason().code));
    *response.status_mut() = fault.kind().status();
    response.into()
}

/// Runs a test with a client's end of a served connection.
pub(super) async fn with_client<F: Future>(
    app: &App,
    limits: Http,
    drain: &Drain,
    test: impl FnOnce(DuplexStream) -> F,
) -> F::Output {
    let (ours, theirs) = duplex(64 * 1024);
    let set = LocalSet::new();
    let (app, drain) = (app.clone(), drain.clone());
    set.spawn_local(async move {
        let waker = std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().clone())).await;
        let ticket = drain.register(&waker);
        serve(theirs, Bytes::new(), connection(), Rc::new(limits), app, ticket).await;
    });
    set.run_until(test(ours)).await
}

/// Sends `bytes` and reads until the server closes, without closing first. Dates are taken out.
pub(super) async fn ask(app: &App, limits: Http, bytes: &[u8]) -> String {
    let drain = Drain::default();
    with_client(app, limits, &drain, async |mut client| {
        client.write_all(bytes).await.unwrap();
        rest(&mut client).await
    })
    .await
}

/// Reads to the end; dates are taken out.
pub(super) async fn rest(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    io.read_to_end(&mut all).await.unwrap();
    undated(&all)
}

/// Reads until what came ends so; dates are taken out.
pub(super) async fn until(io: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut all = Vec::new();
    while !all.ends_with(end.as_bytes()) {
        let byte = io.read_u8().await;
        let byte = byte.unwrap_or_else(|_| panic!("ended: {}", String::from_utf8_lossy(&all)));
        all.push(byte);
    }
    undated(&all)
}

fn undated(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
}
