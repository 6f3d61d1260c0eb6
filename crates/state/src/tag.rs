//! What stands for a counter's key: 64 bits of it, under a secret of the process, so that nobody
//! outside can make two keys meet. The hash is multilinear (Dietzfelbinger 1996; Lemire and Kaser,
//! "Strongly universal string hashing is fast", 2014), in half the time of SipHash: for two keys,
//! whoever chose them, the chance to meet is 2^-64, and that is proven, as long as nobody learns
//! the secret. Very long keys take SipHash before, and so does, once and for all, what a limit's
//! keys begin with.

use std::hash::{BuildHasher, RandomState};

use lockgate_core::{Algorithm, Limit, Stem, Take};

use crate::clock::nanos;

/// What stands for a counter. By chance, one new key in 2 * 10^13 meets one of a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tag(pub(crate) u64);

impl Tag {
    /// The part of it that the cell's place does not depend on.
    pub(crate) fn mark(self) -> u16 {
        (self.0 >> 48) as u16
    }
}

/// How many words of eight bytes are hashed as they are; of longer keys, a hash is.
const WORDS: usize = 32;

/// The secret, and how keys become tags under it.
pub(crate) struct Tagger {
    start: u128,
    /// What the first word is multiplied by, the length, and the last eight bytes.
    ends: [u128; 3],
    factors: [u128; WORDS],
    /// Odd, so that multiplying by them loses nothing.
    odd: [u64; 2],
    long: RandomState,
    stems: RandomState,
}

impl Tagger {
    /// With a new secret.
    pub(crate) fn new() -> Self {
        let (source, mut number) = (RandomState::new(), 0_u64);
        let mut random = || {
            number += 1;
            source.hash_one(number)
        };
        let mut wide = || u128::from(random()) << 64 | u128::from(random());
        let (start, ends) = (wide(), std::array::from_fn(|_| wide()));
        let factors = std::array::from_fn(|_| wide());
        let odd = [random() | 1, random() | 1];
        Self { start, ends, factors, odd, long: RandomState::new(), stems: RandomState::new() }
    }

    /// What the keys of a limit begin with, and how it counts.
    pub(crate) fn stem(&self, place: &[u8], limit: &Limit) -> Stem {
        Stem { len: place.len(), hash: self.stems.hash_one((place, kind(limit))) }
    }

    /// What stands for the counter of a take.
    #[inline]
    pub(crate) fn tag(&self, take: &Take<'_>) -> Tag {
        let (first, key) = match take.stem {
            Some(stem) => (stem.hash, take.key.get(stem.len..).unwrap_or_default()),
            None => (kind(take.limit), take.key),
        };
        let sum = self.sum(first, key);
        // Sums of keys in a row are in a row themselves; places are not to be.
        let mut tag = (sum >> 64) as u64;
        let [one, other] = self.odd;
        tag = (tag ^ tag >> 32).wrapping_mul(one);
        tag = (tag ^ tag >> 29).wrapping_mul(other);
        Tag(tag ^ tag >> 32)
    }

    #[inline]
    fn sum(&self, first: u64, key: &[u8]) -> u128 {
        if key.len() / 8 > WORDS {
            return self.sum_of_short(first, &self.long.hash_one(key).to_le_bytes());
        }
        self.sum_of_short(first, key)
    }

    #[inline]
    fn sum_of_short(&self, first: u64, key: &[u8]) -> u128 {
        let (words, _) = key.as_chunks::<8>();
        // Where the last word is not a whole one, it is the last eight bytes: with the length, two
        // different keys are two different rows of words all the same.
        let last = match key.last_chunk::<8>() {
            Some(last) => u64::from_le_bytes(*last),
            None => short(key),
        };
        let [begin, length, end] = self.ends;
        let mut sum = self.start;
        sum = sum.wrapping_add(begin.wrapping_mul(u128::from(first)));
        sum = sum.wrapping_add(length.wrapping_mul(key.len() as u128));
        sum = sum.wrapping_add(end.wrapping_mul(u128::from(last)));
        for (word, factor) in words.iter().zip(&self.factors) {
            sum = sum.wrapping_add(factor.wrapping_mul(u128::from(u64::from_le_bytes(*word))));
        }
        sum
    }
}

