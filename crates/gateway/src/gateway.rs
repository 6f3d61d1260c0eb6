//! The gateway as a whole: the configuration in force, and how the next one takes its place.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use lockgate_config::model::{self, Document, UpstreamTls};
use lockgate_config::{
    Base, Begin, Change, Changes, Given, InForce, Loaded, Outcome, Problem, Report, Severity,
    Source,
};
use lockgate_core::Plugin;
use lockgate_net::tls::{ClientTls, ServerTls};
use lockgate_proxy::route::Router;
use lockgate_proxy::{BuildError, Builder, Shared, Snapshot};
use lockgate_telemetry::{AccessLog, Metrics};
use lockgate_upstream::{Origins, Registry, Resolver, Spawn};
use serde_json::json;
use tokio::time::Instant;

use crate::exporters::Exporters;
use crate::outbound::Client;
use crate::priority::Starter;
use crate::provide::{Provider, Services};
use crate::stores;

/// The plugins of this build.
pub(crate) const PLUGINS: &[Plugin] = lockgate_plugins::ALL;

/// How long the first requests wait for the names of endpoints to be resolved.
const NAMES_AT_START: Duration = Duration::from_secs(2);
/// How long a reload does; names that have been asked for before cost nothing.
const NAMES_ON_RELOAD: Duration = Duration::from_millis(200);

/// How often a replaced snapshot is looked at: workers leave it within a tenth of a second, unless
/// they have a request that began with it.
const LET_GO: Duration = Duration::from_millis(250);

/// A configuration that has passed every check, with the router that checking it has built.
pub(crate) struct Checked {
    pub(crate) loaded: Loaded,
    pub(crate) router: Arc<Router>,
}

/// What is in force: as it was read, and as it serves.
#[derive(Clone)]
pub(crate) struct Before {
    read: Arc<InForce>,
    serves: Arc<Snapshot>,
}

impl Before {
    /// Where its routes stand, if it has any.
    pub(crate) fn routed(&self) -> Option<&Source> {
        (!self.serves.is_empty()).then_some(&self.read.source)
    }
}

/// Reads and checks a file, or what else a configuration begins with, with what is given beside it.
/// What is the same as `before` is taken over.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn load(
    from: Begin<'_>,
    given: Given<'_>,
    before: Option<&Before>,
) -> Result<Checked, Report> {
    let mut router = None;
    let (read, serves) = (before.map(|before| &*before.read), before.map(|before| &*before.serves));
    let mut route = |document: &Document, source: &Source| {
        let built = lockgate_proxy::router(document, serves).map(|built| router = Some(built));
        built.err().map(|errors| problems(source, errors)).unwrap_or_default()
    };
    let loaded = lockgate_config::load_with(from, given, read, PLUGINS, &mut route)?;
    check(loaded, router, serves)
}

/// Reads and checks a text.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn load_str(name: &str, text: &str) -> Result<Checked, Report> {
    check(lockgate_config::load_str(name, text, PLUGINS)?, None, None)
}

/// The last look: whatever would be refused when the snapshot is built. `router`: as built already.
fn check(
    loaded: Loaded,
    router: Option<Arc<Router>>,
    before: Option<&Snapshot>,
) -> Result<Checked, Report> {
    let router = match router {
        Some(router) => Ok(router),
        None => lockgate_proxy::router(&loaded.document, before),
    };
    let mut found = match &router {
        Ok(_) => problems(&loaded.source, lockgate_proxy::refusals(&loaded.document, before)),
        Err(errors) => problems(&loaded.source, errors.clone()),
    };
    found.extend(unusable_files(&loaded.document, &loaded.source));
    match router {
        Ok(router) if found.is_empty() => Ok(Checked { loaded, router }),
        _ => Err(Report::new(found).with_files(loaded.files)),
    }
}

