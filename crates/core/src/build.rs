//! What a plugin is given while it is built: where it stands, and whatever it needs from outside.

use std::any::Any;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use serde_json::Value;

use crate::{
    AskedBlobs, Blobs, Blocking, Board, Clock, ConfigError, Consumers, Counter, Counters, Figure,
    Handler, Identity, Leases, Metric, Nowhere, Outbound, Records, SendFuture,
};

/// The configured identities, by name.
pub type Identities = HashMap<String, Arc<dyn Identity>>;

/// How soon a route's requests are shed under overload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// First.
    Low,
    /// After the low ones.
    #[default]
    Normal,
    /// Last.
    High,
}

/// What a plugin may ask for while it is built. A configuration that is only checked is built with
/// surroundings in which nothing runs, so building starts nothing but through this.
pub struct Build<'a> {
    /// The pattern of the route it is built for; empty for an identity.
    pub route: Box<str>,
    /// What tells the route from the others under its pattern: its `when` as text, the same for
    /// the same condition. Empty when it has none.
    pub when: Box<str>,
    /// Where its settings stand: keys from the document's root, joined by dots. What is inherited
    /// stands in `defaults`, and is one place for all the routes that inherit it.
    pub place: Box<str>,
    /// The name that it goes by: an identity's; otherwise the plugin's own.
    pub name: Box<str>,
    /// The route's priority.
    pub priority: Priority,
    /// The upstream that the route goes to, or all those of a split; empty for a handler.
    pub target: Box<str>,
    /// The configured identities; none while identities themselves are built.
    pub identities: &'a Identities,
    /// What the process provides.
    pub provide: &'a dyn Provide,
}

/// What the process provides to plugins.
pub trait Provide {
    /// The configuration's consumers.
    fn consumers(&self) -> &Arc<Consumers>;

    /// The settings of a plan.
    fn plan(&self, name: &str) -> Option<&Value>;

    /// The names of all plans.
    fn plans(&self) -> Vec<&str>;

    /// Whether there is an upstream of this name.
    fn has_upstream(&self, name: &str) -> bool;

    /// The names of all configured stores.
    fn stores(&self) -> Vec<&str>;

    /// The counters of a store; `None` when no store has the name, or it cannot keep counters.
    /// `memory` is always there.
    fn counters(&self, store: &str) -> Option<Arc<dyn Counters>>;

    /// The blobs of a store; `None` when no store has the name. `memory` is always there.
    fn blobs(&self, store: &str) -> Option<Arc<dyn Blobs>>;

    /// The leases of a store; `None` when no store has the name. `memory` is always there.
    fn leases(&self, store: &str) -> Option<Arc<dyn Leases>>;
    /// The records of a store; `None` when no store has the name, or it cannot keep records.
    /// `memory` is always there.
    fn records(&self, store: &str) -> Option<Arc<dyn Records>>;

    /// The stores whose blobs some plugin has asked for: those to tell of writes.
    fn asked_blobs(&self) -> AskedBlobs {
        AskedBlobs::default()
    }

    /// The time of day.
    fn clock(&self) -> Clock {
        Clock::system()
    }

    /// How services are.
    fn board(&self) -> Arc<dyn Board> {
        Arc::new(Nowhere)
    }

    /// Requests of the gateway's own.
    fn outbound(&self) -> Arc<dyn Outbound>;

    /// Starts work on the control runtime, which ends when the task is dropped.
    fn spawn(&self, work: SendFuture<()>) -> Task;

    /// Where work is done that would keep a worker from its requests.
    fn blocking(&self) -> Arc<dyn Blocking>;

    /// Reads a file, looked for beside the configuration; its change is a reload.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, path: &Path) -> Result<Bytes, String>;

    /// The admin pages as a handler, for a public listener that shows them too. `None`: there are
    /// none.
    fn admin_pages(&self) -> Option<Box<dyn Handler>> {
        None
    }

    /// See [`Build::shared`].
    fn shared(&self, key: &str, make: &mut dyn FnMut() -> Kept) -> Kept;

    /// Shows a figure in the metrics for as long as it lives. A later one with the same labels
    /// takes its place.
    fn expose(&self, metric: &'static Metric, labels: &[&str], figure: Weak<dyn Figure>);
}

/// What is shared between policies and kept across reloads.
pub type Kept = Arc<dyn Any + Send + Sync>;

/// Work in the background; dropped, it ends at its next await.
pub struct Task(Option<tokio::sync::oneshot::Sender<()>>);

impl Task {
    /// A task that ends when the receiver hears that the sender is gone.
    pub fn held_by(sender: tokio::sync::oneshot::Sender<()>) -> Self {
        Self(Some(sender))
    }

