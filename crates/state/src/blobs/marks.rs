//! Purges without a search: each purge is a number, counted up, and a blob is purged when the last
//! purge of anything that it bears is later than its stamp.
//!
//! Tags share a fixed number of slots by their hash; two tags in one slot purge too much, never
//! too little. Of purges by pattern the last few are kept; what is older than those that had to be
//! forgotten counts as purged.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use lockgate_core::{Blob, Glob, Purge, Tag};

/// Slots for whole URIs (4 MiB when all are in use), of which each write marks one.
const URI_PAGES: usize = 1 << 10;
/// Slots for all other tags (1 MiB).
const WORD_PAGES: usize = 1 << 8;
/// Slots that are made together, when the first of them is marked.
const PAGE: usize = 512;
/// Most patterns that are remembered.
const PATTERNS: usize = 64;

pub(super) struct Marks {
    /// How many purges there were.
    count: AtomicU64,
    /// The last purge of everything.
    all: AtomicU64,
    uris: Slots,
    words: Slots,
    /// The last purge by pattern.
    last_pattern: AtomicU64,
    patterns: Mutex<VecDeque<(u64, Glob)>>,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            count: AtomicU64::new(0),
            all: AtomicU64::new(0),
            uris: Slots::new(URI_PAGES),
            words: Slots::new(WORD_PAGES),
            last_pattern: AtomicU64::new(0),
            patterns: Mutex::default(),
        }
    }
}

impl Marks {
    pub(super) fn now(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    pub(super) fn purge(&self, what: &Purge) {
        match what {
            Purge::All => drop(self.all.fetch_max(self.reserve(), Ordering::AcqRel)),
            Purge::Tag(tag) => self.slots(*tag).mark(tag.hash(), self.reserve()),
            Purge::Names(glob) => self.pattern(glob),
        }
        // Whoever sees the new count sees the mark too, and looks.
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// The number of the purge that is about to be marked: later than every stamp so far. Stamps
    /// that are taken between the mark and the count are of before the purge, and fall under it.
    fn reserve(&self) -> u64 {
        self.count.load(Ordering::Acquire) + 1
    }

    fn pattern(&self, glob: &Glob) {
        let mut patterns = self.patterns.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.reserve();
        patterns.retain(|(_, old)| old != glob);
        if patterns.len() == PATTERNS
            && let Some((forgotten, _)) = patterns.pop_front()
        {
            self.all.fetch_max(forgotten, Ordering::AcqRel);
        }
        patterns.push_back((number, glob.clone()));
        self.last_pattern.fetch_max(number, Ordering::AcqRel);
    }

    /// Whether something has purged a blob since its stamp.
    pub(super) fn purged(&self, blob: &Blob) -> bool {
        let stamp = blob.stamp;
        if self.all.load(Ordering::Acquire) > stamp {
            return true;
        }
        if blob.tags.iter().any(|tag| self.slots(*tag).last(tag.hash()) > stamp) {
            return true;
        }
        if self.last_pattern.load(Ordering::Acquire) <= stamp {
            return false;
        }
        let patterns = self.patterns.lock().unwrap_or_else(PoisonError::into_inner);
        let mut later = patterns.iter().rev().take_while(|(number, _)| *number > stamp);
        later.any(|(_, glob)| glob.fits(&blob.name))
    }

    fn slots(&self, tag: Tag) -> &Slots {
        if tag.hash() & 1 == 1 { &self.uris } else { &self.words }
    }
}

type Page = Box<[AtomicU64; PAGE]>;

struct Slots(Box<[OnceLock<Page>]>);

impl Slots {
    fn new(pages: usize) -> Self {
        Self((0..pages).map(|_| OnceLock::new()).collect())
    }

    fn last(&self, hash: u64) -> u64 {
        let (page, slot) = self.place(hash);
        let page = self.0.get(page).and_then(OnceLock::get);
        page.and_then(|page| page.get(slot)).map_or(0, |slot| slot.load(Ordering::Acquire))
    }

    fn mark(&self, hash: u64, number: u64) {
        let (page, slot) = self.place(hash);
        let Some(page) = self.0.get(page) else { return };
        let page = page.get_or_init(|| Box::new([const { AtomicU64::new(0) }; PAGE]));
        if let Some(slot) = page.get(slot) {
            slot.fetch_max(number, Ordering::AcqRel);
        }
    }

    fn place(&self, hash: u64) -> (usize, usize) {
        // Not the lowest bit: it tells the kinds apart.
        let hash = (hash >> 1) as usize;
        ((hash / PAGE) % self.0.len(), hash % PAGE)
    }
}
