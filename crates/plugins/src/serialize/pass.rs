//! The way of a request through its turn: the wait for it, the number that goes upstream, and the
//! end of it. The answer of a request whose turn was over is never passed on as if nothing were.

use std::iter::once;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use lockgate_core::{
    Body, Build, Counter, Exchange, Fault, Figure, Key, Lease, Leases, Over, Policy, Step,
    StoreError, Turn, Verdict, Wanted, reasons,
};
use tokio::time::Instant;

use super::body::{UntilEnd, Watch};
use super::key::digest;
use super::{
    BUSY, EXPIRED, HELD, LOSSES, LOST, OnLost, QUEUE_FULL, REFUSED, STORE_ERRORS, TURNS, Until,
    WAITING,
};
use crate::counted::OnStoreError;
use crate::fields;

const LOCKGATE_LEASE: HeaderName = HeaderName::from_static("lockgate-lease");

/// One request at a time for each value of a key.
pub(super) struct OneAtATime {
    /// What the keys of this place, or of all that share its name, begin with.
    pub(super) place: Box<str>,
    pub(super) by: Key,
    /// `None`: all of them.
    pub(super) methods: Option<Box<[Method]>>,
    pub(super) wait: Duration,
    pub(super) hold: Duration,
    pub(super) ttl: Duration,
    pub(super) queue: usize,
    pub(super) leases: Arc<dyn Leases>,
    /// Where turns are kept when the store does not answer, if anywhere.
    pub(super) instead: Option<Arc<dyn Leases>>,
    pub(super) on_store_error: OnStoreError,
    pub(super) until: Until,
    pub(super) header: HeaderName,
    pub(super) busy: StatusCode,
    pub(super) retry_after: Duration,
    pub(super) on_lost: OnLost,
    pub(super) told: Box<str>,
    pub(super) figures: Figures,
    pub(super) counts: Counts,
}

/// What is kept of a request whose turn it is.
pub(super) struct Held {
    pub(super) lease: Lease,
    _one: One,
    /// Not by the store, which did not answer: other gateways know nothing of it.
    local: bool,
}

/// What is kept of a request that passes without a turn, as the store did not answer.
struct Without;

impl OneAtATime {
    /// What came of asking a store, the first or the one instead of it.
    async fn decide(
        &self,
        exchange: &mut Exchange,
        asked: Result<Turn, StoreError>,
    ) -> Result<Verdict, Fault> {
        let error = match asked {
            Ok(turn) => return self.taken(exchange, turn, false),
            Err(error) => error,
        };
        exchange.note(|| format!("serialize: {error}"));
        self.counts.store_errors.add(exchange.connection.worker, 1);
        match (self.on_store_error, &self.instead) {
            (OnStoreError::Local, Some(instead)) => {
                let wanted = self.wanted(self.digest(exchange)?, exchange);
                let turn = match instead.acquire(wanted) {
                    Step::Now(turn) => turn,
                    Step::Later(turn) => turn.await,
                };
                match turn {
                    Ok(turn) => {
                        exchange.note(|| "serialize: a turn of this gateway alone".to_owned());
                        self.taken(exchange, turn, true)
                    }
                    Err(error) => Err(self.no_store(error)),
                }
            }
            (OnStoreError::Allow, _) => {
                exchange.note(|| "serialize: passes without a turn".to_owned());
                exchange.kept.put(self, Without);
                Ok(Verdict::Pass)
            }
            _ => Err(self.no_store(error)),
        }
    }

    fn taken(&self, exchange: &mut Exchange, turn: Turn, local: bool) -> Result<Verdict, Fault> {
        let worker = exchange.connection.worker;
        let lease = match turn {
            Turn::Held(lease) => lease,
            Turn::Busy => return Err(self.refusal(Fault::client(&BUSY), worker)),
            Turn::Full => return Err(self.refusal(Fault::client(&QUEUE_FULL), worker)),
        };
        self.counts.turns.add(worker, 1);
        let number = HeaderValue::from(lease.fence());
        exchange.head.headers.insert(self.header.clone(), number);
        if self.on_lost == OnLost::Fail {
            let over = lease.until_over();
            exchange.kept.cut_by(Box::pin(async move { fault(over.await) }));
        }
        exchange.kept.put(self, Held { lease, _one: One::of(&self.figures.held), local });
        Ok(Verdict::Pass)
    }

    fn digest(&self, exchange: &Exchange) -> Result<[u8; 32], Fault> {
        digest(&self.place, &self.by, exchange)
    }

    fn wanted(&self, key: [u8; 32], exchange: &Exchange) -> Wanted {
        // Who waits longer than the request may take is refused as late by its target.
        let left = |end: Instant| end.saturating_duration_since(Instant::now());
        let wait = exchange.deadline.map_or(self.wait, |end| self.wait.min(left(end)));
        Wanted { key, wait, hold: self.hold, ttl: self.ttl, queue: self.queue }
    }

    fn refusal(&self, fault: Fault, worker: usize) -> Fault {
        self.counts.refused.add(worker, 1);
        fault.answered_with(self.busy).retry_after(self.retry_after)
    }

    fn no_store(&self, error: StoreError) -> Fault {
        Fault::gateway(&reasons::STORE_UNAVAILABLE).source(error).retry_after(self.retry_after)
    }
}

