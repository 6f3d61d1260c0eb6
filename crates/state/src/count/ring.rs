//! Sixty-one small counters in a ring. Most keys are met a few times in a window, so few counters
//! that are not zero stand in the entry itself; more of them get a ring on the heap, as narrow as
//! the largest allows.

/// How many buckets a ring has: those of one whole window, and the one that has begun.
pub(super) const BUCKETS: usize = 61;
/// How many buckets stand in the entry itself.
const FEW: usize = 6;

/// Counters of the buckets `head - 60` to `head`.
pub(super) enum Ring {
    /// Some of the buckets, the oldest first: how far back they are, and what they count.
    Few {
        len: u8,
        back: [u8; FEW],
        count: [u16; FEW],
    },
    /// All of them, each at its number modulo 61.
    Narrow(Box<[u8; BUCKETS]>),
    Middle(Box<[u16; BUCKETS]>),
    Wide(Box<[u32; BUCKETS]>),
}

impl Default for Ring {
    fn default() -> Self {
        Self::Few { len: 0, back: [0; FEW], count: [0; FEW] }
    }
}

impl Ring {
    /// What the buckets count together, but for the `gone` oldest ones.
    pub(super) fn total(&self, head: u64, gone: usize) -> u64 {
        match self {
            Self::Few { len, back, count } => {
                let few = back.iter().zip(count).take(usize::from(*len));
                let live = few.filter(|(back, _)| usize::from(**back) + gone < BUCKETS);
                live.map(|(_, count)| u64::from(*count)).sum()
            }
            Self::Narrow(ring) => total(ring, head, gone),
            Self::Middle(ring) => total(ring, head, gone),
            Self::Wide(ring) => total(ring, head, gone),
        }
    }

    /// The bucket that must be forgotten, with all before it, for so much to be free. The `gone`
    /// oldest ones are forgotten already. `None`: all of them together are too little.
    pub(super) fn frees(&self, head: u64, gone: usize, missing: u64) -> Option<u64> {
        let back = match self {
            Self::Few { len, back, count } => {
                let few = back.iter().zip(count).take(usize::from(*len));
                let live = few.filter(|(back, _)| usize::from(**back) + gone < BUCKETS);
                let mut sums = live.scan(0, |sum, (back, count)| {
                    *sum += u64::from(*count);
                    Some((*sum, u64::from(*back)))
                });
                sums.find(|(sum, _)| *sum >= missing)?.1
            }
            Self::Narrow(ring) => frees(ring, head, gone, missing)?,
            Self::Middle(ring) => frees(ring, head, gone, missing)?,
            Self::Wide(ring) => frees(ring, head, gone, missing)?,
        };
        head.checked_sub(back)
    }

    /// Moves on by so many buckets, and forgets as many of the oldest.
    pub(super) fn advance(&mut self, head: u64, by: usize) {
        if by >= BUCKETS {
            *self = Self::default();
            return;
        }
        match self {
            Self::Few { len, back, count } => {
                let mut kept = 0;
                for from in 0..usize::from(*len) {
                    let moved = back.get(from).map_or(BUCKETS, |back| usize::from(*back) + by);
                    let was = count.get(from).copied().unwrap_or_default();
                    if moved < BUCKETS && was > 0 {
                        set(back, kept, moved as u8);
                        set(count, kept, was);
                        kept += 1;
                    }
                }
                *len = kept as u8;
            }
            Self::Narrow(ring) => clear(ring, head, by),
            Self::Middle(ring) => clear(ring, head, by),
            Self::Wide(ring) => clear(ring, head, by),
        }
    }

    /// Counts in the newest bucket.
    pub(super) fn add(&mut self, head: u64, cost: u64) {
        let fits = match self {
            Self::Few { len, back, count } => add_few(len, back, count, cost),
            Self::Narrow(ring) => add(ring, head, cost),
            Self::Middle(ring) => add(ring, head, cost),
            Self::Wide(ring) => add(ring, head, cost),
        };
        if !fits {
            let mut all = self.spread(head);
            if let Some(newest) = all.get_mut(place(head)) {
                *newest = newest.saturating_add(u32::try_from(cost).unwrap_or(u32::MAX));
            }
            *self = Self::dense(&all);
        }
    }

