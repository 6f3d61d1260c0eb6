//! What has happened to the services, and who is told: the history of every upstream and endpoint,
//! and alerts. It looks and tells on the control runtime; nothing on the request path knows of it,
//! and a disk or a receiver that fails costs the gateway nothing.

mod alerts;
mod collect;
mod figures;
mod history;
mod keeper;
mod moment;
mod monitor;
mod published;
mod sight;
mod tell;

pub use alerts::{AlertView, AlertsView, SinkView};
pub use history::line::Span;
pub use history::view::{EndpointUptime, KeptWhere, Past, Seconds, UpstreamUptime, WindowPast};
pub use monitor::{Monitor, Outfit};
pub use published::Published;
pub use sight::{Served, Sight, StoreSeen};
pub use tell::Spawn;

/// Milliseconds since 1970.
fn millis(time: std::time::SystemTime) -> u64 {
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
