//! Exemplars: for each bucket of a histogram the newest request whose spans are told. One worker
//! writes, a scrape reads; what is written while it is read is left out. Made when the first one
//! is written, so that without traces they cost a word.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockgate_core::span::{SpanId, TraceId};

use super::cell::{BUCKETS, bucket, nanos};

/// By which spans a request is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exemplar {
    /// Its trace.
    pub trace: TraceId,
    /// Its span.
    pub span: SpanId,
    /// When it ended.
    pub time: SystemTime,
}

/// A request that stands for others in its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Example {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    /// How long it took.
    pub(super) nanos: u64,
    /// Nanoseconds since 1970.
    pub(super) unix_nanos: u64,
}

/// One for each bucket.
pub(super) type Examples = [Option<Example>; BUCKETS];

/// Those that one worker has written.
#[derive(Default)]
pub(super) struct Exemplars(OnceLock<Box<[Slot; BUCKETS]>>);

#[derive(Default)]
struct Slot {
    /// Odd while it is written; zero before the first.
    turn: AtomicU64,
    words: [AtomicU64; 5],
}

impl Exemplars {
    /// Takes the place of the one before in its bucket. Only one thread may write.
    pub(super) fn put(&self, took: Duration, exemplar: &Exemplar) {
        let slots = self.0.get_or_init(Default::default);
        let Some(slot) = slots.get(bucket(nanos(took))) else { return };
        let (high, low) = exemplar.trace.halves();
        let time = exemplar.time.duration_since(UNIX_EPOCH).map_or(0, nanos);
        slot.write([high, low, exemplar.span.number(), nanos(took), time]);
    }

    /// Adds what is newer than what there is.
    pub(super) fn add_to(&self, all: &mut Examples) {
        let Some(slots) = self.0.get() else { return };
        for (place, slot) in all.iter_mut().zip(&**slots) {
            let Some(new) = slot.read() else { continue };
            if place.is_none_or(|old| old.unix_nanos < new.unix_nanos) {
                *place = Some(new);
            }
        }
    }
}

impl Slot {
    fn write(&self, words: [u64; 5]) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn.wrapping_add(1), Ordering::Relaxed);
        // Whoever reads one of the words sees that it is being written.
        fence(Ordering::Release);
        for (place, word) in self.words.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        self.turn.store(turn.wrapping_add(2), Ordering::Release);
    }

    fn read(&self) -> Option<Example> {
        let turn = self.turn.load(Ordering::Acquire);
        let [high, low, span, nanos, unix_nanos] =
            self.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let whole = turn != 0 && turn.is_multiple_of(2);
        if !whole || self.turn.load(Ordering::Relaxed) != turn {
            return None;
        }
        let (trace, span) = (TraceId::new(high, low)?, SpanId::new(span)?);
        Some(Example { trace, span, nanos, unix_nanos })
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn exemplar(number: u64, second: u64) -> Exemplar {
        Exemplar {
            trace: TraceId::new(number, number).unwrap(),
            span: SpanId::new(number).unwrap(),
            time: UNIX_EPOCH + Duration::from_secs(second),
        }
    }

    #[test]
    fn the_newest_of_each_bucket_stands() {
        let (one, other) = (Exemplars::default(), Exemplars::default());
        one.put(Duration::from_micros(700), &exemplar(1, 10));
        one.put(Duration::from_micros(800), &exemplar(2, 20));
        one.put(Duration::from_secs(100), &exemplar(3, 5));
        other.put(Duration::from_micros(900), &exemplar(4, 15));
        let mut all = Examples::default();
        one.add_to(&mut all);
        other.add_to(&mut all);
        let found: Vec<_> = all.iter().map(|one| one.map(|one| one.span.number())).collect();
        let mut expected = vec![None; BUCKETS];
        (expected[1], expected[BUCKETS - 1]) = (Some(2), Some(3));
        assert_eq!(found, expected);
        assert_eq!(all[1].unwrap().nanos, 800_000);
    }

    #[test]
    fn no_half_of_one_is_read() {
        let all = Exemplars::default();
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..200_000 {
                    all.put(Duration::from_nanos(number), &exemplar(number, number));
                }
            });
            let mut read = 0;
            while read < 1000 {
                let mut found = Examples::default();
                all.add_to(&mut found);
                let Some(one) = found[0] else { continue };
                let number = one.span.number();
                assert_eq!(one.trace, TraceId::new(number, number).unwrap());
                assert_eq!((one.nanos, one.unix_nanos), (number, number * 1_000_000_000));
                read += 1;
            }
        });
    }
}
