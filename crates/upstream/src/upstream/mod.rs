//! An upstream: its settings, the set of its endpoints as it is now, and what picks and answers
//! share. Made by the registry; what changes afterwards (DNS answers) swaps the set, never the
//! upstream.

mod roster;

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use lockgate_config::model::{self, Balance, Sticky};
use lockgate_core::{Exchange, Fault, Key, Resend, reasons};
use lockgate_net::tls::ClientTls;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::balance::{Position, hash};
use crate::breaker::Breaker;
use crate::budget::Budget;
use crate::discover::{self, Host, Place, Resolver};
use crate::endpoint::{Endpoint, Override};
use crate::health::{self, Prober};
use crate::picked::Picked;
use crate::queue::Queue;
use crate::set::EndpointSet;
use crate::sticky::StickyCookie;
use crate::task::Spawn;
use roster::{State, hosts};

/// A pick that loses the race for an endpoint's last place tries again this often.
const RACES: usize = 4;

/// A service, and what is known of the endpoints that serve it.
pub struct Upstream {
    name: Arc<str>,
    settings: model::Upstream,
    hosts: Box<[Host]>,
    set: ArcSwap<EndpointSet>,
    position: Arc<Position>,
    queue: Arc<Queue>,
    breaker: Option<Arc<Breaker>>,
    budget: Arc<Budget>,
    sticky: Option<StickyCookie>,
    /// What chooses by key: `maglev`'s own, or a sticky header.
    key: Option<Key>,
    tls: Option<Result<Arc<ClientTls>, String>>,
    prober: Option<Arc<Prober>>,
    eject_turn: Mutex<()>,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    spawn: Spawn,
}

impl Upstream {
    /// Starts the background work, and adopts the endpoints that `before` has too.
    pub(crate) fn begin(self: &Arc<Self>, before: Option<&Self>, resolver: &Resolver) {
        let mut state = self.state();
        self.rebuild(&mut state, before.map_or(&[], |b| &b.hosts), before);
        for (at, host) in self.hosts.iter().enumerate() {
            if let Place::Name(name, _) = &host.place {
                let (weak, resolver) = (Arc::downgrade(self), resolver.clone());
                let watch = discover::watch(weak, at, (&**name).into(), resolver);
                state.watches.push(self.spawn.leashed(watch));
            }
        }
    }

    /// Makes an upstream and starts its background work.
    #[cfg(test)]
    pub(crate) fn start(
        name: &str,
        settings: &model::Upstream,
        before: Option<&Self>,
        spawn: &Spawn,
        resolver: &Resolver,
    ) -> Arc<Self> {
        let upstream = Arc::new(Self::new(name, settings, before, spawn));
        upstream.begin(before, resolver);
        upstream
    }

    /// Makes an upstream that does nothing yet. What `before` counts is gone on with.
    pub(crate) fn new(
        name: &str,
        settings: &model::Upstream,
        before: Option<&Self>,
        spawn: &Spawn,
    ) -> Self {
        let tls = settings.tls.as_ref().map(|tls| {
            let loaded = ClientTls::load(tls, settings.http2);
            loaded.map(Arc::new).map_err(|error| error.to_string())
        });
        Self::with_tls(name, settings, tls, before, spawn)
    }

    /// Makes an upstream whose TLS is not what its settings say.
    pub(crate) fn with_tls(
        name: &str,
        settings: &model::Upstream,
        tls: Option<Result<Arc<ClientTls>, String>>,
        before: Option<&Self>,
        spawn: &Spawn,
    ) -> Self {
        let name: Arc<str> = name.into();
        if let Some(Err(error)) = &tls {
            tracing::error!(upstream = %name, error, "the upstream's TLS cannot be set up");
        }
        let keep = before.filter(|before| before.settings.breaker == settings.breaker);
        let fresh = |b| Arc::new(Breaker::new(Arc::clone(&name), b));
        let breaker = match keep {
            Some(before) => before.breaker.clone(),
            None => settings.breaker.as_ref().map(fresh),
        };
        let keep = before.filter(|before| before.settings.retry.budget == settings.retry.budget);
        let budget = keep.map(|before| Arc::clone(&before.budget));
        let position = before.map(|before| Arc::clone(&before.position)).unwrap_or_default();
        let (sticky, key) = sticking(settings);
        Self {
            hosts: hosts(&name, settings),
            set: ArcSwap::from_pointee(EndpointSet::new(0, Vec::new(), settings, None)),
            position,
            queue: before.map(|before| Arc::clone(&before.queue)).unwrap_or_default(),
            breaker,
            budget: budget.unwrap_or_else(|| Arc::new(Budget::new(settings.retry.budget.0))),
            sticky,
            key,
            prober: settings
                .health
                .clone()
                .map(|health| Arc::new(Prober::new(health, tls.clone(), settings.http2))),
            tls,
            eject_turn: Mutex::new(()),
            state: Mutex::default(),
            changes: watch::Sender::new(0),
            spawn: spawn.clone(),
            settings: settings.clone(),
            name,
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it was made from.
    pub fn settings(&self) -> &model::Upstream {
        &self.settings
    }

    /// Its endpoints as they are now. Keep it no longer than a moment.
    pub fn set(&self) -> Guard<Arc<EndpointSet>> {
        self.set.load()
    }

    /// Its circuit breaker, if it has one.
    pub fn breaker(&self) -> Option<&Arc<Breaker>> {
        self.breaker.as_ref()
    }

    /// Its retry budget.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Its TLS; `None` in plain text.
    ///
    /// # Errors
    /// `upstream_tls`, when its files cannot be used.
    pub fn tls(&self) -> Result<Option<&Arc<ClientTls>>, Fault> {
        match &self.tls {
            None => Ok(None),
            Some(Ok(tls)) => Ok(Some(tls)),
            Some(Err(error)) => Err(Fault::gateway(&reasons::UPSTREAM_TLS).detail(error.clone())),
        }
    }

    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// Those who wait for a place with any endpoint.
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Chooses an endpoint for a request and counts it as in flight there. Endpoints that were
    /// `tried` are avoided while any other is usable.
    ///
    /// # Errors
    /// `no_endpoints`, `no_healthy_endpoint` or `endpoints_busy`; the detail says of each endpoint
    /// why it is out.
    pub fn pick(
        self: &Arc<Self>,
        exchange: &Exchange,
        tried: &[Arc<Endpoint>],
    ) -> Result<Picked, Fault> {
        let set = self.set.load();
        let now = Instant::now();
        let keyed = self.key.is_some();
        if let Some(sticky) = &self.sticky
            && let Some(sent) = exchange.cookie(&sticky.name)
            && let Some(endpoint) = set.stuck(sent, now)
            && !tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint))
            && endpoint.claim()
        {
            return Ok(Picked::new(Arc::clone(self), Arc::clone(endpoint), now, keyed, None));
        }
        let key = self.key.as_ref().and_then(|key| key_hash(key, exchange));
        for _ in 0..RACES {
            let Some(endpoint) = set.choose(&self.position, key, tried, now) else { break };
            if endpoint.claim() {
                let cookie = set.cookie(endpoint).and_then(|c| c.header(exchange.secure));
                return Ok(Picked::new(Arc::clone(self), Arc::clone(endpoint), now, keyed, cookie));
            }
        }
        Err(self.none(&set, now))
    }