/// Certificates, keys and authorities that are there but cannot be used.
fn unusable_files(document: &Document, source: &Source) -> Vec<Problem> {
    let mut found = Vec::new();
    for (name, listener) in &document.listeners {
        let loaded = listener.tls.as_ref().map(ServerTls::load);
        if let Some(Err(error)) = loaded {
            let path = ["listeners", name, "tls"];
            found.push(source.problem(&path, Severity::Error, error.to_string()));
        }
    }
    for (name, upstream) in &document.upstreams {
        let named = |tls: &&UpstreamTls| tls.ca.is_some() || tls.cert.is_some();
        let loaded = upstream.tls.as_ref().filter(named);
        if let Some(Err(error)) = loaded.map(|tls| ClientTls::load(tls, upstream.may_speak_http2()))
        {
            let path = ["upstreams", name, "tls"];
            found.push(source.problem(&path, Severity::Error, error.to_string()));
        }
    }
    for (path, ca) in authorities(document) {
        let tls = UpstreamTls { ca: Some(ca.clone()), ..UpstreamTls::default() };
        if let Err(error) = ClientTls::load(&tls, false) {
            found.push(source.problem(&path, Severity::Error, error.to_string()));
        }
    }
    for (name, store) in document.stores.iter().filter(|(_, store)| store.speaks_tls()) {
        if let Err(error) = stores::secured(store) {
            found.push(source.problem(&["stores", name], Severity::Error, error.to_string()));
        }
    }
    found
}

/// The authorities that are trusted beside those of upstreams and stores, and where they are named.
fn authorities(document: &Document) -> Vec<(Vec<&str>, &PathBuf)> {
    let telemetry = &document.telemetry;
    let mut all = vec![
        (
            vec!["telemetry", "traces", "ca"],
            telemetry.traces.as_ref().and_then(|to| to.ca.as_ref()),
        ),
        (vec!["telemetry", "otlp", "ca"], telemetry.otlp.as_ref().and_then(|to| to.ca.as_ref())),
    ];
    for (name, sink) in &document.alerts.sinks {
        all.push((vec!["alerts", name, "ca"], sink.ca.as_ref()));
        let mail = sink.email.as_ref().and_then(|mail| mail.ca.as_ref());
        all.push((vec!["alerts", name, "email", "ca"], mail));
    }
    all.into_iter().filter_map(|(path, ca)| Some((path, ca?))).collect()
}

fn report(source: &Source, errors: Vec<BuildError>) -> Report {
    Report::new(problems(source, errors))
}

/// Errors of the router's or the snapshot's building, with their places in the file.
fn problems(source: &Source, errors: Vec<BuildError>) -> Vec<Problem> {
    let problems = errors.into_iter().map(|error| {
        let path: Vec<&str> = error.path.iter().map(String::as_str).collect();
        let mut message = error.message;
        let other = error.other.unwrap_or_default();
        let other: Vec<&str> = other.iter().map(String::as_str).collect();
        if let Some(place) = source.locate(&other).filter(|_| !other.is_empty()) {
            message.push_str(&format!(" (the other is at {place})"));
        }
        source.problem(&path, Severity::Error, message)
    });
    problems.collect()
}

/// What is shared by everything that keeps the process running.
pub(crate) struct Gateway {
    pub(crate) metrics: Arc<Metrics>,
    registry: Arc<Registry>,
    pub(crate) services: Arc<Services>,
    pub(crate) shared: Arc<Shared>,
    /// Set when the process ends as soon as what is under way has.
    pub(crate) draining: AtomicBool,
    read: ArcSwap<InForce>,
    generations: AtomicU64,
    /// The access log's settings, to tell whether a new configuration needs a new one.
    log: Mutex<Option<model::AccessLog>>,
    starter: Starter,
    exporters: Exporters,
}

