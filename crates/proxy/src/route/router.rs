//! The router: from method, host and path to a route, in time that does not depend on how many
//! routes there are. One flat tree, and one hash table for all of its literal edges.
//!
//! The keys in the table come from the configuration alone; requests are only looked up in it, so
//! no client can make it grow or crowd it. It takes paths in the normal form and no others.

use std::sync::Arc;

use http::Method;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::build::{Kind, Leaf, Tree};
use super::conflict::{self, Conflict};
use super::escape::decode;
use super::method::{MethodId, MethodSet};
use super::pattern::{End, Pattern};

const NONE: u32 = u32::MAX;
/// In place of a parent: the roots of exact hosts, and of wildcard hosts.
const EXACT_HOSTS: u32 = u32::MAX - 1;
const WILD_HOSTS: u32 = u32::MAX - 2;

/// What a request's method, host and path lead to.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A route.
    Route {
        /// The index that was given with its pattern.
        index: usize,
        /// One byte range of the path for each of the pattern's captures. Not allocated when it
        /// has none.
        ranges: Vec<(u32, u32)>,
    },
    /// There are patterns for the host and path, but none takes the method.
    MethodNotAllowed {
        /// The methods that would be taken, sorted, for an `Allow` header. OPTIONS is among them,
        /// as the gateway answers it itself where no pattern does.
        allow: String,
    },
    /// Nothing.
    None,
}

/// Finds routes. Built once, then only read.
#[derive(Debug)]
pub struct Router {
    nodes: Vec<Node>,
    leaves: Vec<Leaf>,
    /// The decoded text of every literal, one after the other.
    keys: Vec<u8>,
    /// A power of two, at most half full.
    slots: Vec<Slot>,
    pub(super) entries: Vec<Entry>,
    /// Whether there is a host without a wildcard.
    has_hosts: bool,
    /// How many labels the longest wildcard host has, the star not counted.
    wild_labels: usize,
    methods: MethodSet,
}

/// What is known of one pattern.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) text: Arc<str>,
    pub(super) index: u32,
    names: Arc<[Box<str>]>,
    captures: u64,
    rest_after: Option<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// The upper half of the key's hash.
    tag: u32,
    node: u32,
}

/// A segment of the tree. Its leaves stand together: first those that end here.
#[derive(Debug, Clone, Copy)]
struct Node {
    parent: u32,
    key: u32,
    capture: u32,
    leaves: u32,
    key_len: u16,
    ends: u8,
    rests: u8,
    has_literals: bool,
}

impl Router {
    /// Builds a router from patterns, each with the index that [`find`](Self::find) returns.
    ///
    /// # Errors
    /// The pairs of patterns between which no request could choose, a hundred at most.
    pub fn build(patterns: Vec<(Pattern, usize)>) -> Result<Self, Vec<Conflict>> {
        let tree = Tree::new(&patterns);
        let conflicts = conflict::find(&tree, &patterns);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        let mut router = Self::lay_out(&tree);
        router.entries = patterns.iter().map(|(p, index)| Entry::new(p, *index)).collect();
        for root in tree.roots.values().filter_map(|root| tree.twig(*root)) {
            router.methods.join(root.below);
        }
        Ok(router)
    }

    /// Finds the most specific pattern for a request. `host` is in lower case, without a port;
    /// `path` is in the normal form that [`normalise`](super::normalise) makes.
    pub fn find(&self, method: &Method, host: &str, path: &str) -> Found {
        let asked = MethodId::of(method);
        if path == "*" {
            return self.whole_server(method);
        }
        if !path.starts_with('/') || path.len() >= NONE as usize {
            return Found::None;
        }
        let walk = Walk { router: self, path: path.as_bytes(), asked };
        if let Some(entry) = walk.winner(host) {
            return Found::Route { index: entry.index as usize, ranges: entry.ranges(path) };
        }
        let mut allowed = MethodSet::default();
        for root in self.roots(host) {
            walk.collect(root, Some(1), &mut allowed);
        }
        if allowed.is_empty() { Found::None } else { not_allowed(allowed) }
    }

