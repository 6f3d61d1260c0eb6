//! The leads that this gateway has over all that share the store: each for one key, for as long as
//! it is held. What dies with a process is over a second later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;

/// How long a lead lives that nobody holds on to.
pub(super) const LIFE: Duration = Duration::from_secs(1);
/// When it is due to be held on to.
const DUE: Duration = Duration::from_millis(300);
/// Most at a time.
const MOST: usize = 1 << 14;

#[derive(Default)]
pub(super) struct Leads(Mutex<HashMap<Box<[u8]>, Held>>);

struct Held {
    token: u64,
    since: Instant,
}

/// A lead, until it is dropped or something is put under its key.
pub(super) struct Lead {
    shared: Weak<Shared>,
    key: Box<[u8]>,
    token: u64,
}

impl Leads {
    /// Takes on a lead that the store has given. `None` when there are too many.
    pub(super) fn take_on(&self, shared: &Arc<Shared>, key: &[u8], token: u64) -> Option<Lead> {
        let mut held = self.lock();
        if held.len() >= MOST {
            return None;
        }
        held.insert(key.into(), Held { token, since: Instant::now() });
        Some(Lead { shared: Arc::downgrade(shared), key: key.into(), token })
    }

    /// Takes the lead over a key away: it goes to the store with what is put there.
    pub(super) fn end(&self, key: &[u8]) -> Option<u64> {
        self.lock().remove(key).map(|held| held.token)
    }

    /// Those that are due to be held on to, which they are from now on.
    pub(super) fn due(&self) -> Vec<(Box<[u8]>, u64)> {
        let now = Instant::now();
        let mut all = self.lock();
        let due = all.iter_mut().filter(|(_, held)| now.duration_since(held.since) >= DUE);
        due.map(|(key, held)| {
            held.since = now;
            (key.clone(), held.token)
        })
        .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut all = shared.leads.lock();
        if all.get(&self.key).is_none_or(|held| held.token != self.token) {
            return;
        }
        all.remove(&self.key);
        drop(all);
        shared.hold(&self.key, self.token, Duration::ZERO);
    }
}
