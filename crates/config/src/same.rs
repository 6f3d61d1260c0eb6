//! What is the same as in the configuration in force. A file whose text is the same is not parsed
//! again; a route that says the same, in the same surroundings, is neither decoded nor checked nor
//! built again. The surroundings of a route are the sections that routes are made of; of upstreams,
//! those that it goes to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::check::{Asked, Held, Inherited};
use crate::load::Loaded;
use crate::model::{Document, PIECE, Piece, RouteSet, Routes};
use crate::source::{NodeId, Source};

/// A configuration in force, against which the next one is read.
#[derive(Debug)]
pub struct InForce {
    /// Where it was read from.
    pub source: Source,
    pub document: Arc<Document>,
    /// What its plugins asked for.
    pub asked: Asked,
    /// What its routes inherit, for those that come.
    inherited: Inherited,
}

impl From<Loaded> for InForce {
    fn from(loaded: Loaded) -> Self {
        let Loaded { document, mut source, asked, inherited, .. } = loaded;
        source.settle();
        Self { source, document: Arc::new(document), asked, inherited }
    }
}

/// What no route is made of: whoever needs it looks at what is in force.
const APART: [&str; 8] =
    ["listeners", "admin", "workers", "replicas", "http", "trusted_proxies", "telemetry", "alerts"];

/// The sections that routes are made of, beside their own: each name and what it says.
fn sections(source: &Source) -> impl Iterator<Item = (&str, NodeId)> {
    let named = source.tree.pairs(source.root).iter();
    let named = named.map(|&(key, value)| (source.tree.written(key).unwrap_or_default(), value));
    named.filter(|(word, _)| *word != "routes" && !APART.contains(word))
}

/// The upstreams that are not what they were; `None`: they are not the same ones.
fn changed_in<'b>(
    source: &Source,
    node: NodeId,
    before: &'b InForce,
    its: NodeId,
) -> Option<HashSet<&'b str>> {
    let (own, old) = (source.tree.pairs(node), &before.source);
    let mut changed = HashSet::new();
    for (place, &(key, value)) in own.iter().enumerate() {
        let name = source.tree.written(key)?;
        let there = old.tree.pairs(its).get(place);
        let there = there.filter(|pair| old.tree.written(pair.0) == Some(name)).copied();
        let (key, its) = there.or_else(|| old.tree.pair(its, name))?;
        if !source.is_same(value, old, its) {
            changed.insert(old.tree.written(key)?);
        }
    }
    (own.len() == old.tree.pairs(its).len()).then_some(changed)
}

/// A configuration in force that has the surroundings of the one that is being read.
pub(crate) struct Same<'b> {
    before: &'b InForce,
    routes: NodeId,
    /// How many of the first nodes are the very same, with the same meaning.
    shared: u32,
    /// The upstreams that are not what they were.
    changed: HashSet<&'b str>,
    /// The patterns of routes whose plugins have read files, which may have changed.
    read: HashSet<&'b str>,
    /// What plugins hold on to, by the pattern under which they stand.
    held: HashMap<&'b str, Vec<&'b Arc<Held>>>,
    /// The same of those in `defaults`, by their names.
    held_by_inherited: HashMap<&'b str, Vec<&'b Arc<Held>>>,
}

impl<'b> Same<'b> {
    /// Compares the surroundings; `None`: they differ, and nothing is the same.
    pub(crate) fn of(before: &'b InForce, source: &Source) -> Option<Self> {
        let routes = before.source.tree.get(before.source.root, "routes")?;
        source.tree.get(source.root, "routes")?;
        let shared = source.shared_with(&before.source);
        let mut changed = HashSet::new();
        if sections(source).count() != sections(&before.source).count() {
            return None;
        }
        for (word, node) in sections(source) {
            let its = before.source.tree.get(before.source.root, word)?;
            match word {
                "upstreams" => changed = changed_in(source, node, before, its)?,
                _ if source.is_same(node, &before.source, its) => {}
                _ => return None,
            }
        }
        let mut read = HashSet::new();
        for one in &before.asked.read {
            match one.stands() {
                ("routes", pattern) => drop(read.insert(pattern)),
                // They read again, see `holds`.
                ("identity", _) => {}
                // The pages' own policies are always built.
                ("admin", _) => {}
                _ => return None,
            }
        }
        let (mut held, mut held_by_inherited) =
            <(HashMap<_, Vec<_>>, HashMap<_, Vec<_>>)>::default();
        for one in &before.asked.held {
            match one.stands() {
                ("routes", pattern) => held.entry(pattern).or_default().push(one),
                ("defaults", name) => held_by_inherited.entry(name).or_default().push(one),
                _ => {}
            }
        }
        Some(Self { before, routes, shared, changed, read, held, held_by_inherited })
    }

