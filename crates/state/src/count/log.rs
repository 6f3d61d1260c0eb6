//! The sliding log: the time of each event of the last window, exact. The oldest and the newest
//! stand in the entry itself, so that most often nothing else is looked at; those between in a ring
//! on the heap, each in as few bytes as tell the times of one window apart: five for a minute.

use std::time::Duration;

use lockgate_core::{Grant, Limit};

use super::until;
use crate::clock::{Now, nanos};

#[derive(Default)]
pub(crate) struct Log {
    oldest: u64,
    newest: u64,
    /// How many events there are, and where in the ring the second one stands.
    len: u32,
    first: u32,
    ring: Box<[u8]>,
}

/// The least number of places that a ring is made with.
const LEAST: usize = 6;

/// How times are kept in a ring: by their last bytes. All of them are less than a window older than
/// the newest, which tells the rest.
#[derive(Clone, Copy)]
struct Width(usize);

impl Width {
    fn of(window: u64) -> Self {
        let bits = u64::BITS - (window.max(1) - 1).leading_zeros();
        Self(bits.div_ceil(8).max(1) as usize)
    }

    fn mask(self) -> u64 {
        u64::MAX >> (u64::BITS as usize - 8 * self.0)
    }

    /// How many times a ring has room for. Each is read as eight bytes, the last one too.
    fn places(self, bytes: usize) -> usize {
        bytes.saturating_sub(8 - self.0) / self.0
    }

    fn bytes(self, places: usize) -> usize {
        places * self.0 + 8 - self.0
    }

    fn read(self, ring: &[u8], place: usize) -> u64 {
        let bytes = ring.get(place * self.0..).and_then(<[u8]>::first_chunk::<8>);
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes)) & self.mask()
    }

    fn write(self, ring: &mut [u8], place: usize, time: u64) {
        let bytes = ring.get_mut(place * self.0..).and_then(<[u8]>::first_chunk_mut::<8>);
        let Some(bytes) = bytes else { return };
        let others = u64::from_le_bytes(*bytes) & !self.mask();
        *bytes = (time & self.mask() | others).to_le_bytes();
    }
}

impl Log {
    fn len(&self) -> usize {
        self.len as usize
    }

    /// Where in the ring an event stands that is neither the first nor the last.
    fn place(&self, width: Width, event: usize) -> usize {
        let (place, places) = (self.first as usize + event - 1, width.places(self.ring.len()));
        if place < places { place } else { place - places }
    }

    /// An event's time, counted from the oldest.
    fn time(&self, width: Width, event: usize) -> u64 {
        match event {
            0 => self.oldest,
            _ if event + 1 >= self.len() => self.newest,
            _ => {
                let kept = width.read(&self.ring, self.place(width, event));
                self.newest - (self.newest.wrapping_sub(kept) & width.mask()).min(self.newest)
            }
        }
    }

