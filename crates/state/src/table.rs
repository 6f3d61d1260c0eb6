//! One cell of the table: some hundred entries and a small index of them, under one lock. Cells are
//! few and grow with their keys, so that a table with few keys is small, and of the memory that a
//! decision touches only the entry itself, one line of the processor's cache, is likely to be far.

use crate::count::Count;
use crate::index::{Index, MOST};
use crate::view::Name;

/// A key's hash, which stands for it: SipHash under a random key of the process, so nobody outside
/// can make two keys meet. By chance, one new key in 2 * 10^13 meets one of a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tag(pub(crate) u64);

impl Tag {
    /// The part of it that the cell's place does not depend on.
    fn mark(self) -> u16 {
        (self.0 >> 48) as u16
    }
}

/// What is kept under a key. Aligned, so that it is never spread over two lines.
#[repr(align(64))]
pub(crate) struct Entry {
    pub(crate) tag: Tag,
    pub(crate) count: Count,
    /// What operators call it, if they may ask.
    pub(crate) name: Option<Box<Name>>,
    /// When it will be as if it had never been, in seconds of the store's clock.
    pub(crate) until: u32,
    /// When it was last met, in ticks.
    pub(crate) met: u32,
    /// How warm it is: it cools when others come, and is evicted when cold.
    pub(crate) warmth: u8,
}

/// As warm as it gets.
const HOT: u8 = 14;
/// What being met once more warms it by.
const WARMER: u8 = 2;
/// How many entries are looked at for one that can go.
const LOOKED_AT: usize = 12;

impl Entry {
    pub(crate) fn meet(&mut self, tick: u32) {
        // Once a tick, so that a burst does not make it hot for long.
        if self.met != tick {
            self.met = tick;
            self.warmth = (self.warmth + WARMER).min(HOT);
        }
    }

    fn heap(&self) -> usize {
        self.count.heap() + self.name.as_ref().map_or(0, |name| name.heap())
    }
}

/// Bytes of an entry without what it has on the heap.
const ENTRY: usize = size_of::<Entry>();
/// The least number of places that are made at once; of many, a quarter more.
const STEP: usize = 4;

#[derive(Default)]
pub(crate) struct Cell {
    index: Index,
    entries: Vec<Entry>,
    /// What the entries have on the heap.
    heap: u32,
    /// Where eviction looks next, and where forgetting does: together they would skip places.
    hand: u16,
    broom: u16,
}

impl Cell {
    pub(crate) fn find(&mut self, tag: Tag) -> Option<&mut Entry> {
        let is = |place: usize| self.entries.get(place).is_some_and(|entry| entry.tag == tag);
        let place = self.index.find(tag.mark(), is)?;
        self.entries.get_mut(place)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes held: of all places, used or not, of the index, and of what is on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * ENTRY + self.index.bytes() + self.heap as usize
    }

    /// Whether no more entries may come.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= MOST
    }

    /// The bytes that one more entry needs.
    pub(crate) fn more(&self) -> usize {
        let tight = self.entries.len() == self.entries.capacity();
        let places = if tight { self.step() } else { 0 };
        places * ENTRY + self.index.more(self.entries.len())
    }

    fn step(&self) -> usize {
        (self.entries.len() / 4).max(STEP)
    }

    /// Adds an entry, unless the cell is full.
    pub(crate) fn push(&mut self, entry: Entry) -> bool {
        if !self.index.push(entry.tag.mark(), self.entries.len()) {
            return false;
        }
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(self.step());
        }
        self.resized(0, entry.heap());
        self.entries.push(entry);
        true
    }

    /// Says that an entry's heap has changed from what it was.
    pub(crate) fn resized(&mut self, was: usize, is: usize) {
        let heap = (self.heap as usize + is).saturating_sub(was);
        self.heap = u32::try_from(heap).unwrap_or(u32::MAX);
    }

    fn remove(&mut self, place: usize) {
        let Some(last) = self.entries.len().checked_sub(1).filter(|last| place <= *last) else {
            return;
        };
        let gone = self.entries.swap_remove(place);
        self.index.remove(gone.tag.mark(), place, last);
        if let Some(moved) = self.entries.get(place) {
            self.index.rename(moved.tag.mark(), last, place);
        }
        self.resized(gone.heap(), 0);
        if self.entries.capacity() >= self.entries.len() + 3 * self.step() {
            self.entries.shrink_to(self.entries.len() + self.step());
        }
    }

    /// Lets go of the entries among the next few that no longer say anything. How many.
    pub(crate) fn forget(&mut self, second: u32) -> usize {
        let mut gone = 0;
        for _ in 0..LOOKED_AT.min(self.entries.len()) {
            let place = next(&mut self.broom, self.entries.len());
            if self.entries.get(place).is_some_and(|entry| entry.until <= second) {
                self.remove(place);
                gone += 1;
            }
        }
        gone
    }

    /// Evicts the first cold entry, or the coldest of the next few; those passed over cool. A key
    /// that comes again is warm, so a flood of keys that come once pushes out its own, unless it
    /// fills the table more than once between two visits of the other. False:
    /// there is none but those that are to be kept.
    pub(crate) fn evict(&mut self, keep: &[Tag]) -> bool {
        let mut coldest: Option<(u8, u32, usize)> = None;
        for _ in 0..LOOKED_AT.min(self.entries.len()) {
            let place = next(&mut self.hand, self.entries.len());
            let Some(entry) = self.entries.get_mut(place) else { continue };
            if keep.contains(&entry.tag) {
                continue;
            }
            let one = (entry.warmth, entry.met, place);
            coldest = Some(coldest.map_or(one, |least| least.min(one)));
            if entry.warmth == 0 {
                break;
            }
            entry.warmth -= 1;
        }
        if let Some((_, _, place)) = coldest {
            self.remove(place);
        }
        coldest.is_some()
    }
}

/// Moves a hand on by one of `count` places.
fn next(hand: &mut u16, count: usize) -> usize {
    *hand = if usize::from(*hand) + 1 < count { *hand + 1 } else { 0 };
    usize::from(*hand)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_a_cache_line_and_so_is_an_entry() {
        assert!(size_of::<std::sync::Mutex<Cell>>() <= 64);
        assert_eq!(ENTRY, 64);
    }
}
