//! The breaker under a paused clock.

use std::sync::Arc;
use std::time::Duration;

use lockgate_config::model;
use lockgate_core::Time;
use tokio::time::advance;

use super::{Breaker, Phase};

fn breaker(change: impl FnOnce(&mut model::Breaker)) -> Arc<Breaker> {
    let mut settings = model::Breaker { of_last: 10, ..Default::default() };
    change(&mut settings);
    Arc::new(Breaker::new("orders".into(), &settings))
}

fn call(breaker: &Arc<Breaker>, failed: bool) {
    breaker.admit().unwrap().done(failed, Duration::from_millis(5));
}

fn open(breaker: &Arc<Breaker>) {
    for _ in 0..10 {
        call(breaker, true);
    }
    assert_eq!(breaker.phase(), Phase::Open);
}

#[tokio::test(start_paused = true)]
async fn half_of_the_last_ten_open_it_and_not_fewer() {
    let breaker = breaker(|_| {});
    for n in 0..100 {
        call(&breaker, n % 10 < 4);
    }
    assert_eq!(breaker.phase(), Phase::Closed, "four of any ten");
    for _ in 0..5 {
        call(&breaker, true);
    }
    assert_eq!(breaker.phase(), Phase::Open);
    assert_eq!(breaker.opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_judged_before_there_were_enough_calls() {
    let breaker = breaker(|_| {});
    for _ in 0..9 {
        call(&breaker, true);
    }
    assert_eq!(breaker.phase(), Phase::Closed);
    call(&breaker, false);
    assert_eq!(breaker.phase(), Phase::Open);
}

#[tokio::test(start_paused = true)]
async fn open_it_refuses_and_says_how_long() {
    let breaker = breaker(|_| {});
    open(&breaker);
    advance(Duration::from_secs(4)).await;
    let fault = breaker.admit().unwrap_err();
    assert_eq!(fault.reason().code, "breaker_open");
    let told = fault.to_string();
    assert!(told.contains("`orders`: 10 of the last 10 calls failed"), "{told}");
    assert!(told.contains("tried again in 6.0s"), "{told}");
    assert_eq!(fault.wait(), Some(Duration::from_secs(6)));
    advance(Duration::from_secs(6)).await;
    breaker.admit().unwrap();
    assert_eq!(breaker.phase(), Phase::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn three_good_trials_close_it_and_no_more_run_at_once() {
    let breaker = breaker(|_| {});
    open(&breaker);
    advance(Duration::from_secs(10)).await;
    let trials: Vec<_> = (0..3).map(|_| breaker.admit().unwrap()).collect();
    assert_eq!(breaker.admit().unwrap_err().reason().code, "breaker_open");
    for (n, trial) in trials.into_iter().enumerate() {
        assert_eq!(breaker.phase(), Phase::HalfOpen, "after {n}");
        trial.done(false, Duration::ZERO);
    }
    assert_eq!(breaker.phase(), Phase::Closed);
    for _ in 0..9 {
        call(&breaker, true);
    }
    assert_eq!(breaker.phase(), Phase::Closed, "what was before is forgotten");
}

#[tokio::test(start_paused = true)]
async fn one_bad_trial_opens_it_again_for_the_whole_time() {
    let breaker = breaker(|_| {});
    open(&breaker);
    advance(Duration::from_secs(10)).await;
    let (first, second) = (breaker.admit().unwrap(), breaker.admit().unwrap());
    first.done(true, Duration::ZERO);
    assert_eq!((breaker.phase(), breaker.opened()), (Phase::Open, 2));
    second.done(false, Duration::ZERO);
    assert_eq!(breaker.phase(), Phase::Open, "a late trial changes nothing");
    advance(Duration::from_millis(9_999)).await;
    breaker.admit().unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_is_given_up_frees_its_place() {
    let breaker = breaker(|settings| settings.trials = 1);
    open(&breaker);
    advance(Duration::from_secs(10)).await;
    let trial = breaker.admit().unwrap();
    breaker.admit().unwrap_err();
    drop(trial);
    breaker.admit().unwrap().done(false, Duration::ZERO);
    assert_eq!(breaker.phase(), Phase::Closed);
}

#[tokio::test(start_paused = true)]
async fn answers_to_calls_from_before_do_not_count() {
    let breaker = breaker(|settings| settings.trials = 1);
    let late: Vec<_> = (0..20).map(|_| breaker.admit().unwrap()).collect();
    open(&breaker);
    advance(Duration::from_secs(10)).await;
    breaker.admit().unwrap().done(false, Duration::ZERO);
    assert_eq!(breaker.phase(), Phase::Closed);
    for permit in late {
        permit.done(true, Duration::ZERO);
    }
    assert_eq!(breaker.phase(), Phase::Closed);
}

#[tokio::test(start_paused = true)]
async fn slow_calls_open_it_too_when_that_is_on() {
    let slow = Duration::from_millis(700);
    let off = breaker(|_| {});
    for _ in 0..20 {
        off.admit().unwrap().done(false, slow);
    }
    assert_eq!(off.phase(), Phase::Closed);
    let on = breaker(|settings| settings.slow = Some(Time(Duration::from_millis(500))));
    for _ in 0..9 {
        on.admit().unwrap().done(false, slow);
    }
    on.admit().unwrap().done(false, Duration::ZERO);
    assert_eq!(on.phase(), Phase::Closed, "nine of ten are not all");
    for _ in 0..10 {
        on.admit().unwrap().done(false, slow);
    }
    assert_eq!(on.phase(), Phase::Open);
    advance(Duration::from_secs(10)).await;
    on.admit().unwrap().done(false, slow);
    assert_eq!(on.phase(), Phase::Open, "a slow trial is not a good one");
}

/// Whatever the order of calls and pauses: refusals happen only while open, and trials never
/// exceed their number.
#[tokio::test(start_paused = true)]
async fn random_traffic_keeps_the_invariants() {
    fastrand::seed(99);
    let breaker = breaker(|_| {});
    let mut running = Vec::new();
    let mut seen = [false; 3];
    for step in 0..20_000 {
        let sick = step / 1_000 % 2 == 1;
        match breaker.admit() {
            Ok(permit) => running.push(permit),
            Err(_) => assert_ne!(breaker.phase(), Phase::Closed),
        }
        seen[breaker.phase() as usize] = true;
        if (running.len() > 5 || fastrand::bool())
            && let Some(permit) = running.pop()
        {
            permit.done(sick && fastrand::u8(..10) < 9, Duration::ZERO);
        }
        advance(Duration::from_millis(fastrand::u64(..50))).await;
    }
    assert_eq!(seen, [true; 3], "every phase was met");
    assert!(breaker.opened() > 5);
}
