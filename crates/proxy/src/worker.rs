//! What one worker thread owns: its view of the current snapshot, its connections to upstreams,
//! its part of the metrics and of the log.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use lockgate_telemetry::{
    AccessLog, Failures, Metrics, Told, Traces, WorkerFailures, WorkerLog, WorkerSeries,
    WorkerTraces,
};
use lockgate_upstream::Caller;
use tokio::time::Instant;

use crate::snapshot::Snapshot;

/// What all workers share: the snapshot in force.
pub struct Shared {
    generation: AtomicU64,
    snapshot: ArcSwap<Snapshot>,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// The last requests that were refused or failed.
    pub failures: Arc<Failures>,
}

impl Shared {
    /// Starts with a first snapshot.
    pub fn new(first: Snapshot, metrics: Arc<Metrics>) -> Self {
        let generation = AtomicU64::new(first.generation);
        let failures = Arc::default();
        Self { generation, snapshot: ArcSwap::from_pointee(first), metrics, failures }
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Puts a snapshot in force. Requests under way keep the one they began with.
    pub fn replace(&self, next: Snapshot) {
        let generation = next.generation;
        self.snapshot.store(Arc::new(next));
        self.generation.store(generation, Ordering::Release);
    }
}

/// One snapshot as a worker holds it: cloned for every request without touching memory that other
/// workers write.
pub(crate) type Current = Rc<Arc<Snapshot>>;

/// One worker's own state.
pub struct Worker {
    /// Its number, from 0.
    pub index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) caller: Caller,
    /// Requests of its own that are under way.
    pub(crate) behind: Rc<Cell<usize>>,
    /// Requests that are being brought to their end, whatever becomes of their clients.
    pub(crate) to_end: Rc<Cell<usize>>,
    /// Those among them whose clients have gone.
    pub(crate) forsaken: Rc<Cell<usize>>,
    /// Its load, in the metrics.
    pub series: Arc<WorkerSeries>,
    pub(crate) failures: WorkerFailures,
    seen: Cell<u64>,
    current: RefCell<Current>,
    log: RefCell<Option<(Arc<AccessLog>, WorkerLog)>>,
    traces: RefCell<Option<(Arc<Traces>, WorkerTraces)>>,
    /// What the two clocks said at the same time, at the last tick.
    clocks: Cell<(Instant, SystemTime)>,
}

impl Worker {
    /// The state of worker `index`.
    pub fn new(index: usize, shared: Arc<Shared>, caller: Caller) -> Self {
        let snapshot = shared.snapshot();
        let log = open(snapshot.log.as_ref(), index);
        Self {
            index,
            caller,
            behind: Rc::default(),
            to_end: Rc::default(),
            forsaken: Rc::default(),
            series: shared.metrics.worker(index),
            failures: shared.failures.worker(),
            seen: Cell::new(snapshot.generation),
            traces: RefCell::new(gather(snapshot.traces.as_ref())),
            current: RefCell::new(Rc::new(snapshot)),
            log: RefCell::new(log),
            clocks: Cell::new((Instant::now(), SystemTime::now())),
            shared,
        }
    }

    /// The snapshot in force.
    pub(crate) fn snapshot(&self) -> Current {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation != self.seen.get() {
            self.refresh();
        }
        Rc::clone(&self.current.borrow())
    }

    fn refresh(&self) {
        let snapshot = self.shared.snapshot();
        self.seen.set(snapshot.generation);
        let mut log = self.log.borrow_mut();
        if !is_same(log.as_ref(), snapshot.log.as_ref()) {
            *log = open(snapshot.log.as_ref(), self.index);
        }
        let mut traces = self.traces.borrow_mut();
        if !is_same(traces.as_ref(), snapshot.traces.as_ref()) {
            *traces = gather(snapshot.traces.as_ref());
        }
        *self.current.borrow_mut() = Rc::new(snapshot);
    }

    /// The time of day at a moment not far away, without another look at that clock.
    pub(crate) fn time_of_day(&self, at: Instant) -> SystemTime {
        let (then, time) = self.clocks.get();
        let moment = match at.checked_duration_since(then) {
            Some(since) => time.checked_add(since),
            None => time.checked_sub(then.saturating_duration_since(at)),
        };
        moment.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Writes a line to the access log, when there is one.
    pub(crate) fn log(&self, write: impl FnOnce(&WorkerLog)) {
        if let Some((_, log)) = &*self.log.borrow() {
            write(log);
        }
    }

    /// Has a request's spans told, when traces are on.
    pub(crate) fn tell(&self, told: &Told<'_>) {
        if let Some((_, traces)) = &*self.traces.borrow() {
            traces.tell(told);
        }
    }

    /// Has told what a request's span has below it, when traces are on.
    pub(crate) fn tell_below(&self, told: &Told<'_>) {
        if let Some((_, traces)) = &*self.traces.borrow() {
            traces.tell_below(told);
        }
    }

    /// Whether requests are being brought to their end that no connection need be waiting for.
    pub fn is_unfinished(&self) -> bool {
        self.to_end.get() > 0
    }

    /// To be called a few times a second: hands on what waits of the log and of the failures, drops
    /// what has aged, and lets go of a replaced snapshot even while no request comes. `open` client
    /// connections are this worker's.
    pub fn tick(&self, open: usize) {
        self.series.set_connections(open);
        self.clocks.set((Instant::now(), SystemTime::now()));
        if self.shared.generation.load(Ordering::Acquire) != self.seen.get() {
            self.refresh();
        }
        self.log(WorkerLog::flush);
        if let Some((_, traces)) = &*self.traces.borrow() {
            traces.tick();
        }
        self.failures.flush();
        self.caller.sweep();
    }
}

fn open(log: Option<&Arc<AccessLog>>, index: usize) -> Option<(Arc<AccessLog>, WorkerLog)> {
    log.map(|log| (Arc::clone(log), log.worker(index)))
}

fn gather(traces: Option<&Arc<Traces>>) -> Option<(Arc<Traces>, WorkerTraces)> {
    traces.map(|traces| (Arc::clone(traces), traces.worker()))
}

/// Whether what a worker has is still what is in force.
fn is_same<T, W>(old: Option<&(Arc<T>, W)>, new: Option<&Arc<T>>) -> bool {
    match (old, new) {
        (Some((old, _)), Some(new)) => Arc::ptr_eq(old, new),
        (None, None) => true,
        _ => false,
    }
}
