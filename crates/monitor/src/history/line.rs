//! A service's time: spans of one standing each, in order, with holes where nobody looked. Bounded:
//! the oldest are forgotten.

use std::collections::VecDeque;

use lockgate_core::Standing;
use serde::Serialize;

/// Two looks that are further apart have a hole between them, in milliseconds.
pub(crate) const LONGEST_GAP: u64 = 15_000;
/// Most spans of one service: one that comes and goes every minute fills it in a day.
pub(crate) const MOST_SPANS: usize = 2_000;

/// A time of one standing. Moments are milliseconds since 1970; the end is not a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    /// How the service was.
    pub standing: Standing,
    /// Since when.
    pub from: u64,
    /// Until when it was seen so.
    pub to: u64,
}

/// Spans, the oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    spans: VecDeque<Span>,
    kept: Kept,
    /// A span that was written as it is goes on after all, since the last batch was made.
    revived: bool,
}

/// What of a line is on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Spans that begin before this are there as they are.
    whole_before: u64,
    /// The one that begins here is there without its end.
    open: Option<u64>,
}

/// A span on its way to the disk; without an end while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) standing: Standing,
    pub(crate) from: u64,
    pub(crate) to: Option<u64>,
}

/// How long a service was how, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) up: u64,
    pub(crate) degraded: u64,
    pub(crate) down: u64,
    pub(crate) out: u64,
}

impl Sums {
    /// The share of the time that it served, of the time in which it should have and somebody
    /// looked.
    pub(crate) fn availability(self) -> Option<f64> {
        let served = self.up + self.degraded;
        let all = served + self.down;
        (all > 0).then(|| served as f64 / all as f64)
    }

    pub(crate) fn observed(self) -> u64 {
        self.up + self.degraded + self.down + self.out
    }

    fn add(&mut self, standing: Standing, length: u64) {
        match standing {
            Standing::Up => self.up += length,
            Standing::Degraded => self.degraded += length,
            Standing::Down => self.down += length,
            Standing::Out => self.out += length,
        }
    }
}

impl Line {
    /// One look: whether it begins a span. A clock that was put back a little waits until it is
    /// where it was; what was seen by one that was far ahead is forgotten.
    pub(crate) fn note(&mut self, standing: Standing, now: u64) -> bool {
        if self.spans.back().is_some_and(|last| last.to.saturating_sub(now) > LONGEST_GAP) {
            self.put_back(now);
        }
        let Some(last) = self.spans.back_mut() else { return self.begin(standing, now) };
        let now = now.max(last.to);
        if now - last.to > LONGEST_GAP {
            return self.begin(standing, now);
        }
        let (from, differs) = (last.from, last.standing != standing);
        last.to = now;
        self.revive(from);
        // A second look in the same moment says nothing new.
        if differs && from < now { self.begin(standing, now) } else { false }
    }

    /// Forgets what is said to have been after now, and writes anew what begins from now on.
    fn put_back(&mut self, now: u64) {
        while self.spans.back().is_some_and(|last| last.from >= now) {
            self.spans.pop_back();
        }
        let mut begin = now;
        if let Some(last) = self.spans.back_mut()
            && last.to > now
        {
            last.to = now;
            begin = last.from;
        }
        if self.kept.whole_before > begin {
            self.kept = Kept { whole_before: begin, open: None };
        }
        // A batch under way knows nothing of this.
        self.revived = true;
    }

    fn revive(&mut self, from: u64) {
        if self.kept.whole_before > from {
            self.kept = Kept { whole_before: from, open: None };
            self.revived = true;
        }
    }

    fn begin(&mut self, standing: Standing, now: u64) -> bool {
        if self.spans.len() == MOST_SPANS {
            self.spans.pop_front();
        }
        self.spans.push_back(Span { standing, from: now, to: now });
        true
    }

    /// What was there before this process looked: that which overlaps is left out.
    pub(crate) fn prepend(&mut self, older: Vec<Span>) {
        let begin = self.spans.front().map_or(u64::MAX, |span| span.from);
        let room = MOST_SPANS.saturating_sub(self.spans.len());
        let mut cut: Vec<Span> = Vec::new();
        for span in older.into_iter().filter(|span| span.from < begin) {
            // Seen by a clock that was ahead, and was put back.
            if cut.last().is_none_or(|last| last.to <= span.from) {
                cut.push(Span { to: span.to.min(begin), ..span });
            }
        }
        if let (Some(last), Some(first)) = (cut.last_mut(), self.spans.front())
            && last.standing == first.standing
            && begin - last.to <= LONGEST_GAP
        {
            // The same time goes on: one span.
            last.to = first.to;
            self.spans.pop_front();
        }
        // What was there as it is, stays so; the one that goes on is written once more.
        self.kept.whole_before = cut.last().map_or(0, |last| last.from);
        let skip = cut.len().saturating_sub(room);
        for span in cut.into_iter().skip(skip).rev() {
            self.spans.push_front(span);
        }
    }

