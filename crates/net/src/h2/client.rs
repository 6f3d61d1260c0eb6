//! An upstream's HTTP/2 connection: many requests at once, each on a stream of its own.
//!
//! Says before a request is sent whether there is room for it, and after a failure whether it may
//! have been acted on. A body that was not touched is handed back.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason as Code, SendStream};
use http::request::Parts;
use http::uri::{Authority, Scheme, Uri};
use http::{Method, Request, Response, StatusCode, Version, header};
use lockgate_core::{Body, Fault, Resend, reasons};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;

use super::receive::{Receiving, Watch, Watched, take_length};
use super::send::{Pump, Stop};
use super::{FRAME, SEND_BUFFER, stream};
use crate::ClientAnswer;
use crate::pace::Pace;

/// How to speak to an upstream.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether the bytes go over TLS: decides `:scheme`.
    pub secure: bool,
    /// Largest head of an answer, in bytes.
    pub max_header_size: u32,
    /// Bytes in flight on one stream.
    pub stream_window: u32,
    /// Bytes in flight on the connection.
    pub connection_window: u32,
    /// From the request's last byte being handed over to the answer's head; zero: no limit. Runs
    /// out as `upstream_all_timed_out`.
    pub headers: Duration,
    /// The longest silence inside an answer's body, or while the upstream takes no more of the
    /// request; zero: no limit.
    pub idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            secure: false,
            max_header_size: 64 * 1024,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            headers: Duration::from_secs(10),
            idle: Duration::from_secs(60),
        }
    }
}

/// Starts a connection over a byte stream, and spawns what drives it on the worker's local set.
/// It ends when all handles and answers are dropped.
///
/// # Errors
/// `upstream_closed` when the preface cannot be written. An upstream that does not speak HTTP/2
/// shows only with the first request.
pub async fn connect<IO>(io: IO, settings: &Settings) -> Result<Handle, Fault>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .max_header_list_size(settings.max_header_size)
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_frame_size(FRAME as u32)
        .max_send_buffer_size(SEND_BUFFER);
    let (send, connection) = builder.handshake::<_, Bytes>(io).await.map_err(|error| {
        let fault = Fault::upstream(&reasons::UPSTREAM_CLOSED).resend(Resend::Safe);
        fault.detail("the HTTP/2 preface could not be sent").source(error)
    })?;
    let state = Rc::new(State::default());
    let driven = state.clone();
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an upstream's HTTP/2 connection ended");
        }
        driven.closed.set(true);
    });
    let Settings { secure, headers, idle, .. } = *settings;
    Ok(Handle { send, state, secure, headers, idle })
}

/// A way to send requests on one connection. Clones share it.
#[derive(Clone)]
pub struct Handle {
    send: SendRequest<Bytes>,
    state: Rc<State>,
    secure: bool,
    headers: Duration,
    idle: Duration,
}

#[derive(Default)]
struct State {
    in_flight: Cell<usize>,
    /// No more requests: the connection is gone, or it kept silent when an answer was due.
    closed: Cell<bool>,
}

/// A request counted as in flight, until its answer's body is dropped.
struct InFlight(Rc<State>);

