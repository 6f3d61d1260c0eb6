//! One cell of the table: some hundred entries and a small index of them, under one lock. Cells are
//! few and grow with their keys, so that a table with few keys is small, and of the memory that a
//! decision touches only the entry itself, one line of the processor's cache, is likely to be far.

use crate::count::{Count, Near};
use crate::index::{Index, MOST};
use crate::tag::Tag;

/// What is kept under a key. Aligned, so that it is never spread over two lines.
#[repr(align(64))]
pub(crate) struct Entry {
    pub(crate) tag: Tag,
    pub(crate) count: Count,
    /// When it will be as if it had never been, in turns of the store's clock.
    pub(crate) until: u32,
    pub(crate) warmth: Warmth,
}

/// How warm an entry is, and above that, the tick of the clock when it was last met. It cools when
/// others come, and is evicted when cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Warmth(u32);

/// Bits of the warmth itself.
const BITS: u32 = 4;
/// As warm as it gets.
const HOT: u32 = 14;
/// What being met once more warms it by.
const WARMER: u32 = 2;
/// How many entries are looked at for one that can go.
const LOOKED_AT: usize = 12;
/// How many are looked at for what is over, each time that one comes: so of those that are over, a
/// third as many stay as there are others.
const SWEPT: usize = 4;

impl Warmth {
    /// Of what is met for the first time.
    pub(crate) fn new(tick: u32) -> Self {
        Self(tick << BITS)
    }

    /// Warms it once a tick, so that a burst does not make it hot for long.
    pub(crate) fn meet(&mut self, tick: u32) {
        if self.0 >> BITS << BITS != tick << BITS {
            self.0 = tick << BITS | (self.degree() + WARMER).min(HOT);
        }
    }

    fn degree(self) -> u32 {
        self.0 & ((1 << BITS) - 1)
    }

    fn cool(&mut self) {
        self.0 -= u32::from(self.degree() > 0);
    }
}

/// Bytes of an entry without what it has on the heap, of the line beside it, and of what holds
/// those of a cell.
const ENTRY: usize = size_of::<Entry>();
const NEAR: usize = size_of::<Near>();
const NEARS: usize = size_of::<Nears>();
/// The least number of places that are made at once; of many, a quarter more.
const STEP: usize = 4;

#[derive(Default)]
pub(crate) struct Cell {
    index: Index,
    entries: Vec<Entry>,
    /// Once there has been a log, the line beside each entry.
    nears: Option<Box<Nears>>,
    /// What the entries have on the heap.
    heap: u32,
    /// Where eviction looks next, and where forgetting does: together they would skip places.
    hand: u16,
    broom: u16,
}

#[derive(Default)]
struct Nears {
    lines: Vec<Near>,
}

/// An entry, and the line beside it.
pub(crate) struct Found<'c> {
    pub(crate) entry: &'c mut Entry,
    near: Option<&'c mut Near>,
}

impl Found<'_> {
    /// Both, for those who may look at the line: one of nothing where there is none.
    #[inline]
    pub(crate) fn with<T>(self, then: impl FnOnce(&mut Entry, &mut Near) -> T) -> T {
        match self.near {
            Some(near) => then(self.entry, near),
            None => then(self.entry, &mut Near::default()),
        }
    }
}