    /// Forgets what ended before.
    pub(crate) fn forget(&mut self, before: u64) {
        while self.spans.front().is_some_and(|span| span.to < before) {
            self.spans.pop_front();
        }
    }

    /// How long it was how between two moments.
    pub(crate) fn sums(&self, from: u64, to: u64) -> Sums {
        let mut sums = Sums::default();
        for span in self.spans.iter().rev() {
            if span.to <= from {
                break;
            }
            let length = span.to.min(to).saturating_sub(span.from.max(from));
            sums.add(span.standing, length);
        }
        sums
    }

    /// The same for each of so many slots of a size, from a first one on.
    pub(crate) fn slots(&self, first: u64, count: usize, size: u64) -> Vec<Sums> {
        let mut all = vec![Sums::default(); count];
        for span in &self.spans {
            let mut from = span.from.max(first * size);
            while from < span.to {
                let slot = from / size;
                let end = span.to.min((slot + 1) * size);
                let place = usize::try_from(slot - first).unwrap_or(usize::MAX);
                let Some(sums) = all.get_mut(place) else { break };
                sums.add(span.standing, end - from);
                from = end;
            }
        }
        all
    }

    pub(crate) fn last(&self) -> Option<&Span> {
        self.spans.back()
    }

    pub(crate) fn first(&self) -> Option<&Span> {
        self.spans.front()
    }

