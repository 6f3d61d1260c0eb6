//! Seeded simulations of every balancer, each against what it promises.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use lockgate_config::model::{Balance, Sticky};
use lockgate_core::{Percent, Time};
use proptest::prelude::*;

use super::alias::Alias;
use super::maglev::Maglev;
use super::sequence::Sequence;
use crate::endpoint::Override;
use crate::picked::{Ending, Picked};
use crate::testing::{endpoint, exchange, idle, many, port, settings, tally};
use crate::upstream::Upstream;

const WEIGHTED: [(&str, u32); 3] = [("10.0.0.1:1", 2), ("10.0.0.1:2", 1), ("10.0.0.1:3", 1)];

fn maglev(key: &str) -> Balance {
    Balance::Maglev(key.parse().unwrap())
}

// Round robin.

#[test]
fn twice_the_weight_is_exactly_twice_the_requests() {
    let upstream = idle(&settings(&WEIGHTED[..2], Balance::RoundRobin));
    assert_eq!(tally(&upstream, 3_000), BTreeMap::from([(1, 2_000), (2, 1_000)]));
}

#[test]
fn the_counts_are_exact_across_workers() {
    let upstream = idle(&settings(&WEIGHTED, Balance::RoundRobin));
    let mut all = BTreeMap::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| tally(&upstream, 1_000))).collect();
        for worker in workers {
            for (port, count) in worker.join().unwrap() {
                *all.entry(port).or_insert(0) += count;
            }
        }
    });
    assert_eq!(all, BTreeMap::from([(1, 2_000), (2, 1_000), (3, 1_000)]));
}

#[test]
fn turns_are_spread_and_not_in_runs() {
    let weights = [("10.0.0.1:1", 5), ("10.0.0.1:2", 1), ("10.0.0.1:3", 1)];
    let upstream = idle(&settings(&weights, Balance::RoundRobin));
    let exchange = exchange(&[]);
    let turns: Vec<u16> = (0..70).map(|_| port(&upstream, &exchange)).collect();
    for window in turns.windows(7) {
        assert_eq!(window.iter().filter(|&&p| p == 1).count(), 5, "{turns:?}");
    }
    assert!(!turns.windows(2).any(|pair| pair[0] != 1 && pair[1] != 1), "{turns:?}");
}

#[test]
fn one_that_is_out_leaves_the_others_their_ratio() {
    let weights = [("10.0.0.1:1", 2), ("10.0.0.1:2", 1), ("10.0.0.1:3", 1), ("10.0.0.1:4", 4)];
    let upstream = idle(&settings(&weights, Balance::RoundRobin));
    endpoint(&upstream, 3).order(Override::Down);
    let counts = tally(&upstream, 4_000);
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    assert!(counts[&1].abs_diff(2_000) <= 2, "{counts:?}");
    assert!(counts[&2].abs_diff(1_000) <= 2, "{counts:?}");
}

#[test]
fn hardly_any_weight_left_is_still_found() {
    let weights = [("10.0.0.1:1", 4_000), ("10.0.0.1:2", 1)];
    let upstream = idle(&settings(&weights, Balance::RoundRobin));
    endpoint(&upstream, 0).order(Override::Drain);
    assert_eq!(tally(&upstream, 50), BTreeMap::from([(2, 50)]));
}

