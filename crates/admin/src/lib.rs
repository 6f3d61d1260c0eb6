//! The admin listener: health, metrics, and questions to a running gateway. It reads handles, on
//! the control runtime; nothing on the request path knows that it exists.

mod aside;
mod audit;
mod body;
mod cache;
mod changes;
mod conditions;
mod config;
mod dashboard;
mod diff;
mod errors;
mod figures;
mod guard;
mod health;
mod history;
mod limits;
mod named;
mod operations;
mod orders;
mod page;
mod pages;
mod places;
mod question;
mod rates;
mod ready;
mod services;
mod serving;
mod session;
mod tries;
mod uptime;

pub use audit::{Outcome, audit};
pub use changes::{Version, Versions};
pub use conditions::Only;
pub use health::{Steer, Steered};
pub use history::History;
pub use orders::{Answer, Change, GiveOrder, Order, Refused, What};
pub use ready::{unprobed, why_not_ready};
pub use serving::{Pages, Serving};
pub use session::Sessions;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use lockgate_core::Blobs;
use lockgate_monitor::Monitor;
use lockgate_proxy::{Asked, Explanation, Shared};
use lockgate_state::Memory;
use lockgate_state::redis::RedisCounters;
use serde_json::Value;

/// Most bytes of a request's body.
const MOST_BODY: usize = 64 << 10;
/// Most bytes of a whole configuration that is sent.
const MOST_CONFIG: usize = 16 << 20;

/// What the admin pages read from.
pub struct Handles {
    /// The configuration in force in its long form, secrets hidden. Reads it once more, so it is
    /// asked for off the runtime.
    pub config: Arc<dyn Fn() -> Result<Value, String> + Send + Sync>,
    /// Clients' connections and the listeners, in the form in which they are shown.
    pub connections: Box<dyn Fn() -> Value + Send + Sync>,
    /// The certificates that listeners serve.
    pub certificates: Box<dyn Fn() -> Vec<Certificate> + Send + Sync>,
    /// The last hour.
    pub history: History,
    /// How many listen to events.
    pub listening: AtomicUsize,
    /// Browsers that have logged in.
    pub sessions: Sessions,
    /// Where the configuration comes from, and how that is: kind, state, revision, staleness.
    pub source: Box<dyn Fn() -> Value + Send + Sync>,
    /// Takes orders, and answers when they are carried out.
    pub order: Box<GiveOrder>,
    /// Takes orders to endpoints, and waits until they are kept: it is asked off the runtime.
    pub steer: Arc<Steer>,
    /// What was in force before, and is now.
    pub versions: Arc<dyn Versions>,
    /// The configuration in force as it is written, secrets hidden, and which things of it do not
    /// stand in the files. With many routes it takes milliseconds.
    pub written: Arc<dyn Fn() -> String + Send + Sync>,
    /// The changes over the files: see `GET /admin/config/changes`.
    pub changes: Arc<dyn Fn() -> Value + Send + Sync>,
    /// Why changes are refused, where another gateway has the place in which they are kept.
    pub no_changes: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// Whether the process is about to end.
    pub draining: Box<dyn Fn() -> bool + Send + Sync>,
    /// The snapshot in force, and the metrics.
    pub shared: Arc<Shared>,
    /// The cached answers, by the stores in which routes keep them.
    pub blobs: Box<FindBlobs>,
    /// Answers `explain`. The gateway gives it, as it knows where the configuration stands.
    pub explain: Arc<dyn Fn(&Asked) -> Explanation + Send + Sync>,
    /// Tells what holds for the routes under a pattern: one for each `when`.
    pub explain_pattern: Arc<ExplainPattern>,
    /// Reads the counters in memory; `None` when nothing counts there.
    pub counters: Box<ReadCounters>,
    /// The counters of every Redis that counts anything.
    pub redis_counters: Box<dyn Fn() -> Vec<Arc<RedisCounters>> + Send + Sync>,
    /// What has happened to the services, and who is told.
    pub monitor: Arc<Monitor>,
    /// How often each limit has refused: policy, name, place and whether it only would have.
    pub refusals: Box<dyn Fn() -> Vec<(Vec<String>, u64)> + Send + Sync>,
}

/// Explains the routes under a pattern.
pub type ExplainPattern = dyn Fn(&str) -> Vec<Explanation> + Send + Sync;

/// Finds the stores in which routes keep answers.
pub type FindBlobs = dyn Fn() -> Arc<[Arc<dyn Blobs>]> + Send + Sync;

/// Hands the counters to whoever wants to read them, and hands back what was read.
pub type ReadCounters = dyn Fn(&dyn Fn(&Memory) -> Value) -> Option<Value> + Send + Sync;

/// A served certificate.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The listener that serves it.
    pub listener: String,
    /// The file that it is read from.
    pub file: PathBuf,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// When it begins, in seconds since 1970.
    pub not_before: i64,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
}

fn pages(handles: Arc<Handles>) -> Router {
    operations::routes()
        .route("/admin/login", get(session::page).post(session::log_in))
        .route("/admin/logout", post(session::log_out))
        .merge(dashboard::pages())
        .fallback(operations::nothing)
        .method_not_allowed_fallback(operations::not_this_method)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&handles), guard::admit))
        .with_state(handles)
}
