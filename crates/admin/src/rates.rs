//! What routes, upstreams and workers have done in the last five seconds; and of the routes that
//! had requests within the hour, that hour, as far as there is room.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_telemetry::{Latency, RouteTotals, Spread, Totals};

use crate::history::{MOST, failed, refused};

/// Routes with an hour of their own. A quarter of the samples are kept: two megabytes in all.
const MOST_LINES: usize = 256;
/// Samples that are one point of a route's line.
pub(crate) const EACH: usize = 4;

/// What a few seconds were like, for a route or an upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rate {
    /// Requests that ended, a second.
    pub(crate) requests: f64,
    /// Those with a status of 400 to 499, a second.
    pub(crate) refused: f64,
    /// Those with a status of 500 or above, a second.
    pub(crate) errors: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// One point of a route's hour.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Point {
    pub(crate) requests: f32,
    pub(crate) refused: f32,
    pub(crate) errors: f32,
    pub(crate) p50_ms: f32,
    pub(crate) p99_ms: f32,
}

/// The newest rates, by name.
#[derive(Debug, Default)]
pub(crate) struct Now {
    /// Of the routes that had requests, by pattern.
    pub(crate) routes: HashMap<String, Rate>,
    /// Of the upstreams that were asked.
    pub(crate) upstreams: HashMap<String, Rate>,
    /// Requests begun, a second, by worker.
    pub(crate) workers: Vec<f64>,
}

#[derive(Default)]
pub(crate) struct Rates(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    now: Arc<Now>,
    lines: HashMap<String, Line>,
    samples: usize,
}

/// The oldest first.
#[derive(Default)]
struct Line {
    points: VecDeque<Point>,
    /// What has not become a point yet.
    gathered: Point,
    /// Samples since the last request.
    quiet: usize,
}

impl Rates {
    /// The newest.
    pub(crate) fn now(&self) -> Arc<Now> {
        Arc::clone(&self.inner().now)
    }

    /// A route's hour, if it has one.
    pub(crate) fn line(&self, route: &str) -> Option<Vec<Point>> {
        self.inner().lines.get(route).map(|line| line.points.iter().copied().collect())
    }

