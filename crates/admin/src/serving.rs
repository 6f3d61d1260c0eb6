//! The listener's connections: bounded in number, in patience, and in life.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tower_service::Service;

use crate::guard::{LetIn, Peer};
use crate::places::{Place, Places};
use crate::{Handles, MOST_BODY, MOST_CONFIG, history, pages};

/// From a connection's begin, or the answer before, to the end of the next head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// No connection lives longer, whatever it does.
const LIFE: Duration = Duration::from_secs(600);

/// The admin pages, wherever they are asked for.
#[derive(Clone)]
pub struct Pages(Router);

impl Pages {
    /// Most bytes of a body that is sent to them.
    pub const MOST_BODY: usize = MOST_BODY;
    /// Most bytes of a whole configuration.
    pub const MOST_CONFIG: usize = MOST_CONFIG;

    /// Starts to look at what they show. Must be called on the control runtime.
    pub fn start(handles: Handles) -> Self {
        let handles = Arc::new(handles);
        tokio::spawn(history::sample(Arc::clone(&handles)));
        Self(pages(handles))
    }

    /// Answers whom somebody else has let in: `who` they are, and `from` where. Nobody by name may
    /// see what is public.
    pub async fn ask(
        &self,
        request: Request<Bytes>,
        who: Option<String>,
        from: IpAddr,
    ) -> Response<axum::body::Body> {
        let mut request = request.map(axum::body::Body::from);
        request.extensions_mut().insert(Peer(from));
        request.extensions_mut().insert(LetIn(who));
        match self.0.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// The admin listener at work. Dropped, it ends, and its connections with it.
pub struct Serving {
    task: AbortHandle,
    stop: watch::Sender<bool>,
}

impl Serving {
    /// Starts to serve. Must be called on the control runtime.
    pub fn start(listener: TcpListener, pages: Pages) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(listener, pages.0, stopped)).abort_handle();
        Self { task, stop }
    }

    /// Closes the listener. What is connected is served on.
    pub fn stop_accepting(&self) {
        self.stop.send_replace(true);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, pages: Router, mut stopped: watch::Receiver<bool>) {
    let places = Arc::new(Places::default());
    // Dropped with this future, and with it all connections.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => match places.take(peer.ip()) {
                Some(place) => {
                    connections.spawn(connection(stream, peer.ip(), pages.clone(), place));
                }
                None => tracing::debug!(%peer, "the admin listener has no place for another"),
            },
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, peer: IpAddr, pages: Router, place: Place) {
    let service = service_fn(|mut request: Request<Incoming>| {
        place.has_spoken();
        request.extensions_mut().insert(Peer(peer));
        pages.clone().call(request)
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MOST_BODY)
        .serve_connection(TokioIo::new(stream), service);
    // A client that breaks off, or is cut, has had its say.
    tokio::select! {
        _ = timeout(LIFE, serving) => {}
        () = place.is_lost() => {}
    }
}
