//! Sixty-one counters in a ring. Most keys are met a few times in a bucket at most, or in a few
//! buckets, so that small counters, or few, stand in the entry itself; for more there is a ring on
//! the heap, as narrow as the largest allows.

use super::few::Few;
use super::nibbles::Nibbles;

/// How many buckets a ring has: those of one whole window, and the one that has begun.
pub(super) const BUCKETS: usize = 61;

/// Counters of the buckets `head - 60` to `head`.
pub(super) enum Ring {
    /// Up to 15 each.
    Nibbles(Nibbles),
    /// More, in few of the buckets.
    Few(Few),
    /// More, each at its number modulo 61.
    Narrow(Box<[u8; BUCKETS]>),
    Middle(Box<[u16; BUCKETS]>),
    Wide(Box<[u32; BUCKETS]>),
}

/// What came of taking where that is done in the entry itself.
pub(super) enum Taken {
    /// It is counted. What remains.
    Here(u64),
    /// So much counts already that it is refused.
    TooMuch(u64),
    /// It is not done.
    Elsewhere,
}

impl Default for Ring {
    fn default() -> Self {
        Self::Nibbles(Nibbles::default())
    }
}

impl Ring {
    /// What the buckets count together, but for the `gone` oldest ones.
    pub(super) fn total(&self, head: u64, gone: usize) -> u64 {
        match self {
            Self::Nibbles(nibbles) => nibbles.moved(gone).total(),
            Self::Few(few) => few.moved(gone).total(),
            Self::Narrow(ring) => total(ring, head, gone),
            Self::Middle(ring) => total(ring, head, gone),
            Self::Wide(ring) => total(ring, head, gone),
        }
    }

    /// The bucket that must be forgotten, with all before it, for so much to be free. The `gone`
    /// oldest ones are forgotten already. `None`: all of them together are too little.
    pub(super) fn frees(&self, head: u64, gone: usize, missing: u64) -> Option<u64> {
        let back = match self {
            Self::Nibbles(nibbles) => nibbles.moved(gone).frees(missing)?.checked_sub(gone)?,
            Self::Few(few) => few.moved(gone).frees(missing)?.checked_sub(gone)?,
            Self::Narrow(ring) => frees(ring, head, gone, missing)?,
            Self::Middle(ring) => frees(ring, head, gone, missing)?,
            Self::Wide(ring) => frees(ring, head, gone, missing)?,
        };
        head.checked_sub(back as u64)
    }

    /// Moves on by so many buckets and counts, if that is done in the entry itself and not more
    /// than `most` count then.
    #[inline(always)]
    pub(super) fn take_here(&mut self, by: usize, cost: u64, most: u64) -> Taken {
        let left = |total: u64| most.saturating_sub(total).checked_sub(cost);
        match self {
            Self::Nibbles(nibbles) => {
                let moved = nibbles.moved(by);
                let total = moved.total();
                let Some(left) = left(total) else { return Taken::TooMuch(total) };
                let Some(more) = moved.plus(cost) else { return Taken::Elsewhere };
                *nibbles = more;
                Taken::Here(left)
            }
            Self::Few(few) => {
                let moved = few.moved(by);
                let total = moved.total();
                let Some(left) = left(total) else { return Taken::TooMuch(total) };
                let Some(more) = moved.plus(cost) else { return Taken::Elsewhere };
                *few = more;
                Taken::Here(left)
            }
            _ => Taken::Elsewhere,
        }
    }

    /// The same once more, if it stands in the entry itself.
    pub(super) fn copied(&self) -> Option<Self> {
        match self {
            Self::Nibbles(nibbles) => Some(Self::Nibbles(*nibbles)),
            Self::Few(few) => Some(Self::Few(*few)),
            _ => None,
        }
    }

    /// Moves on by so many buckets, and forgets as many of the oldest.
    pub(super) fn advance(&mut self, head: u64, by: usize) {
        if by >= BUCKETS {
            *self = Self::default();
            return;
        }
        match self {
            Self::Nibbles(nibbles) => *nibbles = nibbles.moved(by),
            Self::Few(few) => *few = few.moved(by),
            Self::Narrow(ring) => clear(ring, head, by),
            Self::Middle(ring) => clear(ring, head, by),
            Self::Wide(ring) => clear(ring, head, by),
        }
    }

    /// Counts in the newest bucket.
    pub(super) fn add(&mut self, head: u64, cost: u64) {
        let fits = match self {
            Self::Nibbles(nibbles) => nibbles.plus(cost).map(|more| *nibbles = more).is_some(),
            Self::Few(few) => few.plus(cost).map(|more| *few = more).is_some(),
            Self::Narrow(ring) => add(ring, head, cost),
            Self::Middle(ring) => add(ring, head, cost),
            Self::Wide(ring) => add(ring, head, cost),
        };
        if !fits {
            let mut all = self.spread(head);
            if let Some(newest) = all.first_mut() {
                *newest = newest.saturating_add(u32::try_from(cost).unwrap_or(u32::MAX));
            }
            *self = Self::of(&all, head);
        }
    }

