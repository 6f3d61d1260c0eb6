//! Consistent placement by key: a Maglev lookup table (Eisenbud et al., NSDI 2016, §3.4) with
//! weights, and bounded loads (Mirrokni et al., 2016) on top.
//!
//! The table has the same prime size for any number of members, 128 KiB for each level: a size
//! that followed the number of members would move nearly every key whenever it changed. The hash
//! is seeded with constants, so all gateways with the same endpoints place alike.

use std::sync::atomic::Ordering::Relaxed;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Ask;

/// Prime, and more than 100 times as many slots as members are sensible, for even shares.
const SIZE: usize = 65_537;
/// An endpoint takes at most this many times its share of what is in flight.
const BOUND: f64 = 1.25;
/// Slots looked at beyond the key's own before any fitting member is taken.
const PROBES: usize = 512;

const KEY_SEED: u64 = 0x6c6f_636b_6761_7465;
const OFFSET_SEED: u64 = 1;
const SKIP_SEED: u64 = 2;

/// The hash of a request's key.
pub(crate) fn hash(key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, KEY_SEED)
}

/// A lookup table over the places of one level.
#[derive(Debug)]
pub(crate) struct Maglev {
    slots: Box<[u16]>,
    total: f64,
}

impl Maglev {
    /// Fills the table: members take turns to claim the next free slot of their own permutation,
    /// as often as their weights say.
    pub(super) fn new(names: &[String], weights: &[u32]) -> Self {
        const FREE: u16 = u16::MAX;
        let total = weights.iter().map(|&w| f64::from(w)).sum();
        let heaviest = f64::from(weights.iter().copied().max().unwrap_or(1));
        let mut claims: Vec<Claim> = names.iter().map(|name| Claim::new(name)).collect();
        let mut slots = vec![FREE; SIZE];
        let mut left = if claims.is_empty() { 0 } else { SIZE };
        while left > 0 {
            for (place, (claim, &weight)) in claims.iter_mut().zip(weights).enumerate() {
                claim.credit += f64::from(weight) / heaviest;
                if claim.credit < 1.0 || left == 0 {
                    continue;
                }
                claim.credit -= 1.0;
                // Bounded: the permutation visits every slot once, and one is free.
                while let Some(slot) = slots.get_mut(claim.next()) {
                    if *slot == FREE {
                        *slot = place as u16;
                        left -= 1;
                        break;
                    }
                }
            }
        }
        Self { slots: slots.into(), total }
    }

    /// The key's own member, or the next in the table that fits and is not over its bound. When
    /// all that fit are over it, the first that fits.
    pub(super) fn choose(&self, ask: &Ask<'_>, key: u64) -> Option<usize> {
        let start = (key % SIZE as u64) as usize;
        let (head, tail) = self.slots.split_at_checked(start)?;
        let mut spare = None;
        for &place in tail.iter().chain(head).take(PROBES) {
            let place = usize::from(place);
            if spare == Some(place) || !ask.fits(place) {
                continue;
            }
            if self.within(ask, place) {
                return Some(place);
            }
            spare = spare.or(Some(place));
        }
        spare.or_else(|| ask.scan())
    }

    fn within(&self, ask: &Ask<'_>, place: usize) -> bool {
        let in_flight = ask.in_flight(place);
        if in_flight == 0 {
            return true;
        }
        let weight = ask.level.weights.get(place).copied().unwrap_or(0);
        let all = f64::from(ask.position.keyed.load(Relaxed)) + 1.0;
        let bound = (BOUND * all * f64::from(weight) / self.total).ceil();
        f64::from(in_flight) < bound
    }

    #[cfg(test)]
    pub(super) fn owner(&self, key: u64) -> usize {
        usize::from(self.slots[(key % SIZE as u64) as usize])
    }
}

/// One member's permutation of the slots.
struct Claim {
    slot: usize,
    skip: usize,
    credit: f64,
}

impl Claim {
    fn new(name: &str) -> Self {
        let slot = xxh3_64_with_seed(name.as_bytes(), OFFSET_SEED) % SIZE as u64;
        let skip = xxh3_64_with_seed(name.as_bytes(), SKIP_SEED) % (SIZE as u64 - 1) + 1;
        Self { slot: slot as usize, skip: skip as usize, credit: 0.0 }
    }

    fn next(&mut self) -> usize {
        let slot = self.slot;
        self.slot = (slot + self.skip) % SIZE;
        slot
    }
}
