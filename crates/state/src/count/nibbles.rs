//! Sixty-one counters of four bits, the newest first: one number of 244 bits, which time shifts.
//! So they are moved on, and summed up, without a loop and without a look at any one of them.

use super::ring::BUCKETS;

/// Counters of the newest bucket, the one before it, and so on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nibbles([u64; 4]);

/// What of the last word is counters.
const LAST: u64 = (1 << (4 * (BUCKETS % 16))) - 1;
/// The most that a counter counts.
pub(super) const MOST: u64 = 15;

impl Nibbles {
    /// Of all buckets, the newest first. None: one counts too much.
    pub(super) fn of(all: &[u32; BUCKETS]) -> Option<Self> {
        let mut words = [0; 4];
        for (word, counts) in words.iter_mut().zip(all.chunks(16)) {
            for count in counts.iter().rev() {
                let count = Some(u64::from(*count)).filter(|count| *count <= MOST)?;
                *word = *word << 4 | count;
            }
        }
        Some(Self(words))
    }

    /// So many buckets later.
    #[inline]
    pub(super) fn moved(self, by: usize) -> Self {
        let (low, high) = self.halves();
        let bits = 4 * by as u32;
        let (low, high) = match bits {
            0 => return self,
            1..128 => (low << bits, high << bits | low >> (128 - bits)),
            128..256 => (0, low << (bits - 128)),
            _ => (0, 0),
        };
        Self([low as u64, (low >> 64) as u64, high as u64, (high >> 64) as u64 & LAST])
    }

    fn halves(self) -> (u128, u128) {
        let [a, b, c, d] = self.0;
        (u128::from(b) << 64 | u128::from(a), u128::from(d) << 64 | u128::from(c))
    }

    /// What all of them count.
    #[inline]
    pub(super) fn total(self) -> u64 {
        let (low, high) = self.halves();
        let bytes = pairs(low) + pairs(high);
        sum(bytes as u64 + (bytes >> 64) as u64)
    }

    /// Adds to the newest, if it can count so much.
    pub(super) fn plus(self, cost: u64) -> Option<Self> {
        let [a, b, c, d] = self.0;
        let fits = cost <= MOST - (a & MOST);
        fits.then(|| Self([a + cost, b, c, d]))
    }

    /// Takes from the counter of `back` buckets ago what it has of `cost`.
    pub(super) fn subtract(&mut self, back: usize, cost: u64) {
        let shift = 4 * (back % 16);
        if let Some(word) = self.0.get_mut(back / 16) {
            *word -= (*word >> shift & MOST).min(cost) << shift;
        }
    }

    /// How far back the bucket is with which so much has been counted, from the oldest on.
    pub(super) fn frees(self, missing: u64) -> Option<usize> {
        let mut counted = 0;
        for (number, word) in self.0.iter().enumerate().rev() {
            let with = counted + sum(pairs(u128::from(*word)) as u64);
            if with < missing {
                counted = with;
                continue;
            }
            for back in (0..16).rev() {
                counted += *word >> (4 * back) & MOST;
                if counted >= missing {
                    return Some(number * 16 + back);
                }
            }
        }
        None
    }

    /// What the bucket counts that is so far back.
    pub(super) fn at(self, back: usize) -> u32 {
        self.0.get(back / 16).map_or(0, |word| (word >> (4 * (back % 16)) & MOST) as u32)
    }
}

/// Two counters to a byte become their sum. Eight of such bytes may be added up.
fn pairs(half: u128) -> u128 {
    const EVEN: u128 = 0x0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f;
    (half & EVEN) + (half >> 4 & EVEN)
}

/// The sum of the bytes of a word, up to 65,535.
fn sum(bytes: u64) -> u64 {
    const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
    ((bytes & EVEN) + (bytes >> 8 & EVEN)).wrapping_mul(0x0001_0001_0001_0001) >> 48
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_ones_are_summed_up() {
        let mut nibbles = Nibbles::default();
        for bucket in 1..=100 {
            nibbles = nibbles.moved(1).plus(MOST).unwrap();
            assert_eq!(nibbles.total(), MOST * bucket.min(61));
        }
    }
}
