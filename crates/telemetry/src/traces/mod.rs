//! Traces: which requests are told, and how their spans come to the collector. A worker writes
//! them, as OTLP has them, into a buffer of its own; a bounded queue carries full buffers to the
//! exporter on the control runtime. What finds the queue full stays with the worker for as long as
//! its buffer has room; beyond that it is lost and counted: no worker waits.

mod export;
mod sampler;
mod spans;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use lockgate_config::model::{self, Collector, Context};
use lockgate_core::span::{self, Fate, Parent};
use lockgate_core::{Blame, Outbound, Spans};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::metrics::{Collect, Encoder, names};
use crate::otlp::{Counts, Sender};
use export::{Batch, Job};
use sampler::Sampler;

pub use spans::Told;

/// A buffer of this size is handed over at once.
const HAND_OVER: usize = 64 * 1024;
/// A smaller one, on the first tick after its oldest span has waited this long.
const LINGER: Duration = Duration::from_secs(1);
/// Most that a worker keeps while the queue is full.
const MOST_KEPT: usize = 256 * 1024;
/// Buffers on their way to the exporter.
const QUEUE: usize = 64;

/// What became of spans, for the life of the process.
#[derive(Debug, Default)]
pub struct TraceCounts(Counts);

impl Collect for TraceCounts {
    fn collect(&self, out: &mut Encoder) {
        let Counts { sent, dropped, rejected, failures } = &self.0;
        for (result, count) in [("sent", sent), ("dropped", dropped), ("rejected", rejected)] {
            out.count(&names::TRACE_SPANS, &[result], count.load(Relaxed));
        }
        out.count(&names::OTLP_FAILURES, &["traces"], failures.load(Relaxed));
    }
}

/// The traces of a configuration.
pub struct Traces {
    sampler: Sampler,
    read: Box<[Context]>,
    queue: mpsc::Sender<Job>,
    counts: Arc<TraceCounts>,
}

impl Traces {
    /// Traces for a collector; `ca` is the text of its `ca`. The future sends what workers hand
    /// over, and ends when nobody can hand over any more. It must not run on a worker.
    pub fn new(
        settings: &model::Traces,
        collector: Collector,
        ca: Option<Bytes>,
        outbound: Arc<dyn Outbound>,
        counts: Arc<TraceCounts>,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + use<>) {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let sender = Sender::new(outbound, collector, ca);
        let work = export::run(jobs, sender, Arc::clone(&counts));
        let sampler = Sampler::new(&settings.sample);
        let read = settings.read.clone().into();
        (Arc::new(Self { sampler, read, queue, counts }), work)
    }

    /// Begins a request's spans: below its parent's, in whichever header that is named, or in a
    /// new trace. `parent` is what a valid `traceparent` says: it passes as it came where nothing
    /// of the request can be told and it asks for nothing.
    pub fn begin(&self, parent: Option<Parent>, headers: &HeaderMap, now: Instant) -> Spans {
        let Some(parent) = parent else {
            if self.read.is_empty() {
                return Spans::own(None, |trace| self.sampler.fate(trace, None, now));
            }
            let (parent, said) = self.foreign(headers).unwrap_or_default();
            return Spans::own(parent, |trace| self.sampler.fate(trace, said, now));
        };
        match self.sampler.fate(parent.trace, Some(parent.flags), now) {
            Fate::Unkept if parent.flags & span::SAMPLED == 0 => Spans::passing(parent),
            fate => Spans::own(Some(parent), |_| fate),
        }
    }

    /// What other headers say: the parent, and flags that decide.
    fn foreign(&self, headers: &HeaderMap) -> Option<(Option<Parent>, Option<u8>)> {
        self.read.iter().find_map(|context| match context {
            Context::B3 => span::b3(headers),
            Context::Jaeger => {
                span::jaeger(headers).map(|parent| (Some(parent), Some(parent.flags)))
            }
        })
    }

    /// Whether a request's spans are told, now that its end is known.
    pub fn is_told(
        &self,
        spans: &Spans,
        status: u16,
        blame: Option<Blame>,
        took: Duration,
        ended: Instant,
    ) -> bool {
        match spans.fate() {
            Fate::Sampled => true,
            Fate::IfNotable => self.sampler.is_notable(status, blame, took, ended),
            Fate::Unkept => false,
        }
    }

    /// The buffer of one worker.
    pub fn worker(self: &Arc<Self>) -> WorkerTraces {
        WorkerTraces { traces: Arc::clone(self), batch: RefCell::default() }
    }

    /// Has what was handed over so far sent to the collector: waits for that, but not for long.
    pub async fn flush(&self, most: Duration) {
        let (told, done) = oneshot::channel();
        let flushed = async {
            if self.queue.send(Job::Flush(told)).await.is_ok() {
                let _ = done.await;
            }
        };
        let _ = timeout(most, flushed).await;
    }
}

/// One worker's spans that have not been handed over. Dropping it hands them over.
pub struct WorkerTraces {
    traces: Arc<Traces>,
    batch: RefCell<Batch>,
}

impl WorkerTraces {
    /// Takes down a request's spans.
    pub fn tell(&self, told: &Told<'_>) {
        self.take_down(told, Told::push);
    }

    /// Takes down what a request's span has below it, when that itself has been told.
    pub fn tell_below(&self, told: &Told<'_>) {
        self.take_down(told, Told::push_below);
    }

    fn take_down<'a>(&self, told: &Told<'a>, push: fn(&Told<'a>, &mut Vec<u8>) -> u64) {
        let mut batch = self.batch.borrow_mut();
        let length = batch.bytes.len();
        let spans = push(told, &mut batch.bytes);
        if batch.bytes.len() > MOST_KEPT {
            batch.bytes.truncate(length);
            self.lost(spans);
        } else {
            batch.spans += spans;
            batch.since.get_or_insert(told.ended);
        }
        if batch.bytes.len() >= HAND_OVER {
            self.hand_over(&mut batch);
        }
    }

    /// Hands over what has waited long enough. The worker calls it a few times a second.
    pub fn tick(&self) {
        let mut batch = self.batch.borrow_mut();
        let is_due = |since: Instant| since.elapsed() >= LINGER;
        if batch.bytes.len() >= HAND_OVER || batch.since.is_some_and(is_due) {
            self.hand_over(&mut batch);
        }
    }

    fn hand_over(&self, batch: &mut Batch) {
        if batch.spans == 0 {
            return;
        }
        match self.traces.queue.try_send(Job::Tell(std::mem::take(batch))) {
            Err(TrySendError::Full(Job::Tell(back))) => *batch = back,
            Err(TrySendError::Closed(Job::Tell(back))) => self.lost(back.spans),
            Ok(()) | Err(_) => {}
        }
    }

    fn lost(&self, spans: u64) {
        self.traces.counts.0.dropped.fetch_add(spans, Relaxed);
    }
}

impl Drop for WorkerTraces {
    fn drop(&mut self) {
        let mut batch = self.batch.take();
        self.hand_over(&mut batch);
        self.lost(batch.spans);
    }
}
