//! What plugins are given while a configuration is only checked: its names and files, and
//! otherwise surroundings in which nothing runs.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use lockgate_core::{
    Blobs, Blocking, Consumers, Counters, Figure, Kept, Leases, Metric, Nowhere, Outbound, Provide,
    Records, SendFuture, Task,
};
use serde_json::Value;

use crate::model::Document;

/// A document's names, and the files that its plugins have read.
pub(super) struct Dry {
    consumers: Arc<Consumers>,
    plans: Vec<(String, Value)>,
    upstreams: Vec<String>,
    stores: Vec<String>,
    base: PathBuf,
    files: RefCell<Vec<PathBuf>>,
    /// Where what is being built stands.
    at: RefCell<Vec<String>>,
    kept: RefCell<Vec<Held>>,
}

/// Something that a plugin keeps in a store.
#[derive(PartialEq, Eq)]
pub(super) struct Held {
    /// Where the plugin's settings stand.
    pub(super) path: Vec<String>,
    pub(super) store: String,
    pub(super) what: What,
}

/// What is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Counters,
    Blobs,
    Leases,
    /// Leases for when those asked for first cannot be had.
    LeasesInstead,
    Records,
}

impl Dry {
    pub(super) fn new(document: &Document) -> Self {
        let (plans, stores) = (document.plans.iter(), document.stores.keys());
        Self {
            consumers: Arc::new(document.known_consumers()),
            plans: plans.map(|(name, plan)| (name.clone(), Value::clone(plan))).collect(),
            upstreams: document.upstreams.keys().cloned().collect(),
            stores: stores.cloned().collect(),
            base: document.base.clone(),
            files: RefCell::default(),
            at: RefCell::default(),
            kept: RefCell::default(),
        }
    }

    /// The files that plugins have read, or would have if they were there; and what they keep.
    pub(super) fn into_parts(self) -> (Vec<PathBuf>, Vec<Held>) {
        (self.files.into_inner(), self.kept.into_inner())
    }

    /// What is built next stands here.
    pub(super) fn stand_at(&self, path: &[&str]) {
        *self.at.borrow_mut() = path.iter().map(|&part| part.to_owned()).collect();
    }

    /// Notes what is kept, once for each place.
    fn keep(&self, store: &str, what: What) {
        let kept = Held { path: self.at.borrow().clone(), store: store.to_owned(), what };
        let mut all = self.kept.borrow_mut();
        if !all.contains(&kept) {
            all.push(kept);
        }
    }

    fn has_store(&self, name: &str) -> bool {
        name == "memory" || self.stores.iter().any(|store| store == name)
    }
}

impl Provide for Dry {
    fn consumers(&self) -> &Arc<Consumers> {
        &self.consumers
    }

    fn plan(&self, name: &str) -> Option<&Value> {
        self.plans.iter().find(|(plan, _)| plan == name).map(|(_, settings)| settings)
    }

    fn plans(&self) -> Vec<&str> {
        self.plans.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn has_upstream(&self, name: &str) -> bool {
        self.upstreams.iter().any(|upstream| upstream == name)
    }

    fn stores(&self) -> Vec<&str> {
        self.stores.iter().map(String::as_str).collect()
    }

    fn counters(&self, store: &str) -> Option<Arc<dyn Counters>> {
        self.keep(store, What::Counters);
        self.has_store(store).then(|| Arc::new(Nowhere) as Arc<dyn Counters>)
    }

    fn blobs(&self, store: &str) -> Option<Arc<dyn Blobs>> {
        self.keep(store, What::Blobs);
        self.has_store(store).then(|| Arc::new(Nowhere) as Arc<dyn Blobs>)
    }

    fn leases(&self, store: &str) -> Option<Arc<dyn Leases>> {
        // The second that one asks for is for when the first does not answer.
        let at = self.at.borrow();
        let again = |held: &Held| held.what == What::Leases && held.path == *at;
        let is_first = !self.kept.borrow().iter().any(again);
        drop(at);
        self.keep(store, if is_first { What::Leases } else { What::LeasesInstead });
        self.has_store(store).then(|| Arc::new(Nowhere) as Arc<dyn Leases>)
    }

    fn records(&self, store: &str) -> Option<Arc<dyn Records>> {
        self.keep(store, What::Records);
        self.has_store(store).then(|| Arc::new(Nowhere) as Arc<dyn Records>)
    }

    fn outbound(&self) -> Arc<dyn Outbound> {
        Arc::new(Nowhere)
    }

    fn spawn(&self, _: SendFuture<()>) -> Task {
        Task::none()
    }

    fn blocking(&self) -> Arc<dyn Blocking> {
        Arc::new(Nowhere)
    }

    fn read(&self, path: &Path) -> Result<Bytes, String> {
        let path = self.base.join(path);
        let read = read_plugin_file(&path);
        self.files.borrow_mut().push(path);
        read
    }

    fn shared(&self, _: &str, make: &mut dyn FnMut() -> Kept) -> Kept {
        make()
    }

    fn expose(&self, _: &'static Metric, _: &[&str], _: Weak<dyn Figure>) {}
}

/// Largest file that a plugin may read.
const MAX_FILE: u64 = 64 << 20;

/// Reads a file that a plugin's settings name.
///
/// # Errors
/// Why it cannot be read, with its path.
pub fn read_plugin_file(path: &Path) -> Result<Bytes, String> {
    use std::io::Read;
    let wrong = |why: String| format!("cannot read `{}`: {why}", path.display());
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    if !file.metadata().is_ok_and(|data| data.is_file()) {
        return Err(wrong("it is no file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(wrong("it has more than 64MiB".to_owned()));
    }
    Ok(bytes.into())
}
