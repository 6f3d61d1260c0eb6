//! What the rules say of figures, certificates and numbers of endpoints.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use lockgate_telemetry::{Latency, RouteTotals, Spread, Totals, UpstreamTotals};

use super::*;

/// Totals after so many requests to one route, so many of which failed, and answers of an upstream
/// that took so long.
fn totals(requests: u64, failed: u64, took: &Spread) -> Totals {
    let by_status =
        BTreeMap::from([("200".to_owned(), requests - failed), ("503".to_owned(), failed)]);
    let route = RouteTotals {
        route: "/orders/*".to_owned(),
        requests,
        by_status,
        by_reason: BTreeMap::new(),
        received_bytes: 0,
        sent_bytes: 0,
        latency: Latency::default(),
        seconds: Spread::default(),
    };
    let upstream = UpstreamTotals {
        upstream: "orders".to_owned(),
        requests,
        attempts: requests,
        retries: 0,
        latency: took.latency(),
        seconds: took.clone(),
    };
    Totals {
        routes: vec![route],
        upstreams: vec![upstream],
        config_taken: true,
        ..Totals::default()
    }
}

fn found(of: &Figures, rules: &Rules) -> Vec<String> {
    let mut findings = Findings::default();
    figures(of, rules, &mut findings);
    findings
        .found
        .into_iter()
        .map(|found| format!("{}: {}", found.id.rule, found.summary))
        .collect()
}

#[test]
fn the_ratio_is_that_of_the_last_minute_and_says_nothing_of_few_requests() {
    let rules = Rules::default();
    let mut seen = Figures::default();
    let took = Spread::default();
    seen.read(totals(1_000_000, 0, &took), 0);
    // 19 requests, all failed: too few.
    seen.read(totals(1_000_019, 19, &took), 0);
    for _ in 0..11 {
        seen.read(totals(1_000_019, 19, &took), 0);
    }
    assert_eq!(found(&seen, &rules), [""; 0]);
    // A million before do not hide a hundred that fail now.
    seen.read(totals(1_000_119, 69, &took), 0);
    let told = found(&seen, &rules);
    assert!(told[0].starts_with("error_ratio: 50% of the requests to /orders/* fail"), "{told:?}");
    for _ in 0..12 {
        seen.read(totals(1_000_119, 69, &took), 0);
    }
    assert_eq!(found(&seen, &rules), [""; 0], "and it passes with the minute");
}

#[test]
fn slow_answers_are_found_by_the_slowest_hundredth() {
    let rules = Rules::default();
    let mut seen = Figures::default();
    let mut took = Spread::default();
    (0..97).for_each(|_| took.note(Duration::from_millis(20)));
    seen.read(totals(97, 0, &took), 0);
    (0..2).for_each(|_| took.note(Duration::from_secs(9)));
    seen.read(totals(99, 0, &took), 0);
    assert_eq!(found(&seen, &rules), [""; 0], "too few");
    (0..2).for_each(|_| took.note(Duration::from_secs(9)));
    seen.read(totals(101, 0, &took), 0);
    let told = found(&seen, &rules);
    assert!(told[0].starts_with("p99: orders answers slowly"), "{told:?}");
}

#[test]
fn lost_lines_are_found_for_a_minute_even_when_the_log_is_opened_anew() {
    let rules = Rules::default();
    let mut seen = Figures::default();
    let none = || totals(0, 0, &Spread::default());
    seen.read(none(), 0);
    seen.read(none(), 7);
    assert_eq!(
        found(&seen, &rules),
        ["log_drops: 7 lines of the access log were lost in a minute"]
    );
    seen.read(none(), 3);
    assert_eq!(seen.dropped(), 10);
    for _ in 0..12 {
        seen.read(none(), 3);
    }
    assert_eq!(found(&seen, &rules), [""; 0]);
}

#[test]
fn a_rule_that_is_off_finds_nothing() {
    let rules = Rules { log_drops: None, error_ratio: None, ..Rules::default() };
    let mut seen = Figures::default();
    seen.read(totals(100, 100, &Spread::default()), 5);
    assert_eq!(found(&seen, &rules), [""; 0]);
}

#[test]
fn certificates_are_told_of_in_time_and_get_worse() {
    let rules = Rules::default();
    let now = UNIX_EPOCH + Duration::from_secs(1_000 * 86_400);
    let served = |days: i64, name: &str| Served {
        file: format!("{name}.pem"),
        names: vec![name.to_owned()],
        not_after: (1_000 + days) * 86_400,
    };
    let all = [served(15, "far"), served(13, "near"), served(-1, "over"), served(-1, "over")];
    let found = certificates(&all, &rules, now);
    let told: Vec<_> = found.iter().map(|one| (one.severity, one.summary.as_str())).collect();
    assert_eq!(
        told,
        [
            (Severity::Warning, "the certificate for near runs out in 13 days"),
            (Severity::Critical, "the certificate for over has run out"),
        ]
    );
}

#[test]
fn too_few_endpoints_are_none_or_less_than_was_said() {
    let (panic, half) = (Percent(0.5), Some(Below::Share(Percent(0.5))));
    for (below, usable, all, total, low) in [
        (None, 0, 4, 4, true),
        (None, 1, 4, 4, true),
        (None, 2, 4, 4, false),
        (None, 1, 1, 1, false),
        (Some(Below::Count(3)), 2, 4, 4, true),
        (Some(Below::Count(3)), 3, 4, 4, false),
        (half, 1, 3, 3, true),
        (half, 2, 3, 3, false),
        // All are out by hand; there are none at all.
        (Some(Below::Count(3)), 0, 0, 4, false),
        (None, 0, 0, 0, true),
        // Two of three are out by hand: the third is enough, as long as it lives.
        (Some(Below::Count(2)), 1, 1, 3, false),
        (Some(Below::Count(2)), 0, 1, 3, true),
        // One is out, and one of the rest is down.
        (Some(Below::Count(2)), 1, 2, 3, true),
        // There is but one, and nobody has taken the others out.
        (Some(Below::Count(2)), 1, 1, 1, true),
    ] {
        let low_now = is_low(below, panic, usable, all, total);
        assert_eq!(low_now, low, "{below:?} {usable} of {all} of {total}");
    }
}
