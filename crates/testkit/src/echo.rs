//! A real upstream, on hyper: it tells in JSON what it was asked, counts, and can be told to be
//! slow, to fail, or to be ill. HTTP/1.1 or HTTP/2, plain or TLS. Its paths: `echo_paths`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::Pieces;
use crate::echo_paths::{answer, health};

/// One request as it was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
    /// Which of the endpoint's connections it came on, from 0.
    pub connection: usize,
    /// The common name or other text of the client certificate's presence.
    pub certified: bool,
}

impl Seen {
    /// A header's first value as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What the endpoint's connections share.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) seen: Mutex<Vec<Seen>>,
    pub(crate) hits: AtomicUsize,
    pub(crate) probes: AtomicUsize,
    pub(crate) cancelled: AtomicUsize,
    pub(crate) connections: AtomicUsize,
    pub(crate) healthy: AtomicBool,
    pub(crate) status: AtomicU16,
    pub(crate) delay_ms: AtomicU64,
    pub(crate) gate: Semaphore,
}

/// An endpoint; dropping it ends it with all its connections.
pub struct Echo {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl Echo {
    /// Starts one that speaks HTTP/1.1. Its name is told in `x-endpoint`.
    pub async fn start(name: &str) -> Self {
        Self::with(name, false, None, None).await
    }

    /// Starts one that speaks HTTP/2 with prior knowledge, and nothing else.
    pub async fn h2c(name: &str) -> Self {
        Self::with(name, true, None, None).await
    }

    /// Starts one that speaks TLS, and what ALPN agrees on.
    pub async fn tls(name: &str, config: Arc<ServerConfig>) -> Self {
        Self::with(name, false, Some(config), None).await
    }

    /// Starts one that speaks HTTP/1.1 at an address that may have been used before.
    pub async fn at(name: &str, address: SocketAddr) -> Self {
        Self::with(name, false, None, Some(address)).await
    }

