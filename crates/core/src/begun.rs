//! An exchange at its beginning: what follows from its head and its connection, and nothing else is
//! known or decided yet.

use std::net::SocketAddr;
use std::rc::Rc;

use http::request::Parts;
use tokio::time::Instant;

use crate::{
    Body, Captures, Connection, Exchange, Keeping, Origin, RequestId, Spans, UpstreamNotes,
};

impl Exchange {
    /// A request without a body that has just come on this connection, for no host by name.
    pub fn begun(head: Parts, connection: Rc<Connection>) -> Self {
        Self {
            head,
            body: Body::Empty,
            client_ip: connection.peer.ip(),
            secure: connection.tls.is_some(),
            host: Box::default(),
            id: RequestId::random(),
            started: Instant::now(),
            route: None,
            captures: Captures::default(),
            consumer: None,
            origin: Origin::Gateway,
            upgrade: false,
            grpc: false,
            once: None,
            deadline: None,
            upstream: UpstreamNotes::default(),
            fault: None,
            trace: None,
            spans: Spans::default(),
            kept: Keeping::default(),
            connection,
        }
    }
}

impl Connection {
    /// One in plain text to the listener `web`, of the first worker.
    pub fn plain(peer: SocketAddr, local: SocketAddr) -> Self {
        let (listener, texts) = ("web".into(), Default::default());
        Self { listener, peer, local, tls: None, worker: 0, texts }
    }
}
