//! The sliding log: the time of each event of the last window, exact. The oldest and the newest
//! stand in the entry itself, some after the one and some before the other in a line beside it, and
//! those between in a ring on the heap, each in as few bytes as tell the times of one window apart:
//! five for a minute.

use std::time::Duration;

use lockgate_core::{Grant, Limit};

use super::near::Near;
use super::{Taking, until};
use crate::clock::{Now, nanos};

#[derive(Default)]
pub(crate) struct Log {
    oldest: u64,
    newest: u64,
    /// How many events there are, and where in the ring the first one of those between stands.
    len: u32,
    first: u32,
    ring: Box<[u8]>,
}

/// The least number of places that a ring is made with.
const LEAST: usize = 11;

/// How times are kept in a ring: by their last bytes. All of them are less than a window older than
/// the newest, which tells the rest.
#[derive(Clone, Copy)]
pub(super) struct Width(pub(super) usize);

impl Width {
    fn of(window: u64) -> Self {
        let bits = u64::BITS - (window.max(1) - 1).leading_zeros();
        Self(bits.div_ceil(8).max(1) as usize)
    }

    fn mask(self) -> u64 {
        u64::MAX >> (u64::BITS as usize - 8 * self.0)
    }

    /// How many times a ring has room for. Each is read as eight bytes, the last one too.
    pub(super) fn places(self, bytes: usize) -> usize {
        bytes.saturating_sub(8 - self.0) / self.0
    }

    fn bytes(self, places: usize) -> usize {
        places * self.0 + 8 - self.0
    }

    pub(super) fn read(self, ring: &[u8], place: usize) -> u64 {
        let bytes = ring.get(place * self.0..).and_then(<[u8]>::first_chunk::<8>);
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes)) & self.mask()
    }

    pub(super) fn write(self, ring: &mut [u8], place: usize, time: u64) {
        let bytes = ring.get_mut(place * self.0..).and_then(<[u8]>::first_chunk_mut::<8>);
        let Some(bytes) = bytes else { return };
        let others = u64::from_le_bytes(*bytes) & !self.mask();
        *bytes = (time & self.mask() | others).to_le_bytes();
    }
}

/// Where an event stands that is neither the oldest nor the newest, by its number there.
enum Spot {
    Old(usize),
    Ring(usize),
    New(usize),
}

impl Log {
    fn len(&self) -> usize {
        self.len as usize
    }

    /// How many events stand in the ring.
    fn between(&self, near: &Near) -> usize {
        self.len().saturating_sub(2 + near.olds() + near.news())
    }

    /// The place in the ring of one of those.
    fn place(&self, width: Width, number: usize) -> usize {
        let (place, places) = (self.first as usize + number, width.places(self.ring.len()));
        if place < places { place } else { place - places }
    }

    /// Of events after the oldest, but for the newest.
    fn spot(&self, near: &Near, event: usize) -> Spot {
        let number = event - 1;
        if number < near.olds() {
            return Spot::Old(number);
        }
        let (number, between) = (number - near.olds(), self.between(near));
        if number < between { Spot::Ring(number) } else { Spot::New(number - between) }
    }

    /// An event's time, counted from the oldest.
    fn time(&self, near: &Near, width: Width, event: usize) -> u64 {
        if event == 0 {
            return self.oldest;
        }
        if event + 1 >= self.len() {
            return self.newest;
        }
        let kept = match self.spot(near, event) {
            Spot::Old(number) => near.old_time(width, number),
            Spot::Ring(number) => width.read(&self.ring, self.place(width, number)),
            Spot::New(number) => near.new_time(width, number),
        };
        self.whole(width, kept)
    }

    /// The time of which so much is kept.
    fn whole(&self, width: Width, kept: u64) -> u64 {
        self.newest - (self.newest.wrapping_sub(kept) & width.mask()).min(self.newest)
    }

    fn set_time(&mut self, near: &mut Near, width: Width, event: usize, time: u64) {
        if event == 0 {
            self.oldest = time;
            return;
        }
        match self.spot(near, event) {
            Spot::Old(number) => near.set_old(width, number, time),
            Spot::Ring(number) => {
                let place = self.place(width, number);
                width.write(&mut self.ring, place, time);
            }
            Spot::New(number) => near.set_new(width, number, time),
        }
    }

