//! Smooth weighted turns: every member comes exactly as often as its weight says, spread evenly.
//!
//! A shared counter is the position; each turn is used by exactly one pick, so the counts are exact
//! across workers. A member that is out gives its turn to nobody: the pick takes the next turn of
//! all, and so the others keep their ratio.

use super::Ask;

/// Rounds up to this long are written out, in the order of their deadlines.
const LONGEST_TABLE: u64 = 4096;
/// Turns that one pick may use up before it looks at all members instead.
const MOST_TURNS: u64 = 256;

/// The order of turns in one round, which is as long as the sum of the reduced weights.
#[derive(Debug)]
pub(crate) enum Sequence {
    /// Written out.
    Table(Box<[u16]>),
    /// Too long to write out: turn t is the t-th step of a stride, coprime to the round, along the
    /// members laid end to end; near the golden ratio, so that steps spread evenly.
    Stride { ends: Box<[u64]>, stride: u64 },
}

impl Sequence {
    pub(super) fn new(weights: &[u32]) -> Self {
        let divisor = weights.iter().fold(0, |sum, &w| gcd(sum, u64::from(w))).max(1);
        let reduced = || weights.iter().map(|&w| u64::from(w) / divisor);
        let round: u64 = reduced().sum();
        if round > LONGEST_TABLE {
            let ends: Box<[u64]> = reduced()
                .scan(0, |end, weight| {
                    *end += weight;
                    Some(*end)
                })
                .collect();
            return Self::Stride { ends, stride: stride(round) };
        }
        // Turn k (from 0) of a member with weight w is due at (2k + 1) / 2w of the round.
        let mut turns: Vec<(f64, u16)> = Vec::with_capacity(round as usize);
        for (place, weight) in reduced().enumerate() {
            let due = |k: u64| (2 * k + 1) as f64 / (2 * weight) as f64;
            turns.extend((0..weight).map(|k| (due(k), place as u16)));
        }
        turns.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        Self::Table(turns.into_iter().map(|(_, place)| place).collect())
    }

    /// Whose turn it is.
    pub(super) fn at(&self, turn: u64) -> Option<usize> {
        match self {
            Self::Table(places) => {
                let turn = turn.checked_rem(places.len() as u64)?;
                places.get(turn as usize).map(|&place| usize::from(place))
            }
            Self::Stride { ends, stride } => {
                let round = u128::from(*ends.last()?);
                let step = (u128::from(turn) * u128::from(*stride) % round) as u64;
                Some(ends.partition_point(|&end| end <= step))
            }
        }
    }

    fn round(&self) -> u64 {
        match self {
            Self::Table(places) => places.len() as u64,
            Self::Stride { ends, .. } => ends.last().copied().unwrap_or(1),
        }
    }

    pub(super) fn choose(&self, ask: &Ask<'_>) -> Option<usize> {
        for _ in 0..self.round().clamp(8, MOST_TURNS) {
            let place = self.at(ask.position.turn())?;
            if ask.takes(place) {
                return Some(place);
            }
        }
        ask.scan()
    }
}

fn stride(round: u64) -> u64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    let near = (round as f64 * GOLDEN) as u64;
    (near.max(1)..).find(|&stride| gcd(stride, round) == 1).unwrap_or(1)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
