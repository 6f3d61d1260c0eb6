//! Decisions: which counters a request meets, whether they all let it pass, and taking from them.
//! One counter that is kept already is the usual case, a few are the next; each has a way of its
//! own that does no more than it must.

use std::sync::atomic::Ordering::Relaxed;

use lockgate_core::{Grant, MOST_TAKES, Naming, Take};

use super::held::{Held, cell_of};
use super::{Memory, is_of_calendar};
use crate::clock::{Now, TICK};
use crate::count::{Count, Near, Took};
use crate::table::{Cell, Entry, Found, Warmth};
use crate::tag::Tag;
use crate::view::Name;

/// A turn, in which it is told when an entry is over: 1.07 s.
const TURN: u32 = 30;

impl Memory {
    #[inline]
    pub(super) fn decide(
        &self,
        takes: &[Take<'_>],
        grants: &mut [Grant],
        naming: &Naming<'_>,
    ) -> bool {
        let ([take], [grant, ..]) = (takes, &mut *grants) else {
            return self.decide_several(takes, grants, naming);
        };
        let now = self.clock.at(take.at, is_of_calendar(take.limit));
        let tag = self.tagger.tag(take);
        match self.decide_one(take, tag, now, grant) {
            Some(all) if grant.allowed => all,
            known => self.decided(known, takes, &[tag], now, grants, naming),
        }
    }

    #[inline(never)]
    fn decide_several(
        &self,
        takes: &[Take<'_>],
        grants: &mut [Grant],
        naming: &Naming<'_>,
    ) -> bool {
        let calendar = takes.iter().any(|take| is_of_calendar(take.limit));
        let now = self.clock.at(takes.first().and_then(|take| take.at), calendar);
        let mut tags = [Tag::default(); MOST_TAKES];
        let tags = tags.get_mut(..takes.len()).unwrap_or_default();
        for (tag, take) in tags.iter_mut().zip(takes) {
            *tag = self.tagger.tag(take);
        }
        let known = match takes.len() {
            2 => self.decide_known::<2>(takes, tags, now, grants),
            3 => self.decide_known::<3>(takes, tags, now, grants),
            4 => self.decide_known::<4>(takes, tags, now, grants),
            _ => None,
        };
        self.decided(known, takes, tags, now, grants, naming)
    }

    /// Decides, unless that is done, and notes who is refused.
    #[inline(never)]
    fn decided(
        &self,
        known: Option<bool>,
        takes: &[Take<'_>],
        tags: &[Tag],
        now: Now,
        grants: &mut [Grant],
        naming: &Naming<'_>,
    ) -> bool {
        let all = known.unwrap_or_else(|| self.decide_any(takes, tags, now, grants, naming));
        for (place, (tag, grant)) in tags.iter().zip(&*grants).enumerate() {
            if !grant.allowed {
                self.board.note(*tag, || naming(place));
            }
        }
        all
    }

    /// Decides for a counter alone that is kept already: the usual case. None: there is no such.
    #[inline]
    fn decide_one(&self, take: &Take<'_>, tag: Tag, now: Now, grant: &mut Grant) -> Option<bool> {
        let place = self.place(tag);
        let (_, mut cell) = self.lock(place)?;
        let found = cell.find(tag)?;
        found.entry.warmth.meet(tick(now));
        let grown = taken_from(found, take, now, grant);
        self.grown(&mut cell, grown, &[tag], place);
        Some(grant.allowed || take.dry)
    }

    /// The same for some counters, each of another cell. None: it is not so, and nothing is taken.
    fn decide_known<const N: usize>(
        &self,
        takes: &[Take<'_>],
        tags: &[Tag],
        now: Now,
        grants: &mut [Grant],
    ) -> Option<bool> {
        let mut held = self.hold_each::<N>(tags)?;
        // All are found before the first is looked at: their lines come from afar side by side.
        let mut found = [0; N];
        for ((found, (cell, _)), tag) in found.iter_mut().zip(held.iter().flatten()).zip(tags) {
            *found = cell.position(*tag)?;
        }
        let cells = held.iter_mut().flatten().map(|(cell, _)| &mut **cell);
        if all_here::<N>(cells.zip(found), takes, now, grants) {
            return Some(true);
        }
        let mut grown: [Grown; N] = [None; N];
        let mut all = true;
        let cells = held.iter_mut().flatten();
        for (((found, (cell, _)), take), grant) in
            found.iter().zip(cells).zip(takes).zip(&mut *grants)
        {
            *grant = look_at(cell.at(*found)?, take, now);
            all &= grant.allowed || take.dry;
        }
        if all {
            let cells = held.iter_mut().flatten();
            let steps = found.iter().zip(cells).zip(takes).zip(grants).zip(&mut grown);
            for ((((found, (cell, _)), take), grant), grown) in steps {
                if grant.allowed && take.cost > 0 {
                    *grown = spend_from(cell.at(*found)?, take, now, grant);
                }
            }
        }
        for ((cell, place), grown) in held.iter_mut().flatten().zip(grown) {
            self.grown(cell, grown, tags, *place);
        }
        Some(all)
    }

    /// Decides for any counters, and keeps those that are new.
    fn decide_any(
        &self,
        takes: &[Take<'_>],
        tags: &[Tag],
        now: Now,
        grants: &mut [Grant],
        naming: &Naming<'_>,
    ) -> bool {
        let mut held = self.hold(tags);
        let mut all = true;
        for ((take, tag), grant) in takes.iter().zip(tags).zip(&mut *grants) {
            let Some(cell) = cell_of(&mut held, self.place(*tag)) else { continue };
            *grant = match cell.find(*tag) {
                Some(found) => look_at(found, take, now),
                None => Count::fresh(take.limit).look(&Near::default(), take.limit, now, take.cost),
            };
            all &= grant.allowed || take.dry;
        }
        if all {
            for (place, (take, grant)) in takes.iter().zip(&mut *grants).enumerate() {
                if grant.allowed && take.cost > 0 {
                    self.spend(&mut held, tags, place, take, now, grant, naming);
                }
            }
        }
        all
    }

    /// Counts what an entry of a cell has grown by on the heap, if it has.
    #[inline]
    fn grown(&self, cell: &mut Cell, grown: Grown, keep: &[Tag], place: usize) {
        if let Some((was, is)) = grown {
            let before = cell.bytes();
            cell.resized(was, is);
            self.settle(cell, before, keep, place);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one step of `decide`")]
    fn spend(
        &self,
        held: &mut Held<'_>,
        tags: &[Tag],
        number: usize,
        take: &Take<'_>,
        now: Now,
        grant: &mut Grant,
        naming: &Naming<'_>,
    ) {
        let Some(tag) = tags.get(number).copied() else { return };
        let Some(cell) = cell_of(held, self.place(tag)) else { return };
        let place = self.place(tag);
        if let Some(found) = cell.find(tag) {
            let grown = spend_from(found, take, now, grant);
            self.grown(cell, grown, tags, place);
            return;
        }
        let (mut count, mut near) = (Count::fresh(take.limit), Near::default());
        let over = count.spend(&mut near, take.limit, now, take.cost, grant);
        if let Some(fixed) = count.fixed_mut().filter(|_| take.listed) {
            let (name, of) = (naming(number), take.limit.count);
            fixed.name = Some(Box::new(Name { name, of, end: over }));
        }
        let entry = Entry { tag, count, until: turn_after(over), warmth: Warmth::new(tick(now)) };
        let before = cell.bytes();
        let forgotten = cell.forget(turn(now.mono)) as u64;
        if forgotten > 0 {
            self.keys.fetch_sub(forgotten, Relaxed);
        }
        let more = cell.more(entry.count.is_log());
        self.make_room(cell, more, tags, place);
        if cell.push(entry, near) {
            self.keys.fetch_add(1, Relaxed);
        }
        self.settle(cell, before, tags, place);
    }
}

/// Takes from all of some entries, if each allows it and that changes the entries alone: the usual
/// case, with one look at each. Else nothing is taken from any.
#[inline]
fn all_here<'c, const N: usize>(
    entries: impl Iterator<Item = (&'c mut Cell, usize)>,
    takes: &[Take<'_>],
    now: Now,
    grants: &mut [Grant],
) -> bool {
    let mut before: [Option<(&mut Entry, Count, u32)>; N] = [const { None }; N];
    let mut taken = 0;
    let steps = entries.zip(takes).zip(grants).zip(&mut before);
    for ((((cell, found), take), grant), before) in steps {
        let Some(Found { entry, .. }) = cell.at(found) else { break };
        entry.warmth.meet(tick(now));
        let Some(count) = entry.count.copied() else { break };
        let took = entry.count.take_here_of_several(take.limit, now, take.cost, grant);
        let Took::Here(over) = took else { break };
        let until = std::mem::replace(&mut entry.until, turn_after(over));
        *before = Some((entry, count, until));
        taken += 1;
    }
    if taken < N {
        for (entry, count, until) in before.into_iter().flatten() {
            (entry.count, entry.until) = (count, until);
        }
    }
    taken == N
}

/// What an entry had on the heap before, and after, if that is not the same.
type Grown = Option<(usize, usize)>;

fn look_at(found: Found<'_>, take: &Take<'_>, now: Now) -> Grant {
    found.with(|entry, near| {
        entry.warmth.meet(tick(now));
        entry.count.look(near, take.limit, now, take.cost)
    })
}

/// Takes from an entry what a look has just allowed.
fn spend_from(found: Found<'_>, take: &Take<'_>, now: Now, grant: &mut Grant) -> Grown {
    found.with(|entry, near| {
        let was = entry.count.heap();
        let over = entry.count.spend(near, take.limit, now, take.cost, grant);
        spent(entry, take, over, was)
    })
}

/// Takes from an entry if it allows that.
#[inline]
fn taken_from(found: Found<'_>, take: &Take<'_>, now: Now, grant: &mut Grant) -> Grown {
    let entry = &mut *found.entry;
    match entry.count.take_here(take.limit, now, take.cost, grant) {
        Took::Here(over) => {
            entry.until = turn_after(over);
            None
        }
        Took::Refused => None,
        Took::Elsewhere => taken_at_length(found, take, now, grant),
    }
}

/// The same where that changes more than the entry.
#[inline(never)]
fn taken_at_length(found: Found<'_>, take: &Take<'_>, now: Now, grant: &mut Grant) -> Grown {
    found.with(|entry, near| {
        let was = entry.count.heap();
        let over = entry.count.take_at_length(near, take.limit, now, take.cost, grant)?;
        spent(entry, take, over, was)
    })
}

fn spent(entry: &mut Entry, take: &Take<'_>, over: u64, was: usize) -> Grown {
    entry.until = turn_after(over);
    if let Some(name) = entry.count.fixed_mut().and_then(|fixed| fixed.name.as_mut()) {
        (name.of, name.end) = (take.limit.count, over);
    }
    let is = entry.count.heap();
    (was != is).then_some((was, is))
}

fn tick(now: Now) -> u32 {
    (now.mono >> TICK) as u32
}

fn turn(moment: u64) -> u32 {
    u32::try_from(moment >> TURN).unwrap_or(u32::MAX)
}

/// The first turn that begins after a moment.
fn turn_after(moment: u64) -> u32 {
    turn(moment).saturating_add(1)
}
