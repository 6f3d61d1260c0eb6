//! How many connections there may be, in all and from one address, over all workers.
//!
//! The table of addresses holds only open connections, so that the limit on those bounds it too.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_core::network;

/// Locks that workers spread over; each is held for one map operation.
const SHARDS: usize = 64;

/// What the listeners have seen since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections taken.
    pub accepted: AtomicU64,
    /// Connections closed at once because there were too many in all.
    pub refused_total: AtomicU64,
    /// Connections closed at once because there were too many from their address.
    pub refused_per_ip: AtomicU64,
    /// Connections closed because their PROXY header was missing, broken or not believed.
    pub refused_proxy_header: AtomicU64,
    /// TLS handshakes that succeeded.
    pub tls_handshakes: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub tls_failures: AtomicU64,
    /// Connections open now.
    pub open: AtomicUsize,
}

/// Counts the connections of a process, and turns away what is too many.
pub struct Gate {
    counters: Counters,
    addresses: Box<[Mutex<HashMap<u128, u32>>]>,
    hasher: RandomState,
}

impl Gate {
    /// A gate with nobody inside.
    pub fn new() -> Arc<Self> {
        let addresses = (0..SHARDS).map(|_| Mutex::default()).collect();
        Arc::new(Self { counters: Counters::default(), addresses, hasher: RandomState::new() })
    }

    /// What has been seen.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Lets a connection in, unless there are `most` already.
    pub(super) fn enter(self: &Arc<Self>, most: usize) -> Option<Place> {
        let counters = &self.counters;
        if counters.open.fetch_add(1, Relaxed) >= most {
            counters.open.fetch_sub(1, Relaxed);
            counters.refused_total.fetch_add(1, Relaxed);
            return None;
        }
        counters.accepted.fetch_add(1, Relaxed);
        Some(Place { gate: self.clone(), address: None })
    }

    fn shard(&self, key: u128) -> Option<MutexGuard<'_, HashMap<u128, u32>>> {
        let place = self.hasher.hash_one(key) as usize % SHARDS;
        // Counts stay true whatever a panicking holder did: each operation is a single step.
        Some(self.addresses.get(place)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(test)]
    pub(super) fn addresses(&self) -> usize {
        self.addresses.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

/// A connection's place among the open ones, until it is dropped.
pub(super) struct Place {
    gate: Arc<Gate>,
    address: Option<u128>,
}

impl Place {
    pub(super) fn counters(&self) -> &Counters {
        &self.gate.counters
    }

    /// Counts the connection for its address; false when that has `most` already. Zero is no
    /// limit and counts nothing.
    pub(super) fn claim(&mut self, address: IpAddr, most: usize) -> bool {
        if most == 0 {
            return true;
        }
        let key = network(address);
        let Some(mut shard) = self.gate.shard(key) else { return true };
        let count = shard.entry(key).or_insert(0);
        if *count as usize >= most {
            self.gate.counters.refused_per_ip.fetch_add(1, Relaxed);
            return false;
        }
        *count += 1;
        self.address = Some(key);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.counters.open.fetch_sub(1, Relaxed);
        let Some(key) = self.address else { return };
        let Some(mut shard) = self.gate.shard(key) else { return };
        let Some(count) = shard.get_mut(&key) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            shard.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_counted_by_its_network_and_forgotten_when_it_goes() {
        let gate = Gate::new();
        let mut places = Vec::new();
        for (address, fits) in [
            ("2001:db8::1", true),
            ("2001:db8::2", true),
            ("2001:db8::ffff:1", false),
            ("2001:db8:0:1::1", true),
            ("10.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("10.0.0.1", false),
            ("10.0.0.2", true),
        ] {
            let mut place = gate.enter(100).unwrap();
            assert_eq!(place.claim(address.parse().unwrap(), 2), fits, "{address}");
            places.push(place);
        }
        assert_eq!(gate.addresses(), 4);
        assert_eq!(gate.counters().refused_per_ip.load(Relaxed), 2);
        places.clear();
        assert_eq!(gate.addresses(), 0);
        assert_eq!(gate.counters().open.load(Relaxed), 0);
    }

    #[test]
    fn no_limit_counts_nothing() {
        let gate = Gate::new();
        let mut place = gate.enter(1).unwrap();
        assert!(place.claim("10.0.0.1".parse().unwrap(), 0));
        assert_eq!(gate.addresses(), 0);
        assert!(gate.enter(1).is_none());
        assert_eq!(gate.counters().refused_total.load(Relaxed), 1);
        drop(place);
        assert!(gate.enter(1).is_some());
    }
}
