//! What plugins are given while a configuration is only checked: its names and files, and
//! otherwise surroundings in which nothing runs.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use indexmap::IndexSet;
use lockgate_core::{
    Blobs, Blocking, Consumers, Counters, Figure, Kept, Leases, Metric, Nowhere, Outbound, Provide,
    Records, SendFuture, Task,
};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use crate::model::Document;

/// A document's names, and what its plugins ask for.
pub(super) struct Dry {
    consumers: Arc<Consumers>,
    plans: Vec<(String, Value)>,
    upstreams: HashSet<String>,
    stores: Vec<String>,
    base: PathBuf,
    /// Where what is being built stands.
    at: RefCell<Vec<String>>,
    read: RefCell<IndexSet<FileRead>>,
    held: RefCell<IndexSet<Arc<Held>>>,
    /// The places that have asked for leases.
    leased: RefCell<HashSet<Vec<String>>>,
}

/// What the plugins of a document have asked for while they were checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub(crate) read: IndexSet<FileRead>,
    pub(crate) held: IndexSet<Arc<Held>>,
}

impl Asked {
    /// The upstreams of routes' URLs that plugins name.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = &str> {
        let held = self.held.iter().filter(|held| held.what == What::Upstream);
        held.map(|held| held.name.as_str())
    }

    /// The stores in which plugins keep blobs.
    pub fn blobs(&self) -> impl Iterator<Item = &str> {
        let held = self.held.iter().filter(|held| held.what == What::Blobs);
        held.map(|held| held.name.as_str())
    }

    /// Notes what files said when they were read once more, to build what serves: what is built of
    /// a file that has changed since it was checked must not pass for what was checked.
    pub fn built_with(&mut self, files: &[(PathBuf, Content)]) {
        let is_other = |one: &FileRead| {
            let mut again = files.iter().filter(|(path, _)| *path == one.path);
            again.any(|(_, content)| one.content != Some(*content))
        };
        if !self.read.iter().any(is_other) {
            return;
        }
        let noted = std::mem::take(&mut self.read).into_iter().map(|one| match is_other(&one) {
            true => FileRead { content: None, ..one },
            false => one,
        });
        self.read = noted.collect();
    }

    /// What identities have read.
    pub(crate) fn of_identities(&self) -> impl Iterator<Item = &FileRead> {
        self.read.iter().filter(|one| one.stands().0 == "identity")
    }
}

/// A file that a plugin has read.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileRead {
    /// Where the plugin's settings stand.
    at: Vec<String>,
    pub(crate) path: PathBuf,
    /// A hash of what was in it; `None`: it could not be read.
    content: Option<Content>,
}

/// What a file said that a plugin was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Content(u128);

impl Content {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxh3_128(bytes))
    }
}

impl FileRead {
    /// The section and the name in it.
    pub(crate) fn stands(&self) -> (&str, &str) {
        stands(&self.at)
    }
}

/// Something that a plugin holds on to: what it keeps in a store, or an upstream that is there only
/// because a route goes to its URL.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    /// Where the plugin's settings stand.
    pub(crate) path: Vec<String>,
    /// The store's name, or the upstream's.
    pub(crate) name: String,
    pub(crate) what: What,
}

impl Held {
    /// The section and the name in it.
    pub(crate) fn stands(&self) -> (&str, &str) {
        stands(&self.path)
    }
}

fn stands(path: &[String]) -> (&str, &str) {
    let word = |at: usize| path.get(at).map(String::as_str).unwrap_or_default();
    (word(0), word(1))
}

/// What is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Counters,
    Blobs,
    Leases,
    /// Leases for when those asked for first cannot be had.
    LeasesInstead,
    Records,
    Upstream,
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
            at: RefCell::default(),
            read: RefCell::default(),
            held: RefCell::default(),
            leased: RefCell::default(),
        }
    }

    /// What plugins have asked for.
    pub(super) fn into_asked(self) -> Asked {
        Asked { read: self.read.into_inner(), held: self.held.into_inner() }
    }

    /// What is built next stands here.
    pub(super) fn stand_at(&self, path: &[&str]) {
        *self.at.borrow_mut() = path.iter().map(|&part| part.to_owned()).collect();
    }

    /// Notes what is held, once for each place.
    fn keep(&self, name: &str, what: What) {
        let held = Held { path: self.at.borrow().clone(), name: name.to_owned(), what };
        self.held.borrow_mut().insert(Arc::new(held));
    }

    /// Notes what was held before by what is not built again.
    pub(super) fn keep_again(&self, held: Vec<&Arc<Held>>) {
        self.held.borrow_mut().extend(held.into_iter().cloned());
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
        if name.contains("://") {
            self.keep(name, What::Upstream);
        }
        self.upstreams.contains(name)
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
        let is_first = self.leased.borrow_mut().insert(self.at.borrow().clone());
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
        let content = read.as_ref().ok().map(|bytes| Content::of(bytes));
        let at = self.at.borrow().clone();
        self.read.borrow_mut().insert(FileRead { at, path, content });
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
