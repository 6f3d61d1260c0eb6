//! `cache`: keeps answers as a shared cache of RFC 9111 does, for the times that the upstream
//! gives them or the route does where the upstream says nothing, and gives them again. The way
//! down is in `down.rs`, the way up in `up.rs`. Refuses nothing but `only-if-cached` in vain.

mod asked;
mod conditions;
mod directives;
mod down;
mod flight;
mod freshness;
mod keep;
mod key;
mod patience;
mod record;
mod settings;
mod status;
mod stored;
mod structured;
#[cfg(test)]
mod tests;
mod up;
mod written;

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use lockgate_core::{
    Blobs, Body, Build, Clock, ConfigError, Exchange, Fault, Figure, Kind, Metric, MetricKind,
    Policy, PolicyPlugin, Reason, Stage, Step, Time, Verdict, decode,
};
use schemars::{Schema, schema_for};
use serde_json::Value;

use flight::Flights;
use key::Keying;
use record::Room;
use settings::{Config, Long, OnStoreError, Terms};
use status::Counts;

/// What only fuzz targets need: the parsers of what upstreams and clients send.
pub(crate) fn fuzz(headers: &http::HeaderMap) {
    let said = directives::Said::read(headers);
    let wanted = directives::Wanted::read(headers);
    let now = std::time::SystemTime::UNIX_EPOCH;
    let asked = freshness::AskedBy::default();
    let status = http::StatusCode::OK;
    if let Ok(life) = freshness::Life::of(&Terms::default(), status, headers, asked, now) {
        assert!(!said.private, "private answers are not kept");
        let age = Duration::from_secs(60);
        let fresh = life.at(age, &wanted) == freshness::State::Fresh;
        assert!(!fresh || life.lifetime > age, "fresh beyond its life");
    }
    key::varying(headers);
    let mut response = Response::new(Body::from("0123456789"));
    conditions::is_unchanged(headers, headers);
    conditions::cut(headers, &mut response);
    assert!(response.body().len().is_some_and(|length| length <= 10));
}

/// Reads what is kept, as it comes from a store that others write to.
pub(crate) fn fuzz_kept(bytes: &[u8]) {
    let Some(stored) = stored::Stored::read(bytes, Duration::from_secs(1)) else { return };
    let mut again = Vec::new();
    stored.write_to(&mut again);
    assert!(stored::Stored::read(&again, Duration::ZERO).is_some(), "what is read can be written");
}

static NOT_CACHED: Reason = Reason {
    code: "not_cached",
    kind: Kind::GatewayTimeout,
    help: "The client asked for an answer out of the cache alone (`only-if-cached`), and there is \
           none that is fresh enough.",
};

static BYTES: Metric = Metric {
    name: "lockgate_cache_bytes",
    kind: MetricKind::Gauge,
    labels: &["store"],
    help: "Memory that cached answers take",
};

static ENTRIES: Metric = Metric {
    name: "lockgate_cache_entries",
    kind: MetricKind::Gauge,
    labels: &["store"],
    help: "Cached answers in memory, purged ones too until they are looked for",
};

static EVICTIONS: Metric = Metric {
    name: "lockgate_cache_evictions_total",
    kind: MetricKind::Counter,
    labels: &["store"],
    help: "Cached answers that had to go to make room for others",
};

/// The entry in the list of plugins.
pub(crate) struct Cache;

impl PolicyPlugin for Cache {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Cache
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&NOT_CACHED];
        REASONS
    }

    fn metrics(&self) -> &'static [&'static Metric] {
        const METRICS: &[&Metric] = &[&status::REQUESTS, &BYTES, &ENTRIES, &EVICTIONS];
        METRICS
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(&self, config: &Value, build: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        let Config(long) = decode(config)?;
        let terms = Terms::read(&long)?;
        let keying = Keying::new(
            &build.route,
            &build.when,
            long.vary_by.as_ref(),
            long.shared,
            &long.query,
        )?;
        let blobs = build.blobs(&long.store).map_err(|error| error.at("store"))?;
        blobs.reads(written::read);
        let most = usize::try_from(blobs.stats().max_bytes).unwrap_or(usize::MAX);
        Ok(Box::new(Caching {
            keying,
            terms,
            describes: describe(&long),
            max_body: usize::try_from(long.max_body.0).unwrap_or(usize::MAX),
            max_shared_body: usize::try_from(long.max_shared_body.0).unwrap_or(usize::MAX),
            distrusts: long.on_store_error == OnStoreError::Miss,
            wait: long.wait.0,
            client_control: long.client_control,
            show_tags: long.show_tags,
            flights: build.shared(&long.store, || Arc::new(Flights::default())),
            room: build.shared(&long.store, || Arc::new(Room::new(most))),
            clock: build.provide.clock(),
            counts: Counts::new(build),
            _figures: figures(build, &long.store, &blobs),
            blobs,
        }))
    }
}

/// A route's cache.
struct Caching {
    keying: Keying,
    terms: Terms,
    describes: String,
    max_body: usize,
    /// Larger bodies are kept by each gateway for itself.
    max_shared_body: usize,
    /// What may have been purged unheard is not given.
    distrusts: bool,
    wait: Duration,
    client_control: bool,
    show_tags: bool,
    blobs: Arc<dyn Blobs>,
    flights: Arc<Flights>,
    room: Arc<Room>,
    clock: Clock,
    counts: Counts,
    _figures: [Arc<dyn Figure>; 3],
}

fn figures(build: &Build<'_>, store: &str, blobs: &Arc<dyn Blobs>) -> [Arc<dyn Figure>; 3] {
    let figure = |metric: &'static Metric, read: fn(&dyn Blobs) -> u64| {
        let blobs = Arc::clone(blobs);
        let figure: Arc<dyn Figure> = Arc::new(move || read(&*blobs));
        build.expose(metric, &[store], &figure);
        figure
    };
    [
        figure(&BYTES, |blobs| blobs.stats().bytes),
        figure(&ENTRIES, |blobs| blobs.stats().entries),
        figure(&EVICTIONS, |blobs| blobs.stats().evictions),
    ]
}

fn describe(long: &Long) -> String {
    let mut text = match long.ttl {
        Some(ttl) if long.forced => format!("{ttl} whatever the upstream says"),
        Some(ttl) => format!("{ttl} unless the upstream says otherwise"),
        None => "as long as the upstream says".to_owned(),
    };
    let mut stale = |time: Option<Time>, when: &str| {
        if let Some(time) = time {
            text.push_str(&format!(", stale for {time} {when}"));
        }
    };
    stale(long.stale_while_revalidate, "while revalidating");
    stale(long.stale_if_error, "on errors");
    for (status, ttl) in &long.statuses {
        text.push_str(&format!(", {status} for {ttl}"));
    }
    if let Some(key) = &long.vary_by {
        text.push_str(&format!(", by {key}"));
    }
    text.push_str(if long.shared { ", shared by consumers" } else { "" });
    let local = long.on_store_error == OnStoreError::Local || long.store == "memory";
    format!("{text}; in {}{}", long.store, if local { "" } else { ", a miss when it fails" })
}

impl Policy for Caching {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        self.down(exchange)
    }

    fn response<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        response: &'a mut Response<Body>,
    ) -> Step<'a, Result<(), Fault>> {
        self.up(exchange, response)
    }

    fn describe(&self) -> String {
        self.describes.clone()
    }
}
