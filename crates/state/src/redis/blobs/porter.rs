//! Carries blobs to the store in the background, so that nobody waits for it: in lanes, each one
//! after the other, so that what is put for one URI is put in order. What is too much is left out
//! and counted: then others do not find it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use lockgate_core::Blob;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{LONGEST_KEEP, PUT, packed};
use crate::redis::{Arg, RedisStore};

/// Lanes, of which each has one blob under way.
const LANES: usize = 16;
/// Most blobs that wait in a lane.
const WAITING: usize = 256;
/// Most bytes of bodies that wait in all.
const MOST_BYTES: usize = 64 << 20;
/// How long the store may take.
const WITHIN: Duration = Duration::from_secs(1);

/// What is to be put.
pub(super) struct Job {
    /// The blob's key in the store, and its lead's.
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) blob: Arc<Blob>,
    pub(super) keep: Duration,
    /// The token of the lead that goes with it.
    pub(super) token: Option<u64>,
    /// Its body is kept by each gateway for itself.
    pub(super) apart: bool,
}

pub(super) struct Porter {
    lanes: Vec<Sender<Job>>,
    hasher: RandomState,
    carried: Arc<Carried>,
}

/// What is under way, and what came of it.
#[derive(Default)]
struct Carried {
    bytes: AtomicUsize,
    put: AtomicU64,
    dropped: AtomicU64,
}

impl Porter {
    pub(super) fn start(store: &Arc<RedisStore>, control: &Handle) -> Self {
        let carried = Arc::new(Carried::default());
        let lanes = (0..LANES).map(|_| {
            let (jobs, queue) = channel(WAITING);
            control.spawn(carry(Arc::clone(store), queue, Arc::clone(&carried)));
            jobs
        });
        Self { lanes: lanes.collect(), hasher: RandomState::new(), carried }
    }

    /// Has a blob put soon.
    pub(super) fn carry(&self, job: Job) {
        let size = job.size();
        let lane = self.hasher.hash_one(&*job.blob.name) as usize % self.lanes.len().max(1);
        let free = |used: usize| used.checked_add(size).filter(|used| *used <= MOST_BYTES);
        let room = self.carried.bytes.fetch_update(Relaxed, Relaxed, free).is_ok();
        let sent = room && self.lanes.get(lane).is_some_and(|lane| lane.try_send(job).is_ok());
        if !sent {
            self.carried.dropped.fetch_add(1, Relaxed);
            if room {
                self.carried.bytes.fetch_sub(size, Relaxed);
            }
        }
    }

    /// How many were put, and how many were not.
    pub(super) fn figures(&self) -> (u64, u64) {
        (self.carried.put.load(Relaxed), self.carried.dropped.load(Relaxed))
    }
}

impl Job {
    fn size(&self) -> usize {
        if self.apart { 0 } else { self.blob.body.len() }
    }
}

async fn carry(store: Arc<RedisStore>, mut queue: Receiver<Job>, carried: Arc<Carried>) {
    while let Some(job) = queue.recv().await {
        let came = match put(&store, &job).await {
            true => &carried.put,
            false => &carried.dropped,
        };
        came.fetch_add(1, Relaxed);
        carried.bytes.fetch_sub(job.size(), Relaxed);
    }
}

async fn put(store: &RedisStore, job: &Job) -> bool {
    let keep = job.keep.min(LONGEST_KEEP).as_millis();
    let id = job.blob.id.to_be_bytes();
    let token = job.token.map(u64::to_be_bytes);
    let mut args = vec![
        Arg::from(&id[..]),
        Arg::from(i64::try_from(keep).unwrap_or(i64::MAX).max(1)),
        Arg::from(token.as_ref().map_or(&[][..], |token| &token[..])),
        Arg::from(super::log::number(job.blob.stamp)),
    ];
    if !job.apart {
        let Some(head) = packed::write(&job.blob) else { return false };
        args.extend([Arg::from(head), Arg::from(&*job.blob.body)]);
    }
    store.run(&PUT, &job.keys, &args, WITHIN).await.is_ok()
}
