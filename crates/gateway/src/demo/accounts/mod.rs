//! The accounts service of the bank: one process, many of which may stand over one ledger. Each
//! movement is read-then-write with a pause between the two, as services are that a gateway cannot
//! change. For trying things on: on the loopback alone, no credentials.

mod ledger;
mod rest;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::Context;
use http::HeaderValue;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::signals::Signals;
use ledger::Ledger;

const MAX_CONNECTIONS: usize = 1_024;
const MAX_BUFFER: usize = 64 * 1024;
const HEAD_TIME: Duration = Duration::from_secs(30);
/// The pause before the socket is tried again when there is nothing left to accept with.
const PAUSE: Duration = Duration::from_millis(50);

/// How one process of the service is run.
pub(crate) struct Accounts {
    /// The ledger's file; made when there is none.
    pub(crate) file: PathBuf,
    /// Where it listens, on 127.0.0.1; 0 is any port, which it says.
    pub(crate) port: u16,
    /// What it calls itself in `X-Served-By`.
    pub(crate) name: String,
    /// The pause between reading a balance and writing it.
    pub(crate) delay: Duration,
    /// Whether it heeds `Lockgate-Fence` and remembers keys.
    pub(crate) fenced: bool,
}

/// What a connection needs to answer.
struct Service {
    ledger: Ledger,
    name: HeaderValue,
    delay: Duration,
    fenced: bool,
    /// Movements that have been read and not yet written.
    under_way: AtomicUsize,
}

/// Serves until a signal ends it.
///
/// # Errors
/// When the file cannot be opened as a ledger, or the port is taken.
pub(crate) fn run(accounts: Accounts) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // What waits for the file waits on threads of its own.
        .max_blocking_threads(8)
        .build()
        .context("starting the runtime")?;
    runtime.block_on(async {
        let mut signals = Signals::listen().context("listening to signals")?;
        let port = accounts.port;
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("port {port}, for accounts, cannot be listened on"))?;
        let ledger = Ledger::open(&accounts.file)
            .with_context(|| format!("{}, the ledger's file", accounts.file.display()))?;
        let name = HeaderValue::from_str(&accounts.name).context("--name")?;
        crate::cli::say(&format!("{} listens on {}", accounts.name, socket.local_addr()?));
        let (delay, fenced) = (accounts.delay, accounts.fenced);
        let service =
            Arc::new(Service { ledger, name, delay, fenced, under_way: AtomicUsize::new(0) });
        tokio::select! {
            () = accept(service, socket) => {}
            () = signals.stop() => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn accept(service: Arc<Service>, socket: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let room = connections.len() < MAX_CONNECTIONS;
        tokio::select! {
            accepted = socket.accept(), if room => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(Arc::clone(&service), stream));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// What is being answered is answered to its end, also when whoever asked has gone: a debit that
/// was begun is not left between its reading and its writing.
async fn connection(service: Arc<Service>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let answer = service_fn(|request: hyper::Request<Incoming>| {
        let service = Arc::clone(&service);
        async move {
            let served_by = service.name.clone();
            let mut answer = rest::answer(service, request).await;
            answer.headers_mut().insert("x-served-by", served_by);
            Ok::<_, Infallible>(answer)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(stream), answer);
    let _ = served.await;
}