    /// Work that was never begun.
    pub fn none() -> Self {
        Self(None)
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Task" } else { "Task(none)" })
    }
}

impl Build<'_> {
    /// What is kept under a key: the same value for every plugin that asks with the key while
    /// anything holds it, across reloads too. The plugin's name is a part of the key already.
    pub fn shared<T: Send + Sync + 'static>(
        &self,
        key: &str,
        mut make: impl FnMut() -> Arc<T>,
    ) -> Arc<T> {
        let key = format!("{} {key}", std::any::type_name::<T>());
        let kept = self.provide.shared(&key, &mut || make() as Kept);
        // The type is a part of the key: only its own values are found under it.
        kept.downcast().unwrap_or_else(|_| make())
    }

    /// A counter of the metrics, the same across reloads for the same labels.
    pub fn counter(&self, metric: &'static Metric, labels: &[&str]) -> Arc<Counter> {
        let key = format!("{} {labels:?}", metric.name);
        let counter = self.shared(&key, || Arc::new(Counter::default()));
        let figure: Arc<dyn Figure> = counter.clone();
        self.provide.expose(metric, labels, Arc::downgrade(&figure));
        counter
    }

    /// Shows a figure in the metrics for as long as the plugin keeps it.
    pub fn expose(&self, metric: &'static Metric, labels: &[&str], figure: &Arc<dyn Figure>) {
        self.provide.expose(metric, labels, Arc::downgrade(figure));
    }

    /// An identity by its name.
    ///
    /// # Errors
    /// When there is none of that name: what there is.
    pub fn identity(&self, name: &str) -> Result<Arc<dyn Identity>, ConfigError> {
        self.identities.get(name).cloned().ok_or_else(|| {
            let mut known: Vec<&str> = self.identities.keys().map(String::as_str).collect();
            known.sort_unstable();
            unknown("identity", name, &known)
        })
    }

    /// The counters of a store.
    ///
    /// # Errors
    /// When no store has the name, or it cannot keep counters.
    pub fn counters(&self, store: &str) -> Result<Arc<dyn Counters>, ConfigError> {
        self.provide.counters(store).ok_or_else(|| {
            let mut known = self.provide.stores();
            if known.contains(&store) {
                return ConfigError::new(format!(
                    "the store `{store}` keeps no counters: say `store: memory`, and each gateway \
                     counts for itself"
                ));
            }
            known.push("memory");
            unknown("store", store, &known)
        })
    }

    /// The leases of a store.
    ///
    /// # Errors
    /// When no store has the name.
    pub fn leases(&self, store: &str) -> Result<Arc<dyn Leases>, ConfigError> {
        self.provide.leases(store).ok_or_else(|| {
            let mut known = self.provide.stores();
            known.push("memory");
            unknown("store", store, &known)
        })
    }

    /// The records of a store.
    ///
    /// # Errors
    /// When no store has the name, or it cannot keep records.
    pub fn records(&self, store: &str) -> Result<Arc<dyn Records>, ConfigError> {
        self.provide.records(store).ok_or_else(|| {
            let mut known = self.provide.stores();
            if known.contains(&store) {
                return ConfigError::new(format!("the store `{store}` cannot keep records"));
            }
            known.push("memory");
            unknown("store", store, &known)
        })
    }

    /// The blobs of a store.
    ///
    /// # Errors
    /// When no store has the name.
    pub fn blobs(&self, store: &str) -> Result<Arc<dyn Blobs>, ConfigError> {
        self.provide.blobs(store).ok_or_else(|| {
            let mut known = self.provide.stores();
            known.push("memory");
            unknown("store", store, &known)
        })
    }
}

fn unknown(what: &str, name: &str, known: &[&str]) -> ConfigError {
    if known.contains(&name) {
        return ConfigError::new(format!("the {what} `{name}` cannot keep this"));
    }
    let distance = |other: &&&str| strsim::damerau_levenshtein(name, other);
    let nearest = known.iter().min_by_key(distance).filter(|other| distance(other) <= 2);
    if let Some(nearest) = nearest {
        let message = format!("there is no {what} `{name}`: did you mean `{nearest}`?");
        return ConfigError::new(message);
    }
    let known = match known {
        [] => format!("none is configured under `{what}`"),
        names => format!("there is {}", names.join(", ")),
    };
    ConfigError::new(format!("there is no {what} `{name}`: {known}"))
}