    fn none(&self, set: &EndpointSet, now: Instant) -> Fault {
        if set.endpoints().is_empty() {
            let detail = format!("upstream `{}` has no endpoints now", self.name);
            return Fault::upstream(&reasons::NO_ENDPOINTS).resend(Resend::Safe).detail(detail);
        }
        let (story, busy) = set.why_none(now);
        let reason = if busy { &reasons::ENDPOINTS_BUSY } else { &reasons::NO_HEALTHY_ENDPOINT };
        let detail = format!("upstream `{}`: {story}", self.name);
        Fault::upstream(reason).resend(Resend::Safe).detail(detail)
    }

    pub(crate) fn observe(&self, endpoint: &Endpoint, failed: bool, now: Instant) {
        if let Some(outlier) = &self.settings.outlier {
            let set = self.set.load();
            let (all, turn) = (set.endpoints(), &self.eject_turn);
            crate::outlier::observe(outlier, endpoint, failed, now, all, turn);
        }
    }

    /// Orders an override for the endpoint of this name (all addresses of it) or address.
    /// Returns how many it was given to.
    pub fn order(&self, endpoint: &str, order: Override) -> usize {
        let set = self.set.load();
        let named = set.endpoints().iter().filter(|e| named(e, endpoint));
        named
            .inspect(|found| {
                found.order(order);
                let upstream = &self.name;
                tracing::warn!(%upstream, endpoint = %found.label(), ?order, "override set");
            })
            .count()
    }

    /// Probes now: the endpoint of this name or address, or all. Takes at most the probe's
    /// timeout. Returns how many were probed; 0 when health checks are off.
    pub async fn check_now(&self, endpoint: Option<&str>) -> usize {
        let Some(prober) = &self.prober else { return 0 };
        let mut probes = tokio::task::JoinSet::new();
        let all = self.set.load_full();
        for found in all.endpoints().iter().filter(|e| endpoint.is_none_or(|text| named(e, text))) {
            let (found, prober) = (Arc::clone(found), Arc::clone(prober));
            probes.spawn(async move { health::check(&found, &prober).await });
        }
        let count = probes.len();
        while probes.join_next().await.is_some() {}
        count
    }

    /// Hears of each new set: its generation.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until every name has been asked for once, whatever came of it.
    pub async fn ready(&self) {
        let mut changes = self.changes();
        while !self.state().asked.iter().all(|&asked| asked) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("name", &self.name).finish_non_exhaustive()
    }
}

fn named(endpoint: &Endpoint, text: &str) -> bool {
    &**endpoint.name() == text || &**endpoint.label() == text
}

/// The sticky cookie, and the key to place requests by.
fn sticking(settings: &model::Upstream) -> (Option<StickyCookie>, Option<Key>) {
    let own = match &settings.balance {
        Balance::Maglev(key) => Some(key.clone()),
        _ => None,
    };
    match &settings.sticky {
        None => (None, own),
        Some(Sticky::Cookie { name, secret }) => {
            (Some(StickyCookie::new(name, secret.as_deref())), own)
        }
        Some(Sticky::Header { name }) => (None, format!("header:{name}").parse().ok().or(own)),
    }
}

thread_local! {
    /// Room for a key, so that a pick by key allocates once for each worker.
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn key_hash(key: &Key, exchange: &Exchange) -> Option<u64> {
    KEY.with_borrow_mut(|room| {
        room.clear();
        key.write(exchange, room).then(|| hash(room))
    })
}
