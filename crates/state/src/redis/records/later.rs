//! What is to be said to a store that does not answer now: bounded in number and bytes. What has
//! no room, or is hopeless, loses what was kept of its answer, so that the outcome is unknown; that
//! is safe, and is said for as long as it takes. What has no room even so loses its place.

use std::collections::VecDeque;
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
    bytes: usize,
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
            let idle = |one: &Pending| matches!(one.end, End::Forgotten);
            let place = self.queue.iter().position(idle).filter(|_| !idle(&pending));
            let Some(place) = place else {
                return tracing::warn!(
                    "the end of a request with an idempotency key is lost: the store has been away for too long"
                );
            };
            self.queue.remove(place);
        }
        self.bytes += pending.bytes();
        self.queue.push_back(pending);
    }

    /// The one that has waited longest.
    pub(super) fn next(&mut self) -> Option<Pending> {
        let pending = self.queue.pop_front()?;
        self.bytes -= pending.bytes();
        Some(pending)
    }

    /// The one of a key, if it is time for it.
    pub(super) fn take(&mut self, key: &[u8]) -> Option<Pending> {
        let place = self.queue.iter().position(|one| *one.key == *key && one.is_due())?;
        let pending = self.queue.remove(place)?;
        self.bytes -= pending.bytes();
        Some(pending)
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
        assert_eq!(later.len(), MOST);
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
