//! One decision as far as this gateway can make it by itself: what it takes out of slices, what it
//! knows to be over, and what it must ask for. What was taken is put back when the pass is dropped
//! before it is kept, so a request that goes away half way takes nothing with it.

use std::sync::Arc;
use std::time::Duration;

use lockgate_core::{Grant, MOST_TAKES, Naming, Take};
use tokio::sync::watch;

use super::Inner;
use super::ask::refill;
use super::known::Spent;
use super::table::Row;
use crate::tag::Tag;

/// What became of one take here.
#[derive(Clone, Copy, Default)]
pub(super) enum Here {
    /// It is taken.
    Spent(Spent),
    /// It is known to be over.
    Over,
    /// The store must say.
    #[default]
    Ask,
}

pub(super) struct Pass<'a> {
    pub(super) inner: &'a Arc<Inner>,
    pub(super) takes: &'a [Take<'a>],
    tags: [Tag; MOST_TAKES],
    here: [Here; MOST_TAKES],
    kept: bool,
}

impl<'a> Pass<'a> {
    pub(super) fn begin(
        inner: &'a Arc<Inner>,
        takes: &'a [Take<'a>],
        grants: &mut [Grant],
    ) -> Self {
        let (tags, here) = Default::default();
        let mut pass = Self { inner, takes, tags, here, kept: false };
        let now = inner.now();
        let all = pass.tags.iter_mut().zip(&mut pass.here).zip(takes.iter().zip(grants));
        for ((tag, here), (take, grant)) in all {
            *tag = inner.table.tag(take);
            *grant = Grant { allowed: true, remaining: take.limit.count, ..Grant::default() };
            let tried = inner.table.with(*tag, |row| {
                (*here, *grant) = tried(row, take, now);
                match here {
                    Here::Spent(spent) if spent.refill && row.flight().is_none() => {
                        Some(row.take_off())
                    }
                    _ => None,
                }
            });
            if let Some(flight) = tried.flatten() {
                refill(inner, *tag, take, flight);
            }
        }
        pass
    }

    fn all(&self) -> impl Iterator<Item = (Here, Tag, &'a Take<'a>)> {
        let both = self.here.iter().copied().zip(self.tags.iter().copied());
        both.zip(self.takes).map(|((here, tag), take)| (here, tag, take))
    }

    /// Whether it is known that it may not pass.
    pub(super) fn is_refused(&self) -> bool {
        self.all().any(|(here, _, take)| matches!(here, Here::Over) && !take.dry)
    }

    /// Whether nothing has to be asked.
    pub(super) fn is_whole(&self) -> bool {
        !self.all().any(|(here, ..)| matches!(here, Here::Ask))
    }

    /// The takes that the store must decide.
    pub(super) fn asked(&self) -> impl Iterator<Item = (usize, Tag, &'a Take<'a>)> {
        let all = self.all().enumerate();
        all.filter(|(_, (here, ..))| matches!(here, Here::Ask))
            .map(|(place, (_, tag, take))| (place, tag, take))
    }

    /// What was taken stays taken.
    pub(super) fn keep(mut self) {
        self.kept = true;
        let spent = self.all().filter(|(here, ..)| matches!(here, Here::Spent(_))).count();
        self.inner.counts.granted(spent as u64);
    }

    pub(super) fn note_refusals(&self, naming: &Naming<'_>) {
        self.inner.counts.refused();
        for (place, (here, tag, _)) in self.all().enumerate() {
            if matches!(here, Here::Over) {
                self.inner.note_refused(tag, naming, place);
            }
        }
    }

    /// A slice that somebody else is asking for, and that this decision lacks. What it needs of it
    /// is noted, for the next that is asked for.
    pub(super) fn flight(&self) -> Option<watch::Receiver<()>> {
        self.asked().filter(|(.., take)| take.leased).find_map(|(_, tag, take)| {
            let joined = self.inner.table.with(tag, |row| {
                let flight = row.flight().cloned()?;
                row.waiting = row.waiting.saturating_add(take.cost);
                Some(flight)
            });
            joined.flatten()
        })
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        for (here, tag, take) in self.all() {
            if let Here::Spent(spent) = here {
                let now = self.inner.now();
                self.inner.table.with(tag, |row| row.known.unspend(now, take.cost, spent));
            }
        }
    }
}

fn tried(row: &mut Row, take: &Take<'_>, now: u64) -> (Here, Grant) {
    let known = &mut row.known;
    let spent = if take.leased { known.spend(now, take.cost) } else { None };
    let mut grant = Grant {
        allowed: true,
        remaining: known.remaining.saturating_add(known.left(now)),
        reset: Duration::from_nanos(known.reset.saturating_sub(now)),
        ..Grant::default()
    };
    if let Some(spent) = spent {
        grant.at = spent.stamp;
        return (Here::Spent(spent), grant);
    }
    match known.is_over(now, take.cost) {
        Some(wait) => {
            let remaining = grant.remaining.min(take.cost.saturating_sub(1));
            (Here::Over, Grant { allowed: false, remaining, wait, ..grant })
        }
        None => (Here::Ask, grant),
    }
}