    /// How many of the oldest have been forgotten.
    fn gone(&self, near: &Near, window: u64, now: Now) -> usize {
        let forgotten = |at: u64| now.mono.saturating_sub(at) >= window;
        if self.len == 0 || !forgotten(self.oldest) {
            return 0;
        }
        if forgotten(self.newest) {
            return self.len();
        }
        // Most often it is one, or some of those that stand near.
        let (width, last, olds) = (Width::of(window), self.len() - 1, near.olds());
        let is_gone = |number| forgotten(self.whole(width, near.old_time(width, number)));
        let stays = (0..olds).find(|number| !is_gone(*number));
        if let Some(number) = stays {
            return number + 1;
        }
        let (mut low, mut high) = (olds + 1, olds + 1);
        while high < last && forgotten(self.time(near, width, high)) {
            (low, high) = (high + 1, (2 * high).min(last));
        }
        while low < high {
            let middle = low.midpoint(high);
            if forgotten(self.time(near, width, middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    pub(super) fn look(&self, near: &Near, limit: &Limit, now: Now, cost: u64) -> Grant {
        let window = nanos(limit.window);
        self.said(near, limit, now, cost, self.gone(near, window, now))
    }

    /// What there is to say where so many are forgotten.
    fn said(&self, near: &Near, limit: &Limit, now: Now, cost: u64, gone: usize) -> Grant {
        let window = nanos(limit.window);
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
            let time = |last| left(self.time(near, Width::of(window), last));
            wait = last.map_or(limit.window, time);
        }
        Grant { allowed, remaining, reset, wait, at: 0 }
    }

    /// Takes what a look has allowed. When all of it is forgotten.
    pub(super) fn spend(&mut self, near: &mut Near, limit: &Limit, now: Now, cost: u64) -> u64 {
        let window = nanos(limit.window);
        self.forget(near, Width::of(window), self.gone(near, window, now));
        self.add(near, limit, now, cost)
    }

    /// A look and, if it allows, a spending, in one go.
    pub(super) fn take(&mut self, near: &mut Near, limit: &Limit, now: Now, cost: u64) -> Taking {
        let window = nanos(limit.window);
        let gone = self.gone(near, window, now);
        let total = (self.len() - gone) as u64;
        let Some(remaining) = limit.count.saturating_sub(total).checked_sub(cost) else {
            return Taking::Refused(self.said(near, limit, now, cost, gone));
        };
        self.forget(near, Width::of(window), gone);
        Taking::Here(remaining, self.add(near, limit, now, cost))
    }

    fn forget(&mut self, near: &mut Near, width: Width, gone: usize) {
        if gone == 0 {
            return;
        }
        if gone >= self.len() {
            self.clear(near);
            return;
        }
        self.oldest = self.time(near, width, gone);
        let between = self.between(near);
        let mut rest = gone.min(self.len() - 2);
        let old = rest.min(near.olds());
        rest -= old;
        let middle = rest.min(between);
        self.first = self.place(width, middle) as u32;
        near.forget(width, old, rest - middle);
        self.len -= gone as u32;
        if near.olds() == 0 {
            self.come_near(near, width);
        }
    }

    fn clear(&mut self, near: &mut Near) {
        (self.len, self.first) = (0, 0);
        near.clear();
    }

    /// The old ones are all gone: others take their places.
    fn come_near(&mut self, near: &mut Near, width: Width) {
        let between = self.between(near);
        if between == 0 {
            near.age(width);
            return;
        }
        for number in 0..between.min(near.old_room(width)) {
            let time = width.read(&self.ring, self.place(width, number));
            near.push_old(width, time);
        }
        self.first = self.place(width, near.olds()) as u32;
        // While the ring is at hand, the new ones may go there.
        let free = width.places(self.ring.len()) - self.between(near);
        if near.news() <= free {
            self.go_far(near, width);
        }
    }

    /// Moves the new ones into the ring, which has room for them.
    fn go_far(&mut self, near: &mut Near, width: Width) {
        let between = self.between(near);
        for number in 0..near.news() {
            let place = self.place(width, between + number);
            width.write(&mut self.ring, place, near.new_time(width, number));
        }
        near.take_back(0, near.news());
    }

    fn add(&mut self, near: &mut Near, limit: &Limit, now: Now, cost: u64) -> u64 {
        let window = nanos(limit.window);
        // Another thread may have seen a later moment already.
        let at = if self.len == 0 { now.mono } else { now.mono.max(self.newest) };
        let width = Width::of(window);
        for _ in 0..cost {
            match self.len {
                0 => self.oldest = at,
                1 => {}
                _ => self.keep_newest(near, width, limit.count),
            }
            self.newest = at;
            self.len = self.len.saturating_add(1);
        }
        at.saturating_add(window)
    }

    /// Puts the newest event among those before it, as another one comes.
    fn keep_newest(&mut self, near: &mut Near, width: Width, most: u64) {
        let between = self.between(near);
        if between == 0 && near.news() == 0 && near.old_room(width) > 0 {
            near.push_old(width, self.newest);
            return;
        }
        if near.new_room(width) == 0 {
            let (need, places) = (between + near.news(), width.places(self.ring.len()));
            if need > places {
                let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(2);
                let more = (places + places / 8 + 4).max(LEAST).min(most).max(need);
                self.grow(width, between, more);
            }
            self.go_far(near, width);
        }
        near.push_new(width, self.newest);
    }

    fn grow(&mut self, width: Width, between: usize, places: usize) {
        let mut ring = vec![0; width.bytes(places)];
        for number in 0..between {
            let time = width.read(&self.ring, self.place(width, number));
            width.write(&mut ring, number, time);
        }
        (self.ring, self.first) = (ring.into(), 0);
    }

    pub(super) fn give_back(&mut self, near: &mut Near, limit: &Limit, cost: u64, at: u64) {
        let width = Width::of(nanos(limit.window));
        let len = self.len();
        // Where it was kept under a later moment, that is the nearest one.
        let (mut from, mut high) = (0, len);
        while from < high {
            let middle = from.midpoint(high);
            if self.time(near, width, middle) < at {
                from = middle + 1;
            } else {
                high = middle;
            }
        }
        let same = (from..len).take_while(|event| {
            *event == from || self.time(near, width, *event) == self.time(near, width, from)
        });
        let cost = usize::try_from(cost).unwrap_or(usize::MAX);
        let gone = same.take(cost).count();
        if gone > 0 {
            self.remove(near, width, from, gone);
        }
    }

    /// Takes some events out of the middle.
    fn remove(&mut self, near: &mut Near, width: Width, from: usize, gone: usize) {
        let left = self.len() - gone;
        let Some(last) = left.checked_sub(1) else {
            self.clear(near);
            return;
        };
        let newest = self.time(near, width, if last < from { last } else { last + gone });
        for event in from..last {
            let time = self.time(near, width, event + gone);
            self.set_time(near, width, event, time);
        }
        // There are so many fewer between the oldest and the newest.
        let fewer = self.len() - left.max(2);
        let new = fewer.min(near.news());
        let old = (fewer - new).saturating_sub(self.between(near));
        near.take_back(old, new);
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
            let (mut log, mut near) = (Log::default(), Near::default());
            let (mut list, mut at) = (VecDeque::new(), 7_u64);
            for (parts, cost, which) in steps {
                let step = u128::from(parts) * u128::from(window) / 1_000 / 20;
                at += u64::try_from(step).unwrap() + parts % 2;
                let cost = cost.min(most);
                let now = Now { mono: at, unix: Duration::ZERO };
                let live = list.iter().filter(|time| at - **time < window).count() as u64;
                let took = match log.take(&mut near, &limit, now, cost) {
                    Taking::Here(remaining, _) => Some(remaining),
                    _ => None,
                };
                prop_assert_eq!(took, most.checked_sub(live + cost));
                if took.is_some() {
                    list.retain(|time| at - *time < window);
                    list.extend((0..cost).map(|_| at));
                }
                let width = Width::of(window);
                let times: VecDeque<u64> =
                    (0..log.len()).map(|event| log.time(&near, width, event)).collect();
                prop_assert_eq!(&times, &list);
                prop_assert!(log.heap() <= width.bytes((2 * most as usize).max(LEAST)));
                if which % 4 == 0 && !list.is_empty() {
                    let time = list[which as usize / 4 % list.len()];
                    let from = list.partition_point(|other| *other < time);
                    log.give_back(&mut near, &limit, 1, time);
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
        let (mut log, mut near) = (Log::default(), Near::default());
        let sizes: Vec<usize> = (0..100)
            .map(|mono| {
                let taking = log.take(&mut near, &limit, Now { mono, unix: Duration::ZERO }, 1);
                assert!(matches!(taking, Taking::Here(..)));
                log.heap()
            })
            .collect();
        assert_eq!((sizes[11], sizes[12]), (0, 58), "two stand in the entry, and ten beside it");
        assert_eq!(sizes[99], 493, "no more than the limit can need");
    }
}
