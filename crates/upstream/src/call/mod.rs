//! Calling an upstream: one attempt after another, over pooled connections.
//!
//! `attempt.rs` is the loop; the other files are what one turn of it needs.

mod attempt;
mod cargo;
mod connect;
mod held;
mod pool;

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, Response};
use lockgate_config::model::{HostHeader, Retry};
use lockgate_core::{Body, Duplex, Exchange, Lines, Spans};
use lockgate_net::h1::Beside;
use tokio::time::Instant;

pub(crate) use connect::is_our_own;
pub use held::Hold;
use pool::Pool;

use crate::endpoint::Endpoint;
use crate::upstream::Upstream;

/// The rules of one call.
pub struct Plan<'r> {
    /// When and how often the request is sent again.
    pub retry: &'r Retry,
    /// Which Host the endpoint sees: [`HostHeader::Keep`] where the route has set it.
    pub host: HostHeader,
    /// What an endpoint that speaks HTTP/1.1 is told beside the head's own fields. When there is
    /// anything, all endpoints do, and of the trace they are told in the same way.
    pub stated: Lines,
}

impl Plan<'_> {
    fn beside(&self, exchange: &Exchange) -> Beside<'_> {
        let spans = (!self.stated.is_empty()).then_some(&exchange.spans);
        Beside { lines: &self.stated, trace: spans.and_then(Spans::line) }
    }
}

/// An upstream's answer.
pub struct Answer {
    /// The head, and the body still streaming.
    pub response: Box<Response<Body>>,
    /// What the client is to be told with it so that it comes back to the same endpoint: a
    /// `Set-Cookie` for this client alone.
    pub cookie: Option<HeaderValue>,
    /// The endpoint's side of a protocol switch.
    pub upgraded: Option<Upgraded>,
}

/// The endpoint's side of a protocol switch.
pub struct Upgraded {
    /// Its byte stream.
    pub io: Box<dyn Duplex>,
    /// Keeps the request counted as in flight while the tunnel lasts.
    pub hold: Hold,
}

/// One worker's way to the upstreams: its idle connections.
#[derive(Default)]
pub struct Caller {
    pools: RefCell<HashMap<u64, Rc<Pool>, BuildHasherDefault<Spread>>>,
}

/// An endpoint's id is a hash already: hashing it once more would be for nothing.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = self.0.rotate_left(8) ^ id;
    }
}

impl Caller {
    /// A caller without connections.
    pub fn new() -> Self {
        Self::default()
    }

    /// To be called now and then: closes what has been idle for too long, and all that is kept
    /// for endpoints that are gone.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.pools.borrow_mut().retain(|_, pool| pool.sweep(now));
    }

    /// The pool of an endpoint. An upstream whose settings have changed gets a new one; the old
    /// one's connections close as they come back.
    fn pool(&self, upstream: &Arc<Upstream>, endpoint: &Arc<Endpoint>) -> Rc<Pool> {
        let id = endpoint.id();
        if let Some(pool) = self.pools.borrow().get(&id)
            && pool.serves(upstream)
        {
            return Rc::clone(pool);
        }
        let pool = Rc::new(Pool::new(Arc::clone(upstream), Arc::clone(endpoint)));
        self.pools.borrow_mut().insert(id, Rc::clone(&pool));
        pool
    }
}
