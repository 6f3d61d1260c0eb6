//! Copies on their way: a short queue, and the tasks on the control runtime that empty it. A copy
//! that finds it full is dropped.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use lockgate_core::{Build, Call, Counter, Metric, Outbound};
use tokio::sync::Semaphore;

/// Copies that wait.
const MOST: usize = 256;

/// What became of copies.
pub(super) struct Counts {
    sent: Arc<Counter>,
    failed: Arc<Counter>,
    no_room: Arc<Counter>,
    pub(super) too_large: Arc<Counter>,
    pub(super) broke_off: Arc<Counter>,
}

impl Counts {
    pub(super) fn new(build: &Build<'_>, metric: &'static Metric) -> Self {
        let counter = |result| build.counter(metric, &[&build.route, result]);
        Self {
            sent: counter("sent"),
            failed: counter("failed"),
            no_room: counter("no_room"),
            too_large: counter("too_large"),
            broke_off: counter("broke_off"),
        }
    }
}

/// Copies that wait to be sent.
pub(super) struct Queue {
    waiting: Mutex<VecDeque<Call>>,
    /// One permit for each that waits.
    ready: Semaphore,
    outbound: Arc<dyn Outbound>,
    counts: Arc<Counts>,
}

impl Queue {
    pub(super) fn new(outbound: Arc<dyn Outbound>, counts: Arc<Counts>) -> Self {
        Self { waiting: Mutex::default(), ready: Semaphore::new(0), outbound, counts }
    }

    /// Puts a copy in line, if there is room.
    pub(super) fn put(&self, call: Call, worker: usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST {
            drop(waiting);
            self.counts.no_room.add(worker, 1);
            return;
        }
        waiting.push_back(call);
        drop(waiting);
        self.ready.add_permits(1);
    }

    /// Sends one copy after another, for ever.
    pub(super) async fn work(&self) {
        while let Ok(permit) = self.ready.acquire().await {
            permit.forget();
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(call) = next else { continue };
            let result = match self.outbound.send(call).await {
                Ok(_) => &self.counts.sent,
                Err(_) => &self.counts.failed,
            };
            result.add(0, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lockgate_core::{Destination, Figure, Nowhere};

    use super::*;

    #[tokio::test]
    async fn what_finds_no_room_is_dropped_and_counted() {
        let [sent, failed, no_room, too_large, broke_off] = Default::default();
        let counts = Arc::new(Counts { sent, failed, no_room, too_large, broke_off });
        let queue = Queue::new(Arc::new(Nowhere), Arc::clone(&counts));
        for _ in 0..MOST + 5 {
            let (to, timeout) = (Destination::Upstream("a".into()), Duration::from_secs(1));
            queue.put(Call { request: Default::default(), to, timeout, max_body: 1 }, 0);
        }
        assert_eq!(counts.no_room.value(), 5);
        let done = async {
            while counts.failed.value() < MOST as u64 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = queue.work() => {}
            () = done => {}
        }
        assert_eq!(counts.sent.value(), 0, "a copy that cannot be sent is one that failed");
    }
}