    /// The entry of the pattern that [`find`](Self::find) would choose.
    pub(super) fn winner<'a>(
        &'a self,
        method: &Method,
        host: &'a str,
        path: &'a str,
    ) -> Option<&'a Entry> {
        let asked = MethodId::of(method);
        Walk { router: self, path: path.as_bytes(), asked }.winner(host)
    }

    /// The text of the pattern that was given at this place.
    pub fn text(&self, place: usize) -> Option<Arc<str>> {
        self.entries.get(place).map(|entry| Arc::clone(&entry.text))
    }

    /// The names of its captures.
    pub fn captures(&self, place: usize) -> Arc<[Box<str>]> {
        self.entries.get(place).map(|entry| Arc::clone(&entry.names)).unwrap_or_default()
    }

    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes on the heap, texts of the patterns included.
    pub fn memory(&self) -> usize {
        let texts: usize = self.entries.iter().map(|e| e.text.len() + 16).sum();
        texts
            + self.keys.capacity()
            + self.nodes.capacity() * size_of::<Node>()
            + self.leaves.capacity() * size_of::<Leaf>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.entries.capacity() * size_of::<Entry>()
    }

    /// RFC 9110 §9.3.7: `OPTIONS *` asks about the server as a whole.
    fn whole_server(&self, method: &Method) -> Found {
        if method == Method::OPTIONS { not_allowed(self.methods) } else { Found::None }
    }

    /// The roots to look in, the most specific host first.
    fn roots<'a>(&'a self, host: &'a str) -> impl Iterator<Item = u32> + 'a {
        let host = host.strip_suffix('.').unwrap_or(host);
        let exact = self.has_hosts.then(|| self.child(EXACT_HOSTS, host.as_bytes())).flatten();
        exact.into_iter().chain(self.wild_roots(host)).chain(Some(0))
    }

    fn wild_roots<'a>(&'a self, host: &'a str) -> impl Iterator<Item = u32> + 'a {
        let most = self.wild_labels;
        let labels = if most == 0 { 0 } else { host.split('.').count() };
        // The numbers first: with no wildcard there are none, and the host is not looked at.
        let parents = (1..labels).zip(host.match_indices('.'));
        parents
            .filter(move |(gone, (at, _))| *at > 0 && labels - gone <= most)
            .filter_map(move |(_, (at, _))| self.child(WILD_HOSTS, host.as_bytes().get(at + 1..)?))
    }

    fn child(&self, parent: u32, key: &[u8]) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let (tag, mut place) = hash(parent, key);
        loop {
            let slot = self.slots.get(place & mask)?;
            if slot.node == NONE {
                return None;
            }
            if slot.tag == tag && self.is_edge(slot.node, parent, key) {
                return Some(slot.node);
            }
            place += 1;
        }
    }

    fn is_edge(&self, node: u32, parent: u32, key: &[u8]) -> bool {
        self.nodes.get(node as usize).is_some_and(|node| {
            let begin = node.key as usize;
            node.parent == parent
                && self.keys.get(begin..begin + usize::from(node.key_len)) == Some(key)
        })
    }

    fn lay_out(tree: &Tree) -> Self {
        let edges: usize = tree.twigs.iter().map(|twig| twig.literals.len()).sum();
        let slots = ((edges + tree.roots.len()) * 2).next_power_of_two();
        let mut router = Self {
            nodes: Vec::with_capacity(tree.twigs.len()),
            leaves: Vec::new(),
            keys: Vec::new(),
            slots: vec![Slot { tag: 0, node: NONE }; slots],
            entries: Vec::new(),
            has_hosts: false,
            wild_labels: 0,
            methods: MethodSet::default(),
        };
        for twig in &tree.twigs {
            let node = Node {
                parent: NONE,
                key: 0,
                capture: twig.capture.unwrap_or(NONE),
                leaves: router.leaves.len() as u32,
                key_len: 0,
                // At most one of each method, and those are fewer than 64.
                ends: twig.ends.len() as u8,
                rests: twig.rests.len() as u8,
                has_literals: !twig.literals.is_empty(),
            };
            router.leaves.extend(twig.ends.iter().chain(&twig.rests));
            router.nodes.push(node);
        }
        for ((kind, host), root) in &tree.roots {
            match kind {
                Kind::Any => {}
                Kind::Exact => {
                    router.has_hosts = true;
                    router.link(EXACT_HOSTS, host.as_bytes(), *root);
                }
                Kind::Under => {
                    router.wild_labels = router.wild_labels.max(host.split('.').count());
                    router.link(WILD_HOSTS, host.as_bytes(), *root);
                }
            }
        }
        for (parent, twig) in (0u32..).zip(&tree.twigs) {
            for (key, child) in &twig.literals {
                router.link(parent, key, *child);
            }
        }
        router.keys.shrink_to_fit();
        router.leaves.shrink_to_fit();
        router
    }

    /// Enters a literal edge into the table.
    fn link(&mut self, parent: u32, key: &[u8], child: u32) {
        let Some(node) = self.nodes.get_mut(child as usize) else { return };
        node.parent = parent;
        node.key = self.keys.len() as u32;
        // A pattern is shorter than this.
        node.key_len = key.len() as u16;
        self.keys.extend_from_slice(key);
        let mask = self.slots.len() - 1;
        let (tag, mut place) = hash(parent, key);
        while let Some(slot) = self.slots.get_mut(place & mask) {
            if slot.node == NONE {
                *slot = Slot { tag, node: child };
                return;
            }
            place += 1;
        }
    }
}

