//! Smooth weighted turns: every member comes exactly as often as its weight says, spread evenly.
//!
//! A shared counter is the position; each turn is used by exactly one pick, so the counts are exact
//! across workers. A member that is out gives its turn to nobody: the pick takes the next turn of
//! all, and so the others keep their ratio.

use super::Ask;

/// Rounds up to this long are written out, when that takes no more steps than `MOST_STEPS`.
const LONGEST_TABLE: u64 = 4096;
const MOST_STEPS: u64 = 1_000_000;
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
        if round > LONGEST_TABLE || round * weights.len() as u64 > MOST_STEPS {
            let ends: Box<[u64]> = reduced()
                .scan(0, |end, weight| {
                    *end += weight;
                    Some(*end)
                })
                .collect();
            return Self::Stride { ends, stride: stride(round) };
        }
        // Each turn everyone earns its weight, and the richest pays the whole round for it.
        let mut purses: Vec<(i64, i64)> = reduced().map(|weight| (weight as i64, 0)).collect();
        let mut places = Vec::with_capacity(round as usize);
        for _ in 0..round {
            let mut richest = (0, i64::MIN);
            for (place, (weight, purse)) in purses.iter_mut().enumerate() {
                *purse += *weight;
                if *purse > richest.1 {
                    richest = (place, *purse);
                }
            }
            if let Some((_, purse)) = purses.get_mut(richest.0) {
                *purse -= round as i64;
            }
            places.push(richest.0 as u16);
        }
        Self::Table(places.into())
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
            let place = self.at(ask.turn())?;
            if ask.takes(place) {
                return Some(place);
            }
        }
        ask.scan()
    }
}

/// A stride coprime to the round whose steps spread evenly: one for which the quotients of Euclid's
/// algorithm have a small sum, as they do for the golden ratio (all ones): it bounds how far the
/// counts stray from the weights.
fn stride(round: u64) -> u64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    const CANDIDATES: u64 = 256;
    let near = ((round as f64 * GOLDEN) as u64).max(1);
    let coprime = (near..near + CANDIDATES).filter(|&stride| gcd(stride, round) == 1);
    coprime.min_by_key(|&stride| roughness(round, stride)).unwrap_or(1)
}

fn roughness(mut a: u64, mut b: u64) -> u64 {
    let mut sum = 0;
    while b > 0 {
        sum += a / b;
        (a, b) = (b, a % b);
    }
    sum
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
