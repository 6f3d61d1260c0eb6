//! Every algorithm against a plain and slow account of the same events, over random times.

use std::time::Duration;

use lockgate_core::{Calendar, CalendarUnit};
use proptest::prelude::*;

use super::*;
use crate::clock::nanos;

/// The calendar's moment at the clock's start.
const START: Duration = Duration::from_secs(1_796_000_000);

fn now(mono: u64) -> Now {
    Now { mono, unix: START + Duration::from_nanos(mono) }
}

/// A counter and the line beside it, as an entry of the memory has them.
pub(crate) struct Plain {
    count: Count,
    near: Near,
}

impl Plain {
    pub(crate) fn fresh(limit: &Limit) -> Self {
        Self { count: Count::fresh(limit), near: Near::default() }
    }

    pub(crate) fn look(&self, limit: &Limit, now: Now, cost: u64) -> Grant {
        self.count.look(&self.near, limit, now, cost)
    }

    pub(crate) fn spend(&mut self, limit: &Limit, now: Now, cost: u64, grant: &mut Grant) {
        self.count.spend(&mut self.near, limit, now, cost, grant);
    }

    pub(crate) fn give_back(&mut self, limit: &Limit, now: Now, cost: u64, at: u64) {
        self.count.give_back(&mut self.near, limit, now, cost, at);
    }

    fn heap(&self) -> usize {
        self.count.heap()
    }
}

/// Takes as the memory does for one limit alone; a look before tells the same.
fn take(count: &mut Plain, limit: &Limit, at: u64, cost: u64) -> Grant {
    let look = count.look(limit, now(at), cost);
    let mut grant = Grant::default();
    let Plain { count, near } = count;
    if let Took::Elsewhere = count.take_here(limit, now(at), cost, &mut grant) {
        count.take_at_length(near, limit, now(at), cost, &mut grant);
    }
    if grant.allowed {
        let (remaining, reset) = (look.remaining - cost, grant.reset);
        assert_eq!(grant, Grant { remaining, reset, ..look });
    } else {
        assert_eq!(grant, look);
    }
    grant
}

/// Random steps of time, dense and sparse, as parts of a window, with a cost.
fn steps() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let step = prop_oneof![
        4 => 0_u64..20,
        4 => 0_u64..400,
        2 => 0_u64..2_000,
        1 => Just(1_000_u64),
        1 => 0_u64..100_000,
    ];
    prop::collection::vec((step, prop_oneof![4 => Just(1_u64), 1 => 1_u64..6]), 1..200)
}

fn limits() -> impl Strategy<Value = (u64, u64)> {
    let windows =
        prop_oneof![Just(1_u64), Just(7), Just(999), Just(60_000_000_000), 1_u64..1 << 40];
    (prop_oneof![1_u64..12, Just(100_u64), Just(300)], windows)
}

/// Events that passed, each with its time and cost.
#[derive(Default)]
struct Account(Vec<(u64, u64)>);

impl Account {
    /// What passed less than `window` ago.
    fn within(&self, window: u64, at: u64) -> u64 {
        let recent = self.0.iter().filter(|(then, _)| at - then < window);
        recent.map(|(_, cost)| cost).sum()
    }
}

/// A step in thousandths of a window, with a remainder that hits no round number.
fn step(parts: u64, window: u64) -> u64 {
    let whole = u128::from(parts) * u128::from(window) / 1_000;
    u64::try_from(whole).unwrap() + parts % 3
}

fn limit(algorithm: Algorithm, count: u64, window: u64, burst: u64) -> Limit {
    Limit { algorithm, count, window: Duration::from_nanos(window), burst }
}