/// Less than eight bytes as one word.
#[inline]
fn short(key: &[u8]) -> u64 {
    match (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => key.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// What tells the counters of one key apart, where it is counted in several ways. No secret: all
/// of it stands in the configuration.
pub(crate) fn kind(limit: &Limit) -> u64 {
    let (algorithm, more) = match limit.algorithm {
        Algorithm::SlidingWindow => (1, 0),
        Algorithm::SlidingLog => (2, 0),
        // A bucket's moments are in units of its count: with another count it is another.
        Algorithm::TokenBucket => (3, limit.count),
        Algorithm::FixedWindow => (4, 0),
        Algorithm::Calendar(calendar) => {
            let unit = calendar.unit as u64;
            return mixed(5 + unit, calendar.offset_seconds.cast_unsigned().into());
        }
    };
    mixed(algorithm, nanos(limit.window).wrapping_add(more.rotate_right(24)))
}

fn mixed(one: u64, other: u64) -> u64 {
    let mixed = one.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ other.wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 29
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use lockgate_core::{Calendar, CalendarUnit};
    use proptest::prelude::*;

    use super::*;

    fn limit(seconds: u64) -> Limit {
        let window = Duration::from_secs(seconds);
        Limit { algorithm: Algorithm::SlidingWindow, count: 1, window, burst: 1 }
    }

    fn tag(tagger: &Tagger, key: &[u8], limit: &Limit) -> Tag {
        tagger.tag(&Take::new(key, limit, 1))
    }

    proptest! {
        /// As far as keys alike go: cut off, longer by zeros, or changed in one place.
        #[test]
        fn keys_that_differ_have_tags_that_differ(
            key in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 1..300),
            place: usize, with in 1_u8..,
        ) {
            let (tagger, limit) = (Tagger::new(), limit(1));
            let mut all = HashSet::new();
            let mut changed = key.clone();
            changed[place % key.len()] ^= with;
            let longer = [&key[..], &[0]].concat();
            let shorter = &key[..key.len() - 1];
            for one in [&key[..], &changed, &longer, shorter, &[]] {
                all.insert(tag(&tagger, one, &limit).0);
            }
            prop_assert_eq!(all.len(), if shorter.is_empty() { 4 } else { 5 });
            prop_assert_eq!(tag(&tagger, &key, &limit), tag(&tagger, &key.clone(), &limit));
            prop_assert_ne!(tag(&tagger, &key, &limit), tag(&Tagger::new(), &key, &limit));
            prop_assert_ne!(tag(&tagger, &key, &limit), tag(&tagger, &key, &super::tests::limit(2)));
        }

        /// What is hashed beforehand tells as much as what is not, and so does the rest.
        #[test]
        fn keys_with_a_stem_differ_as_keys_do(
            place in prop::collection::vec(any::<u8>(), 1..40),
            rest in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 1..40),
            at: usize, with in 1_u8..,
        ) {
            let tagger = Tagger::new();
            let tag = |place: &[u8], rest: &[u8], limit: &Limit| {
                let stem = Some(tagger.stem(place, limit));
                let key = [place, rest].concat();
                tagger.tag(&Take { stem, ..Take::new(&key, limit, 1) }).0
            };
            let mut changed = rest.clone();
            changed[at % rest.len()] ^= with;
            let longer = [&rest[..], &[0]].concat();
            let mut all = HashSet::from([
                tag(&place, &rest, &limit(1)),
                tag(&place, &rest, &limit(2)),
                tag(&place, &changed, &limit(1)),
                tag(&place, &longer, &limit(1)),
                tag(&place, &rest[1..], &limit(1)),
                tag(&[&place[..], &[0]].concat(), &rest, &limit(1)),
            ]);
            prop_assert_eq!(all.len(), 6);
            prop_assert!(!all.insert(tag(&place, &rest, &limit(1))), "the same once more");
        }
    }

    /// A word that is all that differs decides by its own factor alone: none is left out, and the
    /// order counts.
    #[test]
    fn each_byte_of_a_key_counts_and_so_does_its_place() {
        let (tagger, limit) = (Tagger::new(), limit(1));
        for length in 1..8 * WORDS + 20 {
            let mut tags = HashSet::new();
            let mut key = vec![0; length];
            for place in 0..length {
                key[place] = 1;
                tags.insert(tag(&tagger, &key, &limit).0);
                key[place] = 0;
            }
            assert_eq!(tags.len(), length);
        }
    }

    #[test]
    fn calendars_of_all_places_are_told_apart() {
        let mut kinds = HashSet::new();
        for unit in [CalendarUnit::Day, CalendarUnit::Month] {
            for minutes in -14 * 60..=14 * 60 {
                let calendar = Calendar { unit, offset_seconds: minutes * 60 };
                let limit = Limit { algorithm: Algorithm::Calendar(calendar), ..limit(1) };
                assert!(kinds.insert(kind(&limit)), "{unit:?} {minutes}");
            }
        }
    }

    #[test]
    fn keys_in_a_row_fall_everywhere() {
        let (tagger, limit) = (Tagger::new(), limit(1));
        let (mut places, mut marks) = ([0_u32; 256], [0_u32; 256]);
        for number in 0..256 * 256_u32 {
            let tag = tag(&tagger, &[b"routes./a\0", &number.to_be_bytes()[..]].concat(), &limit);
            places[tag.0 as usize & 255] += 1;
            marks[usize::from(tag.mark() >> 8)] += 1;
        }
        // 256 each, give or take 16: seven times that is one chance in 10^9.
        for count in places.into_iter().chain(marks) {
            assert!((144..=368).contains(&count), "{count}");
        }
    }
}
