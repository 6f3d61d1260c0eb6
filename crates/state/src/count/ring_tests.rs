//! The counters that stand in an entry itself, against a plain list.

use std::collections::VecDeque;
use std::fmt::Debug;

use proptest::prelude::*;

use super::*;
use crate::count::few::FEW;
use crate::count::nibbles::MOST;

/// What both kinds do.
trait Small: Copy + Debug + Default + PartialEq {
    fn of(all: &[u32; BUCKETS]) -> Option<Self>;
    fn moved(self, by: usize) -> Self;
    fn total(self) -> u64;
    fn plus(self, cost: u64) -> Option<Self>;
    fn subtract(&mut self, back: usize, cost: u64);
    fn frees(self, missing: u64) -> Option<usize>;
    fn at(self, back: usize) -> u32;
    /// Whether it may be unable to count so much in the newest bucket.
    fn may_be_full(self, newest: u64) -> bool;
}

macro_rules! small {
    ($kind:ty, $of:expr, $may_be_full:expr) => {
        impl Small for $kind {
            fn of(all: &[u32; BUCKETS]) -> Option<Self> {
                $of(all)
            }
            fn moved(self, by: usize) -> Self {
                self.moved(by)
            }
            fn total(self) -> u64 {
                self.total()
            }
            fn plus(self, cost: u64) -> Option<Self> {
                self.plus(cost)
            }
            fn subtract(&mut self, back: usize, cost: u64) {
                self.subtract(back, cost);
            }
            fn frees(self, missing: u64) -> Option<usize> {
                self.frees(missing)
            }
            fn at(self, back: usize) -> u32 {
                self.at(back)
            }
            fn may_be_full(self, newest: u64) -> bool {
                $may_be_full(self, newest)
            }
        }
    };
}

small!(Nibbles, Nibbles::of, |_, newest| newest > MOST);
small!(Few, |all: &[u32; BUCKETS]| Few::of(all.iter().copied()), |few: Few, newest| {
    few.counters().count() == FEW || newest > u64::from(u16::MAX)
});

/// How many buckets time moves on, what is counted, and from how far back some is taken.
type Steps = Vec<(usize, u64, usize)>;

fn steps(most: u64) -> impl Strategy<Value = Steps> {
    let by = prop_oneof![3 => 0_usize..3, 2 => 0_usize..20, 1 => 0_usize..70];
    let cost = prop_oneof![9 => 0_u64..20, 1 => 0_u64..most];
    prop::collection::vec((by, cost, 0_usize..BUCKETS), 1..200)
}

fn counts_as_a_list_does<S: Small>(steps: Steps) -> Result<(), TestCaseError> {
    let mut small = S::default();
    let mut list = VecDeque::from([0_u64; BUCKETS]);
    for (by, cost, back) in steps {
        small = small.moved(by);
        (0..by).for_each(|_| list.push_front(0));
        list.truncate(BUCKETS);
        match small.plus(cost) {
            Some(more) => {
                small = more;
                list[0] += cost;
            }
            None => {
                prop_assert!(small.may_be_full(list[0] + cost));
                small.subtract(back, cost);
                list[back] = list[back].saturating_sub(cost);
            }
        }
        let total: u64 = list.iter().sum();
        prop_assert_eq!(small.total(), total);
        let all: [u32; BUCKETS] = std::array::from_fn(|back| small.at(back));
        let expected: Vec<u32> = list.iter().map(|count| *count as u32).collect();
        prop_assert_eq!(&all[..], &expected);
        for missing in [1, cost.max(1), total.max(1), total + 1] {
            let from = |back: &usize| list.range(*back..).sum::<u64>() >= missing;
            prop_assert_eq!(small.frees(missing), (0..BUCKETS).rev().find(from));
        }
        let again: S = S::of(&all).ok_or_else(|| TestCaseError::fail("it fits"))?;
        prop_assert_eq!(std::array::from_fn(|back| again.at(back)), all);
        prop_assert_eq!((again.total(), again.frees(1)), (total, small.frees(1)));
    }
    Ok(())
}

proptest! {
    #[test]
    fn nibbles_count_as_a_list_does(steps in steps(20)) {
        counts_as_a_list_does::<Nibbles>(steps)?;
    }

    #[test]
    fn few_count_as_a_list_does(steps in steps(40_000)) {
        counts_as_a_list_does::<Few>(steps)?;
    }
}
