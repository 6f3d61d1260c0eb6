//! What is to be said to a store that does not answer now: bounded in number and bytes. What has
//! no room, or is hopeless, loses what was kept of its answer, so that the outcome is unknown; that
//! is safe, and is said for as long as it takes. What has no room even so loses its place.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use lockgate_core::{End, Owner};
use tokio::time::Instant;

/// Most that may wait.
const MOST: usize = 65_536;
/// Most bytes of answers among them.
const MOST_BYTES: usize = 32 << 20;
/// So long there is hope for an answer.
const LONGEST: Duration = Duration::from_secs(3600);
/// The pause before saying once more what the store has heard and could not do.
const PAUSE: Duration = Duration::from_secs(10);
/// Between two warnings of what was lost.
const SILENCE: Duration = Duration::from_secs(60);
/// How often that is said.
const MOST_TIMES: u32 = 3;

/// One end of a request.
pub(super) struct Pending {
    pub(super) key: Box<[u8]>,
    pub(super) owner: Owner,
    pub(super) end: End,
    since: Instant,
    due: Instant,
    times: u32,
}

#[derive(Default)]
pub(super) struct Later {
    queue: VecDeque<Pending>,
    /// How many there are of each key: every request asks for its own, and most are not here.
    keys: HashMap<Box<[u8]>, usize>,
    /// How many say that nothing ran.
    idle: usize,
    bytes: usize,
    lost: u64,
    warned: Option<Instant>,
}

impl Pending {
    pub(super) fn new(key: &[u8], owner: Owner, end: End) -> Self {
        let now = Instant::now();
        Self { key: key.into(), owner, end, since: now, due: now, times: 0 }
    }

    pub(super) fn is_due(&self) -> bool {
        self.due <= Instant::now()
    }

    /// Nobody will learn what was answered; that it is over is still to be said.
    fn give_up(&mut self) {
        if matches!(self.end, End::Done { .. }) {
            self.end = End::Unknown;
            self.due = Instant::now();
        }
    }

    /// Whether it says that nothing ran.
    fn is_idle(&self) -> bool {
        matches!(self.end, End::Forgotten)
    }

    fn bytes(&self) -> usize {
        match &self.end {
            End::Done { record, .. } => record.len(),
            End::Forgotten | End::Unknown => 0,
        }
    }
}

impl Later {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes one in.
    pub(super) fn add(&mut self, mut pending: Pending) {
        if self.bytes + pending.bytes() > MOST_BYTES {
            pending.end = End::Unknown;
        }
        if self.queue.len() >= MOST {
            // What ran counts for more than what did not.
            if self.idle == 0 || pending.is_idle() {
                return self.lose();
            }
            let place = self.queue.iter().position(Pending::is_idle);
            place.and_then(|place| self.remove(place));
            self.lose();
        }
        self.bytes += pending.bytes();
        self.idle += usize::from(pending.is_idle());
        *self.keys.entry(pending.key.clone()).or_default() += 1;
        self.queue.push_back(pending);
    }

    /// The one that has waited longest.
    pub(super) fn next(&mut self) -> Option<Pending> {
        self.remove(0)
    }

    /// The one of a key, if it is time for it.
    pub(super) fn take(&mut self, key: &[u8]) -> Option<Pending> {
        if !self.keys.contains_key(key) {
            return None;
        }
        let place = self.queue.iter().position(|one| *one.key == *key && one.is_due())?;
        self.remove(place)
    }

    fn remove(&mut self, place: usize) -> Option<Pending> {
        let pending = self.queue.remove(place)?;
        self.bytes -= pending.bytes();
        self.idle -= usize::from(pending.is_idle());
        if let Some(count) = self.keys.get_mut(&pending.key) {
            *count -= 1;
            if *count == 0 {
                self.keys.remove(&pending.key);
            }
        }
        Some(pending)
    }

    /// Counts one that is lost, and says so now and then: it is a worker that comes here.
    fn lose(&mut self) {
        self.lost += 1;
        let now = Instant::now();
        if self.warned.is_none_or(|warned| now.duration_since(warned) >= SILENCE) {
            self.warned = Some(now);
            tracing::warn!(
                lost = self.lost,
                "ends of requests with an idempotency key are lost: the store has been away for \
                 too long"
            );
        }
    }

    /// Puts one back that could not be said.
    pub(super) fn again(&mut self, mut pending: Pending) {
        if pending.since.elapsed() >= LONGEST {
            pending.give_up();
        }
        self.add(pending);
    }