impl InFlight {
    fn new(state: &Rc<State>) -> Self {
        state.in_flight.set(state.in_flight.get() + 1);
        Self(state.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}

impl Handle {
    /// Whether no more requests can be sent: the connection is gone, was told to go away, or may
    /// be dead.
    pub fn is_closed(&self) -> bool {
        self.state.closed.get() || self.probe().is_err()
    }

    /// Whether one more request may be sent now.
    pub fn is_ready(&self) -> bool {
        !self.is_closed() && self.room() > 0
    }

    /// Requests whose answers are not yet over.
    pub fn in_flight(&self) -> usize {
        self.state.in_flight.get()
    }

    /// How many more requests the upstream would take at once.
    pub fn room(&self) -> usize {
        self.send.current_max_send_streams().saturating_sub(self.in_flight())
    }

    /// A clone has no stream of its own to wait for, so that only the connection's state answers.
    fn probe(&self) -> Result<(), h2::Error> {
        match self.send.clone().poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => ready,
            Poll::Pending => Ok(()),
        }
    }

    /// Sends a request and waits for its answer's head. The host is taken from `Host`, as HTTP/1.1
    /// does it, else from the URI. Dropping the future, or the answer's body, cancels the stream.
    ///
    /// # Errors
    /// The fault, and the body when nothing of it is lost.
    pub async fn send(
        &self,
        head: Parts,
        body: Body,
    ) -> Result<ClientAnswer, (Fault, Option<Body>)> {
        if self.state.closed.get() {
            return Err((gone("the connection is closed"), Some(body)));
        }
        if self.room() == 0 {
            let fault = Fault::upstream(&reasons::ENDPOINTS_BUSY).resend(Resend::Safe);
            return Err((fault.detail("the endpoint takes no more streams"), Some(body)));
        }
        let head = match outgoing(head, &body, self.secure) {
            Ok(head) => head,
            Err(fault) => return Err((fault, Some(body))),
        };
        let bodiless = head.method == Method::HEAD;
        let in_flight = InFlight::new(&self.state);
        let request = Request::from_parts(head, ());
        let sent = self.send.clone().send_request(request, body.is_empty());
        let (answer, stream) = match sent {
            Ok(sent) => sent,
            Err(error) if error.is_go_away() || error.is_io() => {
                return Err((gone("the connection is going away").source(error), Some(body)));
            }
            Err(error) => {
                let fault = Fault::gateway(&reasons::INTERNAL).source(error);
                return Err((fault.detail("the request cannot be said in HTTP/2"), Some(body)));
            }
        };
        let mut upload = Upload::new(stream, body, Pace::silence(self.idle));
        match wait(answer, &mut upload, Pace::silence(self.headers)).await {
            Ok(response) => {
                let silence = Pace::silence(self.idle);
                let watch = FromUpstream { rest: upload.rest(), silence, in_flight };
                let response = received(response, bodiless, watch);
                Ok(ClientAnswer { response: Box::new(response), upgraded: None })
            }
            Err(fault) => {
                if fault.reason() == &reasons::UPSTREAM_TIMEOUTS {
                    // Nothing tells a slow endpoint from a connection that died unheard, so no
                    // other request is to find out; those under way go on.
                    self.state.closed.set(true);
                }
                Err((fault, upload.give_back()))
            }
        }
    }
}

fn gone(why: &'static str) -> Fault {
    Fault::upstream(&reasons::UPSTREAM_CLOSED).resend(Resend::Safe).detail(why)
}

/// Waits for the answer's head while the body goes out; `late` counts from the end of that.
async fn wait(
    mut answer: ResponseFuture,
    upload: &mut Upload,
    mut late: Pace,
) -> Result<Response<h2::RecvStream>, Fault> {
    poll_fn(|cx| {
        let sending = match upload.poll(cx) {
            Ok(sending) => sending,
            Err(fault) => return Poll::Ready(Err(fault)),
        };
        if let Poll::Ready(answered) = Pin::new(&mut answer).poll(cx) {
            return Poll::Ready(answered.map_err(before_head));
        }
        let why = match sending {
            Sending::Going => return Poll::Pending,
            Sending::Stuck => "the endpoint takes no more of the request",
            Sending::Over => {
                ready!(late.poll_spent(cx));
                "no head within timeout.headers"
            }
        };
        let fault = Fault::upstream(&reasons::UPSTREAM_TIMEOUTS).resend(Resend::IfIdempotent);
        Poll::Ready(Err(fault.detail(why)))
    })
    .await
}

/// The request's body on its way.
enum Upload {
    /// All of it is with the connection; kept, as it costs nothing, for another try.
    Kept(Body),
    Going(Pump),
    Gone,
}

/// How the sending of the request goes.
enum Sending {
    /// There is more of it, or will be.
    Going,
    /// The upstream has taken nothing for too long.
    Stuck,
    /// There is no more, or the upstream wants no more.
    Over,
}

impl Upload {
    fn new(mut stream: SendStream<Bytes>, body: Body, patience: Pace) -> Self {
        match body {
            Body::Full(bytes) if !bytes.is_empty() => {
                // A failure shows in the answer.
                let _ = stream.send_data(bytes.clone(), true);
                Self::Kept(Body::Full(bytes))
            }
            body if body.is_empty() => Self::Kept(body),
            body => Self::Going(Pump::new(stream, body, Some(patience))),
        }
    }

    /// Moves the body on. Only the body's own fault is one: a peer that stops taking it has an
    /// answer, or an error, on the other half of the stream.
    fn poll(&mut self, cx: &mut Context<'_>) -> Result<Sending, Fault> {
        let Self::Going(pump) = self else { return Ok(Sending::Over) };
        match pump.poll(cx) {
            Poll::Pending => Ok(Sending::Going),
            Poll::Ready(Err(Stop::Body(fault))) => {
                pump.reset(Code::CANCEL);
                *self = Self::Gone;
                Err(fault)
            }
            Poll::Ready(Err(Stop::Slow)) => Ok(Sending::Stuck),
            // Kept as it is: its body may be untouched yet, and a second poll would be wrong.
            Poll::Ready(Err(Stop::Peer)) => {
                let Self::Going(pump) = std::mem::replace(self, Self::Gone) else {
                    return Ok(Sending::Over);
                };
                if let Some(body) = pump.untouched() {
                    *self = Self::Kept(body);
                }
                Ok(Sending::Over)
            }
            Poll::Ready(Ok(())) => {
                *self = Self::Gone;
                Ok(Sending::Over)
            }
        }
    }

