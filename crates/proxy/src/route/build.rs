//! The tree of patterns while it is built: one root for each host, one level for each segment.
//! It is checked for conflicts in this form, then laid out flat for the router.

use std::collections::BTreeMap;

use super::escape::decode;
use super::method::{MethodId, MethodSet};
use super::pattern::{End, Host, Pattern, Segment};

/// A method, and which of the patterns (by its place in the list) takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Leaf {
    pub(super) method: MethodId,
    pub(super) pattern: u32,
}

/// What patterns have in common up to one segment.
#[derive(Default)]
pub(super) struct Twig {
    /// By the segment's decoded bytes; the empty one follows a final slash.
    pub(super) literals: BTreeMap<Box<[u8]>, u32>,
    pub(super) capture: Option<u32>,
    /// Patterns that end here.
    pub(super) ends: Vec<Leaf>,
    /// Patterns that take whatever follows.
    pub(super) rests: Vec<Leaf>,
    /// The methods of all patterns that end here or below.
    pub(super) below: MethodSet,
}

/// The whole tree.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) twigs: Vec<Twig>,
    /// Host → its root.
    pub(super) roots: BTreeMap<(Kind, Box<str>), u32>,
}

/// Which hosts a root serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Any,
    Exact,
    Under,
}

impl Tree {
    pub(super) fn new(patterns: &[(Pattern, usize)]) -> Self {
        // Mostly a segment of its own or two.
        let twigs = Vec::with_capacity(2 * patterns.len());
        let mut tree = Self { twigs, roots: BTreeMap::new() };
        tree.root(&Host::Any);
        for (place, (pattern, _)) in (0u32..).zip(patterns) {
            tree.insert(pattern, place);
        }
        for twig in &mut tree.twigs {
            twig.ends.sort_unstable();
            twig.rests.sort_unstable();
        }
        tree
    }

    pub(super) fn twig(&self, at: u32) -> Option<&Twig> {
        self.twigs.get(at as usize)
    }

    fn insert(&mut self, pattern: &Pattern, place: u32) {
        let leaf = Leaf { method: pattern.method, pattern: place };
        let mut at = self.root(&pattern.host);
        self.mark(at, leaf.method);
        for segment in &pattern.segments {
            at = self.child(at, segment);
            self.mark(at, leaf.method);
        }
        let Some(twig) = self.twigs.get_mut(at as usize) else { return };
        match pattern.end {
            End::Exact => twig.ends.push(leaf),
            End::Rest { .. } => twig.rests.push(leaf),
        }
    }

    fn mark(&mut self, at: u32, method: MethodId) {
        if let Some(twig) = self.twigs.get_mut(at as usize) {
            twig.below.add(method);
        }
    }

    fn root(&mut self, host: &Host) -> u32 {
        let key = match host {
            Host::Any => (Kind::Any, "".into()),
            Host::Exact(name) => (Kind::Exact, name.clone()),
            Host::Under(name) => (Kind::Under, name.clone()),
        };
        let fresh = self.twigs.len() as u32;
        let at = *self.roots.entry(key).or_insert(fresh);
        self.grow(at)
    }

    fn child(&mut self, at: u32, segment: &Segment) -> u32 {
        let fresh = self.twigs.len() as u32;
        let Some(twig) = self.twigs.get_mut(at as usize) else { return at };
        let child = match segment {
            Segment::Literal(text) => {
                let key = decode(text.as_bytes());
                match twig.literals.get(&*key) {
                    Some(known) => *known,
                    None => *twig.literals.entry(key.into_owned().into()).or_insert(fresh),
                }
            }
            Segment::Capture => *twig.capture.get_or_insert(fresh),
        };
        self.grow(child)
    }

    /// Adds the twig when it is the next fresh one.
    fn grow(&mut self, at: u32) -> u32 {
        if at as usize == self.twigs.len() {
            self.twigs.push(Twig::default());
        }
        at
    }
}
