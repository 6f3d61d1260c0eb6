//! What the script does, once more: as plainly as can be, in a list of all that was booked. The
//! script is held against it, and so is the protocol of slices.

use std::time::Duration;

use lockgate_core::{Algorithm, Limit};

use crate::redis::counters::known::Told;
use crate::redis::counters::question::{Question, life};

/// What of the protocol is left out, to see that it is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    Nothing,
    /// Slices are booked when they are granted, not at the end of their life.
    LateBooking,
    /// A slice's life begins when it arrives, not before it is asked for.
    EarlyLife,
    /// What is given back can still be spent.
    Closing,
    /// A slice is not deducted until it is spent.
    Deduction,
}

/// So much, counted as if it were taken then.
#[derive(Debug, Clone, Copy)]
struct Booking {
    at: u64,
    amount: u64,
}

/// One counter; times are microseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    booked: Vec<Booking>,
    /// A token bucket: when it is full, in parts of a microsecond, as many as the limit's count.
    full: u128,
}

const SHORTEST: u64 = 1_000;

fn window(limit: &Limit) -> u64 {
    u64::try_from(limit.window.as_micros()).unwrap()
}

fn bucket(limit: &Limit) -> u64 {
    window(limit).div_ceil(60)
}

impl Store {
    /// What counts at a moment.
    fn total(&self, limit: &Limit, now: u64) -> u64 {
        let counts = |booking: &&Booking| match limit.algorithm {
            Algorithm::SlidingWindow => booking.at + 60 >= now / bucket(limit),
            Algorithm::SlidingLog => booking.at + window(limit) > now,
            _ => booking.at == now - now % window(limit),
        };
        self.booked.iter().filter(counts).map(|booking| booking.amount).sum()
    }

    fn remaining(&self, limit: &Limit, now: u64) -> u64 {
        if limit.algorithm == Algorithm::TokenBucket {
            let owed = self.full.saturating_sub(u128::from(now) * u128::from(limit.count));
            let most = u128::from(limit.burst) * u128::from(window(limit));
            return u64::try_from(most.saturating_sub(owed) / u128::from(window(limit))).unwrap();
        }
        limit.count.saturating_sub(self.total(limit, now))
    }

    /// Until the end of a slice's life, and what it is booked under.
    fn term(&self, limit: &Limit, now: u64, amount: u64) -> (u64, u64) {
        let life = u64::try_from(life(limit).as_micros()).unwrap();
        match limit.algorithm {
            Algorithm::SlidingWindow => {
                let this = now / bucket(limit);
                let left = (this + 1) * bucket(limit) - now;
                if left >= life || left * 2 >= life && left >= SHORTEST {
                    (life.min(left), this)
                } else {
                    (life.min(left + bucket(limit)), this + 1)
                }
            }
            Algorithm::SlidingLog => (life, now + life),
            Algorithm::TokenBucket => {
                let count = u128::from(limit.count);
                let owed = self.full.saturating_sub(u128::from(now) * count);
                if owed / count >= u128::from(life) {
                    return (life, 0);
                }
                let most = u128::from(limit.burst - amount.min(limit.burst));
                let most = most * u128::from(window(limit)) / count;
                (u64::try_from(u128::from(life).min(most).max(owed / count)).unwrap(), 0)
            }
            _ => {
                let begin = now - now % window(limit);
                (life.min(begin + window(limit) - now), begin)
            }
        }
    }

    pub(super) fn decide(
        &mut self,
        limit: &Limit,
        now: u64,
        share: u64,
        question: &Question,
        without: Without,
    ) -> Told {
        self.back(limit, now, question.back);
        let remaining = self.remaining(limit, now);
        let mut told = Told { allowed: question.cost <= remaining, remaining, ..Told::default() };
        if !told.allowed {
            return told;
        }
        let slice = question.want.min((remaining - question.cost) / share);
        let (mut life, mut stamp) = (0, None);
        if slice > 0 {
            let (term, at) = self.term(limit, now, question.cost + slice);
            if term >= SHORTEST {
                (life, stamp, told.slice) = (term, Some(at), slice);
            }
        }
        if without == Without::LateBooking {
            stamp = None;
        }
        told.life = Duration::from_micros(life);
        let amount = match without {
            Without::Deduction => question.cost,
            _ => question.cost + told.slice,
        };
        told.remaining -= amount;
        if amount > 0 {
            let late = if without == Without::LateBooking { 0 } else { life };
            told.stamp = self.book(limit, now, amount, stamp, late);
        }
        told
    }

    fn book(&mut self, limit: &Limit, now: u64, amount: u64, at: Option<u64>, life: u64) -> u64 {
        let at = match limit.algorithm {
            Algorithm::SlidingWindow => at.unwrap_or(now / bucket(limit)),
            Algorithm::SlidingLog => {
                let last = self.booked.last().map_or(0, |booking| booking.at);
                at.unwrap_or(now).max(last)
            }
            Algorithm::TokenBucket => {
                let from = u128::from(now + life) * u128::from(limit.count);
                let tokens = u128::from(amount) * u128::from(window(limit));
                self.full = self.full.max(from) + tokens;
                return 0;
            }
            _ => now - now % window(limit),
        };
        self.booked.push(Booking { at, amount });
        at
    }

    fn back(&mut self, limit: &Limit, now: u64, (mut amount, stamp): (u64, u64)) {
        let still = match limit.algorithm {
            Algorithm::SlidingWindow => stamp + 60 >= now / bucket(limit),
            _ => true,
        };
        for booking in &mut self.booked {
            if still && booking.at == stamp {
                let some = amount.min(booking.amount);
                booking.amount -= some;
                amount -= some;
            }
        }
        self.booked.retain(|booking| booking.amount > 0);
    }
}