proptest! {
    /// Any weights: each comes exactly as often in one round, and never far off on the way.
    #[test]
    fn a_round_is_exact_for_any_weights(
        weights in prop::collection::vec(prop_oneof![1_u32..20, 1_000_u32..4_000], 1..8),
    ) {
        let sequence = Sequence::new(&weights);
        let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
        let mut counts = vec![0_u64; weights.len()];
        for turn in 0..total {
            counts[sequence.at(turn).unwrap()] += 1;
            for (count, weight) in counts.iter().zip(&weights) {
                let due = (turn + 1) as f64 * f64::from(*weight) / total as f64;
                let off = (*count as f64 - due).abs();
                prop_assert!(off < 5.0, "{off} off after {turn} of {weights:?}");
            }
        }
        for (count, weight) in counts.iter().zip(&weights) {
            prop_assert_eq!(*count, u64::from(*weight));
        }
    }

    /// The alias table gives each member its weight's share of all draws.
    #[test]
    fn draws_follow_the_weights(weights in prop::collection::vec(1_u32..50, 1..12), seed: u64) {
        fastrand::seed(seed);
        let alias = Alias::new(&weights);
        let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let mut counts = vec![0_f64; weights.len()];
        for _ in 0..20_000 {
            counts[alias.draw()] += 1.0;
        }
        for (count, weight) in counts.iter().zip(&weights) {
            let share = f64::from(*weight) / total;
            // Six standard deviations.
            let slack = 6.0 * (20_000.0 * share * (1.0 - share)).sqrt() + 1.0;
            prop_assert!((count - 20_000.0 * share).abs() <= slack, "{count} for {share}");
        }
    }
}

// Random plans.

#[test]
fn random_plans_keep_the_weights_within_three_percent() {
    for balance in [Balance::Random, Balance::P2c, Balance::PeakEwma] {
        fastrand::seed(7);
        let upstream = idle(&settings(&WEIGHTED, balance.clone()));
        let counts = tally(&upstream, 20_000);
        for (port, share) in [(1, 10_000), (2, 5_000), (3, 5_000)] {
            assert!(counts[&port].abs_diff(share) <= 600, "{balance:?}: {counts:?}");
        }
    }
}

/// A closed system: `clients` requests always in flight, each endpoint serving in its own time.
struct Simulation {
    upstream: Arc<Upstream>,
    service: Vec<u64>,
    running: BinaryHeap<(std::cmp::Reverse<u64>, u64)>,
    held: std::collections::HashMap<u64, Picked>,
    clock: u64,
    started: u64,
    served: BTreeMap<u16, u64>,
    deepest: u32,
}

impl Simulation {
    fn new(upstream: &Arc<Upstream>, service: &[u64]) -> Self {
        fastrand::seed(42);
        Self {
            upstream: Arc::clone(upstream),
            service: service.to_vec(),
            running: BinaryHeap::new(),
            held: Default::default(),
            clock: 0,
            started: 0,
            served: BTreeMap::new(),
            deepest: 0,
        }
    }

    fn start(&mut self) {
        let picked = self.upstream.pick(&exchange(&[]), &[]).unwrap();
        let port = picked.endpoint().address().port();
        self.deepest = self.deepest.max(picked.endpoint().in_flight());
        *self.served.entry(port).or_default() += 1;
        let time = self.service[usize::from(port) - 1] * (80 + fastrand::u64(..40)) / 100;
        self.started += 1;
        self.running.push((std::cmp::Reverse(self.clock + time), self.started));
        self.held.insert(self.started, picked);
    }

    fn end(&mut self) {
        let (std::cmp::Reverse(at), id) = self.running.pop().unwrap();
        self.clock = at;
        self.held.remove(&id);
    }

    fn run(mut self, clients: usize, requests: usize) -> Self {
        for _ in 0..clients {
            self.start();
        }
        for _ in 0..requests {
            self.end();
            self.start();
        }
        self
    }
}

#[test]
fn least_connections_keeps_queues_even_and_spares_the_slow() {
    let upstream = idle(&many(4, Balance::LeastConnections));
    let end = Simulation::new(&upstream, &[10_000, 1_000, 1_000, 1_000]).run(40, 20_000);
    assert_eq!(end.deepest, 10, "40 requests on 4 endpoints: never more than 10 on one");
    let (slow, fast) = (end.served[&1], end.served[&2]);
    assert!((8.0..12.0).contains(&(fast as f64 / slow as f64)), "{:?}", end.served);
}

