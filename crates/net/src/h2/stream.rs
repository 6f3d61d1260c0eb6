//! One stream of a client's connection: its request goes up, its answer comes down.
//!
//! A reset by the client drops the request's future, which is how all work for it ends. An answer
//! that breaks off resets the stream, so that no client takes it for whole.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason as Code, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use lockgate_core::{
    Body, Connection, Fault, Finish, Incoming, Outcome, Reason, Reply, Serve, Tunnel, reasons,
};
use tokio::time::Instant;

use super::duplex::StreamDuplex;
use super::queue::Turn;
use super::receive::{Receiving, Watch, Watched, take_length};
use super::request::{self, Wishes};
use super::send::{Pump, Stop};
use super::server::{Open, Shared};
use crate::date;
use crate::h1::CLIENT_TOO_SLOW;
use crate::pace::Pace;

/// Answers one stream, to its end.
pub(super) async fn answer<S: Serve>(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    shared: Rc<Shared<S>>,
    _open: Open<S>,
) {
    let (mut head, recv) = request.into_parts();
    let progress = Rc::new(Progress::default());
    let connection = &shared.connection;
    let bodiless = head.method == Method::HEAD;
    let mut far_side = None;
    let reply = match request::uniform(&mut head, &shared.limits, connection.tls.is_some()) {
        Err(fault) => shared.serve.refuse(fault, connection),
        Ok(Wishes { upgrade, go_on }) => {
            let length = take_length(&mut head.headers);
            let body = if upgrade {
                far_side = Some(recv);
                Body::Empty
            } else {
                incoming_body(recv, length, &shared, &progress)
            };
            let connection: Rc<Connection> = connection.clone();
            let incoming = Incoming { head, body, connection, upgrade };
            // Boxed once, as it is large, and what is awaited is moved on its way.
            let serving = Box::pin(shared.serve.serve(incoming));
            match race(serving, &mut respond, &progress, go_on).await {
                Some(reply) => reply,
                None => return,
            }
        }
    };
    deliver(reply, respond, &shared, &progress, bodiless, far_side).await;
}

/// What the two directions of a stream know of each other.
#[derive(Default)]
struct Progress {
    received: Cell<u64>,
    /// Somebody has asked for the body.
    wanted: Cell<bool>,
}

/// Runs the request, until it is answered or the client resets it.
async fn race(
    mut serving: Pin<Box<impl Future<Output = Reply>>>,
    respond: &mut SendResponse<Bytes>,
    progress: &Progress,
    mut go_on: bool,
) -> Option<Reply> {
    poll_fn(|cx| {
        if let Poll::Ready(reply) = serving.as_mut().poll(cx) {
            return Poll::Ready(Some(reply));
        }
        if go_on && progress.wanted.get() {
            go_on = false;
            let mut head = Response::new(());
            *head.status_mut() = StatusCode::CONTINUE;
            // A stream that cannot take it is noticed by the reset below.
            let _ = respond.send_informational(head);
        }
        respond.poll_reset(cx).map(|_| None)
    })
    .await
}

/// Writes an answer.
async fn deliver<S: Serve>(
    reply: Reply,
    mut respond: SendResponse<Bytes>,
    shared: &Shared<S>,
    progress: &Progress,
    bodiless: bool,
    far_side: Option<RecvStream>,
) {
    let Reply { response, lines, finish, tunnel } = reply;
    let (mut head, body) = response.into_parts();
    lines.put_into(&mut head.headers);
    let started = Instant::now();
    let mut ending = Ending { finish, started, received: 0, sent: 0 };
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let (Some(tunnel), Some(recv)) = (tunnel, far_side) else {
            tracing::debug!("a switch of protocols that was not asked for");
            respond.send_reset(Code::INTERNAL_ERROR);
            return ending.over(Some(&reasons::INTERNAL));
        };
        head.status = StatusCode::OK;
        let turn = Turn::new(&shared.queue);
        let far_side = (recv, turn);
        let head = Response::from_parts(head, ());
        return Box::pin(run_tunnel(head, respond, far_side, tunnel, ending)).await;
    }
    let bodiless = bodiless
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || head.status.is_informational();
    frame(&mut head.headers, &body, bodiless);
    let ends = bodiless || body.is_empty();
    let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), ends) else {
        ending.received = progress.received.get();
        return ending.over(Some(&reasons::CLIENT_CLOSED));
    };
    let mut broken = None;
    if !ends {
        match body {
            // Small enough to lie in the connection's buffer; no need to wait for room.
            Body::Full(bytes) if bytes.len() <= super::FRAME && shared.queue.has_room() => {
                shared.queue.put(bytes.len());
                ending.sent = bytes.len() as u64;
                let sent = stream.send_data(bytes, true);
                broken = sent.err().map(|_| &reasons::CLIENT_CLOSED);
            }
            body => {
                let pace = Pace::writing(&shared.limits);
                let pump = Pump::new(stream, body, Some(pace));
                let mut pump = pump.queued(Turn::new(&shared.queue));
                broken = pump_out(&mut pump).await;
                ending.sent = pump.sent();
            }
        }
    }
    ending.received = progress.received.get();
    ending.over(broken);
}

