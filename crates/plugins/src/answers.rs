//! Answers of a service that many requests ask the same of: kept for as long as each may be, never
//! more than so many, and asked for once however many wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

/// Parts that are locked apart from each other.
const SHARDS: usize = 16;

/// What tells questions apart: a hash that nobody can find a second question for.
pub(crate) type Question = [u8; 32];

/// Kept answers.
pub(crate) struct Answers<A> {
    shards: [Mutex<HashMap<Question, Cell<A>>>; SHARDS],
    most: usize,
}

/// Filled by the first who asks; if they give up, by the next who waits.
type Cell<A> = Arc<OnceCell<Kept<A>>>;

struct Kept<A> {
    answer: A,
    until: Instant,
}

impl<A: Clone> Answers<A> {
    /// Keeps about `most` answers.
    pub(crate) fn new(most: usize) -> Self {
        Self { shards: Default::default(), most: most.div_ceil(SHARDS) }
    }

    /// The answer, if it is at hand.
    pub(crate) fn at_hand(&self, question: &Question) -> Option<A> {
        let shard = self.shard(question);
        let kept = shard.get(question)?.get()?;
        (Instant::now() < kept.until).then(|| kept.answer.clone())
    }

    /// The answer: at hand, or on its way already, or asked for now. `ask` says for how long it may
    /// be kept; with zero it is for those alone who wait for it.
    pub(crate) async fn get<F>(&self, question: Question, ask: impl FnOnce() -> F) -> A
    where
        F: Future<Output = (A, Duration)>,
    {
        let cell = self.cell(question);
        let kept = cell.get_or_init(async || {
            let (answer, keep) = ask().await;
            Kept { answer, until: Instant::now() + keep }
        });
        kept.await.answer.clone()
    }

    fn cell(&self, question: Question) -> Cell<A> {
        let now = Instant::now();
        let mut shard = self.shard(&question);
        if let Some(cell) = shard.get(&question)
            && cell.get().is_none_or(|kept| now < kept.until)
        {
            return Arc::clone(cell);
        }
        let cell = Cell::default();
        shard.remove(&question);
        if shard.len() >= self.most {
            shard.retain(|_, cell| is_wanted(cell, now));
        }
        if shard.len() >= self.most {
            let first = shard
                .iter()
                .filter_map(|(question, cell)| Some((*question, cell.get()?.until)))
                .min_by_key(|(_, until)| *until);
            if let Some((first, _)) = first {
                shard.remove(&first);
            }
        }
        // When all that is kept is still being waited for, this one is asked for by itself.
        if shard.len() < self.most {
            shard.insert(question, Arc::clone(&cell));
        }
        cell
    }

    fn shard(&self, question: &Question) -> MutexGuard<'_, HashMap<Question, Cell<A>>> {
        let place = usize::from(question.first().copied().unwrap_or(0)) % SHARDS;
        let [first, ..] = &self.shards;
        let shard = self.shards.get(place).unwrap_or(first);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a cell is of use: its answer holds, or somebody still waits for it.
fn is_wanted<A>(cell: &Cell<A>, now: Instant) -> bool {
    match cell.get() {
        Some(kept) => now < kept.until,
        None => Arc::strong_count(cell) > 1,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tokio::sync::Notify;

    use super::*;

    const KEEP: Duration = Duration::from_secs(10);

    fn question(number: u32) -> Question {
        *blake3::hash(&number.to_le_bytes()).as_bytes()
    }

    #[tokio::test(start_paused = true)]
    async fn one_question_is_asked_once_while_its_answer_may_be_kept() {
        let (answers, asked) = (Answers::new(100), AtomicUsize::new(0));
        let ask = || answers.get(question(1), async || (asked.fetch_add(1, Relaxed), KEEP));
        assert_eq!((ask().await, ask().await), (0, 0));
        assert_eq!(answers.at_hand(&question(1)), Some(0));
        tokio::time::advance(KEEP).await;
        assert_eq!(answers.at_hand(&question(1)), None);
        assert_eq!(ask().await, 1);
    }

    #[tokio::test]
    async fn all_who_wait_get_the_one_answer_even_if_it_is_not_kept() {
        let (answers, asked, go) = (Answers::new(100), AtomicUsize::new(0), Notify::new());
        let ask = || {
            answers.get(question(1), async || {
                go.notified().await;
                (asked.fetch_add(1, Relaxed), Duration::ZERO)
            })
        };
        let (one, other, ()) = tokio::join!(ask(), ask(), async { go.notify_one() });
        assert_eq!((one, other, asked.load(Relaxed)), (0, 0, 1));
        go.notify_one();
        assert_eq!(ask().await, 1);
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_question_to_the_next() {
        let answers = Answers::new(100);
        let first = answers.get(question(1), async || std::future::pending().await);
        let mut first = Box::pin(first);
        std::future::poll_fn(|cx| {
            assert!(first.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        let second = answers.get(question(1), async || (7, KEEP));
        let (got, ()) = tokio::join!(second, async { drop(first) });
        assert_eq!(got, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_than_said_and_the_shortest_lived_goes_first() {
        let answers = Answers::new(64);
        answers.get(question(0), async || (0, KEEP * 100)).await;
        for number in 1..5000 {
            answers.get(question(number), async || (number, KEEP)).await;
        }
        let kept: usize = answers.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(kept <= 64, "{kept}");
        assert_eq!(answers.at_hand(&question(0)), Some(0));
    }
}