#[test]
fn least_connections_counts_by_weight_and_is_round_robin_when_idle() {
    let upstream = idle(&settings(&WEIGHTED[..2], Balance::LeastConnections));
    assert_eq!(tally(&upstream, 3_000), BTreeMap::from([(1, 2_000), (2, 1_000)]));
    let held: Vec<_> = (0..30).map(|_| upstream.pick(&exchange(&[]), &[]).unwrap()).collect();
    assert_eq!(endpoint(&upstream, 0).in_flight(), 20);
    assert_eq!(endpoint(&upstream, 1).in_flight(), 10);
    drop(held);
    assert_eq!(endpoint(&upstream, 0).in_flight(), 0);
}

#[test]
fn two_choices_keep_queues_shorter_than_one() {
    let depth = |balance| {
        let upstream = idle(&many(10, balance));
        Simulation::new(&upstream, &[1_000; 10]).run(50, 20_000).deepest
    };
    let (one, two) = (depth(Balance::Random), depth(Balance::P2c));
    assert!(two <= 9, "a mean of 5, and never far above it: {two}");
    assert!(two + 3 <= one, "{two} against {one}");
}

#[tokio::test(start_paused = true)]
async fn peak_ewma_leaves_a_slow_endpoint_and_comes_back() {
    fastrand::seed(3);
    let upstream = idle(&many(4, Balance::PeakEwma));
    let exchange = exchange(&[]);
    let ask = async |requests: usize, slow: u64| {
        let mut counts = BTreeMap::<u16, usize>::new();
        for _ in 0..requests {
            let mut picked = upstream.pick(&exchange, &[]).unwrap();
            let port = picked.endpoint().address().port();
            let took = Duration::from_millis(if port == 1 { slow } else { 10 });
            picked.done(Ending::Answered { status: 200, latency: took });
            *counts.entry(port).or_default() += 1;
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        counts
    };
    let slow = ask(4_000, 500).await;
    assert!(slow.get(&1).copied().unwrap_or(0) < 40, "{slow:?}");
    assert!(slow[&2] > 1_000 && slow[&3] > 1_000 && slow[&4] > 1_000, "{slow:?}");
    // The memory of 500 ms fades within some tens of seconds.
    let _ = ask(60_000, 10).await;
    let healed = ask(4_000, 10).await;
    assert!(healed[&1] > 500, "{healed:?}");
}

#[tokio::test(start_paused = true)]
async fn peak_ewma_counts_those_who_wait() {
    fastrand::seed(9);
    let upstream = idle(&many(4, Balance::PeakEwma));
    for at in 0..4 {
        endpoint(&upstream, at).latency.observe(Duration::from_millis(10), 1);
    }
    let held: Vec<_> = (0..80).map(|_| upstream.pick(&exchange(&[]), &[]).unwrap()).collect();
    let loads: Vec<u32> = (0..4).map(|at| endpoint(&upstream, at).in_flight()).collect();
    assert!(loads.iter().all(|load| (18..=22).contains(load)), "{} on {loads:?}", held.len());
}

// Maglev.

fn owners(names: &[String], weights: &[u32], keys: u64) -> Vec<String> {
    let table = Maglev::new(names, weights);
    (0..keys).map(|key| names[table.owner(super::hash(&key.to_le_bytes()))].clone()).collect()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("10.0.0.{n}:80")).collect()
}

#[test]
fn removing_one_of_n_moves_little_more_than_its_own_keys() {
    for n in [2, 3, 5, 10, 50] {
        let all = names(n);
        let before = owners(&all, &vec![1; n], 50_000);
        let gone = all[n / 2].clone();
        let rest: Vec<String> = all.iter().filter(|name| **name != gone).cloned().collect();
        let after = owners(&rest, &vec![1; n - 1], 50_000);
        let moved = before.iter().zip(&after).filter(|(b, a)| b != a).count() as f64 / 50_000.0;
        let share = 1.0 / n as f64;
        assert!(moved < share + 0.03, "n = {n}: {moved} moved");
    }
}

#[test]
fn shares_of_the_table_follow_the_weights() {
    let weights = [1, 2, 4, 8, 100];
    let all = names(weights.len());
    let owners = owners(&all, &weights, 200_000);
    for (name, weight) in all.iter().zip(weights) {
        let got = owners.iter().filter(|owner| *owner == name).count() as f64 / 200_000.0;
        let due = f64::from(weight) / 115.0;
        assert!((got / due - 1.0).abs() < 0.08, "{name}: {got} instead of {due}");
    }
}

