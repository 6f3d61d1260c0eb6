//! One scrape of the metrics, read into the counts that the screen makes rates of. What it does not
//! know it passes over: a newer gateway may tell more.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tokio::time::Instant;

/// The counts of one moment.
#[derive(Debug, Clone)]
pub(super) struct Scrape {
    pub(super) at: Instant,
    /// By pattern; "" is what no route matched.
    pub(super) routes: BTreeMap<String, Route>,
    pub(super) upstreams: BTreeMap<String, Upstream>,
    pub(super) whole: Whole,
}

/// Of one route, since the process began.
#[derive(Debug, Clone, Default)]
pub(super) struct Route {
    pub(super) requests: f64,
    /// With a status of 500 or above.
    pub(super) errors: f64,
    pub(super) received: f64,
    pub(super) sent: f64,
    pub(super) took: Buckets,
    pub(super) reasons: BTreeMap<String, f64>,
}

/// Of one upstream, since the process began.
#[derive(Debug, Clone, Default)]
pub(super) struct Upstream {
    pub(super) requests: f64,
    pub(super) retries: f64,
    pub(super) took: Buckets,
}

/// Of the gateway.
#[derive(Debug, Clone, Default)]
pub(super) struct Whole {
    pub(super) version: String,
    pub(super) generation: f64,
    /// Whether the last configuration was taken.
    pub(super) taken: bool,
    /// When the process began, in Unix time.
    pub(super) started: f64,
    pub(super) in_flight: f64,
    pub(super) connections: f64,
    pub(super) cpu_seconds: f64,
    pub(super) memory: f64,
    /// Requests of routes with a cache, and those that it answered.
    pub(super) cached: f64,
    pub(super) hits: f64,
    /// Requests that limits have refused.
    pub(super) limited: f64,
    pub(super) lines_lost: f64,
    pub(super) panics: f64,
    /// Servers of stores that are not asked.
    pub(super) stores_away: f64,
}

/// A histogram: bounds in seconds, and how many were no longer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Buckets(pub(super) Vec<(f64, f64)>);

impl Buckets {
    fn add(&mut self, bound: f64, count: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, known)) => *known += count,
            None => self.0.push((bound, count)),
        }
    }

    /// Adds another's.
    pub(super) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(bound, count)| self.add(*bound, *count));
    }

    /// What has come since an earlier one of the same.
    pub(super) fn since(&self, before: &Self) -> Self {
        let earlier = |bound: f64| before.0.iter().find(|(known, _)| *known == bound);
        let grown = self.0.iter().map(|(bound, count)| {
            let before = earlier(*bound).map_or(0.0, |(_, count)| *count);
            (*bound, grown(before, *count))
        });
        Self(grown.collect())
    }

    /// The time, in seconds, that this share of them did not exceed: straight between the bounds.
    /// `None` when there were none.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let all = self.0.iter().map(|(_, count)| *count).fold(0.0, f64::max);
        if all <= 0.0 {
            return None;
        }
        let (mut from, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if *count >= share * all {
                // Beyond the last bound nothing is known but that.
                let within = (share * all - below) / (count - below).max(f64::EPSILON);
                let to = if bound.is_finite() { *bound } else { from };
                return Some(from + (to - from) * within);
            }
            (from, below) = (*bound, *count);
        }
        None
    }
}

/// How much a counter has grown; one that is smaller than before has begun anew.
pub(super) fn grown(before: f64, now: f64) -> f64 {
    if now >= before { now - before } else { now }
}

impl Scrape {
    /// Reads the text format of Prometheus, as a gateway writes it.
    pub(super) fn read(text: &str, at: Instant) -> Self {
        let whole = Whole { taken: true, ..Whole::default() };
        let mut scrape = Self { at, routes: BTreeMap::new(), upstreams: BTreeMap::new(), whole };
        for series in text.lines().filter_map(Series::read) {
            scrape.take(&series);
        }
        scrape
    }

    fn take(&mut self, series: &Series<'_>) {
        let value = series.value;
        if let Some(name) = series.name.strip_prefix("lockgate_upstream_") {
            let upstream = series.label("upstream").unwrap_or_default().to_owned();
            let upstream = self.upstreams.entry(upstream).or_default();
            match name {
                "requests_total" => upstream.requests += value,
                "retries_total" => upstream.retries += value,
                "seconds_bucket" => upstream.took.add(series.bound(), value),
                _ => {}
            }
            return;
        }
        match series.name {
            "lockgate_requests_total" => {
                let failed = series.label("status").is_some_and(|status| status.starts_with('5'));
                let route = self.route(series);
                route.requests += value;
                route.errors += if failed { value } else { 0.0 };
            }
            "lockgate_request_seconds_bucket" => {
                let bound = series.bound();
                self.route(series).took.add(bound, value);
            }
            "lockgate_faults_total" => {
                let reason = series.label("reason").unwrap_or_default().to_owned();
                *self.route(series).reasons.entry(reason).or_default() += value;
            }
            "lockgate_received_bytes_total" => self.route(series).received += value,
            "lockgate_sent_bytes_total" => self.route(series).sent += value,
            _ => self.whole.take(series),
        }
    }

    fn route(&mut self, series: &Series<'_>) -> &mut Route {
        self.routes.entry(series.label("route").unwrap_or_default().to_owned()).or_default()
    }
}

