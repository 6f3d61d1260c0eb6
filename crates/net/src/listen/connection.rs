//! One connection, from its acceptance until a codec has it.
//!
//! PROXY header, TLS and preface each have to be there within `header_timeout` of the first byte;
//! for that first byte there is the time of an idle connection.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use bytes::Bytes;
use lockgate_config::model::{Http, ProxyProtocol};
use lockgate_core::{Connection, LocalFuture, Serve, Tls};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::Settings;
use super::accept::canonical;
use super::limits::Place;
use super::proxy_protocol::{self, Header};
use super::sniff::speaks_h2;
use crate::h2::PREFACE;
use crate::tls::{ServerStream, ServerTls, chose_h2};
use crate::{Drain, Ticket, h1, h2};

/// A connection as it was accepted.
pub(super) struct Arrival {
    pub(super) tcp: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) listener: Arc<str>,
    pub(super) worker: usize,
    pub(super) settings: Arc<Settings>,
    pub(super) limits: Rc<Http>,
    pub(super) place: Place,
}

impl Arrival {
    /// Whether the peer is a trusted proxy: its connections carry many clients, and are nobody's
    /// before a PROXY header names one.
    fn speaks_for_others(&self) -> bool {
        self.settings.trusts(self.peer.ip())
    }

    /// Counts the connection for its peer's address; whether that may have one more.
    fn claim(&mut self) -> bool {
        self.place.claim(self.peer.ip(), self.limits.max_connections_per_ip)
    }
}

/// Serves a connection to its end.
pub(super) async fn serve_connection<S: Serve>(mut arrival: Arrival, serve: S, drain: Drain) {
    let ticket = std::future::poll_fn(|cx| Poll::Ready(drain.register(cx.waker()))).await;
    // Counted before it says anything: silence must not be a way around the limit.
    if !arrival.speaks_for_others() && !arrival.claim() {
        return;
    }
    let Some(first) = first_byte(&arrival, &ticket).await else { return };
    let deadline = Instant::now() + arrival.limits.header_timeout.0;
    let Ok(Some(mut ahead)) = timeout_at(deadline, identify(&mut arrival)).await else { return };
    let settings = arrival.settings.clone();
    let spoken = match &settings.tls {
        Some(_) if !ahead.is_empty() => None,
        // Boxed until it is over: most of what it takes is needed no longer then.
        Some(tls) => Box::pin(secure(tls, arrival, deadline, serve, ticket)).await,
        // Most requests of HTTP/1.1 show by their first letter that they are no preface.
        None if settings.proxy_protocol == ProxyProtocol::Off && first != PREFACE[0] => {
            Some(plain(false, arrival, ahead, serve, ticket))
        }
        None => {
            let spoken = timeout_at(deadline, speaks_h2(&mut arrival.tcp, &mut ahead)).await;
            let Ok(Ok(h2)) = spoken else { return };
            Some(plain(h2, arrival, ahead, serve, ticket))
        }
    };
    // Until its end the connection has its place, and no room but its codec's own.
    let Some((codec, _place)) = spoken else { return };
    codec.await;
}

/// Waits for the client to say anything, and looks at its first byte without taking it; `None`
/// when the client should go instead. A look and not mere readiness, which can be a false alarm.
async fn first_byte(arrival: &Arrival, ticket: &Ticket) -> Option<u8> {
    let closing = std::future::poll_fn(|_| match ticket.is_closing() {
        true => Poll::Ready(()),
        // The drain wakes this task, whose waker the ticket was registered with.
        false => Poll::Pending,
    });
    let mut byte = [0];
    tokio::select! {
        biased;
        seen = timeout(arrival.limits.idle_timeout.0, arrival.tcp.peek(&mut byte)) => {
            matches!(seen, Ok(Ok(1))).then_some(byte[0])
        }
        () = closing => None,
    }
}