/// What comes of a request whose turn is over.
pub(super) fn fault(over: Over) -> Fault {
    match over {
        Over::Expired => Fault::upstream(&EXPIRED).detail("it took longer than `serialize.hold`"),
        _ => Fault::gateway(&LOST).detail("another may have had its turn meanwhile"),
    }
}

impl Policy for OneAtATime {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        fields::remove_spellings(&mut exchange.head.headers, once(&self.header));
        let method = &exchange.head.method;
        if self.methods.as_ref().is_some_and(|methods| !methods.contains(method)) {
            return Step::Now(Ok(Verdict::Pass));
        }
        let key = match self.digest(exchange) {
            Ok(key) => key,
            Err(fault) => return Step::Now(Err(fault)),
        };
        match self.leases.acquire(self.wanted(key, exchange)) {
            Step::Now(Ok(turn)) => Step::Now(self.taken(exchange, turn, false)),
            Step::Now(error) => Step::Later(Box::pin(self.decide(exchange, error))),
            Step::Later(turn) => Step::Later(Box::pin(async move {
                let waiting = One::of(&self.figures.waiting);
                let turn = turn.await;
                drop(waiting);
                self.decide(exchange, turn).await
            })),
        }
    }

    fn response<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        response: &'a mut Response<Body>,
    ) -> Step<'a, Result<(), Fault>> {
        // An upstream's word for it is not the gateway's.
        response.headers_mut().remove(&self.header);
        response.headers_mut().remove(LOCKGATE_LEASE);
        let Some(held) = exchange.kept.take::<_, Held>(self) else {
            if exchange.kept.take::<_, Without>(self).is_some() {
                response.headers_mut().insert(LOCKGATE_LEASE, HeaderValue::from_static("none"));
            }
            return Step::Now(Ok(()));
        };
        let worker = exchange.connection.worker;
        if let Some(over) = held.lease.over() {
            self.counts.lost(over, worker);
            drop(held);
            if exchange.fault.is_some() {
                return Step::Now(Ok(()));
            }
            if self.on_lost == OnLost::Fail {
                return Step::Now(Err(fault(over)));
            }
            response.headers_mut().insert(LOCKGATE_LEASE, HeaderValue::from_static("lost"));
            // For the log; and so that no cache keeps the answer.
            exchange.fault = Some(fault(over));
            return Step::Now(Ok(()));
        }
        if held.local {
            response.headers_mut().insert(LOCKGATE_LEASE, HeaderValue::from_static("local"));
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            exchange.kept.put(self, held);
            return Step::Now(Ok(()));
        }
        let streams = matches!(response.body(), Body::Stream(_)) && !response.body().is_empty();
        if self.until == Until::Body && streams {
            let body = std::mem::take(response.body_mut());
            let fails = self.on_lost == OnLost::Fail;
            let watch = Watch { fails, counts: self.counts.clone(), worker };
            *response.body_mut() = Body::stream(UntilEnd::new(body, held, watch));
        }
        Step::Now(Ok(()))
    }

    fn describe(&self) -> String {
        self.told.to_string()
    }
}

/// What is counted.
#[derive(Clone)]
pub(super) struct Counts {
    turns: Arc<Counter>,
    refused: Arc<Counter>,
    lost: Arc<Counter>,
    expired: Arc<Counter>,
    store_errors: Arc<Counter>,
}

impl Counts {
    pub(super) fn new(build: &Build<'_>, on_store_error: OnStoreError) -> Self {
        let (place, went) = (&*build.place, on_store_error.word());
        Self {
            turns: build.counter(&TURNS, &[place]),
            refused: build.counter(&REFUSED, &[place]),
            lost: build.counter(&LOSSES, &[place, "lost"]),
            expired: build.counter(&LOSSES, &[place, "expired"]),
            store_errors: build.counter(&STORE_ERRORS, &[place, went]),
        }
    }

    pub(super) fn lost(&self, over: Over, worker: usize) {
        let counter = if over == Over::Expired { &self.expired } else { &self.lost };
        counter.add(worker, 1);
    }
}

/// Who has a turn and who waits for one.
pub(super) struct Figures {
    held: Arc<AtomicU64>,
    waiting: Arc<AtomicU64>,
    _shown: [Arc<dyn Figure>; 2],
}

impl Figures {
    pub(super) fn new(build: &Build<'_>) -> Self {
        let place = &*build.place;
        let number =
            |what: &str| build.shared(&format!("{place} {what}"), Arc::<AtomicU64>::default);
        let (held, waiting) = (number("held"), number("waiting"));
        let shown = [(&HELD, &held), (&WAITING, &waiting)].map(|(metric, number)| {
            let number = Arc::clone(number);
            let figure: Arc<dyn Figure> = Arc::new(move || number.load(Relaxed));
            build.expose(metric, &[place], &figure);
            figure
        });
        Self { held, waiting, _shown: shown }
    }
}

/// One of those that are counted now.
struct One(Arc<AtomicU64>);

impl One {
    fn of(all: &Arc<AtomicU64>) -> Self {
        all.fetch_add(1, Relaxed);
        Self(Arc::clone(all))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
