//! The least requests in flight for its weight. All members are looked at: exactness is the point
//! of this plan, and a thousand of them take under ten microseconds; `p2c` is for more.

use super::Ask;
use super::sequence::Sequence;

/// Turns drawn to settle a tie before the first of the tied is taken.
const TIE_TURNS: usize = 32;

/// Chooses the least loaded. Ties go round by weighted turns, so that an idle upstream is balanced
/// like `round_robin`.
pub(super) fn choose(ask: &Ask<'_>, sequence: &Sequence) -> Option<usize> {
    let mut best: Option<Load> = None;
    let mut ties = 0_usize;
    for place in 0..ask.level.members.len() {
        if !ask.fits(place) {
            continue;
        }
        let load = Load::of(ask, place);
        match &best {
            Some(least) if least.less(&load) => {}
            Some(least) if !load.less(least) => ties += 1,
            _ => (best, ties) = (Some(load), 0),
        }
    }
    let best = best?;
    if ties == 0 {
        return Some(best.place);
    }
    for _ in 0..TIE_TURNS {
        let Some(place) = sequence.at(ask.turn()) else { break };
        if ask.fits(place) && !best.less(&Load::of(ask, place)) {
            return Some(place);
        }
    }
    Some(best.place)
}

struct Load {
    place: usize,
    in_flight: u32,
    weight: u64,
}

impl Load {
    fn of(ask: &Ask<'_>, place: usize) -> Self {
        Self { place, in_flight: ask.in_flight(place), weight: ask.weight(place) }
    }

    fn less(&self, other: &Self) -> bool {
        u128::from(self.in_flight) * u128::from(other.weight)
            < u128::from(other.in_flight) * u128::from(self.weight)
    }
}
