//! Who is refused most: a short list of counters, for operators. What is seldom refused is pushed
//! out by what is refused more often, so the numbers are upper bounds (space saving).

use std::sync::{Mutex, PoisonError};

use lockgate_core::CounterName;
use serde::Serialize;

use crate::tag::Tag;

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
pub(crate) struct Board(Mutex<Rows>);

/// The columns apart: most often only the tags are looked at.
#[derive(Default)]
struct Rows {
    tags: Vec<Tag>,
    refused: Vec<u64>,
    /// What each was entered over, and its name.
    rows: Vec<(u64, Option<CounterName>)>,
    /// None has been refused less often than that.
    least: u64,
    /// Where the next one that has been refused so seldom is looked for.
    hand: usize,
}

impl Board {
    /// Notes a refusal, unless another thread is at it: then it is left out. Who has pushed out
    /// another is asked for a name only when it comes again.
    pub(crate) fn note(&self, tag: Tag, name: impl FnOnce() -> CounterName) {
        let Ok(mut all) = self.0.try_lock() else { return };
        let Rows { tags, refused, rows, .. } = &mut *all;
        if let Some(place) = tags.iter().position(|known| *known == tag) {
            if let (Some(refused), Some((_, own))) = (refused.get_mut(place), rows.get_mut(place)) {
                *refused += 1;
                own.get_or_insert_with(name);
            }
        } else if tags.len() < KEPT {
            tags.push(tag);
            refused.push(1);
            rows.push((0, Some(name())));
        } else {
            let place = all.seldomest();
            let over = all.least;
            let Rows { tags, refused, rows, .. } = &mut *all;
            if let (Some(tag_there), Some(refused), Some(row)) =
                (tags.get_mut(place), refused.get_mut(place), rows.get_mut(place))
            {
                (*tag_there, *refused, *row) = (tag, over + 1, (over, None));
            }
        }
    }

    /// All of them that have a name, those refused most first.
    pub(crate) fn all(&self) -> Vec<Refused> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = all.refused.iter().zip(&all.rows).filter_map(|(refused, (over, name))| {
            let CounterName { limit, key } = name.clone()?;
            Some(Refused { limit, key, refused: *refused, over: *over })
        });
        let mut all: Vec<Refused> = named.collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.refused));
        all
    }
}

impl Rows {
    /// One that has been refused as seldom as any. Those that have are passed one after the other,
    /// so that few are looked at each time.
    fn seldomest(&mut self) -> usize {
        for _ in 0..2 {
            let rest = self.refused.get(self.hand..).unwrap_or_default();
            if let Some(step) = rest.iter().position(|refused| *refused == self.least) {
                self.hand += step + 1;
                return self.hand - 1;
            }
            self.hand = 0;
            self.least = self.refused.iter().copied().min().unwrap_or_default();
        }
        0
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
        assert!(all.len() <= KEPT);
        assert_eq!((all[0].key.as_str(), all[0].refused), ("2", 1_000));
        assert_eq!((all[1].key.as_str(), all[1].refused), ("1", 500));
        assert!(all.iter().all(|one| one.refused > one.over));
        note(7);
        assert!(!board.all().iter().any(|one| one.key == "7"), "it may never come again");
        note(7);
        let seven = board.all().into_iter().find(|one| one.key == "7").unwrap();
        assert_eq!(seven.refused - seven.over, 2);
    }
}
