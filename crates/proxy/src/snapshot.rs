//! One configuration, resolved: everything that a request needs to know, immutable, shared by all
//! workers, and replaced as a whole.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use lockgate_config::model::{self, Document, PIECE};
use lockgate_core::{Blobs, Exchange, Identities, Write};
use lockgate_telemetry::{AccessLog, RouteSeries, Traces};
use lockgate_upstream::Upstream;
use subtle::ConstantTimeEq;

use crate::build::Inherited;
use crate::mount::Mount;
use crate::pipeline::Entry;
use crate::plans::Plans;
use crate::reserved::Reserved;
use crate::rewrite::Rewrite;
use crate::route::{Condition, Found, Router};
use crate::target::Target;

/// A configuration, ready to serve.
pub struct Snapshot {
    /// Counts the configurations of this process, from 1.
    pub generation: u64,
    /// When it was built.
    pub loaded: SystemTime,
    /// What it was built from.
    pub document: Arc<Document>,
    /// The upstreams by name.
    pub upstreams: Arc<HashMap<String, Arc<Upstream>>>,
    /// The access log, if it is on.
    pub log: Option<Arc<AccessLog>>,
    /// The traces, if they are on.
    pub traces: Option<Arc<Traces>>,
    pub(crate) router: Arc<Router>,
    pub(crate) sets: Sets,
    /// What routes inherit, for those that come.
    pub(crate) inherited: Inherited,
    /// What clients may not state on any of its routes, beside what they never may.
    pub(crate) reserved: Arc<Reserved>,
    /// What the routes identify callers by.
    pub(crate) identities: Identities,
    pub(crate) unrouted: Arc<RouteSeries>,
    pub(crate) redirects: HashMap<Box<str>, u16>,
    /// The admin pages, where a public listener shows them too.
    pub(crate) mount: Option<Mount>,
    pub(crate) plans: Plans,
    /// The stores to tell of writes.
    pub(crate) stores: Arc<[Arc<dyn Blobs>]>,
}

/// All routes of a snapshot, in the order of the document's and in its pieces, and those of the
/// gateway's own after them. A piece without a change is one object with that of the snapshot
/// before, so that neither making nor dropping a snapshot touches every route.
#[derive(Default)]
pub(crate) struct Sets {
    pub(crate) pieces: Vec<Piece>,
    /// How many the document has.
    pub(crate) count: usize,
    pub(crate) own: Vec<Arc<RouteSet>>,
}

/// As many as a piece of the document's routes has.
pub(crate) type Piece = Arc<[Arc<RouteSet>]>;

impl Sets {
    pub(crate) fn len(&self) -> usize {
        self.count + self.own.len()
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Arc<RouteSet>> {
        match place.checked_sub(self.count) {
            None => self.pieces.get(place / PIECE)?.get(place % PIECE),
            Some(own) => self.own.get(own),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<RouteSet>> {
        self.pieces.iter().flat_map(|piece| piece.iter()).chain(&self.own)
    }
}

/// The routes under one pattern, told apart by their conditions.
pub(crate) struct RouteSet {
    pub(crate) pattern: Arc<str>,
    pub(crate) captures: Arc<[Box<str>]>,
    pub(crate) routes: Box<[Route]>,
}

/// Where a route stands in its snapshot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) set: usize,
    pub(crate) among: usize,
}

/// One route, resolved.
pub(crate) struct Route {
    pub(crate) pattern: Arc<str>,
    pub(crate) when: Condition,
    pub(crate) entries: Box<[Entry]>,
    /// Whether one of them looks at what is stated of a request's origin, on the way back.
    pub(crate) reads_origin: bool,
    pub(crate) target: Target,
    /// Boxed, as most have none.
    pub(crate) rewrite: Option<Box<Rewrite>>,
    /// The handler's settings as written, where they have references, for `explain`.
    pub(crate) written: Option<Box<str>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Option<Arc<model::Retry>>,
    pub(crate) series: Arc<RouteSeries>,
    pub(crate) tags: Arc<[String]>,
}

impl Snapshot {
    /// Whether there is no route at all.
    pub fn is_empty(&self) -> bool {
        self.sets.len() == 0
    }

    /// Whether an address is a proxy whose word is taken.
    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        contains(&self.document.trusted_proxies, ip)
    }

    /// Whether a request may see how it was decided: its debug header bears the admin's token.
    pub(crate) fn may_trace(&self, headers: &HeaderMap, name: &HeaderName) -> bool {
        let Some(token) = &self.document.admin.token else { return false };
        let given = headers.get(name).map(HeaderValue::as_bytes);
        given.is_some_and(|given| given.ct_eq(token.as_bytes()).into())
    }

    /// The https port to which the exchange's listener sends all of its clients, if it does.
    pub(crate) fn redirects_https(&self, exchange: &Exchange) -> Option<u16> {
        if self.redirects.is_empty() || exchange.secure {
            return None;
        }
        self.redirects.get(&*exchange.connection.listener).copied()
    }

    /// What of a request makes stored answers untrue, if anything is stored and it may.
    pub(crate) fn written(&self, exchange: &Exchange) -> Option<Write> {
        if self.stores.is_empty() { None } else { Write::of(exchange) }
    }

    pub(crate) fn find(&self, method: &Method, host: &str, path: &str) -> Found {
        self.router.find(method, host, path)
    }

    pub(crate) fn set(&self, index: usize) -> Option<&RouteSet> {
        self.sets.get(index).map(|set| &**set)
    }

    /// The routes under a pattern of another document, as they serve here, when they are the very
    /// same there; `place`: where they are in it.
    pub(crate) fn same(
        &self,
        place: usize,
        pattern: &str,
        set: &Arc<model::RouteSet>,
    ) -> Option<Arc<RouteSet>> {
        let (own, _, known) = self.document.routes.find(place, pattern)?;
        if Arc::ptr_eq(known, set) { self.sets.get(own).cloned() } else { None }
    }

    /// A whole piece of another document's routes, as it serves here, when it is the very same.
    pub(crate) fn same_piece(&self, number: usize, piece: &Arc<model::Piece>) -> Option<Piece> {
        let is_same = self.document.routes.has_piece(number, piece);
        self.sets.pieces.get(number).filter(|_| is_same).cloned()
    }

    pub(crate) fn route(&self, place: Place) -> Option<&Route> {
        self.sets.get(place.set)?.routes.get(place.among)
    }

    pub(crate) fn max_buffered_body(&self) -> usize {
        usize::try_from(self.document.http.max_buffered_body.0).unwrap_or(usize::MAX)
    }
}

/// Whether one of the networks has this address.
pub(crate) fn contains(networks: &[IpNet], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}