    /// Lets what is still to be sent go on by itself, as long as the answer is wanted.
    fn rest(self) -> Option<Rest> {
        let Self::Going(mut pump) = self else { return None };
        // From here on it is the answer's silence that counts.
        pump.be_patient();
        let starved = Rc::new(Cell::new(false));
        let told = Rc::clone(&starved);
        let task = tokio::task::spawn_local(async move {
            if let Err(Stop::Body(fault)) = poll_fn(|cx| {
                let polled = pump.poll(cx);
                told.set(polled.is_pending() && pump.is_starved());
                polled
            })
            .await
            {
                tracing::debug!(%fault, "a request's body broke off after its answer began");
                pump.reset(Code::CANCEL);
            }
        });
        Some(Rest { task: task.abort_handle(), starved })
    }

    fn give_back(self) -> Option<Body> {
        match self {
            Self::Kept(body) => Some(body),
            Self::Going(pump) => pump.untouched(),
            Self::Gone => None,
        }
    }
}

/// The rest of an upload; dropped, it stops.
struct Rest {
    task: AbortHandle,
    /// The request's body has no more for now, so that the upstream may be waiting for us.
    starved: Rc<Cell<bool>>,
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A head as HTTP/2 says it (RFC 9113 §8.3.1): the host in the URI, no connection headers.
fn outgoing(mut head: Parts, body: &Body, secure: bool) -> Result<Parts, Fault> {
    let bad = |why: &'static str| Fault::gateway(&reasons::INTERNAL).detail(why);
    if head.headers.contains_key(header::UPGRADE) || head.method == Method::CONNECT {
        return Err(Fault::gateway(&reasons::NOT_IMPLEMENTED)
            .detail("a switch of protocols needs an HTTP/1.1 connection"));
    }
    let host = head.headers.remove(header::HOST);
    let mut parts = std::mem::take(&mut head.uri).into_parts();
    if let Some(host) = host {
        let authority = Authority::try_from(host.as_bytes());
        parts.authority = Some(authority.map_err(|_| bad("the host is not one"))?);
    }
    if parts.authority.is_none() {
        return Err(bad("the request has no host"));
    }
    parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    }
    head.uri = Uri::from_parts(parts).map_err(|_| bad("host and path make no URI"))?;
    head.version = Version::HTTP_2;
    stream::strip(&mut head.headers);
    head.headers.remove(header::CONTENT_LENGTH);
    let expected = !matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if let Some(length) = body.len().filter(|&length| length > 0 || expected) {
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Ok(head)
}

/// An answer as the layers above know it.
fn received(
    response: Response<h2::RecvStream>,
    bodiless: bool,
    watch: FromUpstream,
) -> Response<Body> {
    let (mut head, recv) = response.into_parts();
    let bodiless = bodiless || head.status == StatusCode::NOT_MODIFIED;
    // Of a body that is not sent, the length is news and not framing (RFC 9110 §8.6).
    let length = if bodiless { None } else { take_length(&mut head.headers) };
    let body = if recv.is_end_stream() {
        Body::Empty
    } else {
        Body::stream(Watched { receiving: Receiving::new(recv, length), watch })
    };
    Response::from_parts(head, body)
}

/// Keeps the stream counted, its upload going and its silence bounded, while the answer's body is
/// read.
struct FromUpstream {
    rest: Option<Rest>,
    silence: Pace,
    in_flight: InFlight,
}

impl Watch for FromUpstream {
    fn came(&mut self, bytes: usize) {
        self.silence.moved(bytes);
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        ready!(self.silence.poll_spent(cx));
        while self.rest.as_ref().is_some_and(|rest| rest.starved.get()) {
            self.silence.moved(0);
            ready!(self.silence.poll_spent(cx));
        }
        self.in_flight.0.closed.set(true);
        let fault = Fault::upstream(&reasons::UPSTREAM_BROKE_OFF);
        Poll::Ready(fault.detail("silent for timeout.idle"))
    }

    fn broke(&self, error: h2::Error) -> Fault {
        let fault = Fault::upstream(&reasons::UPSTREAM_BROKE_OFF);
        fault.detail("the stream ended before the body was whole").source(error)
    }
}

/// What a failure before the answer's head means.
fn before_head(error: h2::Error) -> Fault {
    let refused = error.is_reset() && error.reason() == Some(Code::REFUSED_STREAM);
    // The upstream names the last stream it will act on; only later ones fail in this way
    // (RFC 9113 §6.8).
    let told_off = error.is_go_away() && error.is_remote();
    if refused || told_off {
        let why = if refused { "the endpoint refused the stream" } else { "the endpoint said go" };
        return gone(why).source(error);
    }
    let ours = error.is_library() || error.is_go_away();
    let reason = if ours { &reasons::UPSTREAM_BAD_ANSWER } else { &reasons::UPSTREAM_CLOSED };
    let fault = Fault::upstream(reason).resend(Resend::IfIdempotent);
    fault.detail("the stream ended before an answer").source(error)
}
