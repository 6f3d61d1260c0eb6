//! `idempotency`: a request with a key runs once. Its record is written before the upstream is
//! asked and completed before the client has the answer; a repeat gets what was kept of that.
//! Refuses whatever it cannot tell: a key for another request, one that runs still, an outcome
//! that nobody knows. The way down is in `ask.rs`, the way up in `keep.rs`.

mod ask;
mod keep;
mod key;
mod reasons;
mod record;
mod run;
mod same;
mod settings;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use http::{Method, Response};
use lockgate_core::{
    Body, BodyUse, Build, Built, ConfigError, Counter, Exchange, Fault, Figure, Listed, Metric,
    MetricKind, Policy, PolicyPlugin, Reason, Records, Stage, Step, Verdict,
};
use schemars::{Schema, schema_for};
use serde_json::Value;

use crate::switch::{self, OrOn};
use reasons::{KEY_INVALID, KEY_MISSING};
use same::Same;
use settings::{Config, OnServerError, OnStoreError, OnUnknown};

/// What only fuzz targets need: whatever reads as a record is written as one that reads the same.
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Ok(kept) = record::Kept::decode(&bytes::Bytes::copy_from_slice(bytes)) {
        assert_eq!(record::Kept::decode(&kept.encode()), Ok(kept), "it reads as another");
    }
}

static REQUESTS: Metric = Metric {
    name: "lockgate_idempotency_requests_total",
    kind: MetricKind::Counter,
    labels: &["route", "result"],
    help: "Requests with an idempotency key: first, replayed, running, mismatched, unknown, \
           not_kept, full, or unprotected",
};

static RECORDS: Metric = Metric {
    name: "lockgate_idempotency_records",
    kind: MetricKind::Gauge,
    labels: &["store"],
    help: "Records of requests with an idempotency key that are in this process's memory",
};

static BYTES: Metric = Metric {
    name: "lockgate_idempotency_record_bytes",
    kind: MetricKind::Gauge,
    labels: &["store"],
    help: "Memory that these records take",
};

static MAY_LOSE: Metric = Metric {
    name: "lockgate_idempotency_store_may_lose",
    kind: MetricKind::Gauge,
    labels: &["store"],
    help: "1 while the store may evict records before their time (a Redis whose maxmemory-policy \
           is not noeviction)",
};

/// The entry in the list of plugins.
pub(crate) struct Idempotency;

impl PolicyPlugin for Idempotency {
    fn name(&self) -> &'static str {
        "idempotency"
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Repeat
    }

    fn body(&self) -> BodyUse {
        // It reads the body itself, of those requests alone that have a key, under its own cap.
        BodyUse::Stream
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        reasons::ALL
    }

    fn metrics(&self) -> &'static [&'static Metric] {
        const METRICS: &[&Metric] = &[&REQUESTS, &RECORDS, &BYTES, &MAY_LOSE];
        METRICS
    }

    fn schema(&self) -> Schema {
        schema_for!(OrOn<Config>)
    }

    fn build(&self, config: &Value, build: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        let config: Config = switch::settings(config)?;
        config.check()?;
        let records = build.records(&config.store).map_err(|error| error.at("store"))?;
        Ok(Box::new(Once {
            describes: config.describe(),
            header: config.key.0.clone(),
            required: config.required,
            methods: config.methods()?,
            same: Same::new(config.scope.as_ref(), config.fingerprint),
            keep: config.keep.0,
            max_body: usize::try_from(config.max_body.0).unwrap_or(usize::MAX),
            max_answer: usize::try_from(config.max_answer.0).unwrap_or(usize::MAX),
            wait: config.wait.0,
            lost_after: config.lost_after.0,
            on_unknown: config.on_unknown,
            on_server_error: config.on_server_error,
            on_store_error: config.on_store_error,
            upstream_retries: config.upstream_retries,
            counts: Counts::new(build),
            _figures: figures(build, &config.store, &records),
            records,
        }))
    }

    fn build_list(
        &self,
        list: &[Listed<'_>],
        build: &mut Build<'_>,
    ) -> Result<Vec<Built>, (usize, ConfigError)> {
        if list.len() > 1 {
            return Err((1, ConfigError::new("a route has one `idempotency`, not a list")));
        }
        let mut all = Vec::with_capacity(list.len());
        for (from, one) in list.iter().enumerate() {
            build.place = one.place.into();
            let policy = self.build(one.config, build).map_err(|error| (from, error))?;
            all.push(Built { from, stage: self.stage(one.config), policy });
        }
        Ok(all)
    }
}