    /// Puts one back that was heard and could not be done: an answer a few times, after which its
    /// outcome is unknown. What is to be forgotten and is not there, a few times too.
    pub(super) fn once_more(&mut self, mut pending: Pending) {
        pending.times += 1;
        pending.due = Instant::now() + PAUSE;
        if pending.times >= MOST_TIMES {
            if matches!(pending.end, End::Forgotten) {
                return;
            }
            pending.give_up();
        }
        self.again(pending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(length: usize) -> Pending {
        let record = vec![0; length].into();
        Pending::new(b"k", Owner(1), End::Done { record, keep: PAUSE })
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_much_loses_its_answer_and_then_its_place() {
        let mut later = Later::default();
        later.add(done(MOST_BYTES - 10));
        later.add(done(20));
        later.add(done(10));
        assert_eq!((later.len(), later.bytes()), (3, MOST_BYTES));
        assert!(matches!(later.next().unwrap().end, End::Done { .. }));
        assert!(matches!(later.next().unwrap().end, End::Unknown));
        assert_eq!(later.bytes(), 10);
        assert!(later.take(b"other").is_none());
        assert!(later.take(b"k").is_some_and(|one| matches!(one.end, End::Done { .. })));
        assert_eq!((later.len(), later.bytes()), (0, 0));
        for _ in 0..MOST + 5 {
            later.add(done(0));
        }
        assert_eq!((later.len(), later.lost), (MOST, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn the_keys_are_those_of_what_waits() {
        let mut later = Later::default();
        for number in 0..10_u8 {
            later.add(Pending::new(&[number % 5], Owner(number.into()), End::Unknown));
        }
        assert_eq!((later.keys.len(), later.idle), (5, 0));
        assert_eq!(later.take(&[3]).unwrap().owner, Owner(3));
        assert_eq!(later.take(&[3]).unwrap().owner, Owner(8));
        assert!(later.take(&[3]).is_none());
        assert_eq!(later.keys.len(), 4);
        later.add(Pending::new(&[3], Owner(9), End::Forgotten));
        assert_eq!((later.keys.len(), later.idle), (5, 1));
        while later.next().is_some() {}
        assert_eq!((later.keys.len(), later.idle, later.bytes()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_ran_takes_the_place_of_what_did_not_and_the_loss_is_said_once_a_minute() {
        let mut later = Later::default();
        for number in 0..MOST as u64 {
            later.add(Pending::new(&number.to_le_bytes(), Owner(1), End::Forgotten));
        }
        later.add(done(0));
        assert_eq!((later.len(), later.lost, later.idle), (MOST, 1, MOST - 1));
        assert!(later.take(&0_u64.to_le_bytes()).is_none(), "the oldest has gone");
        assert!(later.take(b"k").is_some());
        later.add(done(0));
        let said = later.warned;
        later.add(Pending::new(b"idle", Owner(1), End::Forgotten));
        assert_eq!((later.lost, later.warned), (2, said));
        tokio::time::advance(SILENCE).await;
        later.add(done(0));
        assert_eq!((later.lost, later.warned), (3, Some(Instant::now())));
    }

    #[tokio::test(start_paused = true)]
    async fn hope_for_an_answer_ends_and_that_is_said_for_as_long_as_it_takes() {
        let mut later = Later::default();
        let old = done(1);
        tokio::time::advance(LONGEST).await;
        later.again(old);
        for _ in 0..3 {
            let unknown = later.next().unwrap();
            assert!(matches!(unknown.end, End::Unknown) && unknown.is_due());
            later.again(unknown);
            tokio::time::advance(LONGEST).await;
        }
        assert_eq!((later.len(), later.bytes()), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_heard_and_not_taken_is_given_up_after_a_few_times() {
        let mut later = Later::default();
        let mut pending = done(1);
        for times in 1..=MOST_TIMES {
            assert!(matches!(pending.end, End::Done { .. }), "{times}");
            later.once_more(pending);
            pending = later.next().unwrap();
            assert_eq!(pending.is_due(), times == MOST_TIMES, "an unknown outcome is said at once");
            tokio::time::advance(PAUSE).await;
            assert!(pending.is_due());
        }
        assert!(matches!(pending.end, End::Unknown));
        // What is to be forgotten may never have been there.
        let mut idle = Pending::new(b"k", Owner(1), End::Forgotten);
        for _ in 1..MOST_TIMES {
            later.once_more(idle);
            idle = later.next().unwrap();
        }
        later.once_more(idle);
        assert_eq!((later.len(), later.bytes()), (0, 0));
    }
}
