//! One cell of the table: the entries of the keys whose hash leads here, some sixty of them when
//! the table is full. All that is done in a cell is done under its lock and takes well under a
//! microsecond: to look a key up is a scan of one byte for each entry.

use crate::count::Count;
use crate::view::Name;

/// A key's 128-bit hash, which stands for it. Both halves are SipHash under random keys of the
/// process, so nobody outside can make two keys meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tag(pub(crate) u64, pub(crate) u64);

impl Tag {
    /// One byte of it that the cell's place does not depend on.
    fn mark(self) -> u8 {
        self.1 as u8
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
const LOOKED_AT: usize = 16;

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

/// Bytes of an entry without what it has on the heap: itself and its mark.
pub(crate) const ENTRY: usize = size_of::<Entry>() + 1;

#[derive(Default)]
pub(crate) struct Cell {
    marks: Vec<u8>,
    entries: Vec<Entry>,
    /// Where eviction looks next, and where forgetting does: together they would skip places.
    hand: u32,
    broom: u32,
    /// What the entries have on the heap.
    heap: usize,
}

impl Cell {
    pub(crate) fn find(&mut self, tag: Tag) -> Option<&mut Entry> {
        let mut found = memchr::memchr_iter(tag.mark(), &self.marks);
        let place = found.find(|place| self.entries.get(*place).is_some_and(|e| e.tag == tag))?;
        self.entries.get_mut(place)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes held: of all places, used or not, and of what is on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * ENTRY + self.heap
    }

    /// Whether one more entry needs more memory.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() == self.entries.capacity()
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        if self.is_full() {
            let more = (self.entries.len() / 4).max(4);
            self.entries.reserve_exact(more);
            self.marks.reserve_exact(more);
        }
        self.heap += entry.heap();
        self.marks.push(entry.tag.mark());
        self.entries.push(entry);
    }

    /// Says that an entry's heap has changed from what it was.
    pub(crate) fn resized(&mut self, was: usize, is: usize) {
        self.heap = (self.heap + is).saturating_sub(was);
    }

    fn remove(&mut self, place: usize) {
        if place < self.entries.len() {
            let gone = self.entries.swap_remove(place);
            self.heap = self.heap.saturating_sub(gone.heap());
            self.marks.swap_remove(place);
            if self.entries.capacity() > 2 * self.entries.len() + 16 {
                self.entries.shrink_to(self.entries.len() + 4);
                self.marks.shrink_to(self.marks.len() + 4);
            }
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
fn next(hand: &mut u32, count: usize) -> usize {
    *hand = if (*hand as usize) + 1 < count { *hand + 1 } else { 0 };
    *hand as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_cache_line_and_a_word() {
        assert!(ENTRY <= 73, "{ENTRY}");
        assert!(size_of::<std::sync::Mutex<Cell>>() <= 80);
    }
}
