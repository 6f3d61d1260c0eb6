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
        let said = crate::receive::look(&headers, &crate::reserved::Reserved::none()).said;
        crate::traced::begin(&mut headers, &said, None, tokio::time::Instant::now());
        headers
    }
}

/// What only benchmarks need: steps of the line by themselves.
#[doc(hidden)]
pub mod bench {
    use http::{HeaderMap, HeaderValue};
    use lockgate_core::Spans;
    use lockgate_telemetry::Traces;
    use tokio::time::Instant;

    /// The beginning of a request's spans, by the lines of its head that may name its parent.
    pub fn begin_spans<'l>(
        headers: &mut HeaderMap,
        parents: impl IntoIterator<Item = &'l HeaderValue>,
        traces: &Traces,
        now: Instant,
    ) -> Spans {
        let mut said = crate::traced::Said::default();
        parents.into_iter().for_each(|line| said.parent(line));
        crate::traced::begin(headers, &said, Some(traces), now)
    }
}