impl Gateway {
    /// Puts a first configuration in force. Must be called on the control runtime.
    ///
    /// # Errors
    /// An access log that cannot be opened, or a policy that cannot be built.
    pub(crate) fn start(
        checked: Checked,
        workers: usize,
        starter: Starter,
    ) -> anyhow::Result<Self> {
        let metrics = Metrics::new(workers);
        let spawn = Spawn::on(tokio::runtime::Handle::current());
        let resolver = Resolver::system();
        let registry = Arc::new(Registry::new(spawn.clone(), resolver.clone()));
        let outbound = Client::start(Arc::clone(&registry), Origins::new(spawn, resolver))?;
        let Checked { loaded, router } = checked;
        let mut read = InForce::from(loaded);
        let document = Arc::clone(&read.document);
        let settings = document.telemetry.access_log.clone();
        let log = open_log(settings.as_ref(), &starter)?;
        let upstreams = registry.prepare(&document.upstreams);
        let exporters = Exporters::new(outbound.clone(), &metrics);
        let exported = exporters.prepare(&document.telemetry)?;
        let services = Services::new(outbound).context("starting the threads beside workers")?;
        metrics.register(services.clone());
        let provider = Provider::new(&services, &document, false);
        let kept = provider.keep(read.asked.blobs());
        let builder = Builder {
            plugins: PLUGINS,
            upstreams: upstreams.upstreams(),
            metrics: &metrics,
            log,
            traces: exported.traces(),
            provide: &provider,
            stores: Arc::clone(&kept),
            before: None,
        };
        let first = builder
            .build(1, Arc::clone(&document), router)
            .map_err(|errors| anyhow::anyhow!("{}", report(&read.source, errors)))?;
        read.asked.built_with(&provider.read_files());
        registry.commit(upstreams);
        services.accept(provider.into_stores(), kept);
        exporters.accept(exported);
        metrics.reloaded(1);
        Ok(Self {
            shared: Arc::new(Shared::new(first, Arc::clone(&metrics))),
            metrics,
            services,
            registry,
            draining: AtomicBool::new(false),
            read: ArcSwap::from_pointee(read),
            generations: AtomicU64::new(1),
            log: Mutex::new(settings),
            starter,
            exporters,
        })
    }

    /// Waits a moment until the names of endpoints have been asked for. To be called before the
    /// first request, which would find none otherwise.
    pub(crate) async fn know_names(&self) {
        if !self.registry.ready(NAMES_AT_START).await {
            tracing::warn!("some names of endpoints are not resolved yet: starting without them");
        }
    }

