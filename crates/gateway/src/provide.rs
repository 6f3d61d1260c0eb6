//! What the process provides to plugins: names of the configuration, files, background work, and
//! what is shared between policies and outlives a reload.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use lockgate_config::model::Document;
use lockgate_core::{
    AskedBlobs, Blobs, Blocking, Consumers, Counters, Figure, Kept, Metric, Outbound, Provide,
    SendFuture, Task,
};
use lockgate_state::{Bounds, Memory, MemoryBlobs};
use lockgate_telemetry::{Collect, Encoder, names};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// What lives as long as the process.
pub(crate) struct Services {
    runtime: Handle,
    outbound: Arc<dyn Outbound>,
    kept: Mutex<HashMap<String, Weak<dyn std::any::Any + Send + Sync>>>,
    figures: Mutex<BTreeMap<FigureKey, Shown>>,
    /// The counters in memory, made when something first asks for them.
    memory: OnceLock<Arc<Memory>>,
    /// The blobs in memory, likewise.
    blobs: OnceLock<Arc<MemoryBlobs>>,
}

/// A metric's name and its labels.
type FigureKey = (&'static str, Vec<String>);
/// A metric, and where its value comes from.
type Shown = (&'static Metric, Weak<dyn Figure>);

impl Services {
    /// Must be called on the control runtime.
    pub(crate) fn new(outbound: Arc<dyn Outbound>) -> Arc<Self> {
        let (kept, figures, memory, blobs) = Default::default();
        Arc::new(Self { runtime: Handle::current(), outbound, kept, figures, memory, blobs })
    }

    /// The counters in memory, if anything counts there.
    pub(crate) fn counters(&self) -> Option<&Arc<Memory>> {
        self.memory.get()
    }

    /// A metric's labels and values, of those that plugins show.
    pub(crate) fn figures(&self, metric: &str) -> Vec<(Vec<String>, u64)> {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let own = figures.iter().filter(|((name, _), _)| *name == metric);
        own.filter_map(|((_, labels), (_, figure))| {
            Some((labels.clone(), figure.upgrade()?.value()))
        })
        .collect()
    }

    /// Blobs in memory, if a plugin has asked for them.
    pub(crate) fn blobs(&self) -> Option<Arc<dyn Blobs>> {
        self.blobs.get().map(|blobs| Arc::clone(blobs) as Arc<dyn Blobs>)
    }

    /// Takes on what a configuration in force says.
    pub(crate) fn accept(&self, document: &Document) {
        if let (Some(blobs), Ok(size)) = (self.blobs.get(), document.memory_size()) {
            blobs.resize(size);
        }
    }
}

/// Asked for at a scrape; what is gone by then is forgotten.
impl Collect for Services {
    fn collect(&self, out: &mut Encoder) {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.retain(|(_, labels), (metric, figure)| {
            let Some(figure) = figure.upgrade() else { return false };
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            out.count(metric, &labels, figure.value());
            true
        });
        if let Some(memory) = self.counters() {
            let figures = memory.figures();
            out.count(&names::COUNTER_KEYS, &[], figures.keys);
            out.count(&names::COUNTER_BYTES, &[], figures.bytes);
            out.count(&names::COUNTER_EVICTIONS, &[], figures.evicted);
        }
    }
}

/// The threads beside the control runtime.
struct Threads(Handle);

impl Blocking for Threads {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.spawn_blocking(work);
    }
}

/// What plugins are given while one document's snapshot is built.
pub(crate) struct Provider<'a> {
    services: &'a Services,
    document: &'a Document,
    consumers: Arc<Consumers>,
    /// The stores whose blobs a plugin has asked for.
    asked: AskedBlobs,
}

impl<'a> Provider<'a> {
    pub(crate) fn new(services: &'a Services, document: &'a Document) -> Self {
        let consumers = Arc::new(document.known_consumers());
        Self { services, document, consumers, asked: AskedBlobs::default() }
    }
}

impl Provide for Provider<'_> {
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
        if !self.document.in_memory(store) {
            return None;
        }
        let new = || Arc::new(Memory::new(Bounds::default()));
        Some(Arc::clone(self.services.memory.get_or_init(new)) as Arc<dyn Counters>)
    }

    fn blobs(&self, store: &str) -> Option<Arc<dyn Blobs>> {
        if !self.document.in_memory(store) {
            return None;
        }
        // Checked by now.
        let size = self.document.memory_size().unwrap_or_default();
        let blobs = self.services.blobs.get_or_init(|| Arc::new(MemoryBlobs::new(size)));
        let blobs = Arc::clone(blobs) as Arc<dyn Blobs>;
        self.asked.add(&blobs);
        Some(blobs)
    }

    fn asked_blobs(&self) -> AskedBlobs {
        self.asked.clone()
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
        Arc::new(Threads(self.services.runtime.clone()))
    }

    fn read(&self, path: &Path) -> Result<Bytes, String> {
        let path: PathBuf = self.document.base.join(path);
        lockgate_config::read_plugin_file(&path)
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
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        let mut figures = self.services.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.insert((metric.name, labels), (metric, figure));
    }
}
