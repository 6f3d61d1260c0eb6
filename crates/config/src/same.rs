//! What is the same as in the configuration in force. A file whose text is the same is not parsed
//! again; a route that says the same, in the same surroundings, is neither decoded nor checked nor
//! built again. The surroundings of a route are all that is not a route.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::check::{Asked, Held, Inherited};
use crate::load::Loaded;
use crate::model::{Document, RouteSet, find_routes};
use crate::source::{At, NodeId, Source};

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
        // It is kept for as long as it is in force.
        source.tree.shrink();
        Self { source, document: Arc::new(document), asked, inherited }
    }
}

/// A configuration in force that has the surroundings of the one that is being read.
pub(crate) struct Same<'b> {
    before: &'b InForce,
    routes: NodeId,
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
        let (new, old) = (&source.tree, &before.source.tree);
        let routes = old.get(before.source.root, "routes")?;
        let mut sections = new.pairs(source.root).iter().filter_map(|&(key, value)| {
            let word = new.written(key)?;
            (word != "routes").then_some((word, value))
        });
        let alike = sections.by_ref().all(|(word, value)| {
            let before_it = old.get(before.source.root, word);
            before_it.is_some_and(|its| source.is_same(value, &before.source, its))
        });
        let as_many = new.pairs(source.root).len() == old.pairs(before.source.root).len();
        let same_base = source.base(At::default()) == before.source.base(At::default());
        if !(alike && as_many && same_base && new.get(source.root, "routes").is_some()) {
            return None;
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
        Some(Self { before, routes, read, held, held_by_inherited })
    }

    /// The routes under a pattern, when a node says what was said of them before; `place`: where
    /// they are among all.
    pub(crate) fn find(
        &self,
        source: &Source,
        place: usize,
        pattern: &str,
        node: NodeId,
    ) -> Option<(&'b Arc<str>, &'b Arc<RouteSet>)> {
        let old = &self.before.source;
        let pairs = old.tree.pairs(self.routes);
        let is_there = |pair: &(NodeId, NodeId)| old.tree.written(pair.0) == Some(pattern);
        let place = match pairs.get(place).is_some_and(is_there) {
            true => place,
            false => old.tree.place(self.routes, pattern)?,
        };
        let (_, its) = *pairs.get(place)?;
        // What is in force has routes for every key of its tree, in that order.
        let (pattern, set) = self.before.document.routes.get_index(place)?;
        let is_same = source.is_same(node, old, its) && !self.read.contains(&**pattern);
        is_same.then_some((pattern, set))
    }

    /// Whether these routes are those that were found.
    pub(crate) fn has(&self, place: usize, pattern: &str, set: &Arc<RouteSet>) -> bool {
        let found = find_routes(&self.before.document.routes, place, pattern);
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
