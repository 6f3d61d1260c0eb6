//! All routes by their patterns, in pieces: what has no change in it is one object with what was in
//! force before, so that a change costs its piece and not all of them.

use std::collections::HashSet;
use std::fmt;
use std::ops::Index;
use std::sync::{Arc, OnceLock};

use serde::{Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use super::{RouteSet, Target};

/// A pattern as written, and the routes under it.
pub type Patterned = (Arc<str>, Arc<RouteSet>);

/// How many patterns every piece has but the last.
pub const PIECE: usize = 64;

/// The routes of a configuration by their patterns as written, in their order. What is the same in
/// the configuration before is the same object: routes, and pieces of them.
#[derive(Clone, Default)]
pub struct Routes {
    pieces: Vec<Arc<Piece>>,
    count: usize,
    /// Hash of each pattern and its place, sorted. Made when one is looked for.
    index: OnceLock<Box<[(u32, u32)]>>,
}

/// Some of the routes, one after the other.
#[derive(Clone)]
pub struct Piece {
    routes: Box<[Patterned]>,
    /// The upstreams that they go to, each once.
    upstreams: Box<[Arc<str>]>,
    /// The policies that they inherit, each once.
    inherited: Box<[Arc<str>]>,
}

/// Routes that are still put together.
#[derive(Default)]
pub(crate) struct Gathered<'b> {
    /// Those in force, whose pieces are taken over where they would be made again.
    before: Option<&'b Routes>,
    pieces: Vec<Arc<Piece>>,
    open: Vec<Patterned>,
}

impl Routes {
    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Them in their pieces.
    pub fn pieces(&self) -> &[Arc<Piece>] {
        &self.pieces
    }

    /// The pieces, to be changed where nobody else has them.
    pub(crate) fn pieces_mut(&mut self) -> &mut [Arc<Piece>] {
        &mut self.pieces
    }

    /// The pieces that are not those of other routes at the same place, each with the place of its
    /// first pattern.
    pub fn pieces_beside<'r>(
        &'r self,
        other: Option<&'r Self>,
    ) -> impl Iterator<Item = (usize, &'r Arc<Piece>)> {
        let own = self.pieces.iter().enumerate();
        let is_new = move |(number, piece): &(usize, &Arc<Piece>)| {
            !other.is_some_and(|other| other.has_piece(*number, piece))
        };
        own.filter(is_new).map(|(number, piece)| (number * PIECE, piece))
    }

    /// Whether the piece of a number is this one.
    pub fn has_piece(&self, number: usize, piece: &Arc<Piece>) -> bool {
        self.pieces.get(number).is_some_and(|own| Arc::ptr_eq(own, piece))
    }

    /// Each pattern and the routes under it.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<RouteSet>)> {
        self.pieces.iter().flat_map(|piece| piece.iter())
    }

    /// The patterns.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.iter().map(|(pattern, _)| pattern)
    }

    /// What is at a place.
    pub fn at(&self, place: usize) -> Option<(&Arc<str>, &Arc<RouteSet>)> {
        let (pattern, set) = self.pieces.get(place / PIECE)?.routes.get(place % PIECE)?;
        Some((pattern, set))
    }

    /// The routes under a pattern.
    pub fn get(&self, pattern: &str) -> Option<&Arc<RouteSet>> {
        self.find(usize::MAX, pattern).map(|(.., set)| set)
    }

    /// The routes under a pattern and their place. `place`: where they mostly are, which is looked
    /// at first.
    pub fn find(&self, place: usize, pattern: &str) -> Option<(usize, &Arc<str>, &Arc<RouteSet>)> {
        // Mostly it is the very same text, which need not be looked at.
        let is = |key: &str| std::ptr::eq(key, pattern) || key == pattern;
        let there = |place: usize| {
            self.at(place).filter(|(key, _)| is(key)).map(|(key, set)| (place, key, set))
        };
        if let Some(found) = there(place) {
            return Some(found);
        }
        let index = self.index.get_or_init(|| {
            let hashes = self.keys().map(|key| hash(key)).zip(0_u32..);
            let mut index: Box<[(u32, u32)]> = hashes.collect();
            index.sort_unstable();
            index
        });
        let hash = hash(pattern);
        let first = index.partition_point(|entry| entry.0 < hash);
        let alike = index.get(first..)?.iter().take_while(|entry| entry.0 == hash);
        alike.map(|entry| entry.1 as usize).find_map(there)
    }
}

