//! Stores: whether they can be reached as they are described, and whether what several gateways
//! would have to share is kept where they do.

use std::sync::Arc;

use indexmap::IndexSet;

use super::Findings;
use super::dry::{Held, What};
use crate::model::Document;

pub(super) fn check(document: &Document, findings: &mut Findings<'_>) {
    for (name, store) in &document.stores {
        if let Err((below, message)) = store.checked(name) {
            let path: Vec<&str> =
                ["stores", name.as_str()].into_iter().chain(below.iter().copied()).collect();
            // A password may stand in the line.
            findings.error(&path, message).hidden = true;
        }
        for (key, file) in [("ca", &store.ca), ("cert", &store.cert), ("key", &store.key)] {
            findings.file(&["stores", name, key], file.as_deref());
        }
    }
}

/// Warns of what is kept by each gateway for itself although there are several.
pub(super) fn shared(document: &Document, kept: &IndexSet<Arc<Held>>, findings: &mut Findings<'_>) {
    let Some(replicas) = document.replicas.filter(|replicas| *replicas > 1) else { return };
    for held in kept {
        let Held { path, name: store, what } = &**held;
        let shares = |held: &Arc<Held>| held.path == *path && !document.in_memory(&held.name);
        if !document.in_memory(store) || *what == What::LeasesInstead && !kept.iter().any(shares) {
            continue;
        }
        let message = match what {
            What::Upstream => continue,
            What::Counters => format!(
                "each of the {replicas} replicas counts for itself in `{store}`: together they let \
                 up to {replicas} times as much pass"
            ),
            What::Leases => format!(
                "each of the {replicas} replicas lets one at a time pass for itself, by leases in \
                 `{store}`: together they let {replicas} pass at once"
            ),
            What::LeasesInstead => format!(
                "while its store does not answer, each of the {replicas} replicas lets one at a \
                 time pass for itself: together they let {replicas} pass at once, and what runs by \
                 a turn of the store is not known to any of them"
            ),
            What::Records => format!(
                "each of the {replicas} replicas knows only the keys that it has seen itself in \
                 `{store}`: a request that is repeated through another runs a second time"
            ),
            What::Blobs => format!(
                "each of the {replicas} replicas keeps answers for itself in `{store}`: each asks \
                 the upstream anew, and a purge or a write reaches only the one that is told"
            ),
        };
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let help = match what {
            What::LeasesInstead => "`on_store_error: deny`, the usual, refuses meanwhile",
            _ => "name a store that they share: `store: NAME`, and `stores: { NAME: redis://.. }`",
        };
        findings.warning(&path, message).help = Some(help.to_owned());
    }
}