async fn pump_out(pump: &mut Pump) -> Option<&'static Reason> {
    match poll_fn(|cx| pump.poll(cx)).await {
        Ok(()) => None,
        Err(Stop::Peer) => Some(&reasons::CLIENT_CLOSED),
        Err(Stop::Slow) => {
            pump.reset(Code::CANCEL);
            Some(&CLIENT_TOO_SLOW)
        }
        Err(Stop::Body(fault)) => {
            tracing::debug!(%fault, "an answer broke off");
            // A reset throws away what waits to be written: first let go out what can.
            tokio::task::yield_now().await;
            pump.reset(Code::INTERNAL_ERROR);
            Some(fault.reason())
        }
    }
}

async fn run_tunnel(
    mut head: Response<()>,
    mut respond: SendResponse<Bytes>,
    (recv, turn): (RecvStream, Turn),
    tunnel: Tunnel,
    ending: Ending,
) {
    let headers = head.headers_mut();
    headers.remove("sec-websocket-accept");
    headers.remove(header::CONTENT_LENGTH);
    strip(headers);
    let Ok(send) = respond.send_response(head, false) else {
        return ending.over(Some(&reasons::CLIENT_CLOSED));
    };
    let outcome = tunnel(Box::new(StreamDuplex::new(send, recv, turn))).await;
    if let Some(finish) = ending.finish {
        finish.finish(outcome);
    }
}

/// Framing and connection headers: what HTTP/2 forbids goes, length and date come.
fn frame(headers: &mut HeaderMap, body: &Body, bodiless: bool) {
    strip(headers);
    // Where no body goes, a length that is said is what it would have been (RFC 9110 §8.6).
    if !bodiless {
        headers.remove(header::CONTENT_LENGTH);
        if let Some(length) = body.len() {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
    }
    headers.entry(header::DATE).or_insert_with(|| date::with(HeaderValue::clone));
}

/// Removes what RFC 9113 §8.2.2 forbids.
pub(super) fn strip(headers: &mut HeaderMap) {
    let forbidden = |name: &HeaderName| match *name {
        header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE => true,
        _ => matches!(name.as_str(), "keep-alive" | "proxy-connection"),
    };
    // One look at the names is cheaper than asking the map for each.
    if !headers.keys().any(forbidden) {
        return;
    }
    headers.remove(header::CONNECTION);
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::UPGRADE);
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// Tells how the writing ended.
struct Ending {
    finish: Option<Box<dyn Finish>>,
    started: Instant,
    received: u64,
    sent: u64,
}

impl Ending {
    fn over(self, broken: Option<&'static Reason>) {
        let Some(finish) = self.finish else { return };
        let Self { started, received, sent, .. } = self;
        let took = started.elapsed();
        finish.finish(Outcome { received, sent, broken, took, ended: None });
    }
}

fn incoming_body<S: Serve>(
    recv: RecvStream,
    length: Option<u64>,
    shared: &Shared<S>,
    progress: &Rc<Progress>,
) -> Body {
    if recv.is_end_stream() {
        return Body::Empty;
    }
    let watch = FromClient { progress: progress.clone(), pace: Pace::reading(&shared.limits) };
    Body::stream(Watched { receiving: Receiving::new(recv, length), watch })
}

/// Watches a request's body come.
struct FromClient {
    progress: Rc<Progress>,
    pace: Pace,
}

impl Watch for FromClient {
    fn wanted(&self) {
        self.progress.wanted.set(true);
    }

    fn came(&mut self, bytes: usize) {
        self.pace.moved(bytes);
        self.progress.received.set(self.progress.received.get() + bytes as u64);
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        self.pace
            .poll_spent(cx)
            .map(|()| Fault::client(&reasons::REQUEST_TIMEOUT).detail("the body came too slowly"))
    }

    fn broke(&self, error: h2::Error) -> Fault {
        Fault::client(&reasons::CLIENT_CLOSED).detail("the request's body broke off").source(error)
    }
}
