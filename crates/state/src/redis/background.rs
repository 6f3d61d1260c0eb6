//! What is sent to a store without waiting: a bounded queue, worked off on the control runtime.

use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

use super::inner::{Inner, PATIENCE};
use super::link::Fail;
use super::script::{Arg, Script};

/// Most that may wait.
const QUEUE: usize = 8192;
/// Most that are under way.
const UNDER_WAY: usize = 256;

enum Job {
    Run(&'static Script, Vec<Vec<u8>>, Vec<Arg<'static>>),
    Tell(Box<str>, Bytes),
}

pub(super) struct Background {
    inner: Arc<Inner>,
    jobs: Sender<Job>,
}

impl Background {
    pub(super) fn start(inner: Arc<Inner>, control: &Handle) -> Self {
        let (jobs, queue) = channel(QUEUE);
        control.spawn(work(Arc::clone(&inner), queue));
        Self { inner, jobs }
    }

    pub(super) fn send(
        &self,
        script: &'static Script,
        keys: Vec<Vec<u8>>,
        args: Vec<Arg<'static>>,
    ) {
        self.put(Job::Run(script, keys, args));
    }

    pub(super) fn tell(&self, channel: &str, message: Bytes) {
        self.put(Job::Tell(channel.into(), message));
    }

    fn put(&self, job: Job) {
        if self.jobs.try_send(job).is_err() {
            self.inner.dropped();
        }
    }
}

/// Works the queue off until the store is dropped and the queue is empty.
async fn work(inner: Arc<Inner>, mut queue: Receiver<Job>) {
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    while let Some(job) = queue.recv().await {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            if !done(&inner, job).await {
                inner.dropped();
            }
            drop(permit);
        });
    }
}

/// Whether a job was done, as far as can be told.
async fn done(inner: &Inner, job: Job) -> bool {
    let until = Instant::now() + PATIENCE;
    let result = match job {
        Job::Run(script, keys, args) => inner.run(script, &keys, &args, until).await.map(drop),
        Job::Tell(channel, message) => inner.publish(&channel, &message, until).await,
    };
    !matches!(result, Err(Fail::Away(_)))
}
