//! Records: what became of a request that must not run twice. Unlike a [`Blob`](super::Blob), a
//! record never goes before its time: what cannot be kept is refused before the request runs.

use std::time::Duration;

use bytes::Bytes;

use super::StoreError;
use crate::{LocalFuture, Step};

/// Who runs a request: made anew for each, so that nobody else can end its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner(pub u128);

impl Owner {
    /// One that nobody else has. Not a secret.
    pub fn random() -> Self {
        Self(fastrand::u128(..))
    }
}

/// What tells two requests under one key apart: a hash of what makes them the same.
pub type Fingerprint = [u8; 32];

/// A request that wants to run.
#[derive(Debug, Clone, Copy)]
pub struct Begin<'a> {
    /// The record's key.
    pub key: &'a [u8],
    /// Who would run it.
    pub owner: Owner,
    /// What it asks for.
    pub fingerprint: &'a Fingerprint,
    /// How long the record stays after its last change.
    pub keep: Duration,
    /// How long after its process's last sign of life a running request counts as lost.
    pub lost_after: Duration,
    /// Whether one with the same fingerprint runs again where the outcome is unknown.
    pub again: bool,
}

/// What a record says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is the first: it runs now, and its owner must settle it.
    First,
    /// It runs already.
    Running {
        /// Since it began.
        age: Duration,
        /// Of the one that runs.
        fingerprint: Fingerprint,
    },
    /// It ran, and this was kept of it.
    Done {
        /// As it was settled.
        record: Bytes,
        /// Of the one that ran.
        fingerprint: Fingerprint,
    },
    /// It ran, and nobody knows how it ended.
    Unknown {
        /// Since it began.
        age: Duration,
        /// Of the one that ran.
        fingerprint: Fingerprint,
    },
    /// There is no room for one more record.
    Full,
}

/// How a request that ran ended.
#[derive(Debug, Clone)]
pub enum End {
    /// With an answer.
    Done {
        /// What is kept of it.
        record: Bytes,
        /// For how long.
        keep: Duration,
    },
    /// It has surely done nothing: a repeat runs.
    Forgotten,
    /// Nobody knows.
    Unknown,
}

/// What came of settling a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is as was said.
    Yes,
    /// There is no room for so much: it is as it was.
    Full,
    /// The record is another's by now, or gone.
    Lost,
}

/// A store's size, as far as it is in this process's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordStats {
    /// How many records there are.
    pub entries: u64,
    /// About how many bytes of memory they take.
    pub bytes: u64,
}

/// Keeps records, in one store. Each call is one atomic step: of two requests that begin under one
/// key, one is the first. A request that runs has a sign of life from its process until it is
/// settled; one whose process is gone is found out by the lack of it, by the store's own clock.
pub trait Records: Send + Sync {
    /// Begins a request, unless there is a record of it. Said again by the same owner, it is the
    /// same beginning.
    ///
    /// # Errors
    /// When the store cannot answer. The record may have been made all the same: its owner is to
    /// settle it later.
    fn begin<'a>(&'a self, begin: &'a Begin<'a>) -> Step<'a, Result<Begun, StoreError>>;

    /// Says how a request ended. An end that comes late still counts while the record is the
    /// owner's, and so it does when it is said again; a request that is done stays done.
    ///
    /// # Errors
    /// When the store cannot answer. It may have heard it all the same.
    fn settle<'a>(
        &'a self,
        key: &'a [u8],
        owner: Owner,
        end: &'a End,
    ) -> Step<'a, Result<Settled, StoreError>>;

    /// The same, without waiting: a store that cannot be reached is told later, as long as there
    /// is hope and room for it.
    fn settle_later(&self, key: &[u8], owner: Owner, end: End);

    /// Waits until a request that runs may have ended, at most for so long.
    fn ended<'a>(&'a self, key: &'a [u8], within: Duration) -> LocalFuture<'a, ()>;

    /// Whether it may lose records before their time, as it is set up.
    fn may_lose(&self) -> bool {
        false
    }

    /// Its size.
    fn stats(&self) -> RecordStats;
}
