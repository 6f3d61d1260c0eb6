//! An upstream: its settings, the set of its endpoints as it is now, and what picks and answers
//! share. Made by the registry; what changes afterwards (DNS answers) swaps the set, never the
//! upstream.

mod orders;
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
use crate::endpoint::Endpoint;
use crate::health::{self, Prober};
use crate::outlier::Seen;
use crate::picked::Picked;
use crate::queue::Queue;
use crate::set::EndpointSet;
use crate::sticky::StickyCookie;
use crate::task::Spawn;
use orders::Orders;
use roster::{State, hosts};

pub use orders::Ordered;

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
    orders: Arc<Orders>,
    sticky: Option<StickyCookie>,
    /// What chooses by key: `maglev`'s own, or a sticky header.
    key: Option<Key>,
    /// Swapped when its files have changed.
    tls: Option<Arc<Tls>>,
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
        self.forget_orders();
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
        let secured = settings.tls.as_ref().map(|tls| {
            let http2 = settings.may_speak_http2();
            ClientTls::load(tls, http2).map(Arc::new).map_err(|error| error.to_string())
        });
        Self::with_tls(name, settings, secured, before, spawn)
    }

    /// Makes an upstream whose TLS is not what its settings say.
    pub(crate) fn with_tls(
        name: &str,
        settings: &model::Upstream,
        secured: Option<Secured>,
        before: Option<&Self>,
        spawn: &Spawn,
    ) -> Self {
        let name: Arc<str> = name.into();
        if let Some(Err(error)) = &secured {
            tracing::error!(upstream = %name, error, "the upstream's TLS cannot be set up");
        }
        let tls = secured.map(|secured| Arc::new(ArcSwap::from_pointee(secured)));
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
            orders: before.map(|before| Arc::clone(&before.orders)).unwrap_or_default(),
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
    pub fn tls(&self) -> Result<Option<Arc<ClientTls>>, Fault> {
        let Some(tls) = &self.tls else { return Ok(None) };
        match &**tls.load() {
            Ok(tls) => Ok(Some(Arc::clone(tls))),
            Err(error) => Err(Fault::gateway(&reasons::UPSTREAM_TLS).detail(error.clone())),
        }
    }

    /// Whether what a request's head says chooses its endpoint.
    pub fn is_keyed(&self) -> bool {
        self.key.is_some()
    }

    /// Its TLS as its files have it now, when they have changed since they were read.
    pub(crate) fn changed_tls(&self) -> Option<Secured> {
        let settings = self.settings.tls.as_ref()?;
        let now = self.tls.as_ref()?.load();
        let current = now.as_ref().as_ref().is_ok_and(|tls| tls.is_current(settings));
        let http2 = self.settings.may_speak_http2();
        (!current).then(|| secured(&self.name, settings, http2))
    }

    /// Takes it for new connections. Those that are open stay.
    pub(crate) fn take_tls(&self, changed: Secured) {
        // Files that have become unusable do not undo what was read of them.
        let Some(tls) = self.tls.as_ref().filter(|tls| changed.is_ok() || tls.load().is_err())
        else {
            return;
        };
        tls.store(Arc::new(changed));
        tracing::info!(upstream = %self.name, "the files of the upstream's TLS were read again");
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

    pub(crate) fn observe(&self, endpoint: &Endpoint, seen: Seen, now: Instant) {
        if let Some(outlier) = &self.settings.outlier {
            let set = self.set.load();
            let (all, turn) = (set.endpoints(), &self.eject_turn);
            crate::outlier::observe(outlier, endpoint, seen, now, all, turn);
        }
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

/// The TLS of an upstream: ready, or why it could not be made ready.
pub(crate) type Secured = Result<Arc<ClientTls>, String>;
/// The one that new connections use.
pub(crate) type Tls = ArcSwap<Secured>;

fn secured(upstream: &str, tls: &model::UpstreamTls, http2: bool) -> Secured {
    ClientTls::load(tls, http2).map(Arc::new).map_err(|error| {
        let error = error.to_string();
        tracing::error!(upstream, error, "the upstream's TLS cannot be set up");
        error
    })
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
