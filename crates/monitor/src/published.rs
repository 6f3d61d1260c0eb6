//! How services are, where workers can read it: an immutable value behind an atomic pointer.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use lockgate_core::{Board, Status};

/// The status that was published last.
pub struct Published(ArcSwap<Status>);

impl Default for Published {
    fn default() -> Self {
        let none = Status { at: SystemTime::UNIX_EPOCH, services: Vec::new() };
        Self(ArcSwap::from_pointee(none))
    }
}

impl Published {
    pub(crate) fn publish(&self, status: Status) {
        self.0.store(Arc::new(status));
    }
}

impl Board for Published {
    fn status(&self) -> Arc<Status> {
        self.0.load_full()
    }
}
