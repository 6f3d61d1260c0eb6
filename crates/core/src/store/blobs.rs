//! Blobs: answers and other finished things, kept for a while under a key.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Glob, StoreError, Tag};
use crate::{SendFuture, Step};

/// What is kept under a key.
pub struct Blob {
    /// What it is called for operators and patterns: `host/path?query`.
    pub name: Box<str>,
    /// What belongs to the body, in the owner's own form.
    pub head: Box<dyn BlobHead>,
    /// The body, in one piece that is shared by all who are given it.
    pub body: Bytes,
    /// By what it can be purged, its name and [`Purge::All`] apart.
    pub tags: Box<[Tag]>,
    /// [`Blobs::stamp`] from before what it is made of was asked for. A purge later than that
    /// takes it away, also when it is put only after the purge.
    pub stamp: u64,
    /// Tells it from all others that are or were kept under its key: [`Blob::new_id`].
    pub id: u64,
}

/// What an owner keeps beside a body.
pub trait BlobHead: Any + Send + Sync {
    /// About how many bytes of memory it takes.
    fn size(&self) -> usize;

    /// Writes it for other processes, in the owner's own form: what the owner's [`ReadHead`] reads.
    fn write(&self, out: &mut Vec<u8>);
}

/// Reads a head that was written so long ago, here or by another process. `None` when it cannot be
/// understood: another version may have written it.
pub type ReadHead = fn(&[u8], Duration) -> Option<Box<dyn BlobHead>>;

impl Blob {
    /// The head, if it is of this type.
    pub fn head<T: 'static>(&self) -> Option<&T> {
        let head: &dyn Any = &*self.head;
        head.downcast_ref()
    }

    /// An id for a new blob.
    pub fn new_id() -> u64 {
        fastrand::u64(..)
    }

    /// About how many bytes of memory it takes.
    pub fn size(&self) -> usize {
        let tags = std::mem::size_of_val(&*self.tags);
        size_of::<Self>() + self.name.len() + self.head.size() + self.body.len() + tags
    }
}

/// What is to be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// Everything.
    All,
    /// What bears a tag.
    Tag(Tag),
    /// What has a name that fits.
    Names(Glob),
}

/// What came of a purge.
pub enum Purged {
    /// It is over.
    Now(Result<(), StoreError>),
    /// It is over here, and others are being told. They will be, too, when nobody waits for this.
    Later(SendFuture<Result<(), StoreError>>),
}

impl Purged {
    /// Waits until all who share the store have been told.
    ///
    /// # Errors
    /// When the store cannot answer: then they are told once it can.
    pub async fn told(self) -> Result<(), StoreError> {
        match self {
            Self::Now(told) => told,
            Self::Later(told) => told.await,
        }
    }
}

/// Whose turn it is to make what is to be kept under a key.
pub enum Maker {
    /// This gateway's, and others may be at it too.
    Alone,
    /// This gateway's, until it drops this or puts something under the key; others wait for that.
    Leads(Box<dyn Any + Send>),
    /// Another gateway's: to be asked again after so long.
    Waits(Duration),
    /// Nobody's: another gateway has put something there. [`Blobs::get`] has it.
    Made,
}

/// A store's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlobStats {
    /// How many blobs there are.
    pub entries: u64,
    /// About how many bytes of memory they take.
    pub bytes: u64,
    /// Most bytes that they may take.
    pub max_bytes: u64,
    /// How many had to go to make room.
    pub evictions: u64,
    /// How many purges there were.
    pub purges: u64,
}

/// Keeps blobs, in one store. What stands in memory is there at once: a store further away is a
/// tier behind it, asked where memory has nothing and told of what is put and purged.
pub trait Blobs: Send + Sync {
    /// The store's name.
    fn name(&self) -> &str {
        "memory"
    }

    /// What is kept under a key, as long as it is not over and nothing has purged it.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn get<'a>(&'a self, key: &'a [u8]) -> Step<'a, Result<Option<Arc<Blob>>, StoreError>>;

    /// Keeps a blob for so long; what was there before is gone. Returns whether it was taken: not
    /// when it is too large, or was purged while it was made.
    fn put(&self, key: &[u8], blob: Arc<Blob>, keep: Duration) -> bool;

    /// The same, for what leads to another blob: who finds the one is to find the other, so it
    /// comes after what was put under that one's key, `first`, for others too.
    fn put_after(&self, first: &[u8], key: &[u8], blob: Arc<Blob>, keep: Duration) -> bool {
        let _ = first;
        self.put(key, blob, keep)
    }

    /// The same for this process alone: nobody else hears of it.
    fn put_here(&self, key: &[u8], blob: Arc<Blob>, keep: Duration) -> bool {
        self.put(key, blob, keep)
    }

    /// The same for this process alone, as it is too large to be shared: the others are told that
    /// each has to make its own.
    fn put_apart(&self, key: &[u8], blob: Arc<Blob>, keep: Duration) -> bool {
        self.put(key, blob, keep)
    }

    /// Says how the heads are read that other processes have written.
    fn reads(&self, read: ReadHead) {
        let _ = read;
    }

    /// Asks all that share the store whose turn it is to make what is to be kept under a key, when
    /// `known` is all that has been found there and will not do.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn turn<'a>(
        &'a self,
        key: &'a [u8],
        known: Option<&'a Blob>,
    ) -> Step<'a, Result<Maker, StoreError>> {
        let _ = (key, known);
        Step::Now(Ok(Maker::Alone))
    }

    /// Whether the purges of all that share the store are heard here as they are made. Where they
    /// are not, what is in memory may have been purged.
    fn hears(&self) -> bool {
        true
    }

    /// How long a request may wait for the store in vain, all that it asks together.
    fn patience(&self) -> Duration {
        Duration::MAX
    }

    /// Takes away what is kept under one key.
    fn remove(&self, key: &[u8]);

    /// Now, in the count of purges.
    fn stamp(&self) -> u64;

    /// Takes away what was asked for before now. Costs the same however much there is. The call
    /// does it: what is left to wait for, if anything, is the word of those who share the store.
    fn purge(&self, what: &Purge) -> Purged;

    /// Frees the memory of what has been purged or is over. Looks at everything: not for the
    /// request path. How many that were.
    fn sweep(&self) -> u64;

    /// Its size.
    fn stats(&self) -> BlobStats;

    /// Shows every blob in memory, and for how long it stays. Not for the request path.
    fn each(&self, see: &mut dyn FnMut(&Blob, Duration));
}
