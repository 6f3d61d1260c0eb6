//! What the process provides to plugins: names of the configuration, files, background work, and
//! what is shared between policies and outlives a reload.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use lockgate_config::Content;
use lockgate_config::model::Document;
use lockgate_core::{
    AskedBlobs, Blobs, Blocking, Board, Consumers, Counters, Figure, Handler, Kept, Leases, Metric,
    Outbound, Provide, Records, SendFuture, Task,
};
use lockgate_monitor::{Published, StoreSeen};
use lockgate_state::redis::RedisCounters;
use lockgate_state::{Depot, Memory, Stores};
use lockgate_telemetry::{Collect, Encoder, names};
use serde_json::Value;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::figures::Figures;
use crate::mounted::{self, Mounted, UnderWay};
use crate::{shared_cache, stores};

/// What lives as long as the process.
pub(crate) struct Services {
    runtime: Handle,
    threads: Arc<Threads>,
    outbound: Arc<dyn Outbound>,
    kept: Mutex<HashMap<String, Weak<dyn std::any::Any + Send + Sync>>>,
    figures: Figures,
    depot: Arc<Depot>,
    /// The stores of the configuration in force.
    stores: Mutex<Option<Stores>>,
    /// The admin pages, for a public listener that shows them too.
    pub(crate) pages: mounted::Found,
    under_way: Arc<UnderWay>,
    /// How services are, as the monitor publishes it.
    pub(crate) published: Arc<Published>,
    /// Those of them in which it keeps blobs.
    blobs: Mutex<Arc<[Arc<dyn Blobs>]>>,
    /// Those that policies in force see, with such as are no longer asked for.
    asked: Mutex<AskedBlobs>,
}

impl Services {
    /// Must be called on the control runtime.
    ///
    /// # Errors
    /// When there can be no threads beside the workers.
    pub(crate) fn new(outbound: Arc<dyn Outbound>) -> io::Result<Arc<Self>> {
        let threads = Arc::new(Threads::new()?);
        let (kept, figures, stores, published, blobs, asked) = Default::default();
        let (runtime, depot, pages) = (Handle::current(), Depot::new(), Default::default());
        Ok(Arc::new(Self {
            runtime,
            threads,
            outbound,
            kept,
            figures,
            depot,
            stores,
            pages,
            under_way: Arc::default(),
            published,
            blobs,
            asked,
        }))
    }

    /// How requests of the gateway's own are sent.
    pub(crate) fn outbound(&self) -> Arc<dyn Outbound> {
        Arc::clone(&self.outbound)
    }

    /// The counters in memory, if anything counts there.
    pub(crate) fn counters(&self) -> Option<&Arc<Memory>> {
        self.depot.memory()
    }

    /// The counters of every Redis of the configuration in force that counts anything.
    pub(crate) fn redis_counters(&self) -> Vec<Arc<RedisCounters>> {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let stores = stores.iter().flat_map(Stores::each_redis_counters);
        stores.map(Arc::clone).collect()
    }

    /// The stores that are elsewhere, and whether they answer.
    pub(crate) fn failing_stores(&self) -> Vec<StoreSeen> {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let each = stores.iter().flat_map(|stores| stores.each_redis());
        each.map(|store| StoreSeen {
            name: store.name().to_owned(),
            failing: store.figures().breakers_open > 0,
        })
        .collect()
    }

    /// A metric's labels and values, of those that plugins show.
    pub(crate) fn figures(&self, metric: &str) -> Vec<(Vec<String>, u64)> {
        self.figures.of(metric)
    }