impl Cell {
    #[inline]
    pub(crate) fn find(&mut self, tag: Tag) -> Option<Found<'_>> {
        let place = self.position(tag)?;
        self.at(place)
    }

    /// Where an entry stands, until another one comes or goes.
    #[inline]
    pub(crate) fn position(&self, tag: Tag) -> Option<usize> {
        let is = |place: usize| self.entries.get(place).is_some_and(|entry| entry.tag == tag);
        self.index.find(tag.mark(), is)
    }

    /// The entry that stands there.
    #[inline]
    pub(crate) fn at(&mut self, place: usize) -> Option<Found<'_>> {
        let near = self.nears.as_mut().and_then(|nears| nears.lines.get_mut(place));
        Some(Found { entry: self.entries.get_mut(place)?, near })
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes held: of all places, used or not, of the index, and of what is on the heap.
    pub(crate) fn bytes(&self) -> usize {
        let nears = self.nears.as_ref().map_or(0, |nears| nears.lines.capacity() * NEAR + NEARS);
        self.entries.capacity() * ENTRY + self.index.bytes() + nears + self.heap as usize
    }

    /// Whether no more entries may come.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= MOST
    }

    /// The bytes that one more entry needs.
    pub(crate) fn more(&self, is_log: bool) -> usize {
        let tight = self.entries.len() == self.entries.capacity();
        let places = if tight { self.step() } else { 0 };
        let nears = match &self.nears {
            Some(_) => places * NEAR,
            None if is_log => (self.entries.capacity() + places) * NEAR + NEARS,
            None => 0,
        };
        places * ENTRY + nears + self.index.more(self.entries.len())
    }

    fn step(&self) -> usize {
        (self.entries.len() / 4).max(STEP)
    }

    /// Adds an entry with the line beside it, unless the cell is full.
    pub(crate) fn push(&mut self, entry: Entry, near: Near) -> bool {
        if !self.index.push(entry.tag.mark(), self.entries.len()) {
            return false;
        }
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(self.step());
        }
        self.resized(0, entry.count.heap());
        if entry.count.is_log() || self.nears.is_some() {
            let (len, room) = (self.entries.len(), self.entries.capacity());
            let lines = &mut self.nears.get_or_insert_default().lines;
            lines.reserve_exact(room - lines.len());
            lines.resize(len, Near::default());
            lines.push(near);
        }
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
        self.index.swap_remove(place, last);
        self.resized(gone.count.heap(), 0);
        if let Some(nears) = &mut self.nears {
            nears.lines.swap_remove(place);
        }
        if self.entries.capacity() >= self.entries.len() + 3 * self.step() {
            let room = self.entries.len() + self.step();
            self.entries.shrink_to(room);
            if let Some(nears) = &mut self.nears {
                nears.lines.shrink_to(room);
            }
        }
    }

    /// Lets go of the entries among the next few that no longer say anything. How many.
    pub(crate) fn forget(&mut self, turn: u32) -> usize {
        let mut gone = 0;
        for _ in 0..SWEPT.min(self.entries.len()) {
            let place = next(&mut self.broom, self.entries.len());
            if self.entries.get(place).is_some_and(|entry| entry.until <= turn) {
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
        let mut coldest: Option<(u32, Warmth, usize)> = None;
        for _ in 0..LOOKED_AT.min(self.entries.len()) {
            let place = next(&mut self.hand, self.entries.len());
            let Some(entry) = self.entries.get_mut(place) else { continue };
            if keep.contains(&entry.tag) {
                continue;
            }
            let one = (entry.warmth.degree(), entry.warmth, place);
            coldest = Some(coldest.map_or(one, |least| least.min(one)));
            if entry.warmth.degree() == 0 {
                break;
            }
            entry.warmth.cool();
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
    fn what_is_met_again_is_warmer_and_cools_to_nothing() {
        let mut warmth = Warmth::new(7);
        warmth.meet(7);
        assert_eq!(warmth.degree(), 0, "a burst is one visit");
        (8..30).for_each(|tick| warmth.meet(tick));
        assert_eq!((warmth.degree(), warmth.0 >> BITS), (HOT, 29));
        (0..20).for_each(|_| warmth.cool());
        assert_eq!((warmth.degree(), warmth.0 >> BITS), (0, 29));
    }

    #[test]
    fn a_cell_is_a_cache_line_and_so_is_an_entry() {
        assert!(size_of::<std::sync::Mutex<Cell>>() <= 64);
        assert_eq!(ENTRY, 64);
    }
}