/// A hash of a pattern. Equal ones only cost a closer look.
fn hash(pattern: &str) -> u32 {
    xxh3_64(pattern.as_bytes()) as u32
}

impl Piece {
    fn new(routes: Box<[Patterned]>) -> Self {
        let (mut upstreams, mut inherited) = (Vec::<Arc<str>>::new(), Vec::<Arc<str>>::new());
        for route in routes.iter().flat_map(|(_, set)| &set.routes) {
            let mut goes_to = |name: &Arc<str>| {
                if !upstreams.contains(name) {
                    upstreams.push(Arc::clone(name));
                }
            };
            match &route.to {
                Target::Upstream(name) => goes_to(name),
                Target::Split(parts) => {
                    parts.keys().for_each(|name| goes_to(&name.as_str().into()));
                }
                Target::Handler { .. } => {}
            }
            for policy in route.policies.iter().filter(|policy| policy.is_inherited()) {
                if !inherited.contains(&policy.name) {
                    inherited.push(Arc::clone(&policy.name));
                }
            }
        }
        Self { routes, upstreams: upstreams.into(), inherited: inherited.into() }
    }

    /// Whether these routes, which are the same objects, are all of it.
    fn has(&self, routes: &[Patterned]) -> bool {
        let is_same = |(one, two): (&Patterned, &Patterned)| Arc::ptr_eq(&one.1, &two.1);
        self.routes.len() == routes.len() && self.routes.iter().zip(routes).all(is_same)
    }

    /// How many patterns it has.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether it has none, which is never so.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Each pattern and the routes under it.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<RouteSet>)> {
        self.routes.iter().map(|(pattern, set)| (pattern, set))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&Arc<str>, &mut Arc<RouteSet>)> {
        self.routes.iter_mut().map(|(pattern, set)| (&*pattern, set))
    }

    /// The upstreams that they go to, each once.
    pub(crate) fn upstreams(&self) -> &[Arc<str>] {
        &self.upstreams
    }

    /// Whether one of them goes to one of these upstreams.
    pub fn goes_to(&self, upstreams: &HashSet<&str>) -> bool {
        !upstreams.is_empty() && self.upstreams.iter().any(|name| upstreams.contains(&**name))
    }

    /// The policies that they inherit, each once.
    pub(crate) fn inherited(&self) -> &[Arc<str>] {
        &self.inherited
    }
}

impl<'b> Gathered<'b> {
    /// None yet.
    pub(crate) fn beside(before: Option<&'b Routes>) -> Self {
        Self { before, ..Self::default() }
    }

    /// How many there are so far.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len() * PIECE + self.open.len()
    }

    /// Adds the routes under a pattern, which has not been there.
    pub(crate) fn push(&mut self, pattern: Arc<str>, set: Arc<RouteSet>) {
        self.open.push((pattern, set));
        if self.open.len() == PIECE {
            self.close();
        }
    }

    /// Adds a whole piece, where one begins. After one that is not full nothing may come.
    pub(crate) fn push_piece(&mut self, piece: &Arc<Piece>) {
        debug_assert!(self.open.is_empty(), "a piece begins where one has ended");
        self.pieces.push(Arc::clone(piece));
    }

    fn close(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let known = self.before.and_then(|before| before.pieces.get(self.pieces.len()));
        if let Some(known) = known.filter(|known| known.has(&self.open)) {
            self.pieces.push(Arc::clone(known));
            self.open.clear();
            return;
        }
        let routes = std::mem::replace(&mut self.open, Vec::with_capacity(PIECE));
        self.pieces.push(Arc::new(Piece::new(routes.into())));
    }

    /// All of them.
    pub(crate) fn end(mut self) -> Routes {
        self.close();
        let full = self.pieces.len().saturating_sub(1) * PIECE;
        let count = full + self.pieces.last().map_or(0, |last| last.len());
        Routes { pieces: self.pieces, count, index: OnceLock::new() }
    }
}

