//! One cell of the table: the entries of the keys whose hash leads here, sixteen of them on average
//! when the table is full. A cell is one line of the processor's cache, and an entry another, so a
//! key is found with two misses. All that is done in a cell is done under its lock, and is little.

use crate::count::Count;
use crate::view::Name;

/// A key's hash, which stands for it: SipHash under a random key of the process, so nobody outside
/// can make two keys meet. By chance, one new key in 2 * 10^13 meets one of a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tag(pub(crate) u64);

impl Tag {
    /// One byte of it that the cell's place does not depend on.
    fn mark(self) -> u8 {
        (self.0 >> 56) as u8
    }
}

/// What is kept under a key.
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
pub(crate) const ENTRY: usize = size_of::<Entry>();
/// Most entries of a cell.
const MOST: usize = 24;
/// How many places are made at once.
pub(crate) const STEP: usize = 4;

#[derive(Default)]
pub(crate) struct Cell {
    /// A byte of each entry's tag, so that most that are not meant need not be looked at.
    marks: [u8; MOST],
    entries: Vec<Entry>,
    /// What the entries have on the heap.
    heap: u32,
    /// Where eviction looks next, and where forgetting does: together they would skip places.
    hand: u8,
    broom: u8,
}

impl Cell {
    pub(crate) fn find(&mut self, tag: Tag) -> Option<&mut Entry> {
        let marks = self.marks.get(..self.entries.len())?;
        let mut found = memchr::memchr_iter(tag.mark(), marks);
        let place = found.find(|place| self.entries.get(*place).is_some_and(|e| e.tag == tag))?;
        self.entries.get_mut(place)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes held: of all places, used or not, and of what is on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * ENTRY + self.heap as usize
    }

    /// Whether no more entries may come.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= MOST
    }

    /// Whether one more entry needs more memory.
    pub(crate) fn is_tight(&self) -> bool {
        self.entries.len() == self.entries.capacity()
    }

    /// Adds an entry, unless the cell is full.
    pub(crate) fn push(&mut self, entry: Entry) -> bool {
        let Some(mark) = self.marks.get_mut(self.entries.len()) else { return false };
        *mark = entry.tag.mark();
        if self.is_tight() {
            self.entries.reserve_exact(STEP);
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
        self.marks.swap(place, last);
        self.resized(gone.heap(), 0);
        if self.entries.capacity() >= self.entries.len() + 3 * STEP {
            self.entries.shrink_to(self.entries.len() + STEP);
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
fn next(hand: &mut u8, count: usize) -> usize {
    *hand = if usize::from(*hand) + 1 < count { *hand + 1 } else { 0 };
    usize::from(*hand)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_a_cache_line_and_so_is_an_entry() {
        assert_eq!(size_of::<std::sync::Mutex<Cell>>(), 64);
        assert_eq!(ENTRY, 64);
    }
}