proptest! {
    #[test]
    fn a_sliding_window_is_exact_to_within_a_bucket(
        (most, window) in limits(), steps in steps(),
    ) {
        let limit = limit(Algorithm::SlidingWindow, most, window, 1);
        let bucket = window.div_ceil(60);
        let (mut count, mut account, mut at) = (Plain::fresh(&limit), Account::default(), 0);
        for (parts, cost) in steps {
            let cost = cost.min(most);
            at += step(parts, window);
            let grant = take(&mut count, &limit, at, cost);
            if grant.allowed {
                prop_assert!(account.within(window, at) + cost <= most, "over the limit");
                account.0.push((at, cost));
                prop_assert!(grant.remaining <= most - account.within(window, at));
            } else {
                prop_assert!(account.within(61 * bucket, at) + cost > most, "refused needlessly");
                // It holds what it says: not a moment before, and then it passes.
                let then = at + nanos(grant.wait);
                prop_assert!(!count.look(&limit, now(then - 1), cost).allowed);
                prop_assert!(count.look(&limit, now(then), cost).allowed);
            }
            if account.within(window, at) > 0 {
                let then = at + nanos(grant.reset);
                prop_assert_eq!(count.look(&limit, now(then), 0).remaining, most);
            }
        }
    }

    #[test]
    fn a_sliding_log_is_exact((most, window) in limits(), steps in steps()) {
        let limit = limit(Algorithm::SlidingLog, most, window, 1);
        let (mut count, mut account, mut at) = (Plain::fresh(&limit), Account::default(), 0);
        for (parts, cost) in steps {
            let cost = cost.min(most);
            at += step(parts, window);
            let grant = take(&mut count, &limit, at, cost);
            prop_assert_eq!(grant.allowed, account.within(window, at) + cost <= most);
            if grant.allowed {
                account.0.push((at, cost));
            } else {
                let then = at + nanos(grant.wait);
                prop_assert!(!count.look(&limit, now(then - 1), cost).allowed);
                prop_assert!(count.look(&limit, now(then), cost).allowed);
            }
            prop_assert_eq!(grant.remaining, most - account.within(window, at));
            let then = at + nanos(grant.reset);
            prop_assert_eq!(count.look(&limit, now(then), 0).remaining, most);
        }
    }

    /// The reference fills a bucket drop by drop, in fractions that are whole numbers.
    #[test]
    fn a_token_bucket_is_exact(
        (rate, window) in limits(), burst in 1_u64..40, steps in steps(),
    ) {
        let limit = limit(Algorithm::TokenBucket, rate, window, burst);
        let full = u128::from(burst) * u128::from(window);
        let (mut count, mut level, mut at) = (Plain::fresh(&limit), full, 0);
        for (parts, cost) in steps {
            let cost = cost.min(burst);
            let passed = step(parts, window);
            at += passed;
            level = full.min(level + u128::from(passed) * u128::from(rate));
            let price = u128::from(cost) * u128::from(window);
            let grant = take(&mut count, &limit, at, cost);
            prop_assert_eq!(grant.allowed, price <= level);
            if grant.allowed {
                level -= price;
            } else {
                let then = at + nanos(grant.wait);
                prop_assert!(!count.look(&limit, now(then - 1), cost).allowed);
                prop_assert!(count.look(&limit, now(then), cost).allowed);
            }
            prop_assert_eq!(u128::from(grant.remaining), level / u128::from(window));
            let then = at + nanos(grant.reset);
            prop_assert_eq!(count.look(&limit, now(then), 0).remaining, burst);
        }
    }

    #[test]
    fn a_fixed_window_begins_anew_at_round_times(
        most in 1_u64..50, seconds in 1_u64..100_000, steps in steps(),
    ) {
        let window = seconds * 1_000_000_000;
        let limit = limit(Algorithm::FixedWindow, most, window, 1);
        let (mut count, mut spent, mut at) = (Plain::fresh(&limit), (0, 0), 0);
        for (parts, cost) in steps {
            let cost = cost.min(most);
            at += step(parts, window);
            let number = nanos(now(at).unix) / window;
            if spent.0 != number {
                spent = (number, 0);
            }
            let grant = take(&mut count, &limit, at, cost);
            prop_assert_eq!(grant.allowed, spent.1 + cost <= most);
            if grant.allowed {
                spent.1 += cost;
            } else {
                let then = at + nanos(grant.wait);
                prop_assert!(!count.look(&limit, now(then - 1), cost).allowed);
                prop_assert!(count.look(&limit, now(then), cost).allowed);
            }
            prop_assert_eq!(grant.remaining, most - spent.1);
        }
    }

    /// What is given back was never taken, wherever the window has moved meanwhile.
    #[test]
    fn what_is_given_back_no_longer_counts(
        (most, window) in limits(), steps in steps(), chosen: u64,
        algorithm in prop_oneof![
            Just(Algorithm::SlidingWindow), Just(Algorithm::SlidingLog),
            Just(Algorithm::FixedWindow),
        ],
    ) {
        let limit = limit(algorithm, most, window, 1);
        let (mut one, mut other) = (Plain::fresh(&limit), Plain::fresh(&limit));
        let mut at = 0;
        let mut returning: Vec<(Grant, u64)> = Vec::new();
        for (number, (parts, cost)) in steps.into_iter().enumerate() {
            let cost = cost.min(most);
            at += step(parts, window);
            for (grant, cost) in returning.drain(..) {
                one.give_back(&limit, now(at), cost, grant.at);
            }
            let seen = one.look(&limit, now(at), cost);
            let expected = other.look(&limit, now(at), cost);
            prop_assert_eq!(seen.allowed, expected.allowed);
            prop_assert_eq!(seen.remaining, expected.remaining);
            let mut grant = seen;
            if grant.allowed {
                one.spend(&limit, now(at), cost, &mut grant);
                if chosen >> (number % 64) & 1 == 1 {
                    returning.push((grant, cost));
                } else {
                    let mut grant = expected;
                    other.spend(&limit, now(at), cost, &mut grant);
                }
            }
        }
    }
}

