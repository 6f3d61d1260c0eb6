//! Purges without a search: each purge is a number, counted up, and a blob is purged when the last
//! purge of anything that it bears is later than its stamp.
//!
//! Tags share a fixed number of slots by their hash; two tags in one slot purge too much, never
//! too little. Of purges by pattern the last few are kept; what is older than those that had to be
//! forgotten counts as purged.
//!
//! The count may be led by a log that several processes share: then it is never less than the last
//! number that was seen of it.

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

    /// Purges what there is now. The mark is later than every stamp so far; stamps that are taken
    /// between the mark and the count are of before the purge, and fall under it.
    pub(super) fn purge(&self, what: &Purge) {
        loop {
            let now = self.now();
            self.mark(what, now + 1);
            // Whoever sees the new count sees the mark too, and looks. Where another has counted
            // meanwhile, stamps may have been taken that the mark does not reach.
            let counted =
                self.count.compare_exchange(now, now + 1, Ordering::AcqRel, Ordering::Acquire);
            if counted.is_ok() {
                return;
            }
        }
    }

    /// A purge of this number, made elsewhere.
    pub(super) fn heard(&self, what: &Purge, number: u64) {
        self.mark(what, number);
        // A new count each time, as what is found unpurged is not looked at again within one.
        let counted = |count: u64| Some(number.max(count + 1));
        let _ = self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, counted);
    }

    /// A number that has been seen: stamps from now on are no less.
    pub(super) fn reach(&self, number: u64) {
        self.count.fetch_max(number, Ordering::AcqRel);
    }

    fn mark(&self, what: &Purge, number: u64) {
        match what {
            Purge::All => drop(self.all.fetch_max(number, Ordering::AcqRel)),
            Purge::Tag(tag) => self.slots(*tag).mark(tag.hash(), number),
            Purge::Names(glob) => self.pattern(glob, number),
        }
    }

    fn pattern(&self, glob: &Glob, number: u64) {
        let mut patterns = self.patterns.lock().unwrap_or_else(PoisonError::into_inner);
        let same = patterns.iter().find(|(_, old)| old == glob).map_or(0, |(number, _)| *number);
        let number = number.max(same);
        patterns.retain(|(_, old)| old != glob);
        if patterns.len() == PATTERNS
            && let Some((forgotten, _)) = patterns.pop_front()
        {
            self.all.fetch_max(forgotten, Ordering::AcqRel);
        }
        // In the order of their numbers, whatever the order in which they are heard.
        let place = patterns.partition_point(|(other, _)| *other <= number);
        patterns.insert(place, (number, glob.clone()));
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
