//! Who is refused most: a short list of counters, for operators. What is seldom refused is pushed
//! out by what is refused more often, so the numbers are upper bounds (space saving).

use std::sync::{Mutex, PoisonError};

use lockgate_core::CounterName;
use serde::Serialize;

use crate::table::Tag;

/// How many are kept.
const KEPT: usize = 64;

/// A counter that has refused.
#[derive(Debug, Clone, Serialize)]
pub struct Refused {
    /// The limit.
    pub limit: String,
    /// Whose counter it is.
    pub key: String,
    /// How often at most.
    pub refused: u64,
    /// By how much that may be too many.
    pub over: u64,
}

#[derive(Default)]
pub(crate) struct Board(Mutex<Vec<(Tag, Refused)>>);

impl Board {
    /// Notes a refusal, unless another thread is at it: then it is left out.
    pub(crate) fn note(&self, tag: Tag, name: impl FnOnce() -> CounterName) {
        let Ok(mut all) = self.0.try_lock() else { return };
        if let Some((_, known)) = all.iter_mut().find(|(known, _)| *known == tag) {
            known.refused += 1;
            return;
        }
        let least = all.iter().enumerate().min_by_key(|(_, (_, one))| one.refused);
        let (place, over) = match least {
            Some((place, (_, least))) if all.len() >= KEPT => (Some(place), least.refused),
            _ => (None, 0),
        };
        let CounterName { limit, key } = name();
        let new = (tag, Refused { limit, key, refused: over + 1, over });
        match place.and_then(|place| all.get_mut(place)) {
            Some(there) => *there = new,
            None => all.push(new),
        }
    }

    /// All of them, those refused most first.
    pub(crate) fn all(&self) -> Vec<Refused> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Refused> = all.iter().map(|(_, one)| one.clone()).collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.refused));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_refused_most_stays_on_the_board() {
        let board = Board::default();
        let note = |n: u64| {
            let name = || CounterName { limit: "l".to_owned(), key: n.to_string() };
            board.note(Tag(n), name);
        };
        for round in 0..500 {
            note(1);
            note(2);
            note(2);
            note(1_000 + round);
        }
        let all = board.all();
        assert_eq!(all.len(), KEPT);
        assert_eq!((all[0].key.as_str(), all[0].refused), ("2", 1_000));
        assert_eq!((all[1].key.as_str(), all[1].refused), ("1", 500));
        assert!(all.iter().all(|one| one.refused > one.over));
    }
}