    /// The snapshot in force.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot()
    }

    /// The configuration in force as it was read.
    pub(crate) fn read(&self) -> Arc<InForce> {
        self.read.load_full()
    }

    /// What the next configuration is read against.
    pub(crate) fn before(&self) -> Before {
        Before { read: self.read(), serves: self.snapshot() }
    }

    /// The configuration in force, in its long form and with secrets hidden. It takes as long as
    /// reading the configuration does.
    ///
    /// # Errors
    /// What its references stand for has changed, and cannot be read any more.
    pub(crate) fn shown(&self) -> Result<serde_json::Value, String> {
        let document = lockgate_config::shown_again(&self.read().source, PLUGINS);
        let document = document.map_err(|report| report.render(false))?;
        Ok(lockgate_config::long_value(&document))
    }

    /// Puts a checked configuration in force: at once, for every request that comes after.
    /// Returns what has changed.
    ///
    /// # Errors
    /// What kept it from being built; the old one then stays.
    pub(crate) async fn apply(&self, checked: Checked) -> anyhow::Result<Applied> {
        let old = self.snapshot();
        let Checked { loaded, router } = checked;
        let before = loaded.same.then(|| Arc::clone(&old));
        let mut read = InForce::from(loaded);
        let document = Arc::clone(&read.document);
        let log = self.next_log(&old, &document)?;
        let exported = self.exporters.prepare(&document.telemetry)?;
        let mut upstreams = self.registry.prepare(&document.upstreams);
        let provider = Provider::new(&self.services, &document, before.is_some());
        let before = before.filter(|_| provider.goes_on());
        let kept = provider.keep(read.asked.blobs());
        let builder = Builder {
            plugins: PLUGINS,
            upstreams: upstreams.upstreams(),
            metrics: &self.metrics,
            log,
            traces: exported.traces(),
            provide: &provider,
            stores: Arc::clone(&kept),
            before,
        };
        let generation = self.generations.load(Ordering::Relaxed) + 1;
        let next = builder
            .build(generation, Arc::clone(&document), router)
            .map_err(|errors| anyhow::anyhow!("{}", report(&read.source, errors)))?;
        read.asked.built_with(&provider.read_files());
        let stores = provider.into_stores();
        // Nothing can fail from here on; until here nothing that runs has noticed.
        let begun = Instant::now();
        self.registry.begin(&mut upstreams, NAMES_ON_RELOAD).await;
        let waited = begun.elapsed();
        self.generations.store(generation, Ordering::Relaxed);
        self.services.accept(stores, kept);
        self.exporters.accept(exported);
        self.shared.replace(next);
        tokio::spawn(let_go(Arc::clone(&old)));
        self.registry.commit(upstreams);
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) =
            document.telemetry.access_log.clone();
        self.read.store(Arc::new(read));
        self.metrics.reloaded(generation);
        let old = Arc::clone(&old.document);
        Ok(Applied { generation, waited, old, new: document })
    }

    /// What would change if this were put in force.
    pub(crate) fn would_change(&self, checked: &Checked) -> Vec<Change> {
        lockgate_config::diff(&self.snapshot().document, &checked.loaded.document)
    }

    /// The changes over the files that are in force: each thing, and the place where it stands.
    pub(crate) fn changed(&self) -> serde_json::Value {
        let read = self.read();
        let source = &read.source;
        let Some((file, text)) = source.changes() else { return json!({ "changes": [] }) };
        let changes = Changes::read(text).unwrap_or_default();
        let laid = changes.entries().iter().zip(source.laid());
        let in_force = laid.filter(|(_, laid)| laid.outcome == Outcome::InForce);
        let all = in_force.map(|(entry, laid)| {
            let path = [entry.section.as_str(), entry.name.as_str()];
            let path = if entry.name.is_empty() { &path[..1] } else { &path[..] };
            let place = entry.to.as_ref().and_then(|_| source.locate(path));
            json!({
                "section": entry.section,
                "name": entry.name,
                "removed": entry.to.is_none(),
                "inFiles": laid.base != Base::Nothing,
                "place": place.map(|place| place.to_string()),
            })
        });
        json!({ "file": file, "changes": all.collect::<Vec<_>>() })
    }

    fn next_log(
        &self,
        old: &Snapshot,
        document: &Document,
    ) -> anyhow::Result<Option<Arc<AccessLog>>> {
        let settings = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if *settings == document.telemetry.access_log {
            return Ok(old.log.clone());
        }
        open_log(document.telemetry.access_log.as_ref(), &self.starter)
    }
}

/// Keeps a replaced snapshot until nobody else does. To take a large one down takes milliseconds,
/// which no worker shall lose.
async fn let_go(old: Arc<Snapshot>) {
    while Arc::strong_count(&old) > 1 {
        tokio::time::sleep(LET_GO).await;
    }
}

/// A configuration that has been put in force, and the one before.
pub(crate) struct Applied {
    pub(crate) generation: u64,
    /// How long names were waited for.
    pub(crate) waited: Duration,
    old: Arc<Document>,
    new: Arc<Document>,
}

impl Applied {
    /// What it has changed.
    pub(crate) fn changes(&self) -> Vec<Change> {
        lockgate_config::diff(&self.old, &self.new)
    }
}

/// Its thread takes what workers hand over, and is as little nice as they are.
fn open_log(
    settings: Option<&model::AccessLog>,
    starter: &Starter,
) -> anyhow::Result<Option<Arc<AccessLog>>> {
    let Some(settings) = settings.cloned() else { return Ok(None) };
    let log = starter.run(move || AccessLog::start(&settings));
    log.map(Some).context("opening the access log")
}