impl FromIterator<Patterned> for Routes {
    fn from_iter<I: IntoIterator<Item = Patterned>>(all: I) -> Self {
        let mut gathered = Gathered::default();
        all.into_iter().for_each(|(pattern, set)| gathered.push(pattern, set));
        gathered.end()
    }
}

impl<'r> IntoIterator for &'r Routes {
    type Item = (&'r Arc<str>, &'r Arc<RouteSet>);
    type IntoIter = Box<dyn Iterator<Item = Self::Item> + 'r>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl Index<&str> for Routes {
    type Output = Arc<RouteSet>;

    /// For tests: a pattern that is there.
    #[expect(clippy::panic)]
    fn index(&self, pattern: &str) -> &Arc<RouteSet> {
        self.get(pattern).unwrap_or_else(|| panic!("there is no route `{pattern}`"))
    }
}

impl PartialEq for Routes {
    fn eq(&self, other: &Self) -> bool {
        let alike = |(one, two): (&Arc<Piece>, &Arc<Piece>)| {
            Arc::ptr_eq(one, two) || one.routes == two.routes
        };
        self.count == other.count && self.pieces.iter().zip(&other.pieces).all(alike)
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Routes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Arc<RouteSet> {
        Arc::new(RouteSet { routes: Box::default() })
    }

    fn many(count: usize) -> Routes {
        (0..count).map(|n| (Arc::from(format!("/{n}")), set())).collect()
    }

    #[test]
    fn they_are_found_by_place_and_by_pattern() {
        for count in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let routes = many(count);
            assert_eq!((routes.len(), routes.keys().count()), (count, count));
            assert_eq!(routes.is_empty(), count == 0);
            for n in 0..count {
                let pattern = format!("/{n}");
                for hint in [n, n + 1, usize::MAX] {
                    let (place, key, _) = routes.find(hint, &pattern).unwrap();
                    assert_eq!((place, &**key), (n, &*pattern));
                }
                assert_eq!(&**routes.at(n).unwrap().0, &*pattern);
            }
            assert!(routes.find(count, &format!("/{count}")).is_none());
            assert!(routes.at(count).is_none() && routes.get("/").is_none());
        }
    }

    #[test]
    fn a_piece_is_taken_over_as_it_is() {
        let old = many(2 * PIECE + 3);
        let mut next = Gathered::default();
        next.push_piece(&old.pieces()[0]);
        for (place, (pattern, set)) in old.iter().enumerate().skip(PIECE) {
            assert_eq!(next.len(), place);
            next.push(Arc::clone(pattern), Arc::clone(set));
        }
        let next = next.end();
        assert_eq!(next, old);
        let new: Vec<_> = next.pieces_beside(Some(&old)).map(|(place, _)| place).collect();
        assert_eq!(new, [PIECE, 2 * PIECE]);
        assert_eq!(next.pieces_beside(None).count(), 3);
        assert_ne!(many(2 * PIECE), old);
        let mut again = Gathered::beside(Some(&old));
        for (place, (pattern, set)) in old.iter().enumerate() {
            let set = if place == PIECE { self::set() } else { Arc::clone(set) };
            again.push(Arc::clone(pattern), set);
        }
        let again = again.end();
        let new: Vec<_> = again.pieces_beside(Some(&old)).map(|(place, _)| place).collect();
        assert_eq!(new, [PIECE]);
    }
}
