//! What a scrape and a snapshot must say of what workers counted, at the limits too.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::cell::{BOUNDS, Histogram, Spread};
use super::*;

fn sample(status: u16, micros: u64) -> Sample {
    Sample { status, total: Duration::from_micros(micros), ..Sample::default() }
}

/// The value of the one line that begins with `series` and a space.
fn value(page: &str, series: &str) -> f64 {
    let mut found = page.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = found.next().unwrap_or_else(|| panic!("{series} is not in:\n{page}"));
    assert_eq!(found.next(), None, "{series} is there twice");
    value.parse().unwrap()
}

#[test]
fn the_shards_of_all_workers_are_added_up() {
    let metrics = Metrics::new(4);
    let route = metrics.route("/users/*", Some("users"));
    thread::scope(|scope| {
        for worker in 0..4 {
            let (route, load) = (&route, metrics.worker(worker));
            scope.spawn(move || {
                for n in 0..10_000_u64 {
                    let _in_flight = load.enter();
                    let status = if n % 10 == 0 { 503 } else { 200 };
                    route.observe(
                        worker,
                        &Sample {
                            status,
                            reason: (status == 503).then_some("no_healthy_endpoint"),
                            total: Duration::from_micros(700),
                            upstream_first_byte: (status == 200).then_some(Duration::ZERO),
                            received: 2,
                            sent: 3,
                            attempts: if n % 100 == 0 { 0 } else { 1 + (n % 2) as u32 },
                            exemplar: None,
                        },
                    );
                }
            });
        }
        for _ in 0..50 {
            let page = metrics.render(Form::Text);
            assert!(page.contains("lockgate_worker_requests_total"));
        }
    });
    let page = metrics.render(Form::Text);
    assert_eq!(value(&page, r#"lockgate_requests_total{route="/users/*",status="200"}"#), 36e3);
    assert_eq!(value(&page, r#"lockgate_requests_total{route="/users/*",status="503"}"#), 4e3);
    assert_eq!(
        value(&page, r#"lockgate_faults_total{route="/users/*",reason="no_healthy_endpoint"}"#),
        4e3
    );
    assert_eq!(value(&page, r#"lockgate_received_bytes_total{route="/users/*"}"#), 80e3);
    assert_eq!(value(&page, r#"lockgate_sent_bytes_total{route="/users/*"}"#), 120e3);
    assert_eq!(value(&page, r#"lockgate_request_seconds_count{route="/users/*"}"#), 40e3);
    let sum = value(&page, r#"lockgate_request_seconds_sum{route="/users/*"}"#);
    assert!((sum - 28.0).abs() < 1e-6, "{sum}");
    assert_eq!(value(&page, r#"lockgate_upstream_requests_total{upstream="users"}"#), 39_600.0);
    assert_eq!(value(&page, r#"lockgate_upstream_retries_total{upstream="users"}"#), 20e3);
    assert_eq!(value(&page, r#"lockgate_upstream_attempts_total{upstream="users"}"#), 59_600.0);
    assert_eq!(value(&page, r#"lockgate_upstream_seconds_count{upstream="users"}"#), 36e3);
    for worker in 0..4 {
        let label = format!("{{worker=\"{worker}\"}}");
        assert_eq!(value(&page, &format!("lockgate_worker_requests_total{label}")), 10e3);
        assert_eq!(value(&page, &format!("lockgate_requests_in_flight{label}")), 0.0);
    }
}

#[test]
fn a_bound_belongs_to_the_bucket_below_it() {
    let metrics = Metrics::new(1);
    let route = metrics.route("/", None);
    for micros in [499, 500, 501, 60_000_000, 60_000_001] {
        route.observe(0, &sample(200, micros));
    }
    let page = metrics.render(Form::Text);
    let bucket =
        |le| value(&page, &format!(r#"lockgate_request_seconds_bucket{{route="/",le="{le}"}}"#));
    assert_eq!(bucket("0.0005"), 2.0);
    assert_eq!(bucket("0.001"), 3.0);
    assert_eq!(bucket("10"), 3.0);
    assert_eq!(bucket("60"), 4.0);
    assert_eq!(bucket("+Inf"), 5.0);
}

#[test]
fn requests_in_flight_end_with_their_guard() {
    let metrics = Metrics::new(2);
    let worker = metrics.worker(1);
    let (first, second) = (worker.enter(), worker.enter());
    worker.set_connections(2);
    worker.set_connections(1);
    drop(first);
    let page = metrics.render(Form::Text);
    assert_eq!(value(&page, r#"lockgate_requests_in_flight{worker="1"}"#), 1.0);
    assert_eq!(value(&page, r#"lockgate_requests_in_flight{worker="0"}"#), 0.0);
    assert_eq!(value(&page, r#"lockgate_worker_connections{worker="1"}"#), 1.0);
    drop(second);
    assert_eq!(metrics.snapshot().in_flight, 0);
}

#[test]
fn odd_statuses_and_too_many_of_them_count_as_other() {
    let metrics = Metrics::new(1);
    let route = metrics.route("/", None);
    for status in [0, 99, 600, u16::MAX] {
        route.observe(0, &sample(status, 1));
    }
    for status in 100..=599 {
        route.observe(0, &sample(status, 1));
    }
    let page = metrics.render(Form::Text);
    let families = page.lines().filter(|l| l.starts_with("lockgate_requests_total{")).count();
    assert_eq!(families, 25);
    let other = value(&page, r#"lockgate_requests_total{route="/",status="other"}"#);
    assert_eq!(other, 4.0 + 500.0 - 24.0);
    assert_eq!(metrics.snapshot().requests, 504);
}

#[test]
fn too_many_reasons_count_as_other() {
    let metrics = Metrics::new(1);
    let route = metrics.no_route();
    for n in 0..60 {
        let reason: &'static str = Box::leak(format!("reason_{n}").into_boxed_str());
        for _ in 0..2 {
            route.observe(0, &Sample { reason: Some(reason), ..sample(404, 1) });
        }
    }
    let page = metrics.render(Form::Text);
    assert_eq!(value(&page, r#"lockgate_faults_total{route="",reason="reason_0"}"#), 2.0);
    assert_eq!(value(&page, r#"lockgate_faults_total{route="",reason="other"}"#), 24.0);
}

#[test]
fn a_worker_that_does_not_exist_counts_nothing() {
    let metrics = Metrics::new(1);
    let route = metrics.route("/", Some("u"));
    route.observe(1, &sample(200, 1));
    metrics.policy("cors", "/").observe(7, Decided::Pass, Took::Unknown);
    drop(metrics.worker(9).enter());
    assert_eq!(metrics.snapshot().requests, 0);
    assert!(!metrics.render(Form::Text).contains("cors"));
}

#[test]
fn counters_survive_a_reload_and_leave_with_the_last_snapshot() {
    let metrics = Metrics::new(1);
    let before = metrics.route("/a", Some("u"));
    let other = metrics.route("/b", Some("u"));
    before.observe(0, &Sample { attempts: 1, ..sample(200, 1_000) });
    other.observe(0, &Sample { attempts: 1, ..sample(404, 3_000) });
    let after = metrics.route("/a", Some("u"));
    drop((before, other));
    after.observe(0, &Sample { attempts: 1, ..sample(200, 2_000) });

    let page = metrics.render(Form::Text);
    assert_eq!(value(&page, r#"lockgate_requests_total{route="/a",status="200"}"#), 2.0);
    assert!(!page.contains(r#"route="/b""#), "nothing holds /b any more");
    assert_eq!(value(&page, r#"lockgate_upstream_attempts_total{upstream="u"}"#), 3.0);

    let totals = metrics.snapshot();
    assert_eq!((totals.requests, totals.by_status["404"], totals.by_status["200"]), (3, 1, 2));
    assert_eq!((totals.latency.min_ms, totals.latency.max_ms), (1.0, 3.0));
    assert_eq!(totals.routes.len(), 1);

    let again = metrics.route("/b", None);
    again.observe(0, &sample(200, 1));
    let page = metrics.render(Form::Text);
    assert_eq!(value(&page, r#"lockgate_requests_total{route="/b",status="200"}"#), 1.0);
    assert!(!page.contains(r#"route="/b",status="404""#));
}

#[test]
fn names_beyond_the_cap_share_one_series_and_are_counted() {
    let metrics = Metrics::with_cap(1, 3); // one of the three is that of no route
    let kept: Vec<_> = (0..6).map(|n| metrics.route(format!("/{n}"), None)).collect();
    for route in &kept {
        route.observe(0, &sample(200, 1));
    }
    let page = metrics.render(Form::Text);
    assert_eq!(value(&page, r#"lockgate_requests_total{route="/1",status="200"}"#), 1.0);
    assert_eq!(value(&page, r#"lockgate_requests_total{route="(other)",status="200"}"#), 4.0);
    assert_eq!(value(&page, "lockgate_metrics_refused_total"), 4.0);
    assert_eq!(metrics.snapshot().requests, 6);

    drop(kept);
    metrics.render(Form::Text);
    let fresh = metrics.route("/fresh", None);
    fresh.observe(0, &sample(200, 1));
    let page = metrics.render(Form::Text);
    assert_eq!(value(&page, r#"lockgate_requests_total{route="/fresh",status="200"}"#), 1.0);
}

#[test]
fn dropped_names_make_room_without_a_scrape() {
    let metrics = Metrics::with_cap(1, 2_000);
    for n in 0..10_000 {
        metrics.route(format!("/{n}"), None).observe(0, &sample(200, 1));
    }
    assert_eq!(value(&metrics.render(Form::Text), "lockgate_metrics_refused_total"), 0.0);
    assert_eq!(metrics.snapshot().requests, 10_000);
}

#[test]
fn an_idle_route_costs_a_few_words() {
    let metrics = Metrics::new(64);
    let route = metrics.route("/idle", Some("u"));
    let fixed = size_of::<RouteShards>() + size_of::<RouteSeries>();
    assert!(fixed <= 48, "{fixed} bytes");
    assert_eq!(route.route.used().count(), 0);
    route.observe(63, &sample(200, 1));
    assert_eq!(route.route.used().count(), 1, "one cell for the one worker that wrote");
    let cell = size_of::<RouteCell>();
    assert!(cell <= 512, "{cell} bytes");
}

#[test]
fn policies_are_told_apart_by_verdict_and_reason() {
    let metrics = Metrics::new(1);
    let policy = metrics.policy("rate_limit", "POST /a b");
    let time = Duration::from_millis(1);
    assert!(policy.is_due(0), "the first run is timed");
    policy.observe(0, Decided::Pass, Took::Timed(time));
    policy.observe(0, Decided::Pass, Took::Unknown);
    policy.observe(0, Decided::Answer, Took::Waited(20 * time));
    policy.observe(0, Decided::Refuse("rate_limited"), Took::Timed(time));
    let page = metrics.render(Form::Text);
    let series = |verdict, reason| {
        let labels = r#"{policy="rate_limit",route="POST /a b""#;
        let of = format!(r#"lockgate_policy_verdicts_total{labels},verdict="{verdict}","#);
        value(&page, &format!(r#"{of}reason="{reason}"}}"#))
    };
    assert_eq!(series("pass", ""), 2.0);
    assert_eq!(series("answer", ""), 1.0);
    assert_eq!(series("refuse", "rate_limited"), 1.0);
    let sum = r#"lockgate_policy_seconds_sum{policy="rate_limit",route="POST /a b"}"#;
    // The one that was not timed is taken for as long as the next that was.
    assert!((value(&page, sum) - 0.023).abs() < 1e-9);
}

#[test]
fn reloads_are_told() {
    let metrics = Metrics::new(1);
    metrics.reloaded(1);
    metrics.reloaded(2);
    metrics.reload_refused();
    metrics.panicked();
    let page = metrics.render(Form::Text);
    assert_eq!(value(&page, "lockgate_config_generation"), 2.0);
    assert_eq!(value(&page, "lockgate_config_last_reload_successful"), 0.0);
    assert_eq!(value(&page, r#"lockgate_config_reloads_total{result="ok"}"#), 2.0);
    assert_eq!(value(&page, r#"lockgate_config_reloads_total{result="refused"}"#), 1.0);
    assert_eq!(value(&page, "lockgate_panics_total"), 1.0);
}

/// A source that writes a sample of every metric that the registry does not write itself, one
/// labels' worth after the other, so that families come interleaved.
struct Everything(Vec<&'static Metric>);

impl Collect for Everything {
    fn collect(&self, out: &mut Encoder) {
        for hostile in ["a", "quote\" back\\slash\nnewline", "\u{2028}ü\0", ""] {
            for metric in &self.0 {
                let labels = vec![hostile; metric.labels.len()];
                if labels.is_empty() && hostile != "a" {
                    continue;
                }
                match metric.kind {
                    MetricKind::Histogram => {
                        out.buckets(metric, &labels, &[0.001, 0.1], &[1, 2, 3], 5_000_000);
                    }
                    _ => out.number(metric, &labels, 0.1),
                }
            }
        }
    }
}

fn full_page() -> String {
    let metrics = Metrics::new(2);
    for pattern in ["/a", "GET h.example/{x}/*", "/quo\"te\\\n"] {
        let route = metrics.route(pattern, Some("up\"stream"));
        let one = Sample { attempts: 2, reason: Some("overloaded"), ..sample(503, 9) };
        route.observe(0, &Sample { upstream_first_byte: Some(Duration::ZERO), ..one });
        metrics.policy("cors", pattern).observe(1, Decided::Pass, Took::Unknown);
        std::mem::forget(route);
    }
    let _kept = metrics.policy("cors", "/a");
    metrics.no_route().observe(1, &sample(404, 1));
    let own = metrics.render(Form::Text);
    let written = |m: &&&Metric| !own.contains(&format!("# TYPE {} ", m.name));
    let rest: Vec<_> = METRICS.iter().filter(written).copied().collect();
    assert!(METRICS.len() - rest.len() >= 20, "too few are written by the registry itself");
    metrics.register(Arc::new(Everything(rest)));
    metrics.render(Form::Text)
}

#[test]
fn each_family_is_written_in_one_piece() {
    let page = full_page();
    for metric in METRICS {
        let head = format!("# TYPE {} {}\n", metric.name, metric.kind.word());
        assert_eq!(page.matches(&head).count(), 1, "{}", metric.name);
    }
    let mut family = "";
    for line in page.lines() {
        match line.strip_prefix("# HELP ") {
            Some(help) => family = help.split(' ').next().unwrap(),
            None => assert!(line.starts_with(family) || line.contains(family), "{line}"),
        }
    }
    assert!(page.contains(r#"{result="quote\" back\\slash\nnewline"}"#));
}

#[test]
fn promtool_finds_nothing_to_say() {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = promtool.expect("promtool is not installed: `cargo xtask test` installs it");
    promtool.stdin.take().unwrap().write_all(full_page().as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn every_metric_is_named_once_and_by_the_rules() {
    let mut names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), METRICS.len());
    for metric in METRICS {
        assert!(metric.name.starts_with("lockgate_") || metric.name.starts_with("process_"));
        let counts = metric.kind == MetricKind::Counter;
        assert_eq!(metric.name.ends_with("_total"), counts, "{}", metric.name);
        assert!(!metric.help.ends_with('.') && metric.help.len() > 10, "{}", metric.name);
    }
}

#[test]
fn a_page_has_an_end() {
    let mut out = Encoder::page(Form::Text);
    for n in 0..1_000_100_u64 {
        out.count(&names::PANICS, &[], n);
    }
    assert_eq!(out.finish().lines().count(), 1_000_000 + 2);
}

#[test]
fn the_reference_page_agrees_with_the_table() {
    crate::reference::agrees("metrics.md", &metrics_reference());
}

#[test]
fn percentiles_of_a_known_spread() {
    let histogram = Histogram::default();
    for millis in 1..=1_000_u64 {
        histogram.add(Duration::from_millis(millis));
    }
    let mut spread = Spread::default();
    histogram.add_to(&mut spread);
    let latency = Latency::of(&spread);
    assert_eq!((latency.count, latency.min_ms, latency.max_ms), (1_000, 1.0, 1_000.0));
    assert!((latency.avg_ms - 500.5).abs() < 1e-6);
    for (found, right) in
        [(latency.p50_ms, 500.0), (latency.p90_ms, 900.0), (latency.p99_ms, 990.0)]
    {
        assert!((found - right).abs() < 2.0, "{found} instead of {right}");
    }
    assert_eq!(Latency::of(&Spread::default()), Latency::default());
}

proptest! {
    #[test]
    fn a_percentile_lies_in_the_bucket_of_the_true_one(
        mut micros in prop::collection::vec(0_u64..90_000_000, 1..300),
    ) {
        let halves = [Histogram::default(), Histogram::default()];
        for (n, micros) in micros.iter().enumerate() {
            halves[n % 2].add(Duration::from_micros(*micros));
        }
        let mut spread = Spread::default();
        halves.iter().for_each(|half| half.add_to(&mut spread));
        micros.sort_unstable();
        let latency = Latency::of(&spread);
        let bucket = |ms: f64| BOUNDS.partition_point(|bound| bound * 1e3 < ms - 1e-9);
        for (share, found) in
            [(0.5, latency.p50_ms), (0.9, latency.p90_ms), (0.99, latency.p99_ms)]
        {
            let rank = (share * micros.len() as f64).ceil() as usize;
            let right = micros[rank.saturating_sub(1)] as f64 / 1e3;
            // A share that ends a bucket exactly is found on the bound itself.
            prop_assert!(bucket(found).abs_diff(bucket(right)) == 0, "{found} for {right}");
            prop_assert!(found >= latency.min_ms && found <= latency.max_ms);
        }
        prop_assert!(latency.p50_ms <= latency.p90_ms && latency.p90_ms <= latency.p99_ms);
        prop_assert!(latency.avg_ms >= latency.min_ms - 1e-6);
    }
}

#[test]
fn open_metrics_is_for_whoever_wants_it_as_much() {
    use Form::{OpenMetrics, Text};
    let open = "application/openmetrics-text";
    for (accept, form) in [
        (String::new(), Text),
        ("*/*".to_owned(), Text),
        ("text/plain".to_owned(), Text),
        (open.to_owned(), OpenMetrics),
        (format!("{open}; version=1.0.0; q=0.5, text/plain;q=0.3, */*;q=0.1"), OpenMetrics),
        (format!("{open};q=0.2,text/plain;q=0.3"), Text),
        (format!("{open};q=0"), Text),
        (format!("{open};q=x"), Text),
    ] {
        assert_eq!(Form::asked(&accept), form, "{accept}");
    }
}

#[test]
fn exemplars_are_in_open_metrics_alone() {
    let metrics = Metrics::new(1);
    let route = metrics.route("/", None);
    let exemplar = Exemplar {
        trace: lockgate_core::span::TraceId::new(1, 2).unwrap(),
        span: lockgate_core::span::SpanId::new(3).unwrap(),
        time: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
    };
    route.observe(0, &Sample { exemplar: Some(exemplar), ..sample(200, 750) });
    route.observe(0, &sample(200, 800));
    let page = metrics.render(Form::OpenMetrics);
    let line = "lockgate_request_seconds_bucket{route=\"/\",le=\"0.001\"} 2 # {trace_id=\"\
                00000000000000010000000000000002\",span_id=\"0000000000000003\"} 0.00075 \
                1700000000.123\n";
    assert!(page.contains(line), "{page}");
    assert!(page.contains("# TYPE lockgate_requests counter\nlockgate_requests_total{"));
    assert!(page.contains("le=\"10.0\"") && page.contains("le=\"+Inf\""));
    assert!(page.ends_with("\n# EOF\n"));
    let plain = metrics.render(Form::Text);
    assert!(!plain.contains("trace_id") && !plain.contains("# EOF") && plain.contains("le=\"10\""));
}

#[test]
fn points_come_in_messages_that_a_collector_takes() {
    let metrics = Metrics::new(1);
    let routes: Vec<_> = (0..5_000)
        .map(|n| {
            metrics.route(format!("/a-path-that-is-rather-long/{n}/{}", "x".repeat(200)), None)
        })
        .collect();
    for route in &routes {
        route.observe(0, &sample(200, 1));
    }
    let messages = metrics.points();
    let largest = messages.iter().map(|(bytes, _)| bytes.len()).max().unwrap();
    assert!(messages.len() > 3 && largest < 3 << 20, "{} of {largest}", messages.len());
    let points: u64 = messages.iter().map(|(_, count)| count).sum();
    let samples = metrics.render(Form::Text).lines().filter(|l| !l.starts_with('#')).count() as u64;
    // A histogram is one point, and many lines.
    assert!(points > 4 * 5_000 && points < samples, "{points} {samples}");
}
