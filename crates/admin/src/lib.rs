//! The admin listener: health, metrics, and questions to a running gateway. It reads handles, on
//! the control runtime; nothing on the request path knows that it exists.

mod cache;
mod guard;
mod health;
mod limits;
mod pages;
mod ready;
mod serving;
mod upgrade;

pub use serving::Serving;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use lockgate_core::Blobs;
use lockgate_proxy::{Asked, Explanation, Shared};
use lockgate_state::Memory;

/// Most bytes of a request's body.
const MOST_BODY: usize = 64 << 10;

/// What the admin pages read from.
pub struct Handles {
    /// Starts a successor, and tells how that goes.
    pub upgrade: Box<AskUpgrade>,
    /// Whether the process is about to end.
    pub draining: Box<dyn Fn() -> bool + Send + Sync>,
    /// The snapshot in force, and the metrics.
    pub shared: Arc<Shared>,
    /// The cached answers, once there is a cache.
    pub blobs: Box<dyn Fn() -> Option<Arc<dyn Blobs>> + Send + Sync>,
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

/// Asks for an upgrade (`true`) or how it goes, and hears: `state`, `pid` and what belongs to it.
pub type AskUpgrade =
    dyn Fn(bool) -> Pin<Box<dyn Future<Output = serde_json::Value> + Send>> + Send + Sync;

fn pages(handles: Arc<Handles>) -> Router {
    Router::new()
        .route("/health", get(pages::health))
        .route("/metrics", get(pages::metrics))
        .route("/admin/live", get(ready::live))
        .route("/admin/ready", get(ready::ready))
        .route("/admin/upgrade", get(upgrade::state).post(upgrade::begin))
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
        .with_state(handles)
}
