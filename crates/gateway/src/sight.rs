//! The running gateway as the monitor sees it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arc_swap::ArcSwap;
use lockgate_config::model::Document;
use lockgate_monitor::{Served, Sight, StoreSeen};
use lockgate_net::listen::ListenerState;
use lockgate_telemetry::Totals;
use lockgate_upstream::Upstreams;

use crate::collect;
use crate::gateway::Gateway;

/// Handles to the gateway and its listeners.
pub(crate) struct Seen {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) listeners: Arc<ArcSwap<Vec<Arc<ListenerState>>>>,
}

impl Sight for Seen {
    fn document(&self) -> Arc<Document> {
        Arc::clone(&self.gateway.snapshot().document)
    }

    fn generation(&self) -> u64 {
        self.gateway.snapshot().generation
    }

    fn upstreams(&self) -> Arc<Upstreams> {
        Arc::clone(&self.gateway.snapshot().upstreams)
    }

    fn totals(&self) -> Totals {
        self.gateway.metrics.snapshot()
    }

    fn lines_dropped(&self) -> u64 {
        self.gateway.snapshot().log.as_ref().map_or(0, |log| log.counts().dropped)
    }

    fn certificates(&self) -> Vec<Served> {
        let served = collect::certificates(&self.listeners.load()).into_iter();
        let one = |one: lockgate_admin::Certificate| Served {
            file: one.file.display().to_string(),
            names: one.names,
            not_after: one.not_after,
        };
        served.map(one).collect()
    }

    fn stores(&self) -> Vec<StoreSeen> {
        self.gateway.services.failing_stores()
    }

    fn draining(&self) -> bool {
        self.gateway.draining.load(Relaxed)
    }
}
