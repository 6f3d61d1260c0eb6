//! The counters of which a gateway knows something: a bounded table of cells, each with a lock of
//! its own, held for a moment. What is full lets go of what will matter least.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lockgate_core::{Limit, Take};
use tokio::sync::watch;

use super::known::Known;
use crate::tag::{Tag, kind};

/// How many cells, a power of two.
const CELLS: usize = 4096;
/// Most rows of a cell: 49,152 counters in all, in some 15 MB.
const ROWS: usize = 12;

/// One counter.
pub(super) struct Row {
    tag: Tag,
    pub(super) key: Vec<u8>,
    pub(super) limit: Limit,
    pub(super) known: Known,
    /// Whether the next slice has been asked for; it is over when the other end is dropped.
    flight: Option<watch::Receiver<()>>,
    /// What those need who wait for it.
    pub(super) waiting: u64,
}

impl Row {
    pub(super) fn new(tag: Tag, key: Vec<u8>, limit: &Limit) -> Self {
        let (known, waiting) = Default::default();
        Self { tag, key, limit: limit.clone(), known, flight: None, waiting }
    }

    /// The flight that is under way.
    pub(super) fn flight(&self) -> Option<&watch::Receiver<()>> {
        self.flight.as_ref().filter(|flight| flight.has_changed().is_ok())
    }

    /// Begins one, which is over when what is returned is dropped.
    pub(super) fn take_off(&mut self) -> watch::Sender<()> {
        let (over, flight) = watch::channel(());
        self.flight = Some(flight);
        over
    }
}

pub(super) struct Table {
    cells: Box<[Mutex<Vec<Row>>]>,
    hasher: RandomState,
}

impl Table {
    pub(super) fn new() -> Self {
        let cells = (0..CELLS).map(|_| Mutex::default()).collect();
        Self { cells, hasher: RandomState::new() }
    }

    /// What stands for a take's counter. With another count it is another: what was known of the
    /// limit as it was says nothing of the limit as it is.
    pub(super) fn tag(&self, take: &Take<'_>) -> Tag {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(take.key);
        hasher.write_u64(take.limit.count);
        Tag(hasher.finish() ^ kind(take.limit))
    }

    fn cell(&self, tag: Tag) -> Option<MutexGuard<'_, Vec<Row>>> {
        let cell = self.cells.get(tag.0 as usize & (CELLS - 1))?;
        // A panic in between may have lost a slice, and no more.
        Some(cell.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at a counter's row.
    pub(super) fn with<T>(&self, tag: Tag, look: impl FnOnce(&mut Row) -> T) -> Option<T> {
        let mut cell = self.cell(tag)?;
        cell.iter_mut().find(|row| row.tag == tag).map(look)
    }

    /// The same; makes the row if need be. What has to go for it is returned too.
    pub(super) fn make<T>(
        &self,
        new: impl FnOnce() -> Row,
        tag: Tag,
        look: impl FnOnce(&mut Row) -> T,
    ) -> Option<(T, Option<Row>)> {
        let mut cell = self.cell(tag)?;
        if let Some(row) = cell.iter_mut().find(|row| row.tag == tag) {
            return Some((look(row), None));
        }
        let mut gone = None;
        if cell.len() >= ROWS {
            let least = cell.iter().enumerate().min_by_key(|(_, row)| row.known.matters());
            gone = least.map(|(place, _)| place).map(|place| cell.swap_remove(place));
        }
        let mut row = new();
        let looked = look(&mut row);
        cell.push(row);
        Some((looked, gone))
    }

    /// Looks at all rows, a cell at a time.
    pub(super) fn each(&self, mut look: impl FnMut(&mut Row)) {
        for cell in &self.cells {
            cell.lock().unwrap_or_else(PoisonError::into_inner).iter_mut().for_each(&mut look);
        }
    }
}
