//! The services behind: which endpoints an upstream has, which of them may be used, which one is
//! next, and what is learned from every answer.
//!
//! What is hot ([`Upstream::pick`], [`Picked`]) is lock-free and shared by all workers; what is
//! slow (probes, DNS) runs where the [`Spawn`] of the [`Registry`] puts it, never on a worker.

mod balance;
mod breaker;
mod budget;
mod call;
mod discover;
mod endpoint;
mod health;
mod known;
mod latency;
mod origins;
mod outlier;
mod picked;
mod queue;
mod registry;
mod set;
mod sticky;
mod task;
#[cfg(test)]
mod testing;
mod upstream;
mod view;
mod window;

pub use breaker::{Breaker, Permit, Phase};
pub use budget::Budget;
pub use call::{Answer, Caller, Hold, Plan, Upgraded};
pub use discover::Resolver;
pub use endpoint::{Endpoint, Health, Out, Override};
pub use health::ProbeFailure;
pub use known::Known;
pub use origins::{Origin, Origins};
pub use picked::{Ending, Failure, Picked};
pub use registry::{Prepared, Registry, Upstreams};
pub use set::EndpointSet;
pub use task::Spawn;
pub use upstream::{Ordered, Upstream};
pub use view::{BreakerView, EndpointView, Probed, UpstreamView};
