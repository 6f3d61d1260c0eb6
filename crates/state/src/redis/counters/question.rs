//! What the script is asked, and what it answers: twelve numbers for a counter, and seven back.

use std::time::Duration;

use lockgate_core::{Algorithm, CalendarUnit, Limit};
use redis::Value;

use super::known::{MOST, Told};
use crate::redis::Script;
use crate::redis::Use;

/// Takes from counters, and gives back to them.
pub(super) static DECIDE: Script = Script::new(Use::Counters, include_str!("decide.lua"));

/// What is asked of one counter.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Question {
    pub(super) cost: u64,
    pub(super) dry: bool,
    /// What is wanted ahead.
    pub(super) want: u64,
    /// What is given back, and what it was counted under.
    pub(super) back: (u64, u64),
}

/// Longest life of a slice.
const LONGEST: Duration = Duration::from_secs(1);
/// Numbers of a question, and bytes.
const NUMBERS: usize = 12;
const BYTES: usize = NUMBERS * size_of::<f64>();
/// Numbers of an answer.
const ANSWERS: usize = 7;

/// For how long slices of a limit are asked for: never for much longer than it takes a limit to
/// forget, so that what is not spent does not keep others waiting.
pub(super) fn life(limit: &Limit) -> Duration {
    let life = match limit.algorithm {
        Algorithm::SlidingWindow | Algorithm::SlidingLog => limit.window / 60,
        Algorithm::TokenBucket => {
            let token = limit.window.as_secs_f64() / limit.count.max(1) as f64;
            Duration::from_secs_f64((token * limit.burst as f64 / 4.0).min(1.0))
        }
        Algorithm::FixedWindow => limit.window / 8,
        Algorithm::Calendar(_) => LONGEST,
    };
    life.min(LONGEST)
}

/// Whether what was taken can be given back.
pub(super) fn takes_back(limit: &Limit) -> bool {
    limit.algorithm != Algorithm::TokenBucket
}

/// What tells the counters of one key apart, as it stands in Redis.
pub(super) fn kind(limit: &Limit) -> String {
    let micros = limit.window.as_micros();
    match limit.algorithm {
        Algorithm::SlidingWindow => format!("s{micros}"),
        Algorithm::SlidingLog => format!("l{micros}"),
        // A bucket's moments are in parts of its count: with another count it is another.
        Algorithm::TokenBucket => format!("b{micros}.{}", limit.count),
        Algorithm::FixedWindow => format!("f{micros}"),
        Algorithm::Calendar(calendar) => match calendar.unit {
            CalendarUnit::Day => format!("d{}", calendar.offset_seconds),
            CalendarUnit::Month => format!("m{}", calendar.offset_seconds),
        },
    }
}

impl Question {
    /// In the script's form. A gateway gets at most one part of what remains in twice as many as
    /// there are gateways.
    pub(super) fn packed(&self, limit: &Limit, gateways: u32) -> Vec<u8> {
        let (way, offset) = match limit.algorithm {
            Algorithm::SlidingWindow => (1, 0),
            Algorithm::SlidingLog => (2, 0),
            Algorithm::TokenBucket => (3, 0),
            Algorithm::FixedWindow => (4, 0),
            Algorithm::Calendar(calendar) => match calendar.unit {
                CalendarUnit::Day => (5, calendar.offset_seconds),
                CalendarUnit::Month => (6, calendar.offset_seconds),
            },
        };
        let numbers: [f64; NUMBERS] = [
            way.into(),
            limit.count as f64,
            limit.window.as_micros() as f64,
            limit.burst as f64,
            self.cost as f64,
            f64::from(u8::from(self.dry)),
            self.want as f64,
            life(limit).as_micros() as f64,
            offset.into(),
            f64::from(gateways.max(1)) * 2.0,
            self.back.0 as f64,
            self.back.1 as f64,
        ];
        let mut packed = Vec::with_capacity(BYTES);
        packed.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        packed
    }
}

/// Reads an answer about so many counters: whether anything was taken, and what is told of each.
/// `None` when it is none.
pub(super) fn read(answer: &Value, told: &mut [Told]) -> Option<bool> {
    let Value::BulkString(bytes) = answer else { return None };
    let (numbers, rest) = bytes.as_chunks::<{ size_of::<f64>() }>();
    let mut numbers = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes));
    if !rest.is_empty() || numbers.len() != 1 + told.len() * ANSWERS {
        return None;
    }
    let all = numbers.next()? > 0.0;
    for told in told {
        let mut next = || numbers.next();
        *told = Told {
            allowed: next()? > 0.0,
            remaining: count(next()?),
            reset: micros(next()?),
            wait: micros(next()?),
            stamp: count(next()?),
            // No more than is ever asked for.
            slice: count(next()?).min(MOST),
            life: micros(next()?),
        };
    }
    Some(all)
}

/// Whole numbers above this one are not exact.
const EXACT: u64 = 1 << 53;

/// What is negative or none is 0.
fn count(number: f64) -> u64 {
    (number as u64).min(EXACT)
}

fn micros(number: f64) -> Duration {
    Duration::from_micros(count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_nobody_asked_for_are_bounded() {
        let numbers = [1.0, 1.0, f64::NAN, f64::INFINITY, -1.0, 1e300, 1e300, f64::NEG_INFINITY];
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let mut told = [Told::default()];
        assert_eq!(read(&Value::BulkString(bytes), &mut told), Some(true));
        let Told { remaining, reset, wait, stamp, slice, life, .. } = told[0];
        assert_eq!((remaining, wait, life), (0, Duration::ZERO, Duration::ZERO));
        assert_eq!((reset, stamp), (Duration::from_micros(EXACT), EXACT));
        assert_eq!(slice, MOST);
    }
}