/// A route's requests run once.
struct Once {
    describes: String,
    header: HeaderName,
    required: bool,
    methods: Vec<Method>,
    same: Same,
    keep: Duration,
    max_body: usize,
    max_answer: usize,
    wait: Duration,
    lost_after: Duration,
    on_unknown: OnUnknown,
    on_server_error: OnServerError,
    on_store_error: OnStoreError,
    upstream_retries: bool,
    counts: Counts,
    records: Arc<dyn Records>,
    _figures: [Arc<dyn Figure>; 3],
}

fn figures(build: &Build<'_>, store: &str, records: &Arc<dyn Records>) -> [Arc<dyn Figure>; 3] {
    let figure = |metric: &'static Metric, read: fn(&dyn Records) -> u64| {
        let records = Arc::clone(records);
        let figure: Arc<dyn Figure> = Arc::new(move || read(&*records));
        build.expose(metric, &[store], &figure);
        figure
    };
    [
        figure(&RECORDS, |records| records.stats().entries),
        figure(&BYTES, |records| records.stats().bytes),
        figure(&MAY_LOSE, |records| records.may_lose().into()),
    ]
}

/// What came of a request with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    First,
    Replayed,
    Running,
    Mismatched,
    Unknown,
    NotKept,
    Full,
    Unprotected,
}

/// The counts of one route.
struct Counts([Arc<Counter>; 8]);

impl Counts {
    fn new(build: &Build<'_>) -> Self {
        let words = [
            "first",
            "replayed",
            "running",
            "mismatched",
            "unknown",
            "not_kept",
            "full",
            "unprotected",
        ];
        Self(words.map(|word| build.counter(&REQUESTS, &[&build.route, word])))
    }

    fn add(&self, worker: usize, outcome: Outcome) {
        if let Some(counter) = self.0.get(outcome as usize) {
            counter.add(worker, 1);
        }
    }
}

impl Once {
    /// A request of which no record is kept: that the service is not to be asked twice holds for it
    /// too, whatever header it bears. What is idempotent by its method is so anyway, unless the
    /// policy's rule is for that method.
    fn passes_by(&self, exchange: &mut Exchange) {
        let method = &exchange.head.method;
        let by_itself = method.is_idempotent() && !self.methods.contains(method);
        if !self.upstream_retries && !by_itself {
            exchange.once = Some(Rc::new(lockgate_core::Once::new(false)));
        }
    }
}

impl Policy for Once {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        if !self.methods.contains(&exchange.head.method) {
            self.passes_by(exchange);
            return Step::Now(Ok(Verdict::Pass));
        }
        let key = match key::read(&exchange.head.headers, &self.header) {
            Ok(Some(key)) => self.same.key(exchange, &key),
            Ok(None) if self.required => {
                let fault = Fault::client(&KEY_MISSING).member("header", self.header.as_str());
                return Step::Now(Err(fault));
            }
            Ok(None) => {
                self.passes_by(exchange);
                return Step::Now(Ok(Verdict::Pass));
            }
            Err(why) => {
                let fault = Fault::client(&KEY_INVALID).member("header", self.header.as_str());
                return Step::Now(Err(fault.member("why", why)));
            }
        };
        Step::Later(Box::pin(self.ask(exchange, key)))
    }

    fn response<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        response: &'a mut Response<Body>,
    ) -> Step<'a, Result<(), Fault>> {
        match exchange.kept.take(self) {
            Some(run) => Step::Later(Box::pin(self.keep(exchange, response, run))),
            None => Step::Now(Ok(())),
        }
    }

    fn describe(&self) -> String {
        self.describes.clone()
    }
}