#[test]
fn all_gateways_place_a_key_alike_and_a_client_stays() {
    let place = |user: &str| {
        let upstream = idle(&many(10, maglev("header:x-user")));
        let exchange = exchange(&[("x-user", user)]);
        let first = port(&upstream, &exchange);
        assert!((0..20).all(|_| port(&upstream, &exchange) == first));
        first
    };
    // Fixed for good: another hash or seed would move every client in a rolling update.
    let placed: Vec<u16> = ["alice", "bob", "carol", "dave"].map(place).into();
    assert_eq!(placed, ["alice", "bob", "carol", "dave"].map(place));
    assert_eq!(super::hash(b"alice\0"), 2_219_434_375_846_730_331);
}

#[test]
fn without_a_key_requests_are_spread() {
    fastrand::seed(1);
    let upstream = idle(&many(4, maglev("header:x-user")));
    let counts = tally(&upstream, 4_000);
    assert!(counts.len() == 4 && counts.values().all(|&c| c > 800), "{counts:?}");
}

#[test]
fn one_hot_key_spills_over_at_a_quarter_above_the_mean() {
    let upstream = idle(&many(4, maglev("header:x-user")));
    let hot = exchange(&[("x-user", "everyone")]);
    let held: Vec<_> = (0..400).map(|_| upstream.pick(&hot, &[]).unwrap()).collect();
    let set = upstream.set();
    let loads: Vec<u32> = set.endpoints().iter().map(|e| e.in_flight()).collect();
    assert_eq!(loads.iter().sum::<u32>(), 400);
    assert!(loads.iter().all(|&load| load <= 126), "1.25 × 100: {loads:?}");
    drop(held);
    let _held: Vec<_> = (0..4).map(|_| upstream.pick(&hot, &[]).unwrap()).collect();
    let most = set.endpoints().iter().map(|e| e.in_flight()).max();
    assert_eq!(most, Some(2), "the bound forgets what has ended");
}

#[test]
fn the_keys_of_one_that_is_out_are_spread_and_others_stay() {
    let upstream = idle(&many(5, maglev("header:x-user")));
    let exchanges: Vec<_> = (0..1_000).map(|n| exchange(&[("x-user", &n.to_string())])).collect();
    let before: Vec<u16> = exchanges.iter().map(|e| port(&upstream, e)).collect();
    endpoint(&upstream, 2).order(Override::Down);
    let mut heirs = BTreeMap::<u16, usize>::new();
    for (exchange, before) in exchanges.iter().zip(&before) {
        let now = port(&upstream, exchange);
        match *before {
            3 => *heirs.entry(now).or_default() += 1,
            stays => assert_eq!(now, stays),
        }
    }
    assert_eq!(heirs.len(), 4, "{heirs:?}");
    endpoint(&upstream, 2).order(Override::None);
    let again: Vec<u16> = exchanges.iter().map(|e| port(&upstream, e)).collect();
    assert_eq!(again, before);
}

#[test]
fn a_sticky_header_holds_beside_any_balancer() {
    let mut held = many(5, Balance::RoundRobin);
    held.sticky = Some(Sticky::Header { name: "x-session".into() });
    let upstream = idle(&held);
    let exchange = exchange(&[("x-session", "s1")]);
    let first = port(&upstream, &exchange);
    assert!((0..10).all(|_| port(&upstream, &exchange) == first));
    assert_eq!(tally(&upstream, 50), (1..=5).map(|p| (p, 10)).collect(), "without it: turns");
}

// What all plans share.

fn all_plans() -> Vec<Balance> {
    let mut plans = vec![Balance::RoundRobin, Balance::LeastConnections, Balance::Random];
    plans.extend([Balance::P2c, Balance::PeakEwma, maglev("ip")]);
    plans
}

