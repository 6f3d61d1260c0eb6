//! Which stores there are to tell of a purge: those whose blobs some plugin has asked for.

use std::sync::{Arc, Mutex, PoisonError};

use super::Blobs;

/// The stores whose blobs plugins have asked for. Grows while a configuration is built, and while
/// routes are built beside those that stay; whoever holds it sees them all once they are in force.
#[derive(Clone, Default)]
pub struct AskedBlobs(Arc<Mutex<All>>);

type All = Arc<[Arc<dyn Blobs>]>;

impl AskedBlobs {
    /// Adds a store, unless it is there.
    pub fn add(&self, blobs: &Arc<dyn Blobs>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.iter().any(|there| Arc::ptr_eq(there, blobs)) {
            *all = all.iter().chain([blobs]).cloned().collect();
        }
    }

    /// All of them so far.
    pub fn all(&self) -> Arc<[Arc<dyn Blobs>]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
