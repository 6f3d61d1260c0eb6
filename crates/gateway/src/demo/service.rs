//! One instance of a service: its socket, its connections, and its way of refusing them. Holds a
//! bounded number of connections; those beyond wait in the kernel's queue.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::fault::Switch;
use super::records::Records;
use super::rest;

const MAX_CONNECTIONS: usize = 4_096;
const MAX_BUFFER: usize = 64 * 1024;
const HEAD_TIME: Duration = Duration::from_secs(30);
/// How long requests in flight may take to end once connections are refused.
const CLOSE_TIME: Duration = Duration::from_secs(1);
/// The pause before a socket is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// One port of a service.
pub(super) struct Instance {
    /// The service's name, which is its resource too.
    pub(super) service: &'static str,
    /// Where it listens, this port included.
    pub(super) address: SocketAddr,
    pub(super) port: u16,
    pub(super) records: Arc<Records>,
    pub(super) switch: Switch,
}

/// All instances: each may be asked to set another's switch, as one that refuses cannot be asked.
pub(super) type Panel = Arc<[Arc<Instance>]>;

impl Instance {
    pub(super) fn new(service: &'static str, address: SocketAddr, records: Arc<Records>) -> Self {
        Self { service, address, port: address.port(), records, switch: Switch::new() }
    }
}

/// Serves until dropped.
pub(super) async fn serve(instance: Arc<Instance>, panel: Panel, mut socket: TcpListener) {
    loop {
        accept(&instance, &panel, socket).await;
        instance.switch.accepting().await;
        socket = listen_again(&instance).await;
    }
}

/// Takes connections until they are to be refused; then closes the socket at once, and the
/// connections as their requests end.
async fn accept(instance: &Arc<Instance>, panel: &Panel, socket: TcpListener) {
    let mut connections = JoinSet::new();
    let mut refusing = pin!(instance.switch.refusing());
    loop {
        let room = connections.len() < MAX_CONNECTIONS;
        tokio::select! {
            () = &mut refusing => break,
            accepted = socket.accept(), if room => match accepted {
                Ok((stream, peer)) => {
                    let instance = Arc::clone(instance);
                    connections.spawn(connection(instance, Arc::clone(panel), stream, peer));
                }
                // Out of descriptors, most likely: let some go first.
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(socket);
    let _ = tokio::time::timeout(CLOSE_TIME, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
}

async fn listen_again(instance: &Instance) -> TcpListener {
    loop {
        match TcpListener::bind(instance.address).await {
            Ok(socket) => return socket,
            Err(error) => {
                let (port, service) = (instance.port, instance.service);
                tracing::warn!(port, service, %error, "the demo cannot listen again yet");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(instance: Arc<Instance>, panel: Panel, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let served_by = HeaderValue::from(instance.port);
    let answer = service_fn(|request: hyper::Request<Incoming>| {
        let (instance, panel) = (Arc::clone(&instance), Arc::clone(&panel));
        let served_by = served_by.clone();
        async move {
            let mut answer = rest::answer(&instance, &panel, peer, request).await;
            answer.headers_mut().insert("x-served-by", served_by);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(MAX_BUFFER)
            .serve_connection(TokioIo::new(stream), answer)
    );
    tokio::select! {
        _ = served.as_mut() => return,
        () = instance.switch.refusing() => served.as_mut().graceful_shutdown(),
    }
    let _ = served.await;
}
