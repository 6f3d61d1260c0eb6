//! The control side of an upstream: from configured names and DNS answers to a new set of
//! endpoints, with the identities it already had, and one monitor for each. Nothing here runs on a
//! worker; workers see the finished set.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use lockgate_config::model;

use crate::discover::{Answer, Host, Place};
use crate::endpoint::{Endpoint, Health, Identity};
use crate::health;
use crate::set::{EndpointSet, MOST_ENDPOINTS};
use crate::task::Leash;

use super::Upstream;

/// What only control work touches.
#[derive(Default)]
pub(super) struct State {
    /// For each host its last good answer.
    pub(super) addresses: Vec<Option<Vec<SocketAddr>>>,
    /// For each host whether it has been asked for once.
    pub(super) asked: Vec<bool>,
    pub(super) monitors: HashMap<Identity, Leash>,
    pub(super) watches: Vec<Leash>,
    pub(super) retired: bool,
}

impl Upstream {
    /// Takes in what DNS said of one host; `None`: it failed, and the last answer stays.
    pub(crate) fn resolved(&self, at: usize, answer: Option<Answer>) {
        let mut state = self.state();
        if state.retired {
            return;
        }
        if let Some(asked) = state.asked.get_mut(at) {
            *asked = true;
        }
        let port = match self.hosts.get(at).map(|host| &host.place) {
            Some(Place::Name(_, port)) => *port,
            _ => return,
        };
        let fresh =
            answer.map(|a| a.addresses.into_iter().map(|ip| (ip, port).into()).collect::<Vec<_>>());
        let changed = match (state.addresses.get_mut(at), fresh) {
            (Some(known), Some(fresh)) if known.as_ref() != Some(&fresh) => {
                *known = Some(fresh);
                true
            }
            _ => false,
        };
        if changed {
            self.rebuild(&mut state, &[], None);
        } else {
            self.changes.send_modify(|_| {});
        }
    }

    /// Whether an address of the host at this place is known.
    pub(crate) fn knows(&self, at: usize) -> bool {
        self.state().addresses.get(at).is_some_and(Option::is_some)
    }

    /// Stops all background work. Endpoints that `after` does not have are told that they are
    /// gone, so that pools let go of them.
    pub(crate) fn retire(&self, after: Option<&Self>) {
        let mut state = self.state();
        state.retired = true;
        state.monitors.clear();
        state.watches.clear();
        if after.is_none() {
            self.drop_orders();
        }
        let kept = after.map(|after| after.set.load_full());
        for endpoint in self.set.load().endpoints() {
            let stays = kept
                .iter()
                .any(|set| set.endpoints().iter().any(|other| Arc::ptr_eq(other, endpoint)));
            endpoint.set_gone(!stays);
        }
    }

    /// Builds the set from the addresses known, and fits the monitors to it.
    pub(super) fn rebuild(&self, state: &mut State, hosts_before: &[Host], before: Option<&Self>) {
        if let Some(before) = before {
            state.addresses = inherited(&self.hosts, hosts_before, &before.state().addresses);
        } else if state.addresses.is_empty() {
            state.addresses = inherited(&self.hosts, &[], &[]);
        }
        if state.asked.is_empty() {
            state.asked = state.addresses.iter().map(Option::is_some).collect();
        }
        let current = self.set.load_full();
        let known = before.map(|before| before.set.load_full());
        let known = known.iter().chain([&current]).flat_map(|set| set.endpoints());
        let known: HashMap<&Identity, &Arc<Endpoint>> =
            known.map(|endpoint| (endpoint.identity(), endpoint)).collect();
        let endpoints = self.gather(state, &known);
        let generation = current.generation() + 1;
        let set = EndpointSet::new(generation, endpoints, &self.settings, self.sticky.as_ref());
        self.tend(state, &set);
        for endpoint in current.endpoints() {
            endpoint.set_gone(!set.endpoints().iter().any(|e| Arc::ptr_eq(e, endpoint)));
        }
        self.set.store(Arc::new(set));
        self.changes.send_replace(generation);
    }

    fn gather(
        &self,
        state: &State,
        known: &HashMap<&Identity, &Arc<Endpoint>>,
    ) -> Vec<Arc<Endpoint>> {
        let mut endpoints: Vec<Arc<Endpoint>> = Vec::new();
        let places = self.hosts.iter().zip(&state.addresses);
        for (host, address) in
            places.flat_map(|(h, known)| known.iter().flatten().map(move |a| (h, a)))
        {
            let identity = Identity {
                upstream: Arc::clone(&self.name),
                name: Arc::clone(&host.name),
                host: Arc::clone(&host.host),
                address: *address,
            };
            if endpoints.len() == MOST_ENDPOINTS {
                tracing::warn!(upstream = %self.name, "more than {MOST_ENDPOINTS} endpoints");
                break;
            }
            let endpoint = match known.get(&identity) {
                Some(endpoint) => Arc::clone(endpoint),
                None => {
                    let endpoint = Endpoint::new(identity);
                    // The first of all are as warm as each other.
                    if !known.is_empty() {
                        endpoint.freshen();
                    }
                    self.tell(&endpoint);
                    Arc::new(endpoint)
                }
            };
            if let Some(settings) = self.settings.endpoints.get(&*host.name) {
                let room = self.settings.pool.max_requests;
                endpoint.adjust(settings.weight, settings.priority, settings.zone.as_deref(), room);
            }
            if self.settings.outlier.is_none() {
                endpoint.pardon();
            }
            endpoint.set_gone(false);
            endpoints.push(endpoint);
        }
        endpoints
    }

    fn tend(&self, state: &mut State, set: &EndpointSet) {
        let Some(prober) = &self.prober else {
            for endpoint in set.endpoints() {
                endpoint.set_health(Health::Unknown);
            }
            return;
        };
        let mut monitors = HashMap::with_capacity(set.endpoints().len());
        for endpoint in set.endpoints() {
            let leash = state.monitors.remove(endpoint.identity()).unwrap_or_else(|| {
                self.spawn.leashed(health::monitor(Arc::clone(endpoint), Arc::clone(prober)))
            });
            monitors.insert(endpoint.identity().clone(), leash);
        }
        state.monitors = monitors;
    }
}

pub(super) fn hosts(upstream: &str, settings: &model::Upstream) -> Box<[Host]> {
    let parse = |name: &String| match Host::parse(name, settings.tls.is_some()) {
        Ok(host) => Some(host),
        Err(error) => {
            tracing::error!(upstream, error, "endpoint left out");
            None
        }
    };
    settings.endpoints.keys().filter_map(parse).collect()
}

/// The addresses to begin with: literal ones, and what was known of the same names before.
fn inherited(
    hosts: &[Host],
    before: &[Host],
    known: &[Option<Vec<SocketAddr>>],
) -> Vec<Option<Vec<SocketAddr>>> {
    let begin = |host: &Host| match &host.place {
        Place::Literal(address) => Some(vec![*address]),
        Place::Name(..) => {
            let same = before.iter().position(|other| other == host)?;
            known.get(same).cloned().flatten()
        }
    };
    hosts.iter().map(begin).collect()
}
