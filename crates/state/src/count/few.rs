//! A few counters of the sixty-one, those that are not zero: for keys that come in bursts.

use super::ring::BUCKETS;

/// How many there may be.
pub(super) const FEW: usize = 10;

/// Some of the buckets, the oldest first: how far back they are, and what they count.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Few {
    len: u8,
    back: [u8; FEW],
    count: [u16; FEW],
    /// What all of them count.
    total: u32,
}

impl Few {
    /// Of all buckets, the newest first. None: there are too many, or one counts too much.
    pub(super) fn of(all: impl Iterator<Item = u32>) -> Option<Self> {
        let mut few = Self::default();
        for (back, count) in all.enumerate().filter(|(_, count)| *count > 0) {
            let place = few.counters().count();
            *few.back.get_mut(place)? = u8::try_from(back).ok()?;
            *few.count.get_mut(place)? = u16::try_from(count).ok()?;
            few.len += 1;
        }
        let len = usize::from(few.len);
        few.back.get_mut(..len)?.reverse();
        few.count.get_mut(..len)?.reverse();
        few.total = few.sum();
        Some(few)
    }

    /// How far back each is, and what it counts, the oldest first.
    pub(super) fn counters(&self) -> impl Iterator<Item = (usize, u64)> {
        let all = self.back.iter().zip(&self.count).take(usize::from(self.len));
        all.map(|(back, count)| (usize::from(*back), u64::from(*count)))
    }

    /// So many buckets later.
    pub(super) fn moved(self, by: usize) -> Self {
        if by == 0 {
            return self;
        }
        let mut moved = Self::default();
        let mut kept = moved.back.iter_mut().zip(&mut moved.count);
        for (back, count) in self.counters() {
            if back + by < BUCKETS
                && count > 0
                && let Some((to, counts)) = kept.next()
            {
                (*to, *counts) = ((back + by) as u8, count as u16);
                moved.len += 1;
            }
        }
        moved.total = moved.sum();
        moved
    }

    fn sum(&self) -> u32 {
        self.counters().map(|(_, count)| count as u32).sum()
    }

    /// What all of them count.
    pub(super) fn total(self) -> u64 {
        self.total.into()
    }

    /// Adds to the newest, if it can count so much and there is room.
    pub(super) fn plus(mut self, cost: u64) -> Option<Self> {
        let len = usize::from(self.len);
        let last = len.checked_sub(1).filter(|last| self.back.get(*last) == Some(&0));
        let place = last.unwrap_or(len);
        let count = self.count.get_mut(place)?;
        let was = if last.is_some() { u64::from(*count) } else { 0 };
        *count = u16::try_from(was.checked_add(cost)?).ok()?;
        *self.back.get_mut(place)? = 0;
        self.len = place as u8 + 1;
        // So little that it fits the one.
        self.total += cost as u32;
        Some(self)
    }

    /// Takes from the counter of `back` buckets ago what it has of `cost`.
    pub(super) fn subtract(&mut self, back: usize, cost: u64) {
        let all = self.back.iter().zip(&mut self.count).take(usize::from(self.len));
        for (_, count) in all.filter(|(there, _)| usize::from(**there) == back) {
            let less = u64::from(*count).min(cost) as u16;
            *count -= less;
            self.total -= u32::from(less);
        }
    }

    /// How far back the bucket is with which so much has been counted, from the oldest on.
    pub(super) fn frees(self, missing: u64) -> Option<usize> {
        let mut sum = 0;
        let mut counters = self.counters();
        let enough = counters.find(|(_, count)| {
            sum += count;
            sum >= missing
        });
        enough.map(|(back, _)| back)
    }

    /// What the bucket counts that is so far back.
    pub(super) fn at(self, back: usize) -> u32 {
        let there = self.counters().find(|(there, _)| *there == back);
        there.map_or(0, |(_, count)| count as u32)
    }
}