#[test]
fn tried_endpoints_are_avoided_while_any_other_is_usable() {
    for plan in all_plans() {
        let mut three = many(3, plan.clone());
        three.endpoints["10.0.0.1:3"].priority = 1;
        let upstream = idle(&three);
        let exchange = exchange(&[]);
        let mut tried = Vec::new();
        for _ in 0..3 {
            let picked = upstream.pick(&exchange, &tried).unwrap();
            let fresh = Arc::clone(picked.endpoint());
            assert!(!tried.iter().any(|t| Arc::ptr_eq(t, &fresh)), "{plan:?}");
            tried.push(fresh);
        }
        assert_eq!(tried[2].address().port(), 3, "{plan:?}: the next level comes last");
        let again = upstream.pick(&exchange, &tried).unwrap();
        assert_ne!(again.endpoint().address().port(), 3, "{plan:?}: all tried: from the first");
    }
}

#[test]
fn a_retry_does_not_use_up_the_turn_of_the_next_request() {
    for plan in [Balance::RoundRobin, Balance::LeastConnections] {
        for count in [2, 3, 5] {
            let upstream = idle(&many(count, plan.clone()));
            let exchange = exchange(&[]);
            let (mut first, mut second) = (BTreeMap::<u16, u16>::new(), BTreeMap::new());
            for _ in 0..1_200 {
                let picked = upstream.pick(&exchange, &[]).unwrap();
                let endpoint = Arc::clone(picked.endpoint());
                drop(picked);
                *first.entry(endpoint.address().port()).or_default() += 1;
                if endpoint.address().port() == 1 {
                    let again = upstream.pick(&exchange, &[endpoint]).unwrap();
                    *second.entry(again.endpoint().address().port()).or_default() += 1;
                }
            }
            assert!(first.values().all(|n| *n == 1_200 / count), "{plan:?}: {first:?}");
            let mean = 1_200 / count / (count - 1);
            let fair = second.values().all(|n: &u16| n.abs_diff(mean) < mean / 2);
            assert!(fair && second.len() as u16 == count - 1, "{plan:?}: {second:?}");
        }
    }
}

#[test]
fn the_next_level_serves_only_when_the_first_is_out() {
    for plan in all_plans() {
        let mut four = many(4, plan.clone());
        four.endpoints["10.0.0.1:1"].priority = 5;
        four.endpoints["10.0.0.1:2"].priority = 5;
        let upstream = idle(&four);
        assert!(tally(&upstream, 40).keys().all(|&p| p > 2), "{plan:?}");
        endpoint(&upstream, 2).order(Override::Drain);
        endpoint(&upstream, 3).order(Override::Down);
        assert!(tally(&upstream, 40).keys().all(|&p| p <= 2), "{plan:?}");
    }
}

#[test]
fn no_plan_goes_over_the_limit_of_an_endpoint() {
    for plan in all_plans() {
        let mut three = many(3, plan.clone());
        three.pool.max_requests = 2;
        let upstream = idle(&three);
        let exchange = exchange(&[]);
        let held: Vec<_> = (0..6).map(|_| upstream.pick(&exchange, &[]).unwrap()).collect();
        assert!(held.iter().all(|p| p.endpoint().in_flight() == 2), "{plan:?}");
        let fault = upstream.pick(&exchange, &[]).unwrap_err();
        assert_eq!(fault.reason().code, "endpoints_busy", "{plan:?}");
        drop(held);
        upstream.pick(&exchange, &[]).unwrap();
    }
}

