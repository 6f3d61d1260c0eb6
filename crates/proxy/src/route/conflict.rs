//! Finds the patterns between which no request can choose: those that take the same requests, and
//! those that overlap while neither takes only what the other takes too (Go's rule).
//!
//! Subtrees are compared with subtrees, never pattern with pattern, so that ten thousand patterns
//! that differ in a literal cost no more than one look at each. Patterns of different hosts never
//! conflict. A final `/*` counts here as in Go, without the bare path in front of it: for that
//! one, the order in which the router looks decides, and it is no reason for an error.

use std::fmt;
use std::sync::Arc;

use super::build::{Leaf, Tree, Twig};
use super::method::MethodId;
use super::pattern::{End, Host, Pattern, Segment};

/// No more than these are told at once.
const MAX_CONFLICTS: usize = 100;

/// Two patterns that cannot both be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The route index of the pattern that came first.
    pub a: usize,
    /// The route index of the other.
    pub b: usize,
    /// How they conflict.
    pub kind: ConflictKind,
    /// A request that both take: `GET example.com/a/b`.
    pub example: String,
    /// The two as written.
    pub patterns: [Arc<str>; 2],
}

/// How two patterns conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictKind {
    /// They take exactly the same requests.
    SameSet,
    /// Each takes requests that the other does not, and some are taken by both.
    Overlap,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = &self.patterns;
        match self.kind {
            ConflictKind::SameSet => {
                write!(f, "`{a}` and `{b}` take the same requests, such as `{}`", self.example)
            }
            ConflictKind::Overlap => write!(
                f,
                "`{a}` and `{b}` both take `{}`, and neither is more specific; change one so that \
                 it takes only a part of what the other takes",
                self.example
            ),
        }
    }
}

/// Where two different paths to the same depth stand to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lean {
    /// What the left one takes, the right one takes too.
    Left,
    /// Each takes what the other does not.
    Neither,
}

/// All conflicts, to a hundred, in the order of the patterns.
pub(super) fn find(tree: &Tree, patterns: &[(Pattern, usize)]) -> Vec<Conflict> {
    let mut search = Search { tree, patterns, found: Vec::new() };
    for root in tree.roots.values() {
        search.within(*root);
    }
    search.found.sort_by_key(|(a, b, _)| (*a, *b));
    search.found.dedup();
    search.found.iter().filter_map(|found| search.describe(*found)).collect()
}

struct Search<'a> {
    tree: &'a Tree,
    patterns: &'a [(Pattern, usize)],
    found: Vec<(u32, u32, ConflictKind)>,
}