fn hash(parent: u32, key: &[u8]) -> (u32, usize) {
    let hash = xxh3_64_with_seed(key, u64::from(parent));
    ((hash >> 32) as u32, hash as u32 as usize)
}

fn not_allowed(methods: MethodSet) -> Found {
    Found::MethodNotAllowed { allow: methods.allow() }
}

/// One lookup. A place is where the next segment begins; `None` when the path is used up.
struct Walk<'a> {
    router: &'a Router,
    path: &'a [u8],
    asked: MethodId,
}

impl<'a> Walk<'a> {
    fn winner(&self, host: &str) -> Option<&'a Entry> {
        self.router.roots(host).find_map(|root| self.find(root, Some(1)))
    }

    fn find(&self, at: u32, place: Option<usize>) -> Option<&'a Entry> {
        let node = self.router.nodes.get(at as usize)?;
        let Some(place) = place else {
            return self.pick(node, 0, node.ends).or_else(|| self.pick_rest(node));
        };
        let (segment, next) = self.segment(place)?;
        if let Some(child) = self.literal(node, at, segment)
            && let Some(found) = self.find(child, next)
        {
            return Some(found);
        }
        if node.capture != NONE
            && !segment.is_empty()
            && let Some(found) = self.find(node.capture, next)
        {
            return Some(found);
        }
        self.pick_rest(node)
    }

    /// Adds the methods of all patterns that the path fits.
    fn collect(&self, at: u32, place: Option<usize>, into: &mut MethodSet) {
        let Some(node) = self.router.nodes.get(at as usize) else { return };
        let begin = node.leaves as usize;
        let rests = begin + usize::from(node.ends);
        let first = if place.is_none() { begin } else { rests };
        let leaves = self.router.leaves.get(first..rests + usize::from(node.rests));
        for leaf in leaves.unwrap_or_default() {
            into.add(leaf.method);
        }
        let Some((segment, next)) = place.and_then(|place| self.segment(place)) else { return };
        if let Some(child) = self.literal(node, at, segment) {
            self.collect(child, next, into);
        }
        if node.capture != NONE && !segment.is_empty() {
            self.collect(node.capture, next, into);
        }
    }

    fn segment(&self, place: usize) -> Option<(&'a [u8], Option<usize>)> {
        let rest = self.path.get(place..)?;
        match rest.iter().position(|byte| *byte == b'/') {
            Some(length) => Some((rest.get(..length)?, Some(place + length + 1))),
            None => Some((rest, None)),
        }
    }

    fn literal(&self, node: &Node, at: u32, segment: &[u8]) -> Option<u32> {
        if !node.has_literals {
            return None;
        }
        self.router.child(at, &decode(segment))
    }

    fn pick_rest(&self, node: &Node) -> Option<&'a Entry> {
        self.pick(node, node.ends, node.rests)
    }

    /// The first of a node's leaves that takes the method: they stand in that order.
    fn pick(&self, node: &Node, skip: u8, count: u8) -> Option<&'a Entry> {
        if count == 0 {
            return None;
        }
        let begin = node.leaves as usize + usize::from(skip);
        let leaves = self.router.leaves.get(begin..begin + usize::from(count))?;
        let leaf = leaves.iter().find(|leaf| leaf.method.takes(self.asked))?;
        self.router.entries.get(leaf.pattern as usize)
    }
}

impl Entry {
    fn new(pattern: &Pattern, index: usize) -> Self {
        let named = pattern.end == End::Rest { named: true };
        Self {
            text: pattern.text().clone(),
            index: index as u32,
            names: pattern.captures(),
            captures: pattern.capture_bits(),
            // At most 64.
            rest_after: named.then_some(pattern.segments.len() as u8),
        }
    }

    /// Where the captures stand in a path that fits.
    fn ranges(&self, path: &str) -> Vec<(u32, u32)> {
        let count = self.captures.count_ones() as usize + usize::from(self.rest_after.is_some());
        if count == 0 {
            return Vec::new();
        }
        let mut ranges = Vec::with_capacity(count);
        let mut begin = 1;
        let mut left = self.captures;
        for (number, segment) in (0u8..).zip(path.split('/').skip(1)) {
            if ranges.len() == count || self.rest_after == Some(number) {
                break;
            }
            let end = begin + segment.len();
            if left & 1 == 1 {
                ranges.push((begin as u32, end as u32));
            }
            left >>= 1;
            begin = end + 1;
        }
        if self.rest_after.is_some() {
            // `/a` under `/a/{rest...}`: the rest is nothing, and begins where the path ends.
            ranges.push((begin.min(path.len()) as u32, path.len() as u32));
        }
        ranges
    }
}
