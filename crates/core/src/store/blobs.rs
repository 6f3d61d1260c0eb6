//! Blobs: answers and other finished things, kept for a while under a key.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::StoreError;
use crate::Step;

/// What is kept under a key.
#[derive(Debug, Clone, Default)]
pub struct Blob {
    /// What stands before the body, in the owner's own form.
    pub head: Bytes,
    /// The body, in the pieces in which it came.
    pub body: Arc<[Bytes]>,
    /// Words by which it can be purged.
    pub tags: Arc<[Box<str>]>,
}

/// Keeps blobs, in one store.
pub trait Blobs: Send + Sync {
    /// What is kept under a key.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn get<'a>(&'a self, key: &'a [u8]) -> Step<'a, Result<Option<Arc<Blob>>, StoreError>>;

    /// Keeps a blob for so long; what was there before is gone.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn put<'a>(
        &'a self,
        key: &'a [u8],
        blob: Arc<Blob>,
        keep: Duration,
    ) -> Step<'a, Result<(), StoreError>>;

    /// Lets go of everything that bears a tag. How many that were.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn purge<'a>(&'a self, tag: &'a str) -> Step<'a, Result<u64, StoreError>>;
}