/// Finds out whose connection it is, and whether the address that a trusted proxy names may have
/// one more. Returns what was read and belongs to the next protocol; `None` refuses.
async fn identify(arrival: &mut Arrival) -> Option<Vec<u8>> {
    let settings = arrival.settings.clone();
    let trusted = arrival.speaks_for_others();
    let mut ahead = Vec::new();
    match settings.proxy_protocol {
        ProxyProtocol::Off => {}
        ProxyProtocol::Accept if !trusted => {}
        ProxyProtocol::Require if !trusted => {
            return refuse_header(arrival, "its sender is not in trusted_proxies");
        }
        ProxyProtocol::Accept | ProxyProtocol::Require => {
            match Box::pin(proxy_protocol::read(&mut arrival.tcp)).await {
                Ok(Header::Proxied(client, server)) => {
                    arrival.peer = canonical(client);
                    arrival.local = canonical(server);
                    if !arrival.claim() {
                        return None;
                    }
                }
                Ok(Header::Own) => {}
                Ok(Header::Missing(_)) if settings.proxy_protocol == ProxyProtocol::Require => {
                    return refuse_header(arrival, "there is none");
                }
                Ok(Header::Missing(read)) => ahead = read,
                Err(error) => return refuse_header(arrival, &error.to_string()),
            }
        }
    }
    Some(ahead)
}

fn refuse_header(arrival: &Arrival, why: &str) -> Option<Vec<u8>> {
    arrival.place.counters().refused_proxy_header.fetch_add(1, Relaxed);
    tracing::debug!(peer = %arrival.peer, why, "no usable PROXY header");
    None
}

/// Shakes hands for TLS. `None`: there is no session, and the connection is to be closed.
async fn secure<S: Serve>(
    tls: &ServerTls,
    arrival: Arrival,
    deadline: Instant,
    serve: S,
    ticket: Ticket,
) -> Option<(LocalFuture<'static, ()>, Place)> {
    let Arrival { tcp, peer, limits, place, .. } = arrival;
    let Ok(shaken) = timeout_at(deadline, shake_hands(tls, tcp, &place)).await else {
        place.counters().tls_failures.fetch_add(1, Relaxed);
        tracing::debug!(%peer, "a TLS handshake took too long");
        return None;
    };
    let (stream, session) =
        shaken.inspect_err(|error| tracing::debug!(%peer, %error, "no TLS session")).ok()?;
    let h2 = chose_h2(&stream);
    let connection = Rc::new(Connection {
        listener: arrival.listener,
        peer,
        local: arrival.local,
        tls: Some(session),
        worker: arrival.worker,
        texts: Default::default(),
    });
    Some((speak(h2, stream, Bytes::new(), connection, limits, serve, ticket), place))
}

async fn shake_hands(
    tls: &ServerTls,
    tcp: TcpStream,
    place: &Place,
) -> io::Result<(ServerStream<TcpStream>, Tls)> {
    let shaken = tls.accept(tcp).await;
    let counters = place.counters();
    let counter = if shaken.is_ok() { &counters.tls_handshakes } else { &counters.tls_failures };
    counter.fetch_add(1, Relaxed);
    shaken
}

fn plain<S: Serve>(
    h2: bool,
    arrival: Arrival,
    ahead: Vec<u8>,
    serve: S,
    ticket: Ticket,
) -> (LocalFuture<'static, ()>, Place) {
    let Arrival { tcp, limits, place, .. } = arrival;
    let connection = Rc::new(Connection {
        listener: arrival.listener,
        peer: arrival.peer,
        local: arrival.local,
        tls: None,
        worker: arrival.worker,
        texts: Default::default(),
    });
    (speak(h2, tcp, ahead.into(), connection, limits, serve, ticket), place)
}

/// Hands the connection to its codec. In a box of its own, so that none holds room for the largest
/// of them, nor for how it came so far.
fn speak<IO, S>(
    h2: bool,
    io: IO,
    read_ahead: Bytes,
    connection: Rc<Connection>,
    limits: Rc<Http>,
    serve: S,
    ticket: Ticket,
) -> LocalFuture<'static, ()>
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    S: Serve,
{
    if h2 {
        Box::pin(h2::serve(io, read_ahead, connection, limits, serve, ticket))
    } else {
        Box::pin(h1::serve(io, read_ahead, connection, limits, serve, ticket))
    }
}