    /// The stores in which the configuration in force keeps blobs.
    pub(crate) fn blobs(&self) -> Arc<[Arc<dyn Blobs>]> {
        Arc::clone(&self.blobs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The end of the process: this gateway is no longer counted by those it shares stores with.
    pub(crate) async fn leave(&self) {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(stores) = stores {
            stores.leave().await;
        }
    }

    /// Takes on what a configuration in force says.
    pub(crate) fn accept(
        &self,
        (stores, asked): (Stores, AskedBlobs),
        blobs: Arc<[Arc<dyn Blobs>]>,
    ) {
        stores.resize();
        *self.blobs.lock().unwrap_or_else(PoisonError::into_inner) = blobs;
        *self.stores.lock().unwrap_or_else(PoisonError::into_inner) = Some(stores);
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }
}

/// Asked for at a scrape; what is gone by then is forgotten.
impl Collect for Services {
    fn collect(&self, out: &mut Encoder) {
        self.figures.collect(out);
        if let Some(memory) = self.counters() {
            let figures = memory.figures();
            out.count(&names::COUNTER_KEYS, &[], figures.keys);
            out.count(&names::COUNTER_BYTES, &[], figures.bytes);
            out.count(&names::COUNTER_EVICTIONS, &[], figures.evicted);
        }
        for counters in self.redis_counters() {
            slices(&counters, out);
        }
        let known = self.stores.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            stores::collect(&known, out);
            known.each_redis_blobs().for_each(|blobs| shared_cache::collect(blobs, out));
        }
    }
}

/// What slices came to, for the metrics.
fn slices(counters: &RedisCounters, out: &mut Encoder) {
    let (store, figures) = (counters.store(), counters.figures());
    out.count(&names::SLICE_CALLS, &[store, "yes"], figures.asked);
    out.count(&names::SLICE_CALLS, &[store, "no"], figures.refilled);
    out.count(&names::SLICE_GRANTED, &[store], figures.granted_here);
    out.count(&names::SLICE_REFUSED, &[store], figures.refused_here);
    out.count(&names::SLICE_TOKENS, &[store, "granted"], figures.sliced);
    out.count(&names::SLICE_TOKENS, &[store, "returned"], figures.returned);
    out.count(&names::SLICE_TOKENS, &[store, "lost"], figures.lost);
}

/// Threads for work that requests wait for. Workers start them, so they are as little nice as
/// workers are; those beside the control runtime are not.
struct Threads(Option<Runtime>);

impl Threads {
    fn new() -> io::Result<Self> {
        Builder::new_current_thread().thread_name("aside").build().map(|own| Self(Some(own)))
    }
}

impl Blocking for Threads {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        if let Some(own) = &self.0 {
            own.spawn_blocking(work);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Whoever lets go may be a runtime's thread, which must not wait.
        if let Some(own) = self.0.take() {
            own.shutdown_background();
        }
    }
}

/// What plugins are given while one document's snapshot is built.
pub(crate) struct Provider<'a> {
    services: &'a Services,
    document: &'a Document,
    consumers: Arc<Consumers>,
    stores: Stores,
    /// Those whose blobs a plugin has asked for.
    asked: AskedBlobs,
    goes_on: bool,
    /// The files that plugins have read, and what they said.
    read: RefCell<Vec<(PathBuf, Content)>>,
}

impl<'a> Provider<'a> {
    /// `same`: policies that are in force may stay, if [`goes_on`](Self::goes_on) agrees. They see
    /// what is asked for from now on.
    pub(crate) fn new(services: &'a Services, document: &'a Document, same: bool) -> Self {
        let consumers = Arc::new(document.known_consumers());
        let stores = services.depot.stores(stores::settings(document), document.memory_size());
        let known = services.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = same && known.as_ref().is_some_and(|known| stores.go_on(known));
        drop(known);
        let asked = match goes_on {
            true => services.asked.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            false => AskedBlobs::default(),
        };
        let read = RefCell::default();
        Self { services, document, consumers, stores, asked, goes_on, read }
    }

    /// Whether policies that are in force may stay: what they hold of stores is what they would be
    /// given now. A store whose text is the same is another when its certificate's file is.
    pub(crate) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// The files that plugins have read so far, and what they said.
    pub(crate) fn read_files(&self) -> Vec<(PathBuf, Content)> {
        self.read.take()
    }

