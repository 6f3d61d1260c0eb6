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
use crate::upstream::Upstream;

/// The upstreams of one configuration, by name.
pub type Upstreams = HashMap<String, Arc<Upstream>>;

/// All upstreams of the process.
pub struct Registry {
    current: Mutex<Arc<Upstreams>>,
    spawn: Spawn,
    resolver: Resolver,
}

impl Registry {
    /// An empty one. `spawn` must not put work on a worker.
    pub fn new(spawn: Spawn, resolver: Resolver) -> Self {
        Self { current: Mutex::default(), spawn, resolver }
    }

    /// Takes over the upstreams of a configuration that is known to be good.
    pub fn apply(&self, sections: &IndexMap<String, model::Upstream>) -> Arc<Upstreams> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Upstreams::with_capacity(sections.len());
        for (name, settings) in sections {
            let before = current.get(name);
            let upstream = match before {
                Some(same) if same.settings() == settings => Arc::clone(same),
                _ => {
                    let before = before.map(|before| &**before);
                    Upstream::start(name, settings, before, &self.spawn, &self.resolver)
                }
            };
            next.insert(name.clone(), upstream);
        }
        for (name, before) in &**current {
            let after = next.get(name);
            if !after.is_some_and(|after| Arc::ptr_eq(after, before)) {
                before.retire(after.map(|after| &**after));
            }
        }
        *current = Arc::new(next);
        Arc::clone(&current)
    }

    /// The upstreams as of the last [`Registry::apply`].
    pub fn upstreams(&self) -> Arc<Upstreams> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until DNS has been asked once for every name, but no longer than `wait`. Called
    /// before the first requests, and before a reload goes live. False: some are still unknown.
    pub async fn ready(&self, wait: Duration) -> bool {
        let upstreams = self.upstreams();
        let all = async {
            for upstream in upstreams.values() {
                upstream.ready().await;
            }
        };
        timeout(wait, all).await.is_ok()
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