impl Whole {
    fn take(&mut self, series: &Series<'_>) {
        let value = series.value;
        match series.name {
            "lockgate_build_info" => {
                self.version = series.label("version").unwrap_or_default().to_owned();
            }
            "lockgate_config_generation" => self.generation = value,
            "lockgate_config_last_reload_successful" => self.taken = value != 0.0,
            "process_start_time_seconds" => self.started = value,
            "lockgate_requests_in_flight" => self.in_flight += value,
            "lockgate_connections" => self.connections = value,
            "process_cpu_seconds_total" => self.cpu_seconds = value,
            "process_resident_memory_bytes" => self.memory = value,
            "lockgate_cache_requests_total" => {
                self.cached += value;
                let hit = matches!(series.label("result"), Some("hit" | "stale" | "revalidated"));
                self.hits += if hit { value } else { 0.0 };
            }
            "lockgate_limit_refusals_total" if series.label("dry_run") != Some("true") => {
                self.limited += value;
            }
            "lockgate_access_log_dropped_lines_total" => self.lines_lost = value,
            "lockgate_panics_total" => self.panics = value,
            "lockgate_store_breakers_open" => self.stores_away += value,
            _ => {}
        }
    }
}

/// One line.
struct Series<'a> {
    name: &'a str,
    labels: Vec<(&'a str, Cow<'a, str>)>,
    value: f64,
}

impl<'a> Series<'a> {
    fn read(line: &'a str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            loop {
                let (label, after) = rest.split_once("=\"")?;
                let (text, after) = quoted(after)?;
                labels.push((label.trim_start_matches(','), text));
                rest = after;
                if let Some(after) = rest.strip_prefix('}') {
                    rest = after;
                    break;
                }
            }
        }
        // What may follow a value, a time or an exemplar, is not for a screen.
        let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
        Some(Self { name, labels, value })
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, text)| &**text)
    }

    /// Of a histogram's bucket.
    fn bound(&self) -> f64 {
        self.label("le").and_then(|bound| bound.parse().ok()).unwrap_or(f64::INFINITY)
    }
}

/// A label's text up to its closing quote, and what follows that.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let plain = text.find(['"', '\\'])?;
    let (head, rest) = text.split_at(plain);
    if let Some(rest) = rest.strip_prefix('"') {
        return Some((head.into(), rest));
    }
    let mut owned = head.to_owned();
    let mut letters = rest.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((owned.into(), rest.get(at + 1..)?)),
            '\\' => owned.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => owned.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP lockgate_requests_total Requests
# TYPE lockgate_requests_total counter
lockgate_requests_total{route=\"/a\\\"{b}, c=\\\\\",status=\"200\"} 7
lockgate_requests_total{route=\"/a\\\"{b}, c=\\\\\",status=\"503\"} 3
lockgate_requests_total{route=\"\",status=\"404\"} 2
lockgate_request_seconds_bucket{route=\"\",le=\"0.1\"} 1 # {trace_id=\"x\"} 0.05
lockgate_request_seconds_bucket{route=\"\",le=\"+Inf\"} 2
lockgate_faults_total{route=\"\",reason=\"no_route\"} 2
lockgate_upstream_requests_total{upstream=\"users\"} 10
lockgate_upstream_retries_total{upstream=\"users\"} 1
lockgate_requests_in_flight{worker=\"0\"} 2
lockgate_requests_in_flight{worker=\"1\"} 3
lockgate_config_last_reload_successful 0
lockgate_build_info{version=\"1.2.3\"} 1
lockgate_limit_refusals_total{policy=\"p\",limit=\"l\",place=\"x\",dry_run=\"true\"} 5
lockgate_limit_refusals_total{policy=\"p\",limit=\"l\",place=\"x\",dry_run=\"false\"} 6
what is this
lockgate_connections not-a-number
";

    #[tokio::test]
    async fn a_scrape_is_read() {
        let scrape = Scrape::read(TEXT, Instant::now());
        let route = &scrape.routes["/a\"{b}, c=\\"];
        assert_eq!((route.requests, route.errors), (10.0, 3.0));
        let none = &scrape.routes[""];
        assert_eq!(none.reasons["no_route"], 2.0);
        assert_eq!(none.took, Buckets(vec![(0.1, 1.0), (f64::INFINITY, 2.0)]));
        let users = &scrape.upstreams["users"];
        assert_eq!((users.requests, users.retries), (10.0, 1.0));
        let whole = &scrape.whole;
        assert_eq!((whole.in_flight, whole.limited, whole.taken), (5.0, 6.0, false));
        assert_eq!((whole.version.as_str(), whole.connections), ("1.2.3", 0.0));
    }

    #[test]
    fn quantiles_are_read_off_the_buckets() {
        let inf = f64::INFINITY;
        let buckets = Buckets(vec![(0.1, 50.0), (0.2, 90.0), (inf, 100.0)]);
        assert_eq!(buckets.quantile(0.25), Some(0.05));
        assert!((buckets.quantile(0.5).unwrap() - 0.1).abs() < 1e-9);
        assert!((buckets.quantile(0.7).unwrap() - 0.15).abs() < 1e-9);
        // What lies beyond the last bound is told as that.
        assert_eq!(buckets.quantile(0.99), Some(0.2));
        assert_eq!(Buckets::default().quantile(0.5), None);
        assert_eq!(buckets.since(&buckets).quantile(0.5), None);
        let later = Buckets(vec![(0.1, 50.0), (0.2, 190.0), (inf, 200.0)]);
        assert_eq!(later.since(&buckets), Buckets(vec![(0.1, 0.0), (0.2, 100.0), (inf, 100.0)]));
    }

    #[test]
    fn a_counter_that_begins_anew_has_grown_by_what_it_says() {
        assert_eq!((grown(5.0, 9.0), grown(5.0, 2.0)), (4.0, 2.0));
    }
}
