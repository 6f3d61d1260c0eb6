//! Where in a cell the entry of a key stands: a small open table of marks and places, four bytes
//! each. A mark is a part of the key's hash and says where to look first, so that the table is
//! made anew, and closed up where something has gone, without a look at any entry.

/// Most entries of a cell: fewer than there are marks, by which the slots are told apart.
pub(crate) const MOST: usize = 3 << 14;
/// The least number of slots.
const LEAST: usize = 8;

/// An open table with linear probing; its size is nothing or a power of two, up to 2^16.
#[derive(Default)]
pub(crate) struct Index {
    slots: Box<[Slot]>,
}

/// Above a mark, below it a place, counted from one: zero is an empty slot.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Slot(u32);

impl Slot {
    const EMPTY: Self = Self(0);

    fn new(mark: u16, place: usize) -> Self {
        Self(u32::from(mark) << 16 | (place as u32 + 1) & 0xffff)
    }

    fn mark(self) -> u16 {
        (self.0 >> 16) as u16
    }

    fn place(self) -> usize {
        (self.0 as usize & 0xffff).wrapping_sub(1)
    }
}

impl Index {
    /// The first place of this mark that `is` takes for the right one.
    pub(crate) fn find(&self, mark: u16, is: impl Fn(usize) -> bool) -> Option<usize> {
        self.slot(mark, is).and_then(|at| self.slots.get(at)).map(|slot| slot.place())
    }

    /// The number of that slot.
    fn slot(&self, mark: u16, is: impl Fn(usize) -> bool) -> Option<usize> {
        let mut at = self.home(mark);
        loop {
            let slot = self.slots.get(at)?;
            if *slot == Slot::EMPTY {
                return None;
            }
            if slot.mark() == mark && is(slot.place()) {
                return Some(at);
            }
            at = self.after(at);
        }
    }

    fn home(&self, mark: u16) -> usize {
        usize::from(mark) & self.slots.len().wrapping_sub(1)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & self.slots.len().wrapping_sub(1)
    }

    fn set(&mut self, at: usize, slot: Slot) {
        if let Some(there) = self.slots.get_mut(at) {
            *there = slot;
        }
    }

    /// Adds the place that comes after all the others. False when there are too many.
    pub(crate) fn push(&mut self, mark: u16, place: usize) -> bool {
        if place >= MOST {
            return false;
        }
        if self.is_tight(place) {
            self.resize((self.slots.len() * 2).max(LEAST));
        }
        self.put(Slot::new(mark, place));
        true
    }

    /// Whether there is room for no more than `count` places: three quarters of the slots.
    fn is_tight(&self, count: usize) -> bool {
        count >= self.slots.len() / 4 * 3
    }

    fn put(&mut self, new: Slot) {
        let mut at = self.home(new.mark());
        while self.slots.get(at).is_some_and(|slot| *slot != Slot::EMPTY) {
            at = self.after(at);
        }
        self.set(at, new);
    }

    fn resize(&mut self, size: usize) {
        let old = std::mem::replace(&mut self.slots, vec![Slot::EMPTY; size].into());
        old.iter().filter(|slot| **slot != Slot::EMPTY).for_each(|slot| self.put(*slot));
    }

    /// Takes a place away, and closes the gap. `left` places stay.
    pub(crate) fn remove(&mut self, mark: u16, place: usize, left: usize) {
        let Some(mut gap) = self.slot(mark, |there| there == place) else { return };
        let mut at = gap;
        loop {
            at = self.after(at);
            let Some(slot) = self.slots.get(at).copied() else { break };
            if slot == Slot::EMPTY {
                break;
            }
            // Whoever would be looked for before the gap cannot fill it.
            let mask = self.slots.len() - 1;
            let from_home = at.wrapping_sub(self.home(slot.mark())) & mask;
            if from_home >= at.wrapping_sub(gap) & mask {
                self.set(gap, slot);
                gap = at;
            }
        }
        self.set(gap, Slot::EMPTY);
        if self.slots.len() > LEAST && left < self.slots.len() / 16 * 3 {
            self.resize(self.slots.len() / 2);
        }
    }

    /// Says that what stood at one place now stands at another.
    pub(crate) fn rename(&mut self, mark: u16, from: usize, to: usize) {
        if let Some(at) = self.slot(mark, |place| place == from) {
            self.set(at, Slot::new(mark, to));
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    /// The bytes that a place more than `count` needs.
    pub(crate) fn more(&self, count: usize) -> usize {
        if self.is_tight(count) { self.bytes().max(LEAST * size_of::<Slot>()) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain list: few marks, so that many meet.
        #[test]
        fn every_place_is_found_by_its_mark_and_no_other(
            steps in prop::collection::vec((any::<bool>(), 0_u16..12, any::<usize>()), 1..400),
        ) {
            let mut index = Index::default();
            let mut marks: Vec<u16> = Vec::new();
            for (comes, mark, which) in steps {
                if comes || marks.is_empty() {
                    let mark = mark.wrapping_mul(0x9e37);
                    prop_assert!(index.push(mark, marks.len()));
                    marks.push(mark);
                } else {
                    let (place, last) = (which % marks.len(), marks.len() - 1);
                    let gone = marks.swap_remove(place);
                    index.remove(gone, place, marks.len());
                    if let Some(moved) = marks.get(place) {
                        index.rename(*moved, last, place);
                    }
                }
                for (place, mark) in marks.iter().enumerate() {
                    prop_assert_eq!(index.find(*mark, |there| there == place), Some(place));
                }
                let used = index.slots.iter().filter(|slot| **slot != Slot::EMPTY).count();
                prop_assert_eq!(used, marks.len());
                prop_assert!(used < index.slots.len() || used == 0);
            }
        }
    }

    #[test]
    fn it_is_as_large_as_its_places_need() {
        let mut index = Index::default();
        assert_eq!((index.bytes(), index.more(0)), (0, 32));
        for place in 0..MOST {
            let grown = index.bytes() + index.more(place);
            assert!(index.push((place * 7) as u16, place));
            assert_eq!(index.bytes(), grown, "{place}");
        }
        assert_eq!(index.bytes(), 4 << 16);
        assert!(!index.push(0, MOST), "no more");
        for place in (0..MOST).rev() {
            index.remove((place * 7) as u16, place, place);
        }
        assert_eq!(index.bytes(), 32);
    }
}
