//! One worker's connections to one endpoint: idle HTTP/1.1 ones, newest first, and HTTP/2 ones
//! that requests share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use lockgate_config::model;
use lockgate_core::{Fault, Resend, reasons};
use lockgate_net::h1::ClientConnection;
use lockgate_net::h2::Handle;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, timeout};

use super::connect::{Connected, Connector};
use super::held::{Counted, Line};
use crate::endpoint::Endpoint;
use crate::upstream::Upstream;

/// How long one worker may keep a multiplexed connection to itself while others wait for one.
const TURN: Duration = Duration::from_millis(100);

/// A connection that waits for its next request.
pub(super) struct Idle {
    pub(super) connection: ClientConnection,
    pub(super) since: Instant,
    pub(super) line: Line,
}

/// A connection for one attempt.
pub(super) enum Way {
    /// Its own.
    Http1 {
        connection: ClientConnection,
        line: Line,
        /// Whether it has carried a request before.
        used: bool,
    },
    /// One that others use too.
    Http2(Shared),
}

/// A multiplexed connection.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) handle: Handle,
    line: Rc<Line>,
}

/// One worker's connections to one endpoint.
pub(super) struct Pool {
    upstream: Arc<Upstream>,
    endpoint: Arc<Endpoint>,
    idle: RefCell<VecDeque<Idle>>,
    shared: RefCell<Vec<Shared>>,
    /// Requests of this worker that wait for a connection, and what wakes them when one is here.
    waiting: Cell<usize>,
    returned: Notify,
    connector: Connector,
    /// The endpoint has chosen HTTP/1.1 where it might have had HTTP/2.
    chose_http1: Cell<bool>,
    /// A connection is being made that requests may come to share, and what tells of its end.
    making: Cell<bool>,
    made: Notify,
    /// How many such connections could not be made.
    unmade: Cell<usize>,
}

impl Pool {
    pub(super) fn new(upstream: Arc<Upstream>, endpoint: Arc<Endpoint>) -> Self {
        Self {
            connector: Connector::new(Arc::clone(&upstream)),
            upstream,
            endpoint,
            idle: RefCell::default(),
            shared: RefCell::default(),
            waiting: Cell::new(0),
            returned: Notify::new(),
            chose_http1: Cell::new(false),
            making: Cell::new(false),
            made: Notify::new(),
            unmade: Cell::new(0),
        }
    }

    /// Whether its connections were made by the rules that hold now.
    pub(super) fn serves(&self, upstream: &Arc<Upstream>) -> bool {
        Arc::ptr_eq(&self.upstream, upstream)
    }

    /// A connection: an idle one, a shared one with room, or a new one. Waits for a place when
    /// the endpoint has as many as it may, no longer than `timeout.connect`.
    ///
    /// # Errors
    /// `endpoints_busy`, or why no connection could be made; always safe to resend.
    pub(super) async fn take(&self, upgrade: bool) -> Result<(Way, Duration), Fault> {
        if let Some(way) = self.at_hand(upgrade) {
            return Ok((way, Duration::ZERO));
        }
        let begun = Instant::now();
        let shares = self.connector.multiplexes(upgrade) && !self.chose_http1.get();
        if shares && let Some(way) = self.join(upgrade).await {
            return Ok((way, begun.elapsed()));
        }
        let making = shares.then(|| Making::begin(self));
        let most = self.upstream.settings().pool.max_connections;
        let counted = match Counted::claim(&self.endpoint, most) {
            Some(counted) => counted,
            None => match self.wait(upgrade, most).await? {
                Ok(counted) => counted,
                Err(way) => return Ok((way, begun.elapsed())),
            },
        };
        let line = Line { _counted: counted, born: Instant::now() };
        let connected = self.connector.connect(&self.endpoint, upgrade).await;
        if connected.is_err() && making.is_some() {
            self.unmade.set(self.unmade.get() + 1);
        }
        let way = match connected? {
            Connected::Http1(connection) => {
                self.chose_http1.set(shares || self.chose_http1.get());
                Way::Http1 { connection, line, used: false }
            }
            Connected::Http2(handle) => {
                let shared = Shared { handle, line: Rc::new(line) };
                self.shared.borrow_mut().push(shared.clone());
                self.returned.notify_waiters();
                Way::Http2(shared)
            }
        };
        Ok((way, begun.elapsed()))
    }

    /// Waits for the connection that another request is making, so that the first requests to an
    /// endpoint do not make one each. `None`: there is none to wait for, or it came to nothing that
    /// can be shared; each is then on its own, and fails no later than if it had been alone.
    async fn join(&self, upgrade: bool) -> Option<Way> {
        while self.making.get() {
            let unmade = self.unmade.get();
            self.made.notified().await;
            if let Some(way) = self.at_hand(upgrade) {
                return Some(way);
            }
            if self.chose_http1.get() || self.unmade.get() != unmade {
                break;
            }
        }
        None
    }

    /// The settings of the upstream that it serves.
    pub(super) fn settings(&self) -> &model::Upstream {
        self.upstream.settings()
    }

    /// An idle HTTP/1.1 connection, when that is what requests go over.
    pub(super) fn idle(&self, upgrade: bool, now: Instant) -> Option<(ClientConnection, Line)> {
        if self.connector.multiplexes(upgrade) && !self.chose_http1.get() {
            return None;
        }
        self.newest(now)
    }

