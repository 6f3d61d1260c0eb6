//! The names of listed counters, and what the store last said of them: what operators may ask a
//! gateway for without asking the store.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use lockgate_core::{CounterName, Limit};

use super::known::Told;
use crate::clock::nanos;
use crate::tag::Tag;
use crate::view::{Listed, Name};

/// Most that are kept.
const MOST: usize = 10_000;

#[derive(Default)]
pub(super) struct Names(Mutex<HashMap<u64, (Name, u64)>>);

impl Names {
    /// Notes what was told of a counter at `now`.
    pub(super) fn note(
        &self,
        tag: Tag,
        limit: &Limit,
        now: u64,
        told: &Told,
        name: impl FnOnce() -> CounterName,
    ) {
        let used = limit.count.saturating_sub(told.remaining);
        let end = now.saturating_add(nanos(told.reset.max(told.wait)));
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, last)) = names.get_mut(&tag.0) {
            (name.of, name.end, *last) = (limit.count, end, used);
            return;
        }
        if names.len() >= MOST {
            names.retain(|_, (name, _)| name.end > now);
        }
        if names.len() < MOST && used > 0 {
            names.insert(tag.0, (Name { name: name(), of: limit.count, end }, used));
        }
    }

    /// Up to so many, by limit and key.
    pub(super) fn listed(&self, most: usize, now: u64) -> Vec<Listed> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = names.values().filter_map(|(name, used)| name.listed(*used, now));
        let mut all: Vec<Listed> = listed.take(most).collect();
        all.sort_by(|one, other| (&one.limit, &one.key).cmp(&(&other.limit, &other.key)));
        all
    }
}
