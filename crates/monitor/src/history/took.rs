//! How long answers took: spreads of minutes, hours and days, so many of each and no more.

use std::collections::BTreeMap;

use lockgate_telemetry::{BUCKETS, Spread};

/// The sizes of slots, in milliseconds, and how many of each are kept.
const LEVELS: [(u64, u64); 3] = [(60_000, 61), (3_600_000, 25), (86_400_000, 91)];

/// A spread's numbers as bytes.
const BYTES: usize = (BUCKETS + 3) * 8;

/// Spreads by slot, for each level.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tooks {
    levels: [BTreeMap<u64, Slot>; 3],
}

#[derive(Debug, Clone, Default)]
struct Slot {
    spread: Spread,
    /// Whether it has changed since it was written.
    fresh: bool,
}

/// A spread on its way to the disk.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TookRow {
    pub(crate) level: usize,
    pub(crate) slot: u64,
    pub(crate) spread: Spread,
}

impl Tooks {
    /// Adds what came at a moment.
    pub(crate) fn add(&mut self, now: u64, spread: &Spread) {
        for (level, (size, most)) in self.levels.iter_mut().zip(LEVELS) {
            let slot = level.entry(now / size).or_default();
            slot.spread.add(spread);
            slot.fresh = true;
            while level.len() as u64 > most {
                level.pop_first();
            }
        }
    }

    /// What came in the last so many hours: to within a minute for one, an hour for a day, a day
    /// for more.
    pub(crate) fn window(&self, now: u64, hours: u64) -> Spread {
        let place = match hours {
            0..=1 => 0,
            2..=24 => 1,
            _ => 2,
        };
        let mut sum = Spread::default();
        let (Some(level), Some((size, _))) = (self.levels.get(place), LEVELS.get(place)) else {
            return sum;
        };
        let first = now.saturating_sub(hours * 3_600_000) / size;
        level.range(first..=now / size).for_each(|(_, slot)| sum.add(&slot.spread));
        sum
    }

    /// Puts what is on disk beneath what came since.
    pub(crate) fn put(&mut self, row: &TookRow) {
        let (Some(level), Some((_, most))) =
            (self.levels.get_mut(row.level), LEVELS.get(row.level))
        else {
            return;
        };
        level.entry(row.slot).or_default().spread.add(&row.spread);
        while level.len() as u64 > *most {
            level.pop_first();
        }
    }

    /// Forgets what is older than its level keeps.
    pub(crate) fn forget(&mut self, now: u64) {
        for (level, (size, most)) in self.levels.iter_mut().zip(LEVELS) {
            *level = level.split_off(&(now / size).saturating_sub(most));
        }
    }

    /// What is to be written.
    pub(crate) fn unwritten(&self) -> Vec<TookRow> {
        let fresh = self.levels.iter().enumerate().flat_map(|(level, slots)| {
            let fresh = slots.iter().filter(|(_, slot)| slot.fresh);
            fresh.map(move |(slot, one)| TookRow { level, slot: *slot, spread: one.spread.clone() })
        });
        fresh.collect()
    }

    /// These are on disk; what has changed since is not.
    pub(crate) fn written(&mut self, rows: &[TookRow]) {
        for row in rows {
            let slot = self.levels.get_mut(row.level).and_then(|level| level.get_mut(&row.slot));
            if let Some(slot) = slot.filter(|slot| slot.spread == row.spread) {
                slot.fresh = false;
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.levels.iter().all(BTreeMap::is_empty)
    }
}

/// The oldest slots that are kept of each level.
pub(crate) fn oldest(now: u64) -> [u64; 3] {
    LEVELS.map(|(size, most)| (now / size).saturating_sub(most))
}

/// A spread as bytes: its buckets, its time, its shortest and longest, little-endian.
pub(crate) fn pack(spread: &Spread) -> Vec<u8> {
    let rest = [spread.nanos, spread.least, spread.most];
    spread.buckets.iter().chain(&rest).flat_map(|number| number.to_le_bytes()).collect()
}

/// Bytes as a spread; `None` when they are none, as of a version with other buckets.
pub(crate) fn unpack(bytes: &[u8]) -> Option<Spread> {
    if bytes.len() != BYTES {
        return None;
    }
    let mut numbers = bytes.chunks_exact(8).filter_map(|eight| eight.try_into().ok());
    let mut next = || numbers.next().map(u64::from_le_bytes);
    let mut spread = Spread::default();
    for bucket in &mut spread.buckets {
        *bucket = next()?;
    }
    (spread.nanos, spread.least, spread.most) = (next()?, next()?, next()?);
    Some(spread)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn one(ms: u64) -> Spread {
        let mut spread = Spread::default();
        spread.note(Duration::from_millis(ms));
        spread
    }

    proptest! {
        #[test]
        fn windows_hold_what_came_in_them(
            times in prop::collection::vec((0..100 * 24 * 60u64, 1..5_000u64), 1..200),
        ) {
            let mut times = times;
            times.sort_unstable();
            let mut tooks = Tooks::default();
            times.iter().for_each(|(minute, ms)| tooks.add(minute * 60_000, &one(*ms)));
            let now = times.last().unwrap().0 * 60_000;
            let grains =
                [(1, 60_000), (24, 3_600_000), (168, 86_400_000), (2160, 86_400_000)];
            for (hours, grain) in grains {
                let length: u64 = hours * 3_600_000;
                let within = |slack: u64| {
                    let from = (now + slack).saturating_sub(length + grain);
                    times.iter().filter(|(minute, _)| minute * 60_000 >= from).count() as u64
                };
                let count = tooks.window(now, hours).count();
                prop_assert!(count <= within(0), "{hours}: {count}");
                prop_assert!(count >= within(grain), "{hours}: {count}");
            }
            prop_assert!(tooks.levels.iter().map(BTreeMap::len).sum::<usize>() <= 177);
        }

        #[test]
        fn bytes_are_what_was_packed(times in prop::collection::vec(0..100_000u64, 0..50)) {
            let mut spread = Spread::default();
            times.iter().for_each(|ms| spread.add(&one(*ms)));
            prop_assert_eq!(unpack(&pack(&spread)), Some(spread));
        }
    }

    #[test]
    fn what_changes_while_it_is_written_is_written_again() {
        let mut tooks = Tooks::default();
        tooks.add(0, &one(5));
        let rows = tooks.unwritten();
        assert_eq!(rows.len(), 3);
        tooks.add(60_000, &one(6));
        tooks.written(&rows);
        let again = tooks.unwritten();
        assert_eq!(again.len(), 3, "the new minute, and hour and day once more: {again:?}");
        tooks.written(&again);
        assert!(tooks.unwritten().is_empty());
        assert_eq!(unpack(&[1, 2, 3]), None);
    }
}
