//! The admin listener: health, metrics, and questions to a running gateway. It reads handles, on
//! the control runtime; nothing on the request path knows that it exists.

mod guard;
mod health;
mod pages;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, put};
use lockgate_proxy::{Asked, Explanation, Shared};
use tokio::net::TcpListener;

/// What the admin pages read from.
pub struct Handles {
    /// The snapshot in force, and the metrics.
    pub shared: Arc<Shared>,
    /// Answers `explain`. The gateway gives it, as it knows where the configuration stands.
    pub explain: Box<dyn Fn(&Asked) -> Explanation + Send + Sync>,
}

/// Serves the admin pages until the future is dropped.
pub async fn serve(listener: TcpListener, handles: Arc<Handles>) {
    let pages = Router::new()
        .route("/health", get(pages::health))
        .route("/metrics", get(pages::metrics))
        .route("/admin/explain", get(pages::explain))
        .route("/admin/upstreams", get(pages::upstreams))
        .route("/admin/health/{service}", put(health::set_override))
        .fallback(pages::nothing)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&handles), guard::admit))
        .with_state(handles);
    if let Err(error) = axum::serve(listener, pages).await {
        tracing::error!(%error, "the admin listener ended");
    }
}
