//! Ejection under a paused clock, through what attempts report.

use std::sync::Arc;
use std::time::Duration;

use lockgate_config::model::{Balance, Outlier};
use lockgate_core::{Percent, Time};
use tokio::time::{Instant, advance};

use crate::endpoint::Override;
use crate::picked::{Ending, Failure};
use crate::testing::{endpoint, exchange, idle, many};
use crate::upstream::Upstream;

fn upstream(count: u16, change: impl FnOnce(&mut Outlier)) -> Arc<Upstream> {
    let mut settings = many(count, Balance::RoundRobin);
    settings.panic_threshold = Percent(0.0);
    let mut outlier = Outlier::default();
    change(&mut outlier);
    settings.outlier = Some(outlier);
    idle(&settings)
}

/// Lets an attempt on this endpoint end.
fn end(upstream: &Arc<Upstream>, at: usize, ending: Ending) {
    let tried: Vec<_> = (0..upstream.set().endpoints().len())
        .filter(|&other| other != at)
        .map(|other| endpoint(upstream, other))
        .collect();
    // An order makes it usable even while ejected, as an attempt that began before would be.
    let one = endpoint(upstream, at);
    one.order(Override::Up);
    let mut picked = upstream.pick(&exchange(&[]), &tried).unwrap();
    one.order(Override::None);
    assert!(Arc::ptr_eq(picked.endpoint(), &one));
    picked.done(ending);
}

fn fail(upstream: &Arc<Upstream>, at: usize, times: usize) {
    for _ in 0..times {
        end(upstream, at, Ending::Failed { kind: Failure::Connect });
    }
}

fn answer(upstream: &Arc<Upstream>, at: usize, status: u16) {
    end(upstream, at, Ending::Answered { status, latency: Duration::from_millis(1) });
}

/// For how many seconds it is ejected; 0: not.
fn ejected(upstream: &Upstream, at: usize) -> u64 {
    let now = Instant::now();
    let until = endpoint(upstream, at).ejected_until(now);
    until.map_or(0, |until| until.duration_since(now).as_secs_f64().round() as u64)
}

#[tokio::test(start_paused = true)]
async fn five_failures_in_a_row_eject_whatever_kind_they_are() {
    let upstream = upstream(3, |_| {});
    fail(&upstream, 0, 4);
    answer(&upstream, 0, 200);
    fail(&upstream, 0, 1);
    end(&upstream, 0, Ending::Failed { kind: Failure::Timeout });
    answer(&upstream, 0, 503);
    end(&upstream, 0, Ending::Cancelled);
    answer(&upstream, 0, 500);
    assert_eq!(ejected(&upstream, 0), 0, "four since the last good answer");
    end(&upstream, 0, Ending::Failed { kind: Failure::Broken });
    assert_eq!(ejected(&upstream, 0), 30);
    let out = upstream.view().endpoints.swap_remove(0);
    assert!(!out.usable && out.healthy && out.ejections == 1);
    assert_eq!(out.reason.unwrap(), "ejected for its failures, for 30.0s more");
}

