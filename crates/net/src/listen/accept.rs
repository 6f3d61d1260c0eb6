//! The accept loop: one for each listener and worker.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lockgate_config::model::Http;
use lockgate_core::Serve;
use tokio::net::{TcpListener, TcpStream};

use super::connection::{Arrival, serve_connection};
use super::{ListenerState, Settings};
use crate::Drain;

/// How long to wait when the process has no file descriptor or memory left for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections on one worker's socket and spawns each on its local set. Never ends by
/// itself; dropped, it stops accepting, and open connections go on.
///
/// # Errors
/// When the socket cannot be used at all.
pub async fn accept<S: Serve>(
    socket: std::net::TcpListener,
    listener: Arc<ListenerState>,
    worker: usize,
    serve: S,
    drain: Drain,
) -> io::Result<()> {
    let socket = TcpListener::from_std(socket)?;
    let mut current = Current::new(listener.settings());
    let mut short = false;
    loop {
        let (tcp, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_the_clients(&error) => continue,
            Err(error) => {
                if !short {
                    tracing::warn!(listener = %current.settings.name, %error, "cannot accept connections");
                }
                short = true;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        short = false;
        if !Arc::ptr_eq(&current.settings, &listener.settings.load()) {
            current = Current::new(listener.settings());
        }
        let Some(place) = listener.gate.enter(current.limits.max_connections) else { continue };
        let Some(local) = prepare(&tcp) else { continue };
        let arrival = Arrival {
            tcp,
            peer: canonical(peer),
            local,
            listener: current.settings.name.clone(),
            worker,
            settings: current.settings.clone(),
            limits: current.limits.clone(),
            place,
        };
        tokio::task::spawn_local(serve_connection(arrival, serve.clone(), drain.clone()));
    }
}

/// The settings that new connections get, with the limits as this worker shares them.
struct Current {
    settings: Arc<Settings>,
    limits: Rc<Http>,
}

impl Current {
    fn new(settings: Arc<Settings>) -> Self {
        let limits = Rc::new(settings.http.clone());
        Self { settings, limits }
    }
}

/// Errors of one connection, gone before it was taken.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// The connection's own address; `None` when it is gone already.
fn prepare(tcp: &TcpStream) -> Option<SocketAddr> {
    tcp.set_nodelay(true).ok()?;
    tcp.local_addr().ok().map(canonical)
}

/// IPv4 clients of a socket for both families are IPv4 clients.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
