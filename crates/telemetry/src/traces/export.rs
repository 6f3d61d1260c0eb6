//! The exporter: gathers what workers hand over for a moment, and sends it to the collector in one
//! request, one after another.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::TraceCounts;
use crate::otlp::{self, Sender};

/// How long is waited for more before a request goes.
const GATHER: Duration = Duration::from_secs(1);
/// A request that has so much goes at once.
const ENOUGH: usize = 512 * 1024;

/// Spans as fields of a `ScopeSpans`.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) spans: u64,
    /// The end of the first request in it.
    pub(super) since: Option<Instant>,
}

/// What the exporter is given.
pub(super) enum Job {
    /// Spans to send.
    Tell(Batch),
    /// To be told once everything before it has been sent or given up.
    Flush(oneshot::Sender<()>),
}

pub(super) async fn run(mut jobs: mpsc::Receiver<Job>, sender: Sender, counts: Arc<TraceCounts>) {
    let resource = otlp::resource(&sender.collector().resource);
    while let Some(job) = jobs.recv().await {
        let (batch, waiting) = gather(job, &mut jobs).await;
        if batch.spans > 0 {
            let request = otlp::request(&resource, &batch.bytes);
            sender.deliver(request, batch.spans, &counts.0).await;
        }
        if let Some(waiting) = waiting {
            let _ = waiting.send(());
        }
    }
}

/// What comes within a moment, until there is enough, or somebody waits for it.
async fn gather(
    first: Job,
    jobs: &mut mpsc::Receiver<Job>,
) -> (Batch, Option<oneshot::Sender<()>>) {
    let mut all = match first {
        Job::Tell(batch) => batch,
        Job::Flush(waiting) => return (Batch::default(), Some(waiting)),
    };
    let end = Instant::now() + GATHER;
    while all.bytes.len() < ENOUGH {
        match timeout_at(end, jobs.recv()).await {
            Ok(Some(Job::Tell(batch))) => {
                all.bytes.extend_from_slice(&batch.bytes);
                all.spans += batch.spans;
            }
            Ok(Some(Job::Flush(waiting))) => return (all, Some(waiting)),
            Ok(None) | Err(_) => break,
        }
    }
    (all, None)
}
