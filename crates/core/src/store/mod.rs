//! Where state is kept that outlives a request: three narrow traits, each for one kind of it. A
//! store of the configuration (`memory`, a Redis) implements them.

mod blobs;
mod calendar;
mod counters;

pub use blobs::{Blob, Blobs};
pub use calendar::{Calendar, CalendarUnit};
pub use counters::{Algorithm, CounterName, Counters, Grant, Limit, MOST_TAKES, Naming, Take};

/// Why a store could not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store `{store}` {what}")]
pub struct StoreError {
    /// The store's name.
    pub store: Box<str>,
    /// What happened: `did not answer within 10ms`.
    pub what: Box<str>,
}
