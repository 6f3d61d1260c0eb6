//! The metric registry: handles are resolved when a configuration is loaded, workers add to cells
//! of their own, and a scrape reads them all without a word to the workers.

mod cell;
mod encoder;
mod exemplar;
mod export;
pub mod names;
mod points;
mod process;
mod registry;
mod series;
mod spread;
#[cfg(test)]
mod tests;
mod totals;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::otlp::Counts;
use exemplar::Examples;
use points::Points;
use registry::Registry;
use series::{
    PolicyCell, PolicyShards, PolicySum, RouteCell, RouteShards, RouteSum, SharedCount,
    UpstreamCell, UpstreamShards, UpstreamSum,
};

pub(crate) use cell::nanos;
pub use cell::{BUCKETS, Spread};
pub use encoder::{Encoder, Form};
pub use exemplar::Exemplar;
pub use export::export_metrics;
pub use names::{METRICS, Metric, MetricKind, metrics_reference};
pub use series::{Decided, InFlight, PolicySeries, RouteSeries, Sample, Took, WorkerSeries};
pub use totals::{Latency, PolicyTotals, RouteTotals, Totals, UpstreamTotals, WorkerTotals};

/// Most routes, upstreams and policies-in-a-route with series of their own, each.
const MAX_SERIES: usize = 100_000;

/// The label of what is beyond the cap. No route's pattern looks like it.
const OVERFLOW: &str = "(other)";

/// Figures that others own: asked for at each scrape, on the control runtime.
pub trait Collect: Send + Sync {
    /// Writes the current values. Must not block; no sample twice with the same labels.
    fn collect(&self, out: &mut Encoder);
}

