//! What the process provides to plugins: names of the configuration, files, background work, and
//! what is shared between policies and outlives a reload.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use lockgate_config::model::Document;
use lockgate_core::{
    Blobs, Consumers, Counters, Figure, Kept, Metric, Outbound, Provide, SendFuture, Task,
};
use lockgate_state::MemoryBlobs;
use lockgate_telemetry::{Collect, Encoder};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// What lives as long as the process.
pub(crate) struct Services {
    runtime: Handle,
    outbound: Arc<dyn Outbound>,
    /// Made when a plugin asks for it first.
    memory: OnceLock<Arc<MemoryBlobs>>,
    kept: Mutex<HashMap<String, Weak<dyn std::any::Any + Send + Sync>>>,
    figures: Mutex<BTreeMap<FigureKey, Shown>>,
}

/// A metric's name and its labels.
type FigureKey = (&'static str, Vec<String>);
/// A metric, and where its value comes from.
type Shown = (&'static Metric, Weak<dyn Figure>);

impl Services {
    /// Must be called on the control runtime.
    pub(crate) fn new(outbound: Arc<dyn Outbound>) -> Arc<Self> {
        let (kept, figures) = Default::default();
        let memory = OnceLock::new();
        Arc::new(Self { runtime: Handle::current(), outbound, memory, kept, figures })
    }

    /// Blobs in memory, if a plugin has asked for them.
    pub(crate) fn memory(&self) -> Option<Arc<dyn Blobs>> {
        self.memory.get().map(|memory| Arc::clone(memory) as Arc<dyn Blobs>)
    }

    /// Takes on what a configuration in force says.
    pub(crate) fn accept(&self, document: &Document) {
        if let (Some(memory), Ok(size)) = (self.memory.get(), document.memory_size()) {
            memory.resize(size);
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
    }
}

/// What plugins are given while one document's snapshot is built.
pub(crate) struct Provider<'a> {
    services: &'a Services,
    document: &'a Document,
    consumers: Arc<Consumers>,
    /// Whether a plugin has asked for blobs in memory.
    asked: Cell<bool>,
}

impl<'a> Provider<'a> {
    pub(crate) fn new(services: &'a Services, document: &'a Document) -> Self {
        let consumers = Arc::new(document.known_consumers());
        Self { services, document, consumers, asked: Cell::new(false) }
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

    fn counters(&self, _: &str) -> Option<Arc<dyn Counters>> {
        None
    }

    fn blobs(&self, store: &str) -> Option<Arc<dyn Blobs>> {
        if store != "memory" {
            return None;
        }
        self.asked.set(true);
        // Checked by now.
        let size = self.document.memory_size().unwrap_or_default();
        let memory = self.services.memory.get_or_init(|| Arc::new(MemoryBlobs::new(size)));
        Some(Arc::clone(memory) as Arc<dyn Blobs>)
    }

    fn asked_blobs(&self) -> Vec<Arc<dyn Blobs>> {
        self.services.memory().filter(|_| self.asked.get()).into_iter().collect()
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