/// Lets an answer of this endpoint break off after its head, or end whole.
fn stream(upstream: &Arc<Upstream>, whole: bool) {
    let others: Vec<_> = (1..3).map(|other| endpoint(upstream, other)).collect();
    let mut picked = upstream.pick(&exchange(&[]), &others).unwrap();
    picked.done(Ending::Answered { status: 200, latency: Duration::from_millis(1) });
    if whole {
        picked.ended();
    } else {
        picked.done(Ending::Failed { kind: Failure::Broken });
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_break_off_are_failures_in_a_row() {
    let upstream = upstream(3, |_| {});
    (0..4).for_each(|_| stream(&upstream, false));
    stream(&upstream, true);
    (0..3).for_each(|_| stream(&upstream, false));
    fail(&upstream, 0, 1);
    assert_eq!(ejected(&upstream, 0), 0, "four since the last whole answer");
    fail(&upstream, 0, 1);
    assert_eq!(ejected(&upstream, 0), 30);
}

#[tokio::test(start_paused = true)]
async fn a_good_head_ends_a_row_of_bad_ones_before_its_body_does() {
    let upstream = upstream(3, |_| {});
    fail(&upstream, 0, 4);
    answer(&upstream, 0, 200);
    fail(&upstream, 0, 4);
    assert_eq!(ejected(&upstream, 0), 0);
}

#[tokio::test(start_paused = true)]
async fn client_errors_are_good_answers() {
    let upstream = upstream(3, |_| {});
    for _ in 0..20 {
        answer(&upstream, 0, 404);
    }
    assert_eq!(ejected(&upstream, 0), 0);
}

#[tokio::test(start_paused = true)]
async fn time_brings_it_back_and_each_ejection_is_longer() {
    let upstream = upstream(3, |outlier| outlier.max_eject_for = Time(Duration::from_secs(75)));
    for length in [30, 60, 75, 75] {
        fail(&upstream, 0, 5);
        assert_eq!(ejected(&upstream, 0), length);
        advance(Duration::from_secs(length - 1)).await;
        assert_eq!(ejected(&upstream, 0), 1);
        advance(Duration::from_secs(1)).await;
        assert_eq!(ejected(&upstream, 0), 0);
        endpoint(&upstream, 0).usable(Instant::now()).unwrap();
    }
    advance(Duration::from_secs(75)).await;
    fail(&upstream, 0, 5);
    assert_eq!(ejected(&upstream, 0), 30, "a long good time is a new start");
}

#[tokio::test(start_paused = true)]
async fn no_more_than_half_are_ejected() {
    let upstream = upstream(5, |_| {});
    for at in 0..5 {
        fail(&upstream, at, 5);
    }
    let out = (0..5).filter(|&at| ejected(&upstream, at) > 0).count();
    assert_eq!(out, 2);
    advance(Duration::from_secs(30)).await;
    fail(&upstream, 4, 1);
    assert_eq!(ejected(&upstream, 4), 30, "there is room again");
}

#[tokio::test(start_paused = true)]
async fn the_last_usable_one_is_never_ejected() {
    let one = upstream(1, |_| {});
    fail(&one, 0, 50);
    assert_eq!(ejected(&one, 0), 0);
    let two = upstream(2, |outlier| outlier.max_ejected = Percent(1.0));
    fail(&two, 0, 5);
    fail(&two, 1, 50);
    assert_eq!((ejected(&two, 0), ejected(&two, 1)), (30, 0));
    let small = upstream(3, |outlier| outlier.max_ejected = Percent(0.0));
    fail(&small, 0, 5);
    assert_eq!(ejected(&small, 0), 30, "at least one may be");
}

#[tokio::test(start_paused = true)]
async fn a_ratio_ejects_when_it_is_on() {
    let half = |outlier: &mut Outlier| {
        outlier.failures = Some(Percent(0.5));
        outlier.of_last = 10;
    };
    let upstream = upstream(3, half);
    for n in 0..9 {
        answer(&upstream, 0, if n % 2 == 0 { 500 } else { 200 });
    }
    assert_eq!(ejected(&upstream, 0), 0, "not before there were ten");
    answer(&upstream, 0, 200);
    assert_eq!(ejected(&upstream, 0), 0, "a good answer ejects nobody");
    answer(&upstream, 0, 500);
    assert_eq!(ejected(&upstream, 0), 30);
    advance(Duration::from_secs(30)).await;
    fail(&upstream, 0, 4);
    assert_eq!(ejected(&upstream, 0), 0, "the old failures are forgotten");
}

#[tokio::test(start_paused = true)]
async fn with_nobody_else_left_the_ejected_are_used() {
    let mut settings = many(2, Balance::RoundRobin);
    settings.outlier = Some(Outlier::default());
    let upstream = idle(&settings);
    fail(&upstream, 0, 5);
    endpoint(&upstream, 1).order(Override::Down);
    assert_eq!(crate::testing::tally(&upstream, 5)[&1], 5);
}
