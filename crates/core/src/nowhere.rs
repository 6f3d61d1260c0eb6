//! Surroundings in which nothing runs: what a configuration is built in when it is only checked.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Response;

use crate::{
    Begin, Begun, Blob, BlobStats, Blobs, Blocking, Board, Call, Counters, End, Exchange, Fault,
    Grant, Identity, Leases, LocalFuture, Naming, Outbound, Owner, Proof, Purge, Purged,
    RecordStats, Records, SendFuture, Settled, Status, Step, StoreError, StoreFailure, Take, Turn,
    Wanted, reasons,
};

/// A store that keeps nothing, and an outbound that reaches nothing: whatever asks gets an error.
#[derive(Debug, Clone, Copy)]
pub struct Nowhere;

fn nowhere() -> StoreError {
    StoreError::new("nowhere", StoreFailure::Away, "is there for checks alone")
}

impl Counters for Nowhere {
    fn take_now(
        &self,
        _: &[Take<'_>],
        _: &mut [Grant],
        _: &Naming<'_>,
    ) -> Option<Result<bool, StoreError>> {
        Some(Err(nowhere()))
    }

    fn take<'a>(
        &'a self,
        _: &'a [Take<'a>],
        _: &'a mut [Grant],
        _: &'a Naming<'a>,
    ) -> LocalFuture<'a, Result<bool, StoreError>> {
        Box::pin(std::future::ready(Err(nowhere())))
    }

    fn give_back(&self, _: &Take<'_>, _: &Grant) {}
}

impl Blobs for Nowhere {
    fn get<'a>(&'a self, _: &'a [u8]) -> Step<'a, Result<Option<Arc<Blob>>, StoreError>> {
        Step::Now(Err(nowhere()))
    }

    fn put(&self, _: &[u8], _: Arc<Blob>, _: Duration) -> bool {
        false
    }

    fn remove(&self, _: &[u8]) {}

    fn stamp(&self) -> u64 {
        0
    }

    fn purge(&self, _: &Purge) -> Purged {
        Purged::Now(Err(nowhere()))
    }

    fn sweep(&self) -> u64 {
        0
    }

    fn stats(&self) -> BlobStats {
        BlobStats::default()
    }

    fn each(&self, _: &mut dyn FnMut(&Blob, Duration)) {}
}

impl Leases for Nowhere {
    fn acquire(&self, _: Wanted) -> Step<'_, Result<Turn, StoreError>> {
        Step::Now(Err(nowhere()))
    }
}

impl Records for Nowhere {
    fn begin<'a>(&'a self, _: &'a Begin<'a>) -> Step<'a, Result<Begun, StoreError>> {
        Step::Now(Err(nowhere()))
    }

    fn settle<'a>(
        &'a self,
        _: &'a [u8],
        _: Owner,
        _: &'a End,
    ) -> Step<'a, Result<Settled, StoreError>> {
        Step::Now(Err(nowhere()))
    }

    fn settle_later(&self, _: &[u8], _: Owner, _: End) {}

    fn ended<'a>(&'a self, _: &'a [u8], _: Duration) -> LocalFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn stats(&self) -> RecordStats {
        RecordStats::default()
    }
}

/// Stands for an identity that is configured wrongly: what names it is not wrong too.
impl Identity for Nowhere {
    fn identify<'a>(&'a self, _: &'a mut Exchange) -> Step<'a, Result<Proof, Fault>> {
        Step::Now(Ok(Proof::Absent))
    }

    fn describe(&self) -> String {
        "nobody".to_owned()
    }
}

/// There are no services.
impl Board for Nowhere {
    fn status(&self) -> Arc<Status> {
        Arc::new(Status { at: SystemTime::UNIX_EPOCH, services: Vec::new() })
    }
}

impl Blocking for Nowhere {
    fn run(&self, _: Box<dyn FnOnce() + Send>) {}
}

impl Outbound for Nowhere {
    fn send(&self, _: Call) -> SendFuture<Result<Response<Bytes>, Fault>> {
        let fault = Fault::gateway(&reasons::INTERNAL).detail("nothing is sent during a check");
        Box::pin(std::future::ready(Err(fault)))
    }
}
