//! What other rooms count, put into the metrics at each scrape, and shown by the admin listener.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arc_swap::ArcSwap;
use lockgate_admin::Certificate;
use lockgate_net::listen::{Gate, ListenerState};
use lockgate_proxy::Shared;
use lockgate_telemetry::{Collect, Encoder, names};
use serde_json::{Value, json};

/// Reads the upstreams in force, the listeners' gate and the access log.
pub(crate) struct Collector {
    pub(crate) shared: Arc<Shared>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) listeners: Arc<ArcSwap<Vec<Arc<ListenerState>>>>,
}

impl Collect for Collector {
    fn collect(&self, out: &mut Encoder) {
        let snapshot = self.shared.snapshot();
        let mut upstreams: Vec<_> = snapshot.upstreams.values().collect();
        upstreams.sort_by(|a, b| a.name().cmp(b.name()));
        for upstream in upstreams {
            let view = upstream.view();
            let name = view.name.as_str();
            for endpoint in &view.endpoints {
                let labels = [name, endpoint.address.as_str()];
                out.count(&names::ENDPOINT_UP, &labels, u64::from(endpoint.usable));
                out.count(&names::ENDPOINT_IN_FLIGHT, &labels, endpoint.in_flight.into());
                let ejected = u64::from(endpoint.ejected_for_ms.is_some());
                out.count(&names::ENDPOINT_EJECTED, &labels, ejected);
                out.count(&names::ENDPOINT_EJECTIONS, &labels, endpoint.ejections);
                out.count(&names::POOL_OPEN, &labels, endpoint.connections.into());
            }
            if let Some(breaker) = &view.breaker {
                let now = serde_json::to_value(breaker.phase).unwrap_or_default();
                for state in ["closed", "open", "half_open"] {
                    let is = u64::from(now.as_str() == Some(state));
                    out.count(&names::BREAKER, &[name, state], is);
                }
                out.count(&names::BREAKER_OPENED, &[name], breaker.opened);
            }
        }
        self.listeners(out);
        self.expiries(out);
        if let Some(log) = &snapshot.log {
            log.collect(out);
        }
    }
}

impl Collector {
    fn listeners(&self, out: &mut Encoder) {
        let seen = self.gate.counters();
        out.count(&names::CONNECTIONS, &[], seen.open.load(Relaxed) as u64);
        out.count(&names::CONNECTIONS_TOTAL, &[], seen.accepted.load(Relaxed));
        for (reason, count) in [
            ("max_connections", &seen.refused_total),
            ("max_connections_per_ip", &seen.refused_per_ip),
            ("proxy_header", &seen.refused_proxy_header),
        ] {
            out.count(&names::CONNECTIONS_REFUSED, &[reason], count.load(Relaxed));
        }
        for (result, count) in [("ok", &seen.tls_handshakes), ("failed", &seen.tls_failures)] {
            out.count(&names::TLS_HANDSHAKES, &[result], count.load(Relaxed));
        }
    }

    fn expiries(&self, out: &mut Encoder) {
        let mut first = BTreeMap::new();
        for one in certificates(&self.listeners.load()) {
            let name = one.names.into_iter().next().unwrap_or_default();
            // Two of a name, such as one of RSA beside one of ECDSA, are one series.
            let ends = first.entry((one.listener, name)).or_insert(one.not_after);
            *ends = one.not_after.min(*ends);
        }
        for ((listener, name), ends) in first {
            out.number(&names::CERTIFICATE_EXPIRY, &[&listener, &name], ends as f64);
        }
    }
}

/// Clients' connections and the listeners.
pub(crate) fn connections(gate: &Gate, listeners: &[Arc<ListenerState>]) -> Value {
    let seen = gate.counters();
    let listeners: Vec<Value> = listeners
        .iter()
        .map(|state| {
            let settings = state.settings();
            json!({ "listener": &*settings.name, "tls": settings.tls.is_some() })
        })
        .collect();
    json!({
        "open": seen.open.load(Relaxed),
        "accepted": seen.accepted.load(Relaxed),
        "refused": {
            "max_connections": seen.refused_total.load(Relaxed),
            "max_connections_per_ip": seen.refused_per_ip.load(Relaxed),
            "proxy_header": seen.refused_proxy_header.load(Relaxed),
        },
        "tlsHandshakes": seen.tls_handshakes.load(Relaxed),
        "tlsFailures": seen.tls_failures.load(Relaxed),
        "listeners": listeners,
    })
}

/// The certificates that listeners serve.
pub(crate) fn certificates(listeners: &[Arc<ListenerState>]) -> Vec<Certificate> {
    let mut all = Vec::new();
    for state in listeners {
        let settings = state.settings();
        for one in settings.tls.iter().flat_map(|tls| tls.certificates()) {
            all.push(Certificate {
                listener: settings.name.to_string(),
                file: one.file,
                names: one.names,
                not_before: one.not_before,
                not_after: one.not_after,
            });
        }
    }
    all
}