    async fn with(
        name: &str,
        http2: bool,
        tls: Option<Arc<ServerConfig>>,
        address: Option<SocketAddr>,
    ) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(address.unwrap_or(any)).expect("the endpoint's address");
        let listener = socket.listen(1024).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            seen: Mutex::default(),
            hits: AtomicUsize::new(0),
            probes: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            healthy: AtomicBool::new(true),
            status: AtomicU16::new(0),
            delay_ms: AtomicU64::new(0),
            gate: Semaphore::new(0),
        });
        let task = tokio::spawn(accept(listener, tls, http2, shared.clone())).abort_handle();
        Self { address, shared, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests that have come whole, probes apart, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The last request that came whole.
    pub fn last(&self) -> Seen {
        self.shared.seen.lock().unwrap().last().cloned().expect("a request at the endpoint")
    }

    /// How many requests have begun to come, probes apart.
    pub fn hits(&self) -> usize {
        self.shared.hits.load(SeqCst)
    }

    /// How many health probes have come.
    pub fn probes(&self) -> usize {
        self.shared.probes.load(SeqCst)
    }

    /// How many requests were given up by the other side while they were being served.
    pub fn cancelled(&self) -> usize {
        self.shared.cancelled.load(SeqCst)
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// Says what `/health` says from now on.
    pub fn healthy(&self, healthy: bool) {
        self.shared.healthy.store(healthy, SeqCst);
    }

    /// Answers every request but probes with this status from now on; 0: as their path says.
    pub fn answer_with(&self, status: u16) {
        self.shared.status.store(status, SeqCst);
    }

    /// Waits before every answer from now on.
    pub fn delay(&self, delay: Duration) {
        self.shared.delay_ms.store(delay.as_millis() as u64, SeqCst);
    }

    /// Lets this many waiting (or coming) gates go on.
    pub fn open(&self, gates: usize) {
        self.shared.gate.add_permits(gates);
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    http2: bool,
    shared: Arc<Shared>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let place = shared.connections.fetch_add(1, SeqCst);
        let (shared, tls) = (shared.clone(), tls.clone());
        connections.spawn(async move {
            let Some(config) = tls else {
                return connection(stream, http2, place, false, shared).await;
            };
            let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else { return };
            let session = stream.get_ref().1;
            let http2 = session.alpn_protocol() == Some(b"h2");
            let certified = session.peer_certificates().is_some();
            connection(stream, http2, place, certified, shared).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http2: bool,
    place: usize,
    certified: bool,
    shared: Arc<Shared>,
) {
    let service = service_fn(move |request| serve(request, place, certified, shared.clone()));
    let io = TokioIo::new(stream);
    if http2 {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).max_concurrent_streams(1000);
        let _ = builder.serve_connection(io, service).await;
    } else {
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(None);
        let _ = builder.serve_connection(io, service).with_upgrades().await;
    }
}

async fn serve(
    request: Request<Incoming>,
    connection: usize,
    certified: bool,
    shared: Arc<Shared>,
) -> Result<Response<Pieces>, Infallible> {
    if request.uri().path() == "/health" {
        shared.probes.fetch_add(1, SeqCst);
        let status = if shared.healthy.load(SeqCst) { 200 } else { 503 };
        let answer = Response::builder().status(status).body(Pieces::whole("health"));
        return Ok(answer.unwrap());
    }
    if request.uri().path() == "/grpc.health.v1.Health/Check" {
        shared.probes.fetch_add(1, SeqCst);
        return Ok(health(shared.healthy.load(SeqCst)));
    }
    shared.hits.fetch_add(1, SeqCst);
    let mut watch = Watch { shared: shared.clone(), done: false };
    let delay = shared.delay_ms.load(SeqCst);
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let mut response = answer(request, connection, certified, &shared).await;
    watch.done = true;
    response.headers_mut().insert("x-endpoint", shared.name.parse().unwrap());
    Ok(response)
}

/// Counts a request whose serving was dropped before it was done.
struct Watch {
    shared: Arc<Shared>,
    done: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.done {
            self.shared.cancelled.fetch_add(1, SeqCst);
        }
    }
}

/// Reads a request to its end. A broken body is given as what came of it.
pub(crate) async fn read(
    request: Request<Incoming>,
    connection: usize,
    certified: bool,
) -> Result<Seen, Seen> {
    let (head, mut incoming) = request.into_parts();
    let mut body = Vec::new();
    let mut trailers = HeaderMap::new();
    let mut whole = true;
    while let Some(frame) = incoming.frame().await {
        let Ok(frame) = frame else {
            whole = false;
            break;
        };
        match frame.into_data() {
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    let seen = Seen {
        method: head.method,
        uri: head.uri,
        version: head.version,
        headers: head.headers,
        body: body.into(),
        trailers,
        connection,
        certified,
    };
    if whole { Ok(seen) } else { Err(seen) }
}

#[cfg(test)]
mod tests {
    use super::Echo;
    use crate::{Authority, Fail, H2, Load, Pieces, Wire, client_config, request, server_config};

    #[tokio::test]
    async fn it_tells_what_it_was_asked_by_either_protocol() {
        let echo = Echo::start("a").await;
        let mut wire = Wire::connect(echo.address()).await;
        let answer = wire.ask(request("POST", "/x?y=1", &[("X-A", "b")], "body")).await;
        assert_eq!((answer.status, answer.endpoint()), (200, "a"));
        assert_eq!(answer.json()["path"], "/x?y=1");
        assert_eq!(answer.json()["body"], "body");
        assert_eq!(answer.seen("X-A").as_deref(), Some("b"));
        let trailers = wire.ask(request("GET", "/trailers", &[], "")).await;
        assert_eq!(trailers.trailer("x-checksum"), None, "hyper wants TE: trailers");

        let h2c = Echo::h2c("b").await;
        let mut h2 = H2::plain(h2c.address()).await;
        assert_eq!(h2.get("a", "/").await.json()["version"], "HTTP/2.0");
        let unary =
            h2.request("POST", "a", "/x.Y/Unary").header("content-type", "application/grpc");
        let answer = h2.ask(unary.body(Pieces::whole("message")).unwrap()).await.unwrap();
        assert_eq!(answer.trailer("grpc-status"), Some("0"));
        assert_eq!(answer.text(), "message");
    }

    #[tokio::test]
    async fn it_speaks_tls_to_whom_it_trusts() {
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        let leaf = ours.server(&["a.test"]);
        let echo = Echo::tls("a", server_config(&leaf, &["h2"], Some(&theirs))).await;
        let shown = theirs.client("me");
        let config = client_config(&ours, &["h2"], &[], Some(&shown));
        let answer = H2::tls(echo.address(), "a.test", config).await.get("a.test", "/").await;
        assert_eq!(answer.json()["certified"], true);
    }

    #[tokio::test]
    async fn it_breaks_off_and_counts_who_gives_up() {
        let echo = Echo::start("a").await;
        let mut wire = Wire::connect(echo.address()).await;
        wire.send(request("GET", "/broken/5", &[], "")).await;
        assert_eq!(wire.answer_to("GET").await.unwrap_err(), Fail::Broken);
        let mut wire = Wire::connect(echo.address()).await;
        wire.send(request("GET", "/hang", &[], "")).await;
        crate::until("a hit", async || echo.hits() == 2).await;
        drop(wire);
        crate::until("a cancelled request", async || echo.cancelled() == 1).await;
    }

    #[tokio::test]
    async fn a_load_counts_what_it_meets() {
        let echo = Echo::start("a").await;
        let load = Load::start(echo.address(), 4, &request("GET", "/", &[], ""));
        load.more(50).await;
        load.stop().await.flawless(50);
        echo.answer_with(503);
        let load = Load::start(echo.address(), 1, &request("GET", "/", &[], ""));
        load.more(3).await;
        assert!(load.stop().await.statuses[&503] >= 3);
    }
}
