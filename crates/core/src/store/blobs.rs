//! Blobs: answers and other finished things, kept for a while under a key.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Glob, StoreError, Tag};
use crate::Step;

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
}

/// What an owner keeps beside a body.
pub trait BlobHead: Any + Send + Sync {
    /// About how many bytes of memory it takes.
    fn size(&self) -> usize;
}

impl Blob {
    /// The head, if it is of this type.
    pub fn head<T: 'static>(&self) -> Option<&T> {
        let head: &dyn Any = &*self.head;
        head.downcast_ref()
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
    /// What is kept under a key, as long as it is not over and nothing has purged it.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn get<'a>(&'a self, key: &'a [u8]) -> Step<'a, Result<Option<Arc<Blob>>, StoreError>>;

    /// Keeps a blob for so long; what was there before is gone. Returns whether it was taken: not
    /// when it is too large, or was purged while it was made.
    fn put(&self, key: &[u8], blob: Arc<Blob>, keep: Duration) -> bool;

    /// Takes away what is kept under one key.
    fn remove(&self, key: &[u8]);

    /// Now, in the count of purges.
    fn stamp(&self) -> u64;

    /// Takes away what was asked for before now. Costs the same however much there is.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn purge<'a>(&'a self, what: &'a Purge) -> Step<'a, Result<(), StoreError>>;

    /// Frees the memory of what has been purged or is over. Looks at everything: not for the
    /// request path. How many that were.
    fn sweep(&self) -> u64;

    /// Its size.
    fn stats(&self) -> BlobStats;

    /// Shows every blob in memory, and for how long it stays. Not for the request path.
    fn each(&self, see: &mut dyn FnMut(&Blob, Duration));
}