#[test]
fn a_ring_grows_with_what_it_counts() {
    let limit = limit(Algorithm::SlidingWindow, 1_000_000, 60_000_000_000, 1);
    let mut count = Plain::fresh(&limit);
    let mut sizes = Vec::new();
    let mut spent = 0;
    for (second, cost) in [(0, 1), (1, 70_000), (2, 1), (3, 1), (30, 2), (31, 1), (32, 1), (33, 1)]
    {
        assert!(take(&mut count, &limit, second * 1_000_000_000, cost).allowed);
        spent += cost;
        assert_eq!(count.look(&limit, now(second * 1_000_000_000), 0).remaining, 1_000_000 - spent);
        sizes.push(count.heap());
    }
    assert_eq!((sizes[0], sizes[1]), (0, 244));
    let small = Limit { count: 100, ..limit };
    let mut count = Plain::fresh(&small);
    for second in 0..60 {
        assert!(take(&mut count, &small, second * 1_000_000_000, 1).allowed);
    }
    assert_eq!(count.heap(), 0);
    assert!(take(&mut count, &small, 59 * 1_000_000_000, 15).allowed);
    assert_eq!(count.heap(), 61);
    assert!(take(&mut count, &small, 180 * 1_000_000_000, 1).allowed);
    assert_eq!(count.heap(), 0, "small again");
}

#[test]
fn another_limit_for_the_same_window_goes_on_counting() {
    let before = limit(Algorithm::SlidingWindow, 10, 1_000_000_000, 1);
    let after = Limit { count: 4, ..before.clone() };
    let mut count = Plain::fresh(&before);
    assert_eq!(take(&mut count, &before, 5, 6).remaining, 4);
    assert!(!count.look(&after, now(6), 1).allowed);
    assert!(count.look(&before, now(6), 4).allowed);
}

#[test]
fn a_month_begins_with_the_calendar() {
    let calendar = Calendar { unit: CalendarUnit::Month, offset_seconds: 0 };
    let limit = limit(Algorithm::Calendar(calendar), 2, 1, 1);
    let mut count = Plain::fresh(&limit);
    // 2026-11-30 00:53:20, 23 hours and some before December.
    assert_eq!(take(&mut count, &limit, 0, 2).remaining, 0);
    let refused = take(&mut count, &limit, 1_000_000_000, 1);
    assert_eq!((refused.allowed, refused.wait.as_secs()), (false, 83_199));
    let then = 83_200 * 1_000_000_000;
    assert!(!take(&mut count, &limit, then - 1, 1).allowed);
    assert_eq!(take(&mut count, &limit, then, 1).remaining, 1);
}

#[test]
fn a_clock_that_is_set_back_opens_no_window_twice() {
    let limit = limit(Algorithm::FixedWindow, 1, 60_000_000_000, 1);
    let mut count = Plain::fresh(&limit);
    let at = |unix: u64| Now { mono: 0, unix: Duration::from_secs(unix) };
    let mut take = |unix| {
        let mut grant = count.look(&limit, at(unix), 1);
        if grant.allowed {
            count.spend(&limit, at(unix), 1, &mut grant);
        }
        grant
    };
    assert!(take(6_000).allowed);
    let back = take(5_999);
    assert_eq!((back.allowed, back.wait.as_secs()), (false, 61));
    assert!(!take(6_059).allowed);
    assert!(take(6_060).allowed);
    // But a clock that was wrong by years does not block for years.
    assert!(take(600).allowed);
}
