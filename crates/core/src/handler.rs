//! Handlers end a route: they make the answer instead of passing the request on.

use http::Response;

use crate::{Body, Exchange, Fault, Step};

/// What a route's `to` may name besides an upstream: `respond`, `redirect` and the like.
pub trait Handler: Send + Sync {
    /// Answers the request.
    fn handle<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Response<Body>, Fault>>;

    /// What `lockgate explain` prints of it: one line, no secrets.
    fn describe(&self) -> String;
}