    /// Whether two pairs of routes are the very same.
    fn is_shared(&self, own: &(NodeId, NodeId), its: &(NodeId, NodeId)) -> bool {
        own == its && own.0.0 < self.shared && own.1.0 < self.shared
    }

    /// A whole piece of the routes, when what stands at a place says what was said there before;
    /// `rest`: all from there on.
    pub(crate) fn piece(&self, place: usize, rest: &[(NodeId, NodeId)]) -> Option<&'b Arc<Piece>> {
        if !place.is_multiple_of(PIECE) || !self.read.is_empty() {
            return None;
        }
        let piece = self.routes().pieces().get(place / PIECE)?;
        let pairs = self.before.source.tree.pairs(self.routes).get(place..)?;
        let (own, its) = (rest.get(..piece.len())?, pairs.get(..piece.len())?);
        // One that is not full is the last.
        let ends_alike = piece.len() == PIECE || rest.len() == piece.len();
        let is_same = ends_alike && own.iter().zip(its).all(|(own, its)| self.is_shared(own, its));
        (is_same && !piece.goes_to(&self.changed)).then_some(piece)
    }

    /// The routes under a pattern, when a pair says what was said of them before; `place`: where
    /// they are among all.
    pub(crate) fn find(
        &self,
        source: &Source,
        place: usize,
        pair: (NodeId, NodeId),
    ) -> Option<(&'b Arc<str>, &'b Arc<RouteSet>)> {
        let old = &self.before.source;
        let pattern = source.tree.written(pair.0)?;
        let pairs = old.tree.pairs(self.routes);
        let there = pairs.get(place);
        let place = match there.is_some_and(|its| self.is_shared(&pair, its)) {
            true => place,
            false if there.is_some_and(|its| old.tree.written(its.0) == Some(pattern)) => place,
            false => old.tree.place(self.routes, pattern)?,
        };
        let its = pairs.get(place)?;
        // What is in force has routes for every key of its tree, in that order.
        let (pattern, set) = self.routes().at(place)?;
        let is_same = self.is_shared(&pair, its) || source.is_same(pair.1, old, its.1);
        let stays = !self.read.contains(&**pattern) && !set.goes_to(&self.changed);
        (is_same && stays).then_some((pattern, set))
    }

    /// The routes in force.
    pub(crate) fn routes(&self) -> &'b Routes {
        &self.before.document.routes
    }

    /// Whether these routes are those that were found.
    pub(crate) fn has(&self, place: usize, pattern: &str, set: &Arc<RouteSet>) -> bool {
        let found = self.routes().find(place, pattern);
        found.is_some_and(|(.., known)| Arc::ptr_eq(known, set))
    }

    /// What the plugins of these routes hold on to: their own, and those that they inherit.
    pub(crate) fn held(&self, pattern: &str, set: &RouteSet) -> Vec<&'b Arc<Held>> {
        let mut all: Vec<_> = self.held.get(pattern).into_iter().flatten().copied().collect();
        if !self.held_by_inherited.is_empty() {
            let policies = set.routes.iter().flat_map(|route| &route.policies);
            for policy in policies.filter(|policy| policy.is_inherited()) {
                all.extend(self.held_by_inherited(&policy.name));
            }
        }
        all
    }

    /// The same of a whole piece of them.
    pub(crate) fn held_by_piece(&self, piece: &Piece) -> Vec<&'b Arc<Held>> {
        let mut all = Vec::new();
        if !self.held.is_empty() {
            let own = piece.iter().filter_map(|(pattern, _)| self.held.get(&**pattern));
            all.extend(own.flatten().copied());
        }
        if !self.held_by_inherited.is_empty() {
            let names = piece.inherited().iter();
            names.for_each(|name| all.extend(self.held_by_inherited(name)));
        }
        all
    }

    /// What the plugin of a name in `defaults` holds on to.
    pub(crate) fn held_by_inherited(&self, name: &str) -> Vec<&'b Arc<Held>> {
        self.held_by_inherited.get(name).into_iter().flatten().copied().collect()
    }

    /// What routes inherit, checked already.
    pub(crate) fn inherited(&self) -> &'b Inherited {
        &self.before.inherited
    }

    /// Whether the surroundings have turned out to be the same in what is only known after all has
    /// been read: identities have found in files what they found before, and upstreams of URLs that
    /// plugins name are there still.
    pub(crate) fn holds(&self, document: &Document, asked: &Asked) -> bool {
        let mut upstreams = asked.upstreams();
        upstreams.all(|name| document.upstreams.contains_key(name))
            && asked.of_identities().eq(self.before.asked.of_identities())
    }
}