#[test]
fn weight_zero_takes_nothing() {
    for plan in all_plans() {
        let upstream = idle(&settings(&[("10.0.0.1:1", 0), ("10.0.0.1:2", 1)], plan.clone()));
        assert_eq!(tally(&upstream, 20), BTreeMap::from([(2, 20)]), "{plan:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_endpoint_warms_up() {
    for plan in [Balance::RoundRobin, Balance::Random, Balance::P2c] {
        fastrand::seed(11);
        let mut two = many(2, plan.clone());
        two.slow_start = Time(Duration::from_secs(10));
        let upstream = idle(&two);
        assert!(tally(&upstream, 100)[&2] > 25, "{plan:?}: warm from the start");
        endpoint(&upstream, 1).order(Override::Down);
        endpoint(&upstream, 1).order(Override::None);
        let cold = tally(&upstream, 1_000).get(&2).copied().unwrap_or(0);
        tokio::time::advance(Duration::from_secs(5)).await;
        let warmer = tally(&upstream, 1_000)[&2];
        tokio::time::advance(Duration::from_secs(5)).await;
        let warm = tally(&upstream, 1_000)[&2];
        assert!(cold < 150, "{plan:?}: a tenth at first, not {cold}");
        assert!((250..430).contains(&warmer), "{plan:?}: half the weight: {warmer}");
        assert!((440..560).contains(&warm), "{plan:?}: {warm}");
    }
}

#[test]
fn no_endpoints_is_its_own_reason() {
    let none = settings(&[], Balance::RoundRobin);
    let fault = idle(&none).pick(&exchange(&[]), &[]).unwrap_err();
    assert_eq!(fault.reason().code, "no_endpoints");
}

// Panic.

fn sick(upstream: &Upstream, at: usize, health: crate::Health, once_well: bool) {
    if once_well {
        endpoint(upstream, at).set_health(crate::Health::Healthy);
    }
    endpoint(upstream, at).set_health(health);
}

#[test]
fn too_few_healthy_ones_get_help_from_doubtful_ones() {
    for plan in all_plans().into_iter().take(5) {
        fastrand::seed(5);
        let upstream = idle(&many(5, plan.clone()));
        sick(&upstream, 0, crate::Health::Unhealthy, true);
        sick(&upstream, 1, crate::Health::Unhealthy, true);
        let calm = tally(&upstream, 100);
        assert!(calm.keys().all(|&p| p > 2), "{plan:?}: 3 of 5 are enough: {calm:?}");
        sick(&upstream, 2, crate::Health::Unhealthy, true);
        sick(&upstream, 3, crate::Health::Unreachable, true);
        let panic = tally(&upstream, 400);
        assert_eq!(panic.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 5], "{plan:?}");
        endpoint(&upstream, 0).order(Override::Down);
        endpoint(&upstream, 1).order(Override::Drain);
        endpoint(&upstream, 2).order(Override::Drain);
        let ordered = tally(&upstream, 100);
        assert!(ordered.keys().all(|&p| p == 5), "{plan:?}: orders hold: {ordered:?}");
    }
}

#[test]
fn panic_is_off_at_zero() {
    let mut five = many(5, Balance::RoundRobin);
    five.panic_threshold = Percent(0.0);
    let upstream = idle(&five);
    for at in 0..4 {
        sick(&upstream, at, crate::Health::Unhealthy, false);
    }
    assert_eq!(tally(&upstream, 50), BTreeMap::from([(5, 50)]));
    sick(&upstream, 4, crate::Health::Unhealthy, false);
    let fault = upstream.pick(&exchange(&[]), &[]).unwrap_err();
    assert_eq!(fault.reason().code, "no_healthy_endpoint");
}

#[test]
fn with_none_healthy_only_those_that_never_were_are_trusted() {
    let upstream = idle(&many(3, Balance::RoundRobin));
    sick(&upstream, 0, crate::Health::Unhealthy, true);
    sick(&upstream, 1, crate::Health::Unreachable, false);
    sick(&upstream, 2, crate::Health::Unhealthy, false);
    assert_eq!(tally(&upstream, 20), BTreeMap::from([(3, 20)]), "its check may be wrong");
    sick(&upstream, 2, crate::Health::Unhealthy, true);
    let fault = upstream.pick(&exchange(&[]), &[]).unwrap_err();
    assert_eq!(fault.reason().code, "no_healthy_endpoint");
    let story = fault.story();
    assert!(story.contains("10.0.0.1:1: down: its health checks fail"), "{story}");
    assert!(story.contains("10.0.0.1:2: down: it cannot be connected to"), "{story}");
}