/// A policy's name, and its route's pattern.
type InRoute = (&'static str, Arc<str>);

/// All metrics of the process.
pub struct Metrics {
    routes: Registry<Arc<str>, RouteCell>,
    upstreams: Registry<Arc<str>, UpstreamCell>,
    policies: Registry<InRoute, PolicyCell>,
    workers: Box<[Arc<WorkerSeries>]>,
    no_route: Arc<RouteSeries>,
    /// What routes had counted that are gone.
    retired: Mutex<RouteSum>,
    collectors: Mutex<Vec<Arc<dyn Collect>>>,
    config: ConfigCounts,
    panics: SharedCount,
    /// What became of the points for a collector.
    exported: Counts,
    started: SystemTime,
}

#[derive(Default)]
struct ConfigCounts {
    generation: SharedCount,
    last_ok: SharedCount,
    last_unix: SharedCount,
    taken: SharedCount,
    refused: SharedCount,
}

impl Metrics {
    /// Metrics for so many worker threads, which are known by their index from 0.
    pub fn new(workers: usize) -> Arc<Self> {
        Self::with_cap(workers, MAX_SERIES)
    }

    fn with_cap(workers: usize, cap: usize) -> Arc<Self> {
        let routes = Registry::new(workers, cap);
        let no_route = RouteSeries { route: routes.get("".into(), |_| {}), upstream: None };
        Arc::new(Self {
            routes,
            upstreams: Registry::new(workers, cap),
            policies: Registry::new(workers, cap),
            workers: (0..workers).map(|_| Arc::default()).collect(),
            no_route: Arc::new(no_route),
            retired: Mutex::default(),
            collectors: Mutex::default(),
            config: ConfigCounts::default(),
            panics: SharedCount::default(),
            exported: Counts::default(),
            started: SystemTime::now(),
        })
    }

    /// The series of a route by its pattern, for requests that go to `upstream` (`None`: a
    /// handler). Called at load, once for each target of a split. The same names give the same
    /// counters as long as any handle to them is held, across reloads too.
    pub fn route(&self, pattern: impl Into<Arc<str>>, upstream: Option<&str>) -> Arc<RouteSeries> {
        let route = self.routes.get(pattern.into(), |gone| self.retire(gone));
        let upstream = upstream.map(|name| self.upstreams.get(name.into(), |_| {}));
        Arc::new(RouteSeries { route, upstream })
    }

    /// The series of requests that no route matched, or that could not even be read: `route=""`.
    pub fn no_route(&self) -> Arc<RouteSeries> {
        Arc::clone(&self.no_route)
    }

    /// The series of a policy in a route. Called at load.
    pub fn policy(&self, policy: &'static str, route: impl Into<Arc<str>>) -> PolicySeries {
        PolicySeries::new(self.policies.get((policy, route.into()), |_| {}))
    }

    /// The load of one worker. For an index that does not exist, one that nobody reads.
    pub fn worker(&self, worker: usize) -> Arc<WorkerSeries> {
        self.workers.get(worker).cloned().unwrap_or_default()
    }

    /// Adds a source that is asked at every scrape, for the life of the process.
    pub fn register(&self, collector: Arc<dyn Collect>) {
        self.collectors.lock().unwrap_or_else(PoisonError::into_inner).push(collector);
    }

    /// A configuration has been taken into service.
    pub fn reloaded(&self, generation: u64) {
        self.config.generation.set(generation);
        self.config.taken.add(1);
        self.config_read(1);
    }

    /// A configuration was refused; the old one goes on serving.
    pub fn reload_refused(&self) {
        self.config.refused.add(1);
        self.config_read(0);
    }

    /// When the last configuration that was read was refused, in seconds since 1970; `None` when it
    /// was taken.
    pub fn config_refused(&self) -> Option<u64> {
        (self.config.last_ok.get() != 1).then(|| self.config.last_unix.get())
    }

    /// Requests that ended in a bug.
    pub fn panics(&self) -> u64 {
        self.panics.get()
    }

    /// A request's handler panicked.
    pub fn panicked(&self) {
        self.panics.add(1);
    }

    /// Everything, as a page. Reads atomics only: a worker never notices. Families without a
    /// sample are left out.
    pub fn render(&self, form: Form) -> String {
        let mut out = Encoder::page(form);
        self.render_all(&mut out);
        out.finish()
    }

    /// The same as OTLP has it: fields of a `ScopeMetrics`, each with the number of its points.
    fn points(&self) -> Vec<(Vec<u8>, u64)> {
        let unix_nanos = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, nanos);
        let (since, now) = (unix_nanos(self.started), unix_nanos(SystemTime::now()));
        let mut out = Encoder::otlp(Points::new(since, now));
        self.render_all(&mut out);
        out.finish_otlp()
    }

    fn render_all(&self, out: &mut Encoder) {
        self.render_routes(out);
        self.render_upstreams(out);
        self.render_policies(out);
        self.render_workers(out);
        let collectors = self.collectors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for collector in collectors {
            collector.collect(out);
        }
        self.render_gateway(out);
        process::collect(out, self.started);
    }

    /// The same figures as plain numbers, for JSON.
    pub fn snapshot(&self) -> Totals {
        let mut totals = Totals::default();
        let mut sum = RouteSum::default();
        for (route, shards) in self.live_routes() {
            let part = RouteSum::of(&shards);
            if part.requests() > 0 {
                sum.add(&part);
                totals.routes.push(RouteTotals::of(route.to_string(), &part));
            }
        }
        sum.add(&self.retired.lock().unwrap_or_else(PoisonError::into_inner));
        totals.add_sums(&sum);
        for (name, shards) in self.live_upstreams() {
            let part = UpstreamSum::of(&shards);
            if part.requests > 0 {
                totals.upstreams.push(UpstreamTotals::of(name.to_string(), &part));
            }
        }
        for (worker, series) in self.workers.iter().enumerate() {
            totals.in_flight += series.in_flight();
            totals.connections += series.connections();
            totals.workers.push(WorkerTotals {
                worker,
                requests: series.requests(),
                in_flight: series.in_flight(),
                connections: series.connections(),
            });
        }
        totals.panics = self.panics.get();
        totals.config_taken = self.config.last_ok.get() == 1;
        totals
    }

    /// What policies have decided, route by route, of those that are wanted by name and route.
    /// Only those that have run.
    pub fn policies(&self, wanted: impl Fn(&str, &str) -> bool) -> Vec<PolicyTotals> {
        let live = self.live_policies().into_iter();
        live.filter(|((policy, route), _)| wanted(policy, route))
            .map(|((policy, route), shards)| (policy, route, PolicySum::of(&shards)))
            .filter(|(.., sum)| sum.runs > 0)
            .map(|(policy, route, sum)| PolicyTotals {
                policy,
                route: route.to_string(),
                passed: sum.passed,
                answered: sum.answered,
                refused: sum.refused.values().sum(),
            })
            .collect()
    }

    fn config_read(&self, ok: u64) {
        self.config.last_ok.set(ok);
        self.config.last_unix.set(process::unix_seconds(SystemTime::now()) as u64);
    }

    fn retire(&self, gone: &RouteShards) {
        let sum = RouteSum::of(gone);
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).add(&sum);
    }

    fn live_routes(&self) -> Vec<(Arc<str>, Arc<RouteShards>)> {
        let mut all = self.routes.live(|gone| self.retire(gone));
        all.extend(self.routes.overflow().map(|shared| (OVERFLOW.into(), shared)));
        all
    }

    fn live_upstreams(&self) -> Vec<(Arc<str>, Arc<UpstreamShards>)> {
        let mut all = self.upstreams.live(|_| {});
        all.extend(self.upstreams.overflow().map(|shared| (OVERFLOW.into(), shared)));
        all
    }

    fn live_policies(&self) -> Vec<(InRoute, Arc<PolicyShards>)> {
        let mut all = self.policies.live(|_| {});
        let name = || (OVERFLOW, OVERFLOW.into());
        all.extend(self.policies.overflow().map(|shared| (name(), shared)));
        all
    }

    fn render_routes(&self, out: &mut Encoder) {
        for (route, shards) in self.live_routes() {
            let sum = RouteSum::of(&shards);
            if sum.requests() == 0 {
                continue;
            }
            for (status, n) in &sum.statuses {
                out.count(&names::REQUESTS, &[&route, &totals::status_label(*status)], *n);
            }
            out.histogram(&names::REQUEST_SECONDS, &[&route], &sum.seconds, &sum.exemplars);
            out.count(&names::RECEIVED_BYTES, &[&route], sum.received);
            out.count(&names::SENT_BYTES, &[&route], sum.sent);
            for (reason, n) in &sum.faults {
                out.count(&names::FAULTS, &[&route, reason], *n);
            }
        }
    }

    fn render_upstreams(&self, out: &mut Encoder) {
        for (name, shards) in self.live_upstreams() {
            let sum = UpstreamSum::of(&shards);
            if sum.requests == 0 {
                continue;
            }
            out.count(&names::UPSTREAM_REQUESTS, &[&name], sum.requests);
            out.count(&names::UPSTREAM_ATTEMPTS, &[&name], sum.attempts);
            out.count(&names::UPSTREAM_RETRIES, &[&name], sum.retries());
            let none = Examples::default();
            out.histogram(&names::UPSTREAM_SECONDS, &[&name], &sum.seconds, &none);
        }
    }

    fn render_policies(&self, out: &mut Encoder) {
        for ((policy, route), shards) in self.live_policies() {
            let sum = PolicySum::of(&shards);
            let route = &*route;
            if sum.runs == 0 {
                continue;
            }
            let metric = &names::POLICY_VERDICTS;
            if sum.passed > 0 {
                out.count(metric, &[policy, route, "pass", ""], sum.passed);
            }
            if sum.answered > 0 {
                out.count(metric, &[policy, route, "answer", ""], sum.answered);
            }
            for (reason, n) in &sum.refused {
                out.count(metric, &[policy, route, "refuse", reason], *n);
            }
            out.sum_and_count(&names::POLICY_SECONDS, &[policy, route], sum.nanos, sum.runs);
        }
    }

    fn render_workers(&self, out: &mut Encoder) {
        for (index, series) in self.workers.iter().enumerate() {
            let worker = index.to_string();
            out.count(&names::IN_FLIGHT, &[&worker], series.in_flight());
            out.count(&names::WORKER_REQUESTS, &[&worker], series.requests());
            out.count(&names::WORKER_OPEN, &[&worker], series.connections());
        }
    }

    fn render_gateway(&self, out: &mut Encoder) {
        let config = &self.config;
        out.count(&names::CONFIG_GENERATION, &[], config.generation.get());
        out.count(&names::CONFIG_SUCCESS, &[], config.last_ok.get());
        out.count(&names::CONFIG_TIME, &[], config.last_unix.get());
        out.count(&names::CONFIG_RELOADS, &["ok"], config.taken.get());
        out.count(&names::CONFIG_RELOADS, &["refused"], config.refused.get());
        out.count(&names::PANICS, &[], self.panics.get());
        let failures = self.exported.failures.load(Relaxed);
        out.count(&names::OTLP_FAILURES, &["metrics"], failures);
        let refused = self.routes.refused() + self.upstreams.refused() + self.policies.refused();
        out.count(&names::SERIES_REFUSED, &[], refused);
        out.count(&names::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
    }
}