impl<'a> Search<'a> {
    fn twig(&self, at: u32) -> Option<&'a Twig> {
        self.tree.twig(at).filter(|_| self.found.len() < MAX_CONFLICTS)
    }

    fn report(&mut self, a: Leaf, b: Leaf, kind: ConflictKind) {
        if self.found.len() < MAX_CONFLICTS {
            self.found.push((a.pattern.min(b.pattern), a.pattern.max(b.pattern), kind));
        }
    }

    /// Conflicts among the patterns below one twig.
    fn within(&mut self, at: u32) {
        let Some(twig) = self.twig(at) else { return };
        self.twins(&twig.ends);
        self.twins(&twig.rests);
        for child in twig.literals.values().chain(&twig.capture) {
            for rest in &twig.rests {
                self.under_rest(*rest, *child, Lean::Left);
            }
            self.within(*child);
        }
        let Some(capture) = twig.capture else { return };
        for (key, child) in &twig.literals {
            // A capture takes no empty segment.
            if !key.is_empty() {
                self.across(*child, capture, Lean::Left);
            }
        }
    }

    /// Patterns of one path: those of one method are the same.
    fn twins(&mut self, leaves: &[Leaf]) {
        let mut rest = leaves;
        while let Some((a, after)) = rest.split_first() {
            for b in after.iter().take_while(|b| b.method == a.method).take(MAX_CONFLICTS) {
                self.report(*a, *b, ConflictKind::SameSet);
            }
            rest = after;
        }
    }

    /// Conflicts of a pattern that takes the rest with all patterns from a twig down. With
    /// `Lean::Left` their paths are the more specific ones, and only their methods can spoil it.
    fn under_rest(&mut self, rest: Leaf, at: u32, lean: Lean) {
        let Some(twig) = self.twig(at) else { return };
        let possible = match lean {
            Lean::Left => twig.below.exceeds(rest.method),
            Lean::Neither => twig.below.meets(rest.method),
        };
        if !possible {
            return;
        }
        for leaf in twig.ends.iter().chain(&twig.rests) {
            self.judge(*leaf, rest, lean);
        }
        for child in twig.literals.values().chain(&twig.capture) {
            self.under_rest(rest, *child, lean);
        }
    }

    /// Reports two patterns whose paths overlap, the left one leaning as told, if their methods
    /// do not settle it.
    fn judge(&mut self, left: Leaf, right: Leaf, lean: Lean) {
        let spoiled = match lean {
            Lean::Left => left.method != right.method && left.method.takes(right.method),
            Lean::Neither => left.method.meets(right.method),
        };
        if spoiled {
            self.report(left, right, ConflictKind::Overlap);
        }
    }

    /// Conflicts between the patterns below one twig and those below another, whose paths so far
    /// overlap. `lean` is never to the right: the callers order the two.
    fn across(&mut self, left: u32, right: u32, lean: Lean) {
        let (Some(l), Some(r)) = (self.twig(left), self.twig(right)) else { return };
        if !l.below.overlaps(r.below) {
            return;
        }
        let ends = l.ends.iter().flat_map(|a| r.ends.iter().map(move |b| (*a, *b)));
        let rests = l.rests.iter().flat_map(|a| r.rests.iter().map(move |b| (*a, *b)));
        for (a, b) in ends.chain(rests) {
            self.judge(a, b, lean);
        }
        for rest in &r.rests {
            for child in l.literals.values().chain(&l.capture) {
                self.under_rest(*rest, *child, lean);
            }
        }
        for rest in &l.rests {
            for child in r.literals.values().chain(&r.capture) {
                self.under_rest(*rest, *child, Lean::Neither);
            }
        }
        self.across_literals(l, r, lean);
        if let Some(capture) = r.capture {
            for (_, child) in l.literals.iter().filter(|(key, _)| !key.is_empty()) {
                self.across(*child, capture, lean);
            }
        }
        if let Some(capture) = l.capture {
            for (_, child) in r.literals.iter().filter(|(key, _)| !key.is_empty()) {
                self.across(capture, *child, Lean::Neither);
            }
        }
        if let (Some(a), Some(b)) = (l.capture, r.capture) {
            self.across(a, b, lean);
        }
    }

    fn across_literals(&mut self, l: &'a Twig, r: &'a Twig, lean: Lean) {
        if l.literals.len() <= r.literals.len() {
            for (key, a) in &l.literals {
                if let Some(b) = r.literals.get(key) {
                    self.across(*a, *b, lean);
                }
            }
        } else {
            for (key, b) in &r.literals {
                if let Some(a) = l.literals.get(key) {
                    self.across(*a, *b, lean);
                }
            }
        }
    }

    fn describe(&self, (a, b, kind): (u32, u32, ConflictKind)) -> Option<Conflict> {
        let (first, a) = self.patterns.get(a as usize)?;
        let (second, b) = self.patterns.get(b as usize)?;
        Some(Conflict {
            a: *a,
            b: *b,
            kind,
            example: example(first, second),
            patterns: [first.text().clone(), second.text().clone()],
        })
    }
}

/// A request that two overlapping patterns both take.
fn example(a: &Pattern, b: &Pattern) -> String {
    let mut out = String::new();
    let method = if a.method.takes(b.method) { b.method } else { a.method };
    if method != MethodId::ANY {
        out.push_str(method.name().unwrap_or_default());
        out.push(' ');
    }
    match &a.host {
        Host::Any => {}
        Host::Exact(host) => out.push_str(host),
        Host::Under(host) => {
            out.push_str("x.");
            out.push_str(host);
        }
    }
    for place in 0..a.segments.len().max(b.segments.len()) {
        out.push('/');
        out.push_str(match (a.segments.get(place), b.segments.get(place)) {
            (Some(Segment::Literal(text)), _) | (_, Some(Segment::Literal(text))) => text,
            _ => "x",
        });
    }
    let both_open = a.end != End::Exact && b.end != End::Exact;
    if both_open {
        out.push_str("/x");
    }
    out
}
