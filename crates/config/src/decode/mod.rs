//! The tree into the model, with all that is wrong found in one go.
//!
//! serde stops at the first thing that does not fit. So whatever does not fit is noted and taken
//! out, and the same node is decoded again until it fits or nothing new is found. The structs
//! stay plain; a short form is one row of a table.

mod deserializer;
mod document;
mod failure;
pub(crate) mod forms;
mod inherit;
mod route;
mod target;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

pub(crate) use document::document;
pub(crate) use inherit::{UPSTREAM_KEYS, inherit};
pub(crate) use route::ROUTE_KEYS;
pub(crate) use target::HANDLERS;

use crate::source::{At, Fail, NodeId, Shape, Source};
use deserializer::Node;
use failure::{Failure, What};

/// More problems than this are not looked for: nobody reads them at once.
pub(crate) const MAX_PROBLEMS: usize = 50;

/// How references are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As what they stand for.
    Resolved,
    /// As they are written, wherever the field takes that, so that the result may be shown.
    Shown,
}

/// What is known while a document is decoded.
pub(crate) struct Decoder<'s> {
    pub(crate) source: &'s Source,
    reading: Reading,
    /// Nodes that do not fit: nothing sees them any more.
    removed: RefCell<HashSet<NodeId>>,
    /// Nodes whose references are read against `reading`.
    turned: RefCell<HashSet<NodeId>>,
    fails: RefCell<Vec<Fail>>,
    full: Cell<bool>,
    /// Words that many routes have in them, each once.
    words: RefCell<HashMap<&'s str, Arc<str>>>,
}

impl<'s> Decoder<'s> {
    pub(crate) fn new(source: &'s Source, reading: Reading, unresolved: &[NodeId]) -> Self {
        Self {
            source,
            reading,
            removed: RefCell::new(unresolved.iter().copied().collect()),
            turned: RefCell::new(HashSet::new()),
            fails: RefCell::new(Vec::new()),
            full: Cell::new(false),
            words: RefCell::default(),
        }
    }

    pub(crate) fn into_fails(self) -> Vec<Fail> {
        self.fails.into_inner()
    }

    /// A word as one object for all that have it.
    fn word(&self, word: &'s str) -> Arc<str> {
        Arc::clone(self.words.borrow_mut().entry(word).or_insert_with(|| word.into()))
    }

    /// Decodes a node. What does not fit is noted; `None` when nothing is left of it.
    pub(crate) fn decode<T: DeserializeOwned>(&self, node: NodeId) -> Option<T> {
        let mut pending: Option<NodeId> = None;
        while !self.full.get() && !self.is_removed(node) {
            let failure = match T::deserialize(Node::new(self, node)) {
                Ok(value) => {
                    let Some(hidden) = pending.take() else { return Some(value) };
                    self.note(hidden, generic());
                    continue;
                }
                Err(failure) => failure,
            };
            let at = failure.node.unwrap_or(node);
            if let Some(hidden) = pending.take() {
                let seen = if hidden == at { failure } else { generic() };
                self.note(hidden, seen);
                continue;
            }
            // The words of a failure may repeat the value. When that came from a reference, it
            // is read once more in the other way, which here is how the file spells it.
            if self.source.tree.reference(at).is_some() && self.turned.borrow_mut().insert(at) {
                if self.reading == Reading::Resolved {
                    pending = Some(at);
                }
                continue;
            }
            if self.is_removed(at) {
                self.removed.borrow_mut().insert(node);
                break;
            }
            self.note(at, failure);
        }
        None
    }

    fn note(&self, node: NodeId, failure: Failure) {
        let tree = &self.source.tree;
        // What is said of a map or list that has lost a part may only be about that part.
        let follows = !matches!(failure.what, What::UnknownKey(_)) && self.lost_a_part(node);
        self.removed.borrow_mut().insert(node);
        if !follows {
            self.fail(failure.tell(tree, node));
        }
    }

    /// Notes a fail.
    pub(crate) fn fail(&self, fail: Fail) {
        let mut fails = self.fails.borrow_mut();
        if fails.len() >= MAX_PROBLEMS {
            self.full.set(true);
        } else {
            fails.push(fail);
        }
    }

