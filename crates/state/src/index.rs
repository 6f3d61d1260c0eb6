//! Where in a cell the entry of a key stands: for each entry, in their order, a mark, which is a
//! part of its key's hash. A cell has so few entries that to look through the marks of all, sixteen
//! at a time, takes less than the line of memory that a table of places would be.

/// Most entries of a cell: several times what a full table has in each.
pub(crate) const MOST: usize = 1 << 12;
/// Marks that are looked through at once.
const ROW: usize = 16;
/// Bytes of so many.
const BYTES: usize = size_of::<[u16; ROW]>();

/// The marks of a cell. Those of the last row that belong to no entry are whatever was there.
#[derive(Default)]
pub(crate) struct Index {
    rows: Box<[[u16; ROW]]>,
}

impl Index {
    /// The first place of this mark that `is` takes for the right one.
    #[inline]
    pub(crate) fn find(&self, mark: u16, is: impl Fn(usize) -> bool) -> Option<usize> {
        for (number, row) in self.rows.iter().enumerate() {
            // All of them, so that the processor compares them side by side.
            if !row.iter().fold(false, |any, one| any | (*one == mark)) {
                continue;
            }
            for (place, one) in row.iter().enumerate() {
                let place = number * ROW + place;
                if *one == mark && is(place) {
                    return Some(place);
                }
            }
        }
        None
    }

    /// Adds the place that comes after all the others. False when there are too many.
    pub(crate) fn push(&mut self, mark: u16, place: usize) -> bool {
        if place >= MOST {
            return false;
        }
        if place / ROW >= self.rows.len() {
            self.resize(place / ROW + 1);
        }
        self.set(place, mark);
        true
    }

    /// Takes a place away: the last one of all takes its number.
    pub(crate) fn swap_remove(&mut self, place: usize, last: usize) {
        let moved = self.rows.get(last / ROW).and_then(|row| row.get(last % ROW)).copied();
        self.set(place, moved.unwrap_or_default());
        // One row more than there must be, so that one that comes and goes costs nothing.
        if self.rows.len() > last.div_ceil(ROW) + 1 {
            self.resize(last.div_ceil(ROW));
        }
    }

    fn resize(&mut self, rows: usize) {
        let mut all = std::mem::take(&mut self.rows).into_vec();
        all.reserve_exact(rows.saturating_sub(all.len()));
        all.resize(rows, [0; ROW]);
        self.rows = all.into();
    }

    fn set(&mut self, place: usize, mark: u16) {
        if let Some(there) = self.rows.get_mut(place / ROW).and_then(|row| row.get_mut(place % ROW))
        {
            *there = mark;
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.len() * BYTES
    }

    /// The bytes that a place more than `count` needs.
    pub(crate) fn more(&self, count: usize) -> usize {
        if count / ROW >= self.rows.len() { BYTES } else { 0 }
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
            steps in prop::collection::vec((0_u8..5, 0_u16..12, any::<usize>()), 1..400),
        ) {
            let mut index = Index::default();
            let mut marks: Vec<u16> = Vec::new();
            for (comes, mark, which) in steps {
                if comes > 1 || marks.is_empty() {
                    let bytes = index.bytes() + index.more(marks.len());
                    prop_assert!(index.push(mark, marks.len()));
                    prop_assert_eq!(index.bytes(), bytes);
                    marks.push(mark);
                } else {
                    let (place, last) = (which % marks.len(), marks.len() - 1);
                    marks.swap_remove(place);
                    index.swap_remove(place, last);
                }
                for (place, mark) in marks.iter().enumerate() {
                    prop_assert_eq!(index.find(*mark, |there| there == place), Some(place));
                }
                let is = |place: usize| marks.get(place).is_some_and(|mark| *mark == 7);
                prop_assert_eq!(index.find(7, is), marks.iter().position(|mark| *mark == 7));
            }
        }
    }

    #[test]
    fn it_is_as_large_as_its_places_need() {
        let mut index = Index::default();
        assert_eq!((index.bytes(), index.more(0)), (0, 32));
        for place in 0..MOST {
            assert!(index.push((place * 7) as u16, place));
            assert_eq!(index.bytes(), place / ROW * 32 + 32, "{place}");
        }
        assert!(!index.push(0, MOST), "no more");
        for last in (0..MOST).rev() {
            index.swap_remove(last, last);
            assert!(index.bytes() <= last.div_ceil(ROW) * 32 + 32, "{last}");
        }
    }
}
