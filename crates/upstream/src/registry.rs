//! All upstreams of the process, by name, across reloads: what has not changed is not touched, what
//! has changed keeps what is known of the addresses it still has, what is gone stops its work.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;
use lockgate_config::model;
use tokio::time::timeout;

use crate::discover::Resolver;
use crate::task::Spawn;
use crate::upstream::{Secured, Upstream};

/// The upstreams of one configuration, by name.
pub type Upstreams = HashMap<String, Arc<Upstream>>;

/// All upstreams of the process.
pub struct Registry {
    current: Mutex<Arc<Upstreams>>,
    spawn: Spawn,
    resolver: Resolver,
}

/// The upstreams of a configuration that is not yet in force.
pub struct Prepared {
    upstreams: Arc<Upstreams>,
    /// Those that have not begun, with those of the same names before them.
    fresh: Vec<(Arc<Upstream>, Option<Arc<Upstream>>)>,
    /// Those that stay, and whose TLS files have changed.
    secured: Vec<(Arc<Upstream>, Secured)>,
}

impl Prepared {
    /// By name.
    pub fn upstreams(&self) -> Arc<Upstreams> {
        Arc::clone(&self.upstreams)
    }
}

impl Registry {
    /// An empty one. `spawn` must not put work on a worker.
    pub fn new(spawn: Spawn, resolver: Resolver) -> Self {
        Self { current: Mutex::default(), spawn, resolver }
    }

    /// The upstreams of a configuration, beside those in force and without touching them: what has
    /// not changed is taken over, what is new has not begun. Dropped, it leaves no trace.
    pub fn prepare(&self, sections: &IndexMap<String, model::Upstream>) -> Prepared {
        let current = self.upstreams();
        let mut next = Upstreams::with_capacity(sections.len());
        let (mut fresh, mut secured) = (Vec::new(), Vec::new());
        for (name, settings) in sections {
            let before = current.get(name);
            let upstream = match before {
                Some(same) if same.settings() == settings => {
                    secured.extend(same.changed_tls().map(|tls| (Arc::clone(same), tls)));
                    Arc::clone(same)
                }
                _ => {
                    let new = Upstream::new(name, settings, before.map(|b| &**b), &self.spawn);
                    let new = Arc::new(new);
                    fresh.push((Arc::clone(&new), before.map(Arc::clone)));
                    new
                }
            };
            next.insert(name.clone(), upstream);
        }
        Prepared { upstreams: Arc::new(next), fresh, secured }
    }

    /// Begins the work of what is new, as nothing can fail any more: endpoints are adopted, names
    /// asked for. Waits for the names, but no longer than `wait`.
    pub async fn begin(&self, prepared: &mut Prepared, wait: Duration) {
        self.start(prepared);
        ready(&prepared.upstreams, wait).await;
    }

    /// Ends the work of what is gone, after the last request has begun with it.
    pub fn commit(&self, mut prepared: Prepared) {
        self.start(&mut prepared);
        let next = prepared.upstreams;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, before) in &**current {
            let after = next.get(name);
            if !after.is_some_and(|after| Arc::ptr_eq(after, before)) {
                before.retire(after.map(|after| &**after));
            }
        }
        *current = next;
    }

    /// Takes over the upstreams of a configuration that is known to be good.
    pub fn apply(&self, sections: &IndexMap<String, model::Upstream>) -> Arc<Upstreams> {
        self.commit(self.prepare(sections));
        self.upstreams()
    }

    fn start(&self, prepared: &mut Prepared) {
        for (upstream, before) in prepared.fresh.drain(..) {
            upstream.begin(before.as_deref(), &self.resolver);
        }
        for (upstream, tls) in prepared.secured.drain(..) {
            upstream.take_tls(tls);
        }
    }

    /// The upstreams as of the last [`Registry::commit`].
    pub fn upstreams(&self) -> Arc<Upstreams> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until DNS has been asked once for every name, but no longer than `wait`. Called
    /// before the first requests, and before a reload goes live. False: some are still unknown.
    pub async fn ready(&self, wait: Duration) -> bool {
        ready(&self.upstreams(), wait).await
    }
}

async fn ready(upstreams: &Upstreams, wait: Duration) -> bool {
    let all = async {
        for upstream in upstreams.values() {
            upstream.ready().await;
        }
    };
    timeout(wait, all).await.is_ok()
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
