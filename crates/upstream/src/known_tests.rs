//! What one process knows, told to another as text.

use std::sync::Arc;

use lockgate_config::model::{self, Balance, Breaker, Health as Probes};
use tokio::time::advance;

use super::*;
use crate::breaker::Phase;
use crate::endpoint::Out;
use crate::testing::{endpoint, idle, settings};

fn section() -> model::Upstream {
    let mut section = settings(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 1)], Balance::RoundRobin);
    section.health = Some(Probes::default());
    section.outlier = Some(Outlier::default());
    section.breaker = Some(Breaker { of_last: 4, ..Breaker::default() });
    section
}

/// As it arrives in another process.
fn told(upstream: &Upstream) -> Known {
    serde_json::from_str(&serde_json::to_string(&upstream.known()).unwrap()).unwrap()
}

fn probed(one: &Endpoint, health: Health, failures: u32) {
    let mut record = one.probe();
    record.checked_at = Some(Instant::now());
    record.last_checked = Some(SystemTime::now());
    record.error = (failures > 0).then(|| "connect: refused".into());
    (record.failures, record.successes) = (failures, u32::from(failures == 0));
    drop(record);
    one.set_health(health);
}

#[tokio::test(start_paused = true)]
async fn health_is_recalled_with_its_counts() {
    let before = idle(&section());
    let (one, two) = (endpoint(&before, 0), endpoint(&before, 1));
    probed(&one, Health::Healthy, 0);
    probed(&one, Health::Unhealthy, 3);
    probed(&two, Health::Healthy, 0);
    probed(&two, Health::Healthy, 2);
    advance(Duration::from_secs(4)).await;

    let next = idle(&section());
    next.recall(&told(&before));
    let (one, two) = (endpoint(&next, 0), endpoint(&next, 1));
    assert_eq!(one.usable(Instant::now()), Err(Out::Down { unreachable: false }));
    assert!(one.is_proven() && two.usable(Instant::now()).is_ok());
    assert_eq!((one.probe().failures, two.probe().failures), (3, 2));
    assert_eq!(one.probe().checked_at, Some(Instant::now() - Duration::from_secs(4)));
    assert!(one.view(Instant::now()).reason.unwrap().ends_with("connect: refused"));
    assert!(one.probe().last_checked.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_newer_stays() {
    let before = idle(&section());
    probed(&endpoint(&before, 0), Health::Unhealthy, 3);
    probed(&endpoint(&before, 1), Health::Unhealthy, 3);
    advance(Duration::from_secs(1)).await;
    let known = told(&before);

    let next = idle(&section());
    let (one, two) = (endpoint(&next, 0), endpoint(&next, 1));
    probed(&one, Health::Healthy, 0);
    // A probe that is under way.
    two.probe().checked_at = Some(Instant::now());
    next.recall(&known);
    assert_eq!((one.health(), two.health()), (Health::Healthy, Health::Unhealthy));
    assert_eq!(two.probe().checked_at, Some(Instant::now()));

    // One that the other process had only begun to ask is asked here as soon as any.
    let (begun, next) = (idle(&section()), idle(&section()));
    endpoint(&begun, 0).probe().checked_at = Some(Instant::now());
    next.recall(&told(&begun));
    assert_eq!(endpoint(&next, 0).probe().checked_at, None);

    let mut unprobed = section();
    unprobed.health = None;
    let unprobed = idle(&unprobed);
    unprobed.recall(&known);
    assert_eq!(endpoint(&unprobed, 0).health(), Health::Unknown, "nobody would bring it back");
}

#[tokio::test(start_paused = true)]
async fn ejections_go_on_and_the_next_one_is_longer() {
    let before = idle(&section());
    let outlier = Outlier::default();
    let one = endpoint(&before, 0);
    let eject = |one: &Arc<Endpoint>, all: &Upstream| {
        for _ in 0..outlier.consecutive {
            all.observe(one, crate::outlier::Seen::Failed, Instant::now());
        }
    };
    eject(&one, &before);
    advance(Duration::from_secs(10)).await;

    let next = idle(&section());
    next.recall(&told(&before));
    let again = endpoint(&next, 0);
    let left = |one: &Endpoint| {
        let now = Instant::now();
        one.ejected_until(now).map(|until| (until - now).as_secs_f64().round())
    };
    assert_eq!((left(&again), left(&endpoint(&next, 1))), (Some(20.0), None));
    advance(Duration::from_secs(21)).await;
    assert_eq!(left(&again), None);
    eject(&again, &next);
    assert_eq!(left(&again), Some(60.0), "it is the second");

    let mut lenient = section();
    lenient.outlier = None;
    let lenient = idle(&lenient);
    lenient.recall(&told(&before));
    assert_eq!(left(&endpoint(&lenient, 0)), None);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_stays_open_for_as_long() {
    let before = idle(&section());
    let breaker = before.breaker().unwrap();
    for _ in 0..4 {
        breaker.admit().unwrap().done(true, Duration::ZERO);
    }
    advance(Duration::from_secs(4)).await;

    let next = idle(&section());
    next.recall(&told(&before));
    let again = next.breaker().unwrap();
    assert!(again.admit().is_err());
    advance(Duration::from_millis(5_900)).await;
    assert!(again.admit().is_err());
    advance(Duration::from_millis(200)).await;
    assert!(again.admit().is_ok(), "a trial");
    assert_eq!(again.phase(), Phase::HalfOpen);

    // Another look finds it closed again.
    next.recall(&told(&idle(&section())));
    assert_eq!(again.phase(), Phase::Closed);
}

#[test]
fn another_versions_words_are_no_error() {
    let known: Known = serde_json::from_str(
        r#"{"upstream": "a", "weather": [1], "endpoints": [{"name": "x:1", "mood": {}}]}"#,
    )
    .unwrap();
    assert_eq!((known.upstream.as_str(), known.len()), ("a", 1));
    assert_eq!(known.endpoints[0].health, Health::Unknown);
    idle(&section()).recall(&known);
}
