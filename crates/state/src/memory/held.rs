//! The cells of a decision, locked in their order, so that no two decisions wait for each other.

use std::sync::MutexGuard;

use lockgate_core::MOST_TAKES;

use super::Memory;
use crate::table::Cell;
use crate::tag::Tag;

/// The cells of any decision, each once, by place.
pub(super) type Held<'a> = [Option<(usize, MutexGuard<'a, Cell>)>; MOST_TAKES];

/// The same where each take has a cell of its own, in the order of the takes.
pub(super) type HeldEach<'a, const N: usize> = [Option<(MutexGuard<'a, Cell>, usize)>; N];

impl Memory {
    /// Locks the cells of these tags, in their order. None: two of them are one.
    pub(super) fn hold_each<const N: usize>(&self, tags: &[Tag]) -> Option<HeldEach<'_, N>> {
        let tags: &[Tag; N] = tags.try_into().ok()?;
        let places = tags.map(|tag| self.place(tag));
        let mut order: [usize; N] = std::array::from_fn(|number| number);
        // So few that all else would take longer.
        for from in 1..N {
            for at in (1..=from).rev() {
                let [one, other] = [at - 1, at].map(|at| order.get(at).map(|at| places.get(*at)));
                if one > other {
                    order.swap(at - 1, at);
                }
            }
        }
        let mut held = [const { None }; N];
        let mut last = None;
        for number in order {
            let place = places.get(number).copied()?;
            if last == Some(place) {
                return None;
            }
            last = Some(place);
            *held.get_mut(number)? = Some((self.cells.get(place)?.lock(), place));
        }
        Some(held)
    }

    /// Locks the cells of these tags.
    pub(super) fn hold(&self, tags: &[Tag]) -> Held<'_> {
        let mut held = Held::default();
        if let [tag] = tags {
            held[0] = self.lock(self.place(*tag));
            return held;
        }
        let mut places = [usize::MAX; MOST_TAKES];
        for (place, tag) in places.iter_mut().zip(tags) {
            *place = self.place(*tag);
        }
        places.sort_unstable();
        let mut last = usize::MAX;
        for (held, place) in held.iter_mut().zip(places) {
            if place != last && place != usize::MAX {
                *held = self.lock(place);
            }
            last = place;
        }
        held
    }
}

/// One of them.
pub(super) fn cell_of<'h>(held: &'h mut Held<'_>, place: usize) -> Option<&'h mut Cell> {
    let mut found = held.iter_mut().flatten();
    found.find(|(held, _)| *held == place).map(|(_, cell)| &mut **cell)
}
