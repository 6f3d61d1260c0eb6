//! The straight line: from a request to its answer, through route, policies and target.
//!
//! `serve.rs` is the whole journey on one page; every other file is one of its steps. Nothing
//! here knows a codec, an admin page or a plugin by name.

mod access;
mod build;
mod explain;
mod fields;
mod find;
mod forward;
mod panics;
mod pipeline;
mod receive;
mod reply;
mod rewrite;
pub mod route;
mod serve;
mod snapshot;
mod target;
mod tunnel;
mod worker;

pub use build::{BuildError, Builder, refusals, router};
pub use explain::{Asked, Explanation};
pub use serve::Proxy;
pub use snapshot::Snapshot;
pub use worker::{Shared, Worker};