    /// Notes an unknown key, once.
    pub(crate) fn unknown(&self, key: NodeId, value: NodeId, known: &[&str]) {
        if !self.removed.borrow_mut().insert(key) {
            return;
        }
        let tree = &self.source.tree;
        let word = tree.written(key).unwrap_or_default();
        let fail = Fail::new(tree.at(key), format!("unknown key `{word}`"));
        if let Some(later) = later(word) {
            // Switching off what is not there needs no words.
            if !tree.is_off(value) {
                let fail = Fail::new(tree.at(key), format!("this version has no `{word}` yet"));
                self.fail(fail.help(later));
            }
            return;
        }
        self.fail(fail.help(suggest(word, known)));
    }

    pub(crate) fn is_removed(&self, node: NodeId) -> bool {
        let removed = self.removed.borrow();
        !removed.is_empty() && removed.contains(&node)
    }

    /// Whether nothing at all has been taken out.
    pub(crate) fn has_all(&self) -> bool {
        self.removed.borrow().is_empty()
    }

    pub(crate) fn remove(&self, node: NodeId) {
        self.removed.borrow_mut().insert(node);
    }

    fn lost_a_part(&self, node: NodeId) -> bool {
        let tree = &self.source.tree;
        tree.pairs(node).iter().any(|pair| self.is_removed(pair.0) || self.is_removed(pair.1))
            || tree.items(node).iter().any(|item| self.is_removed(*item))
    }

    /// A scalar's text: resolved, or as written when that is how this node is read.
    pub(crate) fn text(&self, node: NodeId) -> Option<&'s str> {
        let tree = &self.source.tree;
        if tree.reference(node).is_none() {
            return tree.written(node);
        }
        let turned = self.turned.borrow().contains(&node);
        if (self.reading == Reading::Resolved) != turned {
            tree.text(node)
        } else {
            tree.written(node)
        }
    }

    /// A path that is written at a position. When it is to be shown, it stays one that is meant
    /// from the main file's directory.
    fn path(&self, at: At, text: &str) -> PathBuf {
        let path = self.source.base(at).join(text.trim_start_matches("./"));
        if self.reading == Reading::Resolved {
            return path;
        }
        let main = self.source.base(At::default());
        path.strip_prefix(main).map(Path::to_path_buf).unwrap_or(path)
    }

    /// The pairs of a map that still stand.
    pub(crate) fn pairs(&self, node: NodeId) -> impl Iterator<Item = (&'s str, NodeId, NodeId)> {
        let tree = &self.source.tree;
        tree.pairs(node)
            .iter()
            .filter(|pair| !self.is_removed(pair.0) && !self.is_removed(pair.1))
            .map(|&(key, value)| (tree.written(key).unwrap_or_default(), key, value))
    }

    /// Whether a node is a map; if not, that is noted with what was expected.
    pub(crate) fn expect_map(&self, node: NodeId, expected: &str) -> bool {
        let tree = &self.source.tree;
        match tree.shape(node) {
            Shape::Map => true,
            Shape::Nothing | Shape::Bool(false) => false,
            _ => {
                let found = failure::describe(tree, node);
                let message = format!("expected {expected}, found {found}");
                if !self.is_removed(node) {
                    self.remove(node);
                    self.fail(Fail::new(tree.at(node), message));
                }
                false
            }
        }
    }
}

fn generic() -> Failure {
    Failure::custom("what this reference stands for does not fit here".into())
}

/// Words that the manual already fixes for what is still to come.
fn later(word: &str) -> Option<&'static str> {
    Some(match word {
        "http3" => "listeners speak HTTP/1.1 and HTTP/2",
        "discover" => "name the `endpoints`; host names are resolved by DNS, and again in time",
        "zones" => "an endpoint's `priority` says which ones are used first",
        _ => return None,
    })
}

/// "did you mean", or what there is to choose from.
pub(crate) fn suggest(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "there is none to choose from".into(),
        None => {
            let mut names: Vec<_> = known.iter().take(24).map(|name| format!("`{name}`")).collect();
            if known.len() > 24 {
                names.push("…".into());
            }
            format!("known here: {}", names.join(", "))
        }
    }
}

/// The known word that a mistyped one means.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for name in known {
        let distance = strsim::damerau_levenshtein(word, name);
        let close = distance <= 1 + word.chars().count().min(12) / 4;
        if close && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}
