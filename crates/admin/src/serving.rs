//! The listener's connections: bounded in number, in patience, and in life.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tower_service::Service;

use crate::guard::Peer;
use crate::{Handles, MOST_BODY, history, pages};

/// Most connections at once; more wait to be accepted.
const MOST_CONNECTIONS: usize = 256;
/// From a connection's begin, or the answer before, to the end of the next head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// No connection lives longer, whatever it does.
const LIFE: Duration = Duration::from_secs(600);

/// The admin listener at work. Dropped, it ends, and its connections with it.
pub struct Serving {
    task: AbortHandle,
    sampling: AbortHandle,
    stop: watch::Sender<bool>,
}

impl Serving {
    /// Starts to serve. Must be called on the control runtime.
    pub fn start(listener: TcpListener, handles: Handles) -> Self {
        let (stop, stopped) = watch::channel(false);
        let handles = Arc::new(handles);
        let sampling = tokio::spawn(history::sample(Arc::clone(&handles))).abort_handle();
        let task = tokio::spawn(serve(listener, pages(handles), stopped)).abort_handle();
        Self { task, sampling, stop }
    }

    /// Closes the listener. What is connected is served on.
    pub fn stop_accepting(&self) {
        self.stop.send_replace(true);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
        self.sampling.abort();
    }
}

async fn serve(listener: TcpListener, pages: Router, mut stopped: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    // Dropped with this future, and with it all connections.
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            (place, accepted) = next => (place, accepted),
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let Ok(place) = place else { return };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let serving = connection(stream, peer.ip(), pages.clone());
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, peer: IpAddr, pages: Router) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        pages.clone().call(request)
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MOST_BODY)
        .serve_connection(TokioIo::new(stream), service);
    // A client that breaks off, or is cut, has had its say.
    let _ = timeout(LIFE, serving).await;
}