    /// The stores of these names, each once: where this configuration keeps blobs. What plugins
    /// have asked for while it was built does not tell that: some were not built again.
    pub(crate) fn keep<'n>(&self, names: impl Iterator<Item = &'n str>) -> Arc<[Arc<dyn Blobs>]> {
        let kept = AskedBlobs::default();
        let names: BTreeSet<&str> = names.collect();
        names.iter().filter_map(|name| self.stores.blobs(name)).for_each(|one| kept.add(&one));
        kept.all()
    }

    /// The configuration's stores and those that were asked for blobs, for when it is in force.
    pub(crate) fn into_stores(self) -> (Stores, AskedBlobs) {
        (self.stores, self.asked)
    }
}

impl Provide for Provider<'_> {
    fn admin_pages(&self) -> Option<Box<dyn Handler>> {
        let pages = Arc::clone(&self.services.pages);
        let runtime = self.services.runtime.clone();
        let under_way = Arc::clone(&self.services.under_way);
        Some(Box::new(Mounted { pages, runtime, under_way }))
    }

    fn consumers(&self) -> &Arc<Consumers> {
        &self.consumers
    }

    fn plan(&self, name: &str) -> Option<&Value> {
        self.document.plans.get(name).map(|settings| &**settings)
    }

    fn plans(&self) -> Vec<&str> {
        self.document.plans.keys().map(String::as_str).collect()
    }

    fn has_upstream(&self, name: &str) -> bool {
        self.document.upstreams.contains_key(name)
    }

    fn stores(&self) -> Vec<&str> {
        self.document.stores.keys().map(String::as_str).collect()
    }

    fn counters(&self, store: &str) -> Option<Arc<dyn Counters>> {
        self.stores.counters(store)
    }

    fn blobs(&self, store: &str) -> Option<Arc<dyn Blobs>> {
        let blobs = self.stores.blobs(store)?;
        self.asked.add(&blobs);
        Some(blobs)
    }

    fn leases(&self, store: &str) -> Option<Arc<dyn Leases>> {
        self.stores.leases(store)
    }

    fn records(&self, store: &str) -> Option<Arc<dyn Records>> {
        self.stores.records(store)
    }

    fn asked_blobs(&self) -> AskedBlobs {
        self.asked.clone()
    }

    fn board(&self) -> Arc<dyn Board> {
        Arc::clone(&self.services.published) as Arc<dyn Board>
    }

    fn outbound(&self) -> Arc<dyn Outbound> {
        Arc::clone(&self.services.outbound)
    }

    fn spawn(&self, work: SendFuture<()>) -> Task {
        let (held, mut loose) = oneshot::channel::<()>();
        self.services.runtime.spawn(async move {
            tokio::select! {
                _ = &mut loose => {}
                () = work => {}
            }
        });
        Task::held_by(held)
    }

    fn blocking(&self) -> Arc<dyn Blocking> {
        Arc::clone(&self.services.threads) as Arc<dyn Blocking>
    }

    fn read(&self, path: &Path) -> Result<Bytes, String> {
        let path: PathBuf = self.document.base.join(path);
        let bytes = lockgate_config::read_plugin_file(&path)?;
        self.read.borrow_mut().push((path, Content::of(&bytes)));
        Ok(bytes)
    }

    fn shared(&self, key: &str, make: &mut dyn FnMut() -> Kept) -> Kept {
        let mut kept = self.services.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = kept.get(key).and_then(Weak::upgrade) {
            return there;
        }
        kept.retain(|_, value| value.strong_count() > 0);
        let new = make();
        kept.insert(key.to_owned(), Arc::downgrade(&new));
        new
    }

    fn expose(&self, metric: &'static Metric, labels: &[&str], figure: Weak<dyn Figure>) {
        self.services.figures.expose(metric, labels, figure);
    }
}
