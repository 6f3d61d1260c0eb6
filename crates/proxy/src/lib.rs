//! The straight line: from a request to its answer, through route, policies and target.
//!
//! `serve.rs` is the whole journey on one page; every other file is one of its steps. Nothing
//! here knows a codec, an admin page or a plugin by name.

mod access;
mod behind;
mod build;
mod deadline;
mod explain;
mod fields;
mod find;
mod forward;
mod mount;
mod panics;
mod pipeline;
mod plans;
mod receive;
mod reply;
mod reserved;
mod rewrite;
pub mod route;
mod serve;
mod snapshot;
mod target;
mod to_end;
mod traced;
mod trailers;
mod tunnel;
mod view;
mod worker;

pub use build::{BuildError, Builder, refusals, router};
pub use explain::{Asked, Explanation, percent_encoded};
pub use serve::Proxy;
pub use snapshot::Snapshot;
pub use view::RouteView;
pub use worker::{Shared, Worker};

/// What only fuzz targets need: one step of the line, without a socket.
#[doc(hidden)]
pub mod fuzz {
    /// A request's headers as they leave [`receive`](crate), before anything is stated.
    pub fn rewrite_headers(mut headers: http::HeaderMap, trusted: bool) -> http::HeaderMap {
        crate::fields::strip_stated(&mut headers, trusted, &crate::reserved::Reserved::none());
        crate::fields::strip_hop_by_hop(&mut headers);
        headers
    }

    /// A request's headers without what is malformed of its trace context.
    pub fn clean_context(mut headers: http::HeaderMap) -> http::HeaderMap {
        crate::traced::begin(&mut headers, true, None, tokio::time::Instant::now());
        headers
    }
}