    /// Takes from a bucket what it has of `cost`.
    pub(super) fn subtract(&mut self, head: u64, bucket: u64, cost: u64) {
        let Some(gap) = head.checked_sub(bucket).filter(|gap| *gap < BUCKETS as u64) else {
            return;
        };
        match self {
            Self::Few { len, back, count } => {
                let few = back.iter().zip(count.iter_mut()).take(usize::from(*len));
                for (_, count) in few.filter(|(back, _)| u64::from(**back) == gap) {
                    *count = u64::from(*count).saturating_sub(cost) as u16;
                }
            }
            Self::Narrow(ring) => subtract(ring, bucket, cost),
            Self::Middle(ring) => subtract(ring, bucket, cost),
            Self::Wide(ring) => subtract(ring, bucket, cost),
        }
    }

    /// All buckets, each at its number modulo 61.
    fn spread(&self, head: u64) -> [u32; BUCKETS] {
        let mut all = [0; BUCKETS];
        match self {
            Self::Few { len, back, count } => {
                for (back, count) in back.iter().zip(count).take(usize::from(*len)) {
                    let bucket = head.saturating_sub(u64::from(*back));
                    set(&mut all, place(bucket), u32::from(*count));
                }
            }
            Self::Narrow(ring) => copy(ring.as_slice(), &mut all),
            Self::Middle(ring) => copy(ring.as_slice(), &mut all),
            Self::Wide(ring) => copy(ring.as_slice(), &mut all),
        }
        all
    }

    fn dense(all: &[u32; BUCKETS]) -> Self {
        let most = all.iter().copied().max().unwrap_or_default();
        if most <= u32::from(u8::MAX) {
            return Self::Narrow(Box::new(all.map(|count| count as u8)));
        }
        if most <= u32::from(u16::MAX) {
            return Self::Middle(Box::new(all.map(|count| count as u16)));
        }
        Self::Wide(Box::new(*all))
    }

    /// Bytes on the heap.
    pub(super) fn heap(&self) -> usize {
        match self {
            Self::Few { .. } => 0,
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

fn copy<T: Copy + Into<u32>>(ring: &[T], all: &mut [u32; BUCKETS]) {
    for (to, from) in all.iter_mut().zip(ring) {
        *to = (*from).into();
    }
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
    let sum = |part: &[T]| part.iter().map(|count| (*count).into()).sum::<u64>();
    let (old, new) = live(ring, head, gone);
    sum(old) + sum(new)
}

/// How far back the bucket is with which so much has been counted, from the oldest on.
fn frees<T: Width>(ring: &[T; BUCKETS], head: u64, gone: usize, missing: u64) -> Option<u64> {
    let (old, new) = live(ring, head, gone);
    let mut sums = old.iter().chain(new).scan(0, |sum, count| {
        *sum += (*count).into();
        Some(*sum)
    });
    let place = sums.position(|sum| sum >= missing)?;
    (old.len() + new.len()).checked_sub(place + 1).map(|back| back as u64)
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

fn add_few(len: &mut u8, back: &mut [u8; FEW], count: &mut [u16; FEW], cost: u64) -> bool {
    let used = usize::from(*len);
    let newest = back.iter().take(used).position(|back| *back == 0).unwrap_or(used);
    let was = if newest < used { count.get(newest).copied().unwrap_or_default() } else { 0 };
    let Ok(sum) = u16::try_from(u64::from(was).saturating_add(cost)) else { return false };
    let Some(there) = count.get_mut(newest) else { return false };
    *there = sum;
    if newest == used {
        set(back, newest, 0);
        *len += 1;
    }
    true
}