    /// The last so many, the newest first.
    pub(crate) fn newest(&self, most: usize) -> Vec<Span> {
        self.spans.iter().rev().take(most).copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// What is to be written, and what is on disk once it is. `live`: the last span goes on.
    pub(crate) fn unwritten(&mut self, live: bool) -> (Vec<Row>, Kept) {
        self.revived = false;
        let mut rows = Vec::new();
        let mut kept = self.kept;
        let last = self.spans.len().saturating_sub(1);
        for (at, span) in self.spans.iter().enumerate() {
            if span.from < self.kept.whole_before {
                continue;
            }
            let Span { standing, from, to } = *span;
            if at < last || !live {
                rows.push(Row { standing, from, to: Some(to) });
                kept = Kept { whole_before: from + 1, open: None };
            } else {
                if self.kept.open != Some(from) {
                    rows.push(Row { standing, from, to: None });
                }
                kept = Kept { whole_before: from, open: Some(from) };
            }
        }
        (rows, kept)
    }

    /// It is on disk.
    pub(crate) fn written(&mut self, kept: Kept) {
        if !self.revived {
            self.kept = kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn standing(word: u8) -> Standing {
        [Standing::Up, Standing::Degraded, Standing::Down, Standing::Out][usize::from(word % 4)]
    }

    /// What a line should say, millisecond by millisecond.
    fn brute(looks: &[(u8, u64)], from: u64, to: u64) -> Sums {
        let mut sums = Sums::default();
        for pair in looks.windows(2) {
            let ((word, begin), (_, end)) = (pair[0], pair[1]);
            if end - begin > LONGEST_GAP {
                continue;
            }
            for moment in begin..end {
                if moment >= from && moment < to {
                    sums.add(standing(word), 1);
                }
            }
        }
        sums
    }

    fn looks() -> impl Strategy<Value = Vec<(u8, u64)>> {
        let gap = prop_oneof![8 => 1..400u64, 1 => LONGEST_GAP - 2..LONGEST_GAP + 3];
        prop::collection::vec((0..4u8, gap), 1..40).prop_map(|steps| {
            let mut now = 1_000;
            steps
                .into_iter()
                .map(|(word, gap)| {
                    now += gap;
                    (word, now)
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn a_line_says_what_every_millisecond_says(
            looks in looks(), from in 0..20_000u64, length in 0..40_000u64,
        ) {
            let mut line = Line::default();
            for (word, at) in &looks {
                line.note(standing(*word), *at);
            }
            let sums = line.sums(from, from + length);
            prop_assert_eq!(sums, brute(&looks, from, from + length));
            let slots = line.slots(2, 30, 700);
            for (slot, sums) in (2..).zip(&slots) {
                prop_assert_eq!(*sums, line.sums(slot * 700, (slot + 1) * 700));
            }
            let spans: Vec<Span> = line.spans.iter().copied().collect();
            for pair in spans.windows(2) {
                prop_assert!(pair[0].to <= pair[1].from, "in order");
                prop_assert!(
                    pair[0].standing != pair[1].standing || pair[0].to < pair[1].from,
                    "as few as can be"
                );
            }
            if let Some(share) = sums.availability() {
                prop_assert!((0.0..=1.0).contains(&share));
            }
        }

        #[test]
        fn what_is_written_in_pieces_reads_as_the_whole(
            looks in looks(), stops in prop::collection::vec(any::<bool>(), 40),
            lives in prop::collection::vec(any::<bool>(), 40),
        ) {
            let mut line = Line::default();
            let mut disk = std::collections::BTreeMap::new();
            let mut seen = 0;
            for (n, (word, at)) in looks.iter().enumerate() {
                line.note(standing(*word), *at);
                if stops[n] {
                    let (rows, kept) = line.unwritten(lives[n]);
                    disk.extend(rows.iter().map(|row| (row.from, *row)));
                    line.written(kept);
                }
            }
            let (rows, kept) = line.unwritten(true);
            disk.extend(rows.iter().map(|row| (row.from, *row)));
            line.written(kept);
            seen = seen.max(line.last().unwrap().to);
            let read: Vec<Span> = disk
                .values()
                .map(|row| Span {
                    standing: row.standing,
                    from: row.from,
                    to: row.to.unwrap_or(seen),
                })
                .collect();
            prop_assert_eq!(read, line.spans.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(line.unwritten(true).0, vec![], "once");
        }

        #[test]
        fn a_line_in_two_parts_is_the_line(looks in looks(), cut in 0..40usize) {
            let cut = cut.min(looks.len());
            let (mut whole, mut first, mut second) =
                (Line::default(), Line::default(), Line::default());
            for (word, at) in &looks {
                whole.note(standing(*word), *at);
            }
            for (word, at) in &looks[..cut] {
                first.note(standing(*word), *at);
            }
            for (word, at) in &looks[cut..] {
                second.note(standing(*word), *at);
            }
            second.prepend(first.spans.iter().copied().collect());
            let (all, parts) = (whole.sums(0, u64::MAX), second.sums(0, u64::MAX));
            // Nobody looked between the two parts.
            let between = match (cut.checked_sub(1).and_then(|n| looks.get(n)), looks.get(cut)) {
                (Some(a), Some(b)) if b.1 - a.1 <= LONGEST_GAP => b.1 - a.1,
                _ => 0,
            };
            prop_assert!(all.observed() >= parts.observed());
            prop_assert!(all.observed() - parts.observed() <= between);
        }
    }

    #[test]
    fn a_clock_that_is_put_back_makes_no_time() {
        let mut line = Line::default();
        for (word, at) in [(0, 10_000), (0, 12_000), (2, 5_000), (2, 11_000), (2, 13_000)] {
            line.note(standing(word), at);
        }
        let sums = line.sums(0, u64::MAX);
        assert_eq!((sums.up, sums.down), (2_000, 1_000));
    }

    #[test]
    fn a_clock_that_was_far_ahead_holds_nothing_up() {
        const AHEAD: u64 = 86_400_000;
        let mut line = Line::default();
        for (word, at) in [(0, 1_000), (0, 5_000), (2, AHEAD), (2, AHEAD + 5_000)] {
            line.note(standing(word), at);
        }
        // One batch is on disk, another under way.
        let (_, kept) = line.unwritten(true);
        line.written(kept);
        line.note(standing(1), AHEAD + 6_000);
        let (_, kept) = line.unwritten(true);
        for (word, at) in [(0, 9_000), (2, 10_000), (0, 12_000), (0, 15_000)] {
            assert_eq!(line.note(standing(word), at), matches!(at, 10_000 | 12_000), "{at}");
        }
        line.written(kept);
        let sums = line.sums(0, u64::MAX);
        assert_eq!((sums.up, sums.down, sums.degraded), (12_000, 2_000, 0));
        let (rows, _) = line.unwritten(true);
        let rows: Vec<_> = rows.iter().map(|row| (row.standing, row.from, row.to)).collect();
        assert_eq!(
            rows,
            [
                (Standing::Up, 1_000, Some(10_000)),
                (Standing::Down, 10_000, Some(12_000)),
                (Standing::Up, 12_000, None),
            ]
        );
        // A span that is cut is written anew.
        line.note(standing(0), 25_000);
        let (_, kept) = line.unwritten(false);
        line.written(kept);
        line.note(standing(0), 9_500);
        assert_eq!(line.sums(0, u64::MAX).observed(), 8_500);
        assert_eq!(line.unwritten(false).0.first().map(|row| row.from), Some(1_000));
        // What the disk still has of it is left out.
        let mut after = Line::default();
        after.note(standing(0), 100_000);
        let span = |from, to| Span { standing: Standing::Up, from, to };
        after.prepend(vec![span(1_000, 50_000), span(20_000, 30_000), span(60_000, 61_000)]);
        assert_eq!(after.sums(0, u64::MAX).observed(), 50_000);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut line = Line::default();
        for n in 0..3 * MOST_SPANS as u64 {
            line.note(standing((n % 2) as u8 * 2), n * 1_000);
        }
        assert_eq!(line.spans.len(), MOST_SPANS);
        let last = line.last().unwrap().to;
        line.forget(last - 10_000);
        assert!(line.spans.len() <= 12);
    }
}
