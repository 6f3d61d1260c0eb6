//! Purges that were made here and that the store has not been told of yet. None is lost while the
//! process lives: what is too much to remember becomes a purge of everything.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lockgate_core::{Purge, StoreError};
use tokio::sync::{Notify, oneshot};

use super::log::member;

/// Most purges that are remembered.
const MOST: usize = 4096;
/// Most that are told at once.
pub(super) const AT_ONCE: usize = 64;

pub(super) type Told = Result<(), StoreError>;

/// A purge, and who waits until it has been told.
pub(super) struct Untold {
    pub(super) member: Vec<u8>,
    told: Option<oneshot::Sender<Told>>,
}

#[derive(Default)]
pub(super) struct Backlog {
    purges: Mutex<Vec<Untold>>,
    more: Notify,
}

impl Backlog {
    /// Adds a purge. Whoever wants to hear that it has been told says so.
    pub(super) fn add(&self, purge: &Purge, wanted: bool) -> Option<oneshot::Receiver<Told>> {
        let (tell, told) = oneshot::channel();
        let mut purges = self.lock();
        if purges.len() >= MOST {
            // Who waits learns that nobody knows.
            purges.clear();
            purges.push(Untold { member: member(&Purge::All), told: None });
        }
        purges.push(Untold { member: member(purge), told: wanted.then_some(tell) });
        drop(purges);
        self.more.notify_one();
        wanted.then_some(told)
    }

    /// The first few, once there are any.
    pub(super) async fn next(&self) -> Vec<Untold> {
        loop {
            let next: Vec<Untold> = {
                let mut purges = self.lock();
                let count = purges.len().min(AT_ONCE);
                purges.drain(..count).collect()
            };
            if !next.is_empty() {
                return next;
            }
            self.more.notified().await;
        }
    }

    /// They have been told.
    pub(super) fn done(untold: Vec<Untold>) {
        for told in untold.into_iter().filter_map(|untold| untold.told) {
            let _ = told.send(Ok(()));
        }
    }

    /// They have not been: whoever waits hears why, and they are the first again.
    pub(super) fn put_back(&self, mut untold: Vec<Untold>, why: &StoreError) {
        for told in untold.iter_mut().filter_map(|untold| untold.told.take()) {
            let _ = told.send(Err(why.clone()));
        }
        let mut purges = self.lock();
        untold.append(&mut purges);
        *purges = untold;
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Untold>> {
        self.purges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use lockgate_core::Tag;

    use super::*;

    #[tokio::test]
    async fn none_is_lost_and_their_number_is_bounded() {
        let backlog = Backlog::default();
        let tag = |n: usize| Purge::Tag(Tag::word(&n.to_string()));
        (0..MOST).for_each(|n| drop(backlog.add(&tag(n), false)));
        let first = backlog.next().await;
        assert_eq!((first.len(), backlog.len()), (AT_ONCE, MOST - AT_ONCE));
        assert!(first.first().is_some_and(|first| first.member == member(&tag(0))));
        let why = StoreError::new("s", lockgate_core::StoreFailure::Away, "is away");
        backlog.put_back(first, &why);
        assert_eq!(backlog.len(), MOST);
        backlog.add(&tag(MOST), false);
        let all: Vec<Vec<u8>> =
            backlog.next().await.into_iter().map(|untold| untold.member).collect();
        assert_eq!(all, [member(&Purge::All), member(&tag(MOST))]);
    }

    #[tokio::test]
    async fn who_waits_hears_what_came_of_it() {
        let backlog = Backlog::default();
        let told = backlog.add(&Purge::All, true).unwrap();
        let why = StoreError::new("s", lockgate_core::StoreFailure::Away, "is away");
        let untold = backlog.next().await;
        backlog.put_back(untold, &why);
        assert!(told.await.unwrap().is_err());
        let told = backlog.add(&Purge::All, true).unwrap();
        Backlog::done(backlog.next().await);
        assert!(told.await.unwrap().is_ok());
    }
}
