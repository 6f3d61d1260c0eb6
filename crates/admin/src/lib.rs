//! The admin listener: health, metrics, and questions to a running gateway. It reads handles, on
//! the control runtime; nothing on the request path knows that it exists.

mod cache;
mod guard;
mod health;
mod limits;
mod pages;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use lockgate_core::Blobs;
use lockgate_proxy::{Asked, Explanation, Shared};
use lockgate_state::Memory;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Most connections at once; more wait to be accepted.
const MOST_CONNECTIONS: usize = 256;
/// From a connection's begin, or the answer before, to the end of the next head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// No connection lives longer, whatever it does.
const LIFE: Duration = Duration::from_secs(600);
/// Most bytes of a request's body.
const MOST_BODY: usize = 64 << 10;

/// What the admin pages read from.
pub struct Handles {
    /// Whether the process is about to end.
    pub draining: Box<dyn Fn() -> bool + Send + Sync>,
    /// The snapshot in force, and the metrics.
    pub shared: Arc<Shared>,
    /// The cached answers, by the stores in which routes keep them.
    pub blobs: Box<dyn Fn() -> Arc<[Arc<dyn Blobs>]> + Send + Sync>,
    /// Answers `explain`. The gateway gives it, as it knows where the configuration stands.
    pub explain: Box<dyn Fn(&Asked) -> Explanation + Send + Sync>,
    /// Reads the counters in memory; `None` when nothing counts there.
    pub counters: Box<ReadCounters>,
    /// How often each limit has refused: policy, name, place and whether it only would have.
    pub refusals: Box<dyn Fn() -> Vec<(Vec<String>, u64)> + Send + Sync>,
}

/// Hands the counters to whoever wants to read them, and hands back what was read.
pub type ReadCounters =
    dyn Fn(&dyn Fn(&Memory) -> serde_json::Value) -> Option<serde_json::Value> + Send + Sync;

/// Serves the admin pages until the future is dropped.
pub async fn serve(listener: TcpListener, handles: Arc<Handles>) {
    let pages = Router::new()
        .route("/health", get(pages::health))
        .route("/metrics", get(pages::metrics))
        .route("/admin/explain", get(pages::explain))
        .route("/admin/upstreams", get(pages::upstreams))
        .route("/admin/quotas", get(limits::quotas))
        .route("/admin/ratelimiter/stats", get(limits::stats))
        .route("/admin/cache/clear", post(cache::clear))
        .route("/admin/cache/stats", get(cache::stats))
        .route("/admin/cache/details", get(cache::details))
        .route("/admin/health/{service}", put(health::set_override))
        .fallback(pages::nothing)
        .method_not_allowed_fallback(pages::not_this_method)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&handles), guard::admit))
        .with_state(handles);
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    // Dropped with this future, and with it all connections.
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let serving = connection(stream, pages.clone());
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
}

async fn connection(stream: TcpStream, pages: Router) {
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MOST_BODY)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    // A client that breaks off, or is cut, has had its say.
    let _ = timeout(LIFE, serving).await;
}
