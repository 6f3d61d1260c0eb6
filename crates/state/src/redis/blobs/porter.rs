//! Carries blobs to the store in the background, so that nobody waits for it: in lanes, each one
//! after the other, so that what is put under one key, and taken away from it, is done in order.
//! What is too much is left out and counted: then others do not find it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use lockgate_core::Blob;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{DROP, LONGEST_KEEP, PUT, packed};
use crate::redis::{Arg, RedisStore};

/// Lanes, of which each has one blob under way.
const LANES: usize = 16;
/// Most jobs that wait in a lane.
const WAITING: usize = 256;
/// Most bytes of bodies that wait in all.
const MOST_BYTES: usize = 64 << 20;
/// How long the store may take.
const WITHIN: Duration = Duration::from_secs(1);

/// What is to be done.
pub(super) struct Job {
    /// The blob's key in the store, and its lead's.
    pub(super) keys: Vec<Vec<u8>>,
    /// What is put there; without it, what is there is taken away.
    pub(super) put: Option<Put>,
}

/// What is to be put.
pub(super) struct Put {
    pub(super) blob: Arc<Blob>,
    pub(super) keep: Duration,
    /// The token of the lead that goes with it.
    pub(super) token: Option<u64>,
    /// Its body is kept by each gateway for itself.
    pub(super) apart: bool,
}

pub(super) struct Porter {
    store: Arc<RedisStore>,
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
        let (lanes, hasher) = (lanes.collect(), RandomState::new());
        Self { store: Arc::clone(store), lanes, hasher, carried }
    }

    /// Has a job done soon, after those of the same line.
    pub(super) fn carry(&self, line: &[u8], job: Job) {
        let size = job.size();
        let lane = self.hasher.hash_one(line) as usize % self.lanes.len().max(1);
        let free = |used: usize| used.checked_add(size).filter(|used| *used <= MOST_BYTES);
        let room = self.carried.bytes.fetch_update(Relaxed, Relaxed, free).is_ok();
        let Some(lane) = self.lanes.get(lane) else { return };
        let left =
            if room { lane.try_send(job).err().map(TrySendError::into_inner) } else { Some(job) };
        let Some(left) = left else { return };
        if room {
            self.carried.bytes.fetch_sub(size, Relaxed);
        }
        match left.put {
            Some(_) => drop(self.carried.dropped.fetch_add(1, Relaxed)),
            // Rather out of turn than not at all.
            None => self.store.send(&DROP, vec![left.blob()], Vec::new()),
        }
    }

    /// How many were put, and how many were not.
    pub(super) fn figures(&self) -> (u64, u64) {
        (self.carried.put.load(Relaxed), self.carried.dropped.load(Relaxed))
    }
}

impl Job {
    fn size(&self) -> usize {
        let shared = self.put.as_ref().filter(|put| !put.apart);
        shared.map_or(0, |put| put.blob.body.len())
    }

    /// The blob's key.
    fn blob(&self) -> Vec<u8> {
        self.keys.first().cloned().unwrap_or_default()
    }
}

async fn carry(store: Arc<RedisStore>, mut queue: Receiver<Job>, carried: Arc<Carried>) {
    while let Some(job) = queue.recv().await {
        if let Some(own) = &job.put {
            let came = match put(&store, &job.keys, own).await {
                true => &carried.put,
                false => &carried.dropped,
            };
            came.fetch_add(1, Relaxed);
        } else {
            let _ = store.run(&DROP, &[job.blob()], &[], WITHIN).await;
        }
        carried.bytes.fetch_sub(job.size(), Relaxed);
    }
}

async fn put(store: &RedisStore, keys: &[Vec<u8>], put: &Put) -> bool {
    let keep = put.keep.min(LONGEST_KEEP).as_millis();
    let id = put.blob.id.to_be_bytes();
    let token = put.token.map(u64::to_be_bytes);
    let mut args = vec![
        Arg::from(&id[..]),
        Arg::from(i64::try_from(keep).unwrap_or(i64::MAX).max(1)),
        Arg::from(token.as_ref().map_or(&[][..], |token| &token[..])),
        Arg::from(super::log::number(put.blob.stamp)),
    ];
    if !put.apart {
        let Some(head) = packed::write(&put.blob) else { return false };
        args.extend([Arg::from(head), Arg::from(&*put.blob.body)]);
    }
    store.run(&PUT, keys, &args, WITHIN).await.is_ok()
}