    /// What can be used without waiting.
    fn at_hand(&self, upgrade: bool) -> Option<Way> {
        if self.connector.multiplexes(upgrade) {
            let mut shared = self.shared.borrow_mut();
            let limit = self.upstream.settings().pool.max_age.0;
            // What is too old ends when its last request does; sooner when another worker waits
            // for a connection and there can be no more.
            let limit = if self.is_wanted_elsewhere() { limit.min(TURN) } else { limit };
            shared.retain(|s| !s.handle.is_closed() && s.line.born.elapsed() < limit);
            if let Some(free) = shared.iter().find(|shared| shared.handle.is_ready()) {
                return Some(Way::Http2(free.clone()));
            }
        }
        let (connection, line) = self.newest(Instant::now())?;
        Some(Way::Http1 { connection, line, used: true })
    }

    /// Newest first, so that the others can grow old and be closed.
    fn newest(&self, now: Instant) -> Option<(ClientConnection, Line)> {
        loop {
            let Idle { mut connection, since, line } = self.idle.borrow_mut().pop_back()?;
            if self.is_fresh(since, line.born, now) && connection.is_live() {
                return Some((connection, line));
            }
        }
    }

    fn is_fresh(&self, since: Instant, born: Instant, now: Instant) -> bool {
        let settings = &self.upstream.settings().pool;
        now.saturating_duration_since(since) < settings.idle_timeout.0
            && now.saturating_duration_since(born) < settings.max_age.0
    }

    /// Waits for a place for a new connection, or for one that comes back.
    async fn wait(&self, upgrade: bool, most: usize) -> Result<Result<Counted, Way>, Fault> {
        let busy = || {
            Fault::gateway(&reasons::ENDPOINTS_BUSY)
                .resend(Resend::Safe)
                .detail(format!("{} has {most} connections, all in use", self.endpoint.label()))
        };
        let settings = self.upstream.settings();
        let waiting = self.endpoint.queue().join(settings.pool.max_pending).ok_or_else(busy)?;
        let _here = Here::join(&self.waiting);
        let look = || match self.at_hand(upgrade) {
            Some(way) => Some(Err(way)),
            None => Counted::claim(&self.endpoint, most).map(Ok),
        };
        let looking = waiting.until(&self.returned, look);
        timeout(settings.timeout.connect.0, looking).await.map_err(|_| busy())
    }

    /// Keeps a connection for the next request, unless there are enough, it is too old, or its
    /// place is for another worker.
    pub(super) fn put_back(&self, idle: Idle) {
        let settings = &self.upstream.settings().pool;
        let mut kept = self.idle.borrow_mut();
        let old = idle.since.saturating_duration_since(idle.line.born) >= settings.max_age.0;
        if old || self.endpoint.gone() || kept.len() >= settings.max_idle || self.is_scarce() {
            return;
        }
        kept.push_back(idle);
        if self.waiting.get() > 0 {
            self.returned.notify_one();
        }
    }

    fn is_wanted_elsewhere(&self) -> bool {
        let limited = self.upstream.settings().pool.max_connections > 0;
        limited && self.endpoint.queue().waiting() > self.waiting.get()
    }

    /// Whether a connection is rather closed than kept, as the endpoint has reached its limit:
    /// another worker may wait for the place, or come to. Of those that do wait, each is as
    /// likely to get it, wherever it is.
    fn is_scarce(&self) -> bool {
        let most = self.upstream.settings().pool.max_connections;
        let open = || self.endpoint.connections().load(std::sync::atomic::Ordering::Relaxed);
        if most == 0 || (open() as usize) < most {
            return false;
        }
        let here = self.waiting.get();
        let all = self.endpoint.queue().waiting().max(here);
        here == 0 || fastrand::usize(..all) >= here
    }

    /// Lets go of a shared connection that nobody here uses when another worker waits for one.
    pub(super) fn give_way(&self) {
        if self.is_wanted_elsewhere() {
            self.shared.borrow_mut().retain(|shared| shared.handle.in_flight() > 0);
        }
    }

    /// Closes what has been idle for too long; false when the whole pool may go.
    pub(super) fn sweep(&self, now: Instant) -> bool {
        self.give_way();
        let mut idle = self.idle.borrow_mut();
        let wanted = self.is_wanted_elsewhere() && self.waiting.get() == 0;
        if wanted || self.endpoint.gone() {
            idle.clear();
        }
        while idle.front().is_some_and(|i| !self.is_fresh(i.since, i.line.born, now)) {
            idle.pop_front();
        }
        // A shared connection ends with its last handle: dropped here once nobody uses it.
        let limit = self.upstream.settings().pool.idle_timeout.0;
        self.shared.borrow_mut().retain(|shared| {
            let unused = shared.handle.in_flight() == 0;
            let old = now.saturating_duration_since(shared.line.born) >= limit;
            !shared.handle.is_closed() && !(unused && (old || self.endpoint.gone()))
        });
        !(self.endpoint.gone() && idle.is_empty() && self.shared.borrow().is_empty())
    }
}

/// Tells of a connection that is being made, until it is here or has failed, or nobody waits for it
/// any more.
struct Making<'p>(Option<&'p Pool>);

impl<'p> Making<'p> {
    /// Tells of it, unless of another one already.
    fn begin(pool: &'p Pool) -> Self {
        Self((!pool.making.replace(true)).then_some(pool))
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if let Some(pool) = self.0 {
            pool.making.set(false);
            pool.made.notify_waiters();
        }
    }
}

/// Counts a request of this worker that waits.
struct Here<'p>(&'p Cell<usize>);

impl<'p> Here<'p> {
    fn join(waiting: &'p Cell<usize>) -> Self {
        waiting.set(waiting.get() + 1);
        Self(waiting)
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
