//! What operators may see of the memory: figures, and the counters that are listed.

use std::time::Duration;

use lockgate_core::CounterName;
use serde::Serialize;

/// How much is kept, and what had to go.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Counters kept.
    pub keys: u64,
    /// Most that may be.
    pub max_keys: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Most that they may.
    pub max_bytes: u64,
    /// Counters let go of although they still counted, for want of room.
    pub evicted: u64,
}

/// A counter with a name.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// The limit.
    pub limit: String,
    /// Whose counter it is.
    pub key: String,
    /// How much has been taken.
    pub used: u64,
    /// Of how much.
    pub of: u64,
    /// Until it begins anew.
    pub resets_in_seconds: u64,
}

/// What an entry of the table remembers for [`Listed`].
pub(crate) struct Name {
    pub(crate) name: CounterName,
    pub(crate) of: u64,
    /// The end of the window, by the store's clock.
    pub(crate) end: u64,
}

impl Name {
    pub(crate) fn heap(&self) -> usize {
        size_of::<Self>() + self.name.limit.capacity() + self.name.key.capacity()
    }

    pub(crate) fn listed(&self, used: u64, now: u64) -> Option<Listed> {
        let left = self.end.checked_sub(now).filter(|left| *left > 0)?;
        Some(Listed {
            limit: self.name.limit.clone(),
            key: self.name.key.clone(),
            used,
            of: self.of,
            resets_in_seconds: Duration::from_nanos(left).as_secs(),
        })
    }
}