    /// How many of the oldest have been forgotten.
    fn gone(&self, window: u64, now: Now) -> usize {
        let forgotten = |at: u64| now.mono.saturating_sub(at) >= window;
        if self.len == 0 || !forgotten(self.oldest) {
            return 0;
        }
        if forgotten(self.newest) {
            return self.len();
        }
        // Most often it is one: no need to look about in all of them.
        let (width, last) = (Width::of(window), self.len() - 1);
        let (mut low, mut high) = (1, 1);
        while high < last && forgotten(self.time(width, high)) {
            (low, high) = (high + 1, (2 * high).min(last));
        }
        while low < high {
            let middle = low.midpoint(high);
            if forgotten(self.time(width, middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    pub(super) fn look(&self, limit: &Limit, now: Now, cost: u64) -> Grant {
        let window = nanos(limit.window);
        let gone = self.gone(window, now);
        let total = (self.len() - gone) as u64;
        let remaining = limit.count.saturating_sub(total);
        let allowed = cost <= remaining;
        let left = |at: u64| until(at.saturating_add(window), now.mono);
        let reset = if total > 0 { left(self.newest) } else { Duration::ZERO };
        let mut wait = Duration::ZERO;
        if !allowed {
            // More than the limit is asked for: never.
            let last = usize::try_from(cost - remaining).ok().map(|missing| gone + missing - 1);
            let last = last.filter(|last| *last < self.len());
            wait = last.map_or(limit.window, |last| left(self.time(Width::of(window), last)));
        }
        Grant { allowed, remaining, reset, wait, at: 0 }
    }

    /// Takes what a look has allowed. When all of it is forgotten.
    pub(super) fn spend(&mut self, limit: &Limit, now: Now, cost: u64) -> u64 {
        let window = nanos(limit.window);
        self.forget(window, self.gone(window, now));
        self.add(limit, now, cost)
    }

    /// A look and, if it allows, a spending, in one go: what remains after it, and when all is
    /// forgotten.
    pub(super) fn take(&mut self, limit: &Limit, now: Now, cost: u64) -> Option<(u64, u64)> {
        let window = nanos(limit.window);
        let gone = self.gone(window, now);
        let total = (self.len() - gone) as u64;
        let remaining = limit.count.checked_sub(total)?.checked_sub(cost)?;
        self.forget(window, gone);
        Some((remaining, self.add(limit, now, cost)))
    }

    fn forget(&mut self, window: u64, gone: usize) {
        if gone == 0 {
            return;
        }
        if gone >= self.len() {
            (self.len, self.first) = (0, 0);
            return;
        }
        let width = Width::of(window);
        self.oldest = self.time(width, gone);
        if gone + 2 < self.len() {
            self.first = self.place(width, gone + 1) as u32;
        }
        self.len -= gone as u32;
    }

    fn add(&mut self, limit: &Limit, now: Now, cost: u64) -> u64 {
        let window = nanos(limit.window);
        // Another thread may have seen a later moment already.
        let at = if self.len == 0 { now.mono } else { now.mono.max(self.newest) };
        let width = Width::of(window);
        for left in (0..cost).rev() {
            match self.len {
                0 => self.oldest = at,
                1 => {}
                _ => self.keep_newest(width, left, limit.count),
            }
            self.newest = at;
            self.len = self.len.saturating_add(1);
        }
        at.saturating_add(window)
    }

    /// Puts the newest event into the ring, before `left` more and another one.
    fn keep_newest(&mut self, width: Width, left: u64, most: u64) {
        let (between, places) = (self.len() - 2, width.places(self.ring.len()));
        if between == places {
            let more = between + usize::try_from(left).unwrap_or(usize::MAX).saturating_add(1);
            let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(2);
            // Not by much: where the oldest goes, the newest comes, on the same line of memory.
            self.grow(width, (places + places / 8 + 4).max(LEAST).min(most).max(more));
        }
        if between == 0 {
            self.first = 0;
        }
        let place = self.place(width, between + 1);
        width.write(&mut self.ring, place, self.newest);
    }

    fn grow(&mut self, width: Width, places: usize) {
        let mut ring = vec![0; width.bytes(places)];
        for event in 1..self.len().saturating_sub(1) {
            width.write(&mut ring, event - 1, width.read(&self.ring, self.place(width, event)));
        }
        (self.ring, self.first) = (ring.into(), 0);
    }

    pub(super) fn give_back(&mut self, limit: &Limit, cost: u64, at: u64) {
        let width = Width::of(nanos(limit.window));
        let len = self.len();
        // Where it was kept under a later moment, that is the nearest one.
        let (mut from, mut high) = (0, len);
        while from < high {
            let middle = from.midpoint(high);
            if self.time(width, middle) < at {
                from = middle + 1;
            } else {
                high = middle;
            }
        }
        let same = (from..len).take_while(|event| {
            *event == from || self.time(width, *event) == self.time(width, from)
        });
        let cost = usize::try_from(cost).unwrap_or(usize::MAX);
        let gone = same.take(cost).count();
        if gone > 0 {
            self.remove(width, from, gone);
        }
    }

    /// Takes some events out of the middle.
    fn remove(&mut self, width: Width, from: usize, gone: usize) {
        let left = self.len() - gone;
        let Some(last) = left.checked_sub(1) else {
            (self.len, self.first) = (0, 0);
            return;
        };
        let newest = self.time(width, if last < from { last } else { last + gone });
        for event in from..last {
            let time = self.time(width, event + gone);
            if event == 0 {
                self.oldest = time;
            } else {
                let place = self.place(width, event);
                width.write(&mut self.ring, place, time);
            }
        }
        (self.newest, self.len) = (newest, left as u32);
        if left == 1 {
            self.oldest = newest;
        }
    }

    pub(super) fn heap(&self) -> usize {
        self.ring.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use lockgate_core::Algorithm;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain list of all the times: windows just below, at and above what a number
        /// of bytes can tell apart, events that come at once, and some that are given back.
        #[test]
        fn it_keeps_what_a_list_keeps(
            bits in 0_u32..56, off in -1_i64..=1, most in 1_u64..40,
            steps in prop::collection::vec((0_u64..1_500, 0_u64..4, any::<u32>()), 1..300),
        ) {
            let window = (1_u64 << bits).saturating_add_signed(off).max(1);
            let (algorithm, count) = (Algorithm::SlidingLog, most);
            let limit =
                Limit { algorithm, count, window: Duration::from_nanos(window), burst: 1 };
            let (mut log, mut list, mut at) = (Log::default(), VecDeque::new(), 7_u64);
            for (parts, cost, which) in steps {
                let step = u128::from(parts) * u128::from(window) / 1_000 / 20;
                at += u64::try_from(step).unwrap() + parts % 2;
                let cost = cost.min(most);
                let now = Now { mono: at, unix: Duration::ZERO };
                let live = list.iter().filter(|time| at - **time < window).count() as u64;
                let took = log.take(&limit, now, cost);
                prop_assert_eq!(took.map(|took| took.0), most.checked_sub(live + cost));
                if took.is_some() {
                    list.retain(|time| at - *time < window);
                    list.extend((0..cost).map(|_| at));
                }
                let width = Width::of(window);
                let times: VecDeque<u64> =
                    (0..log.len()).map(|event| log.time(width, event)).collect();
                prop_assert_eq!(&times, &list);
                prop_assert!(log.heap() <= width.bytes((2 * most as usize).max(LEAST)));
                if which % 4 == 0 && !list.is_empty() {
                    let time = list[which as usize / 4 % list.len()];
                    let from = list.partition_point(|other| *other < time);
                    log.give_back(&limit, 1, time);
                    list.remove(from);
                }
            }
        }
    }

    #[test]
    fn a_time_takes_as_many_bytes_as_its_window_needs() {
        let nanos = |time: Duration| Width::of(nanos(time)).0;
        assert_eq!(nanos(Duration::from_secs(1)), 4);
        assert_eq!(nanos(Duration::from_secs(60)), 5);
        assert_eq!(nanos(Duration::from_secs(86_400)), 6);
        assert_eq!(Width::of(u64::MAX).0, 8);
        let limit = Limit {
            algorithm: Algorithm::SlidingLog,
            count: 100,
            window: Duration::from_secs(60),
            burst: 1,
        };
        let mut log = Log::default();
        let sizes: Vec<usize> = (0..100)
            .map(|mono| {
                log.take(&limit, Now { mono, unix: Duration::ZERO }, 1).unwrap();
                log.heap()
            })
            .collect();
        assert_eq!((sizes[0], sizes[1], sizes[2]), (0, 0, 33), "two stand in the entry");
        assert_eq!(sizes[99], 493, "no more than the limit can need");
    }
}
