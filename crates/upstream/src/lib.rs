//! The services behind: which endpoints an upstream has, which of them may be used, which one is
//! next, and what is learned from every answer.
//!
//! What is hot ([`Upstream::pick`], [`Picked`]) is lock-free and shared by all workers; what is
//! slow (probes, DNS) runs where the [`Spawn`] of the [`Registry`] puts it, never on a worker.

mod balance;
mod breaker;
mod budget;
mod discover;
mod endpoint;
mod health;
mod latency;
mod outlier;
mod picked;
mod registry;
mod set;
mod sticky;
mod task;
mod upstream;
mod view;
mod window;

pub use breaker::{Breaker, Permit, Phase};
pub use budget::Budget;
pub use discover::Resolver;
pub use endpoint::{Endpoint, Health, Out, Override};
pub use health::ProbeFailure;
pub use picked::{Ending, Failure, Picked};
pub use registry::{Registry, Upstreams};
pub use set::EndpointSet;
pub use task::Spawn;
pub use upstream::Upstream;
pub use view::{BreakerView, EndpointView, UpstreamView};

/// What only benches need: picking without a request.
#[doc(hidden)]
pub mod bench {
    pub use crate::balance::Position;
}