    /// Takes a sample: what has changed from one moment to the other.
    pub(crate) fn add(&self, before: &Totals, now: &Totals, seconds: f64) {
        let rates = between(before, now, seconds);
        let mut inner = self.inner();
        inner.samples += 1;
        let whole = inner.samples.is_multiple_of(EACH);
        for (route, rate) in &rates.routes {
            if inner.lines.contains_key(route) || inner.lines.len() < MOST_LINES {
                inner.lines.entry(route.clone()).or_default().gather(rate);
            }
        }
        inner.lines.retain(|_, line| line.pass(whole));
        inner.now = Arc::new(rates);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Rates are averaged, latencies are the worst.
    fn gather(&mut self, rate: &Rate) {
        let (sum, part) = (&mut self.gathered, 1.0 / EACH as f64);
        sum.requests += (rate.requests * part) as f32;
        sum.refused += (rate.refused * part) as f32;
        sum.errors += (rate.errors * part) as f32;
        sum.p50_ms = sum.p50_ms.max(rate.p50_ms as f32);
        sum.p99_ms = sum.p99_ms.max(rate.p99_ms as f32);
        self.quiet = 0;
    }

    /// Ends a sample, and maybe a point. Whether anything of the hour is left.
    fn pass(&mut self, whole: bool) -> bool {
        self.quiet += 1;
        if whole {
            if self.points.len() == MOST / EACH {
                self.points.pop_front();
            }
            self.points.push_back(std::mem::take(&mut self.gathered));
        }
        self.quiet <= MOST
    }
}

fn between(before: &Totals, now: &Totals, seconds: f64) -> Now {
    let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
    let mut rates = Now::default();
    let old: HashMap<&str, &RouteTotals> =
        before.routes.iter().map(|old| (old.route.as_str(), old)).collect();
    for one in &now.routes {
        // A route that went and came back counts from zero.
        let old = old.get(one.route.as_str()).copied().filter(|old| old.requests <= one.requests);
        let requests = one.requests - old.map_or(0, |old| old.requests);
        if requests == 0 {
            continue;
        }
        let count = |of: fn(&BTreeMap<String, u64>) -> u64| {
            rate(of(&one.by_status), old.map_or(0, |o| of(&o.by_status)))
        };
        let latency = gained(&one.seconds, old.map(|old| &old.seconds));
        let told = Rate { refused: count(refused), errors: count(failed), ..timed(&latency) };
        let requests = requests as f64 / seconds;
        rates.routes.insert(one.route.clone(), Rate { requests, ..told });
    }
    for one in &now.upstreams {
        let old = before.upstreams.iter().find(|old| old.upstream == one.upstream);
        let old = old.filter(|old| old.requests <= one.requests);
        let requests = one.requests - old.map_or(0, |old| old.requests);
        if requests > 0 {
            let requests = requests as f64 / seconds;
            let told =
                Rate { requests, ..timed(&gained(&one.seconds, old.map(|old| &old.seconds))) };
            rates.upstreams.insert(one.upstream.clone(), told);
        }
    }
    let workers = now.workers.iter().enumerate().map(|(place, one)| {
        rate(one.requests, before.workers.get(place).map_or(0, |old| old.requests))
    });
    rates.workers = workers.collect();
    rates
}

fn gained(now: &Spread, then: Option<&Spread>) -> Latency {
    then.map_or_else(|| now.latency(), |then| now.since(then).latency())
}

fn timed(latency: &Latency) -> Rate {
    Rate { p50_ms: latency.p50_ms, p99_ms: latency.p99_ms, ..Rate::default() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lockgate_telemetry::{Metrics, Sample};

    use super::*;

    fn sample(status: u16, ms: u64) -> Sample {
        Sample { status, total: Duration::from_millis(ms), ..Sample::default() }
    }

    #[test]
    fn a_routes_rates_are_those_of_its_own_requests() {
        let metrics = Metrics::new(1);
        let (a, b) = (metrics.route("/a", None), metrics.route("/b", None));
        a.observe(0, &sample(200, 500));
        let before = metrics.snapshot();
        for status in [200, 200, 404, 500] {
            b.observe(0, &sample(status, 2));
        }
        let rates = Rates::default();
        rates.add(&before, &metrics.snapshot(), 2.0);
        let now = rates.now();
        assert_eq!(now.routes.keys().collect::<Vec<_>>(), ["/b"], "the other one was quiet");
        let b = now.routes["/b"];
        assert_eq!((b.requests, b.refused, b.errors), (2.0, 0.5, 0.5));
        assert!(b.p99_ms > 0.0 && b.p99_ms < 10.0, "the 500 ms were before: {b:?}");
    }

    #[test]
    fn lines_are_few_bounded_and_end_an_hour_after_the_last_request() {
        let metrics = Metrics::new(1);
        let routes: Vec<_> =
            (0..MOST_LINES + 10).map(|n| metrics.route(format!("/{n}"), None)).collect();
        let rates = Rates::default();
        let mut before = metrics.snapshot();
        let mut add = |busy: bool| {
            if busy {
                routes.iter().for_each(|route| route.observe(0, &sample(200, 1)));
            }
            let now = metrics.snapshot();
            rates.add(&before, &now, 5.0);
            before = now;
        };
        for _ in 0..EACH {
            add(true);
        }
        let lines: Vec<Vec<Point>> =
            (0..routes.len()).filter_map(|n| rates.line(&format!("/{n}"))).collect();
        assert_eq!(lines.len(), MOST_LINES);
        assert_eq!(lines[0].len(), 1);
        assert!((lines[0][0].requests - 0.2).abs() < 1e-6, "{:?}", lines[0]);
        for _ in 1..MOST {
            add(false);
        }
        assert_eq!(rates.inner().lines.len(), MOST_LINES);
        assert!(rates.inner().lines.values().all(|line| line.points.len() <= MOST / EACH));
        add(false);
        assert_eq!(rates.inner().lines.len(), 0);
    }
}
