//! A request's place with its endpoint, from the pick to the last byte of the answer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use lockgate_net::h1::{ClientConnection, Reuse};
use tokio::time::Instant;

use super::pool::{Idle, Pool};
use crate::endpoint::Endpoint;
use crate::picked::{Ending, Failure, Picked};

/// Counts one open connection to an endpoint, from before it is made to after it is closed.
pub(super) struct Counted(Arc<Endpoint>);

impl Counted {
    /// Takes a place; `None` when there are `most` already (0: no limit).
    pub(super) fn claim(endpoint: &Arc<Endpoint>, most: usize) -> Option<Self> {
        let more = |open: u32| (most == 0 || (open as usize) < most).then_some(open + 1);
        endpoint.connections().fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Self(Arc::clone(endpoint)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections().fetch_sub(1, Relaxed);
        self.0.queue().wake();
    }
}

/// One attempt's hold on its endpoint and its connection. The codec keeps it until the answer's
/// body has ended, and gives the connection back through it.
pub(super) struct Call {
    pub(super) pool: Rc<Pool>,
    pub(super) picked: RefCell<Picked>,
    /// The connection's own count and age, while it is in use; none on a shared connection.
    pub(super) line: Cell<Option<Line>>,
    /// When the connection came back, which spares reading the clock again just after.
    pub(super) returned: Cell<Option<Instant>>,
}

/// What is known of a connection besides its bytes.
pub(super) struct Line {
    pub(super) _counted: Counted,
    pub(super) born: Instant,
}

impl Call {
    pub(super) fn new(pool: Rc<Pool>, picked: Picked) -> Self {
        let (line, returned) = (Cell::new(None), Cell::new(None));
        Self { pool, picked: RefCell::new(picked), line, returned }
    }

    pub(super) fn done(&self, ending: Ending) {
        self.picked.borrow_mut().done(ending);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.pool.give_way();
    }
}

impl Reuse for Call {
    fn put_back(&self, connection: ClientConnection) {
        if let Some(line) = self.line.take() {
            let since = Instant::now();
            self.returned.set(Some(since));
            self.pool.put_back(Idle { connection, since, line });
        }
    }

    fn ended(&self) {
        self.picked.borrow_mut().ended();
    }

    fn broke_off(&self) {
        self.done(Ending::Failed { kind: Failure::Broken });
    }
}

/// Keeps a request counted as in flight; opaque to whoever runs the tunnel.
pub struct Hold(#[expect(dead_code, reason = "held, not read")] pub(super) Rc<Call>);