    /// Takes from a bucket what it has of `cost`.
    pub(super) fn subtract(&mut self, head: u64, bucket: u64, cost: u64) {
        let Some(gap) = head.checked_sub(bucket).filter(|gap| *gap < BUCKETS as u64) else {
            return;
        };
        match self {
            Self::Nibbles(nibbles) => nibbles.subtract(gap as usize, cost),
            Self::Few(few) => few.subtract(gap as usize, cost),
            Self::Narrow(ring) => subtract(ring, bucket, cost),
            Self::Middle(ring) => subtract(ring, bucket, cost),
            Self::Wide(ring) => subtract(ring, bucket, cost),
        }
    }

    /// All buckets, the newest first.
    fn spread(&self, head: u64) -> [u32; BUCKETS] {
        std::array::from_fn(|back| match self {
            Self::Nibbles(nibbles) => nibbles.at(back),
            Self::Few(few) => few.at(back),
            Self::Narrow(ring) => at(ring, head, back).into(),
            Self::Middle(ring) => at(ring, head, back).into(),
            Self::Wide(ring) => at(ring, head, back),
        })
    }

    /// As small as can be.
    fn of(all: &[u32; BUCKETS], head: u64) -> Self {
        if let Some(nibbles) = Nibbles::of(all) {
            return Self::Nibbles(nibbles);
        }
        if let Some(few) = Few::of(all.iter().copied()) {
            return Self::Few(few);
        }
        let most = all.iter().copied().max().unwrap_or_default();
        if most <= u32::from(u8::MAX) {
            return Self::Narrow(Box::new(ring(all, head, |count| count as u8)));
        }
        if most <= u32::from(u16::MAX) {
            return Self::Middle(Box::new(ring(all, head, |count| count as u16)));
        }
        Self::Wide(Box::new(ring(all, head, |count| count)))
    }

    /// Bytes on the heap.
    pub(super) fn heap(&self) -> usize {
        match self {
            Self::Nibbles(_) | Self::Few(_) => 0,
            Self::Narrow(ring) => size_of_val(&**ring),
            Self::Middle(ring) => size_of_val(&**ring),
            Self::Wide(ring) => size_of_val(&**ring),
        }
    }
}

/// A counter's width.
trait Width: Copy + Into<u64> + TryFrom<u64> + Default {}
impl<T: Copy + Into<u64> + TryFrom<u64> + Default> Width for T {}

/// Where a bucket stands in a ring.
fn place(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}

fn set<T>(list: &mut [T], place: usize, value: T) {
    if let Some(there) = list.get_mut(place) {
        *there = value;
    }
}

/// What a bucket counts that is so far back.
fn at<T: Width>(ring: &[T; BUCKETS], head: u64, back: usize) -> T {
    let bucket = head.checked_sub(back as u64);
    bucket.and_then(|bucket| ring.get(place(bucket))).copied().unwrap_or_default()
}

fn ring<T: Width>(all: &[u32; BUCKETS], head: u64, narrow: fn(u32) -> T) -> [T; BUCKETS] {
    let mut ring = [T::default(); BUCKETS];
    for (back, count) in all.iter().enumerate() {
        // Before the first bucket of all there was none, and nothing to count.
        let Some(bucket) = head.checked_sub(back as u64) else { break };
        set(&mut ring, place(bucket), narrow(*count));
    }
    ring
}

/// The buckets that are not forgotten, the oldest first, in two parts.
fn live<T>(ring: &[T; BUCKETS], head: u64, gone: usize) -> (&[T], &[T]) {
    // The oldest stands after the newest.
    let first = place(head + 1 + gone as u64);
    let last = place(head);
    let (old, new) = match gone {
        BUCKETS.. => (None, None),
        _ if first <= last => (ring.get(first..=last), None),
        _ => (ring.get(first..), ring.get(..=last)),
    };
    (old.unwrap_or_default(), new.unwrap_or_default())
}

fn total<T: Width>(ring: &[T; BUCKETS], head: u64, gone: usize) -> u64 {
    if gone >= BUCKETS {
        return 0;
    }
    // A ring is busy, so that few are gone: all in one go, less those.
    let all: u64 = ring.iter().map(|count| (*count).into()).sum();
    let forgotten = (1..=gone as u64).filter_map(|step| ring.get(place(head + step)));
    all - forgotten.map(|count| (*count).into()).sum::<u64>()
}

/// How far back the bucket is with which so much has been counted, from the oldest on.
fn frees<T: Width>(ring: &[T; BUCKETS], head: u64, gone: usize, missing: u64) -> Option<usize> {
    let (old, new) = live(ring, head, gone);
    let mut sums = old.iter().chain(new).scan(0, |sum, count| {
        *sum += (*count).into();
        Some(*sum)
    });
    let place = sums.position(|sum| sum >= missing)?;
    (old.len() + new.len()).checked_sub(place + 1)
}

fn clear<T: Width>(ring: &mut [T; BUCKETS], head: u64, by: usize) {
    for step in 1..=by as u64 {
        set(ring, place(head + step), T::default());
    }
}

fn add<T: Width>(ring: &mut [T; BUCKETS], head: u64, cost: u64) -> bool {
    let Some(there) = ring.get_mut(place(head)) else { return false };
    let Ok(sum) = T::try_from((*there).into().saturating_add(cost)) else { return false };
    *there = sum;
    true
}

fn subtract<T: Width>(ring: &mut [T; BUCKETS], bucket: u64, cost: u64) {
    if let Some(there) = ring.get_mut(place(bucket)) {
        *there = T::try_from((*there).into().saturating_sub(cost)).unwrap_or_default();
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
