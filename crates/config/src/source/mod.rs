//! Where a configuration came from: its files, their texts, and the positioned tree read of them.
//!
//! Every later complaint finds its file, line and column here, by the path of keys that leads to
//! what it is about.

mod begin;
mod entries;
mod hidden;
mod read;
mod reference;
mod texts;
mod toml;
pub(crate) mod tree;
mod yaml;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

pub use begin::{Begin, is_part, parts, standing};
pub use hidden::Hidden;
pub use reference::Lookup;

use entries::EntryRead;
pub(crate) use hidden::marks;
pub(crate) use read::{Finished, Reader};
pub(crate) use tree::{At, NodeId, Shape, Spelling, Tree};
use tree::{Mark, Part};

use crate::changes::Laid;
use crate::report::{Problem, Severity};

/// Maps and lists inside one another.
pub(crate) const MAX_DEPTH: usize = 32;
/// Values of one file.
const MAX_NODES: usize = 2_000_000;

/// The files of one configuration, and where everything in them stands.
pub struct Source {
    files: Vec<File>,
    /// The files that each `include` meant, in the order of reading.
    included: Vec<Vec<PathBuf>>,
    /// Whether the first file is only what the others are in.
    in_parts: bool,
    pub(crate) tree: Tree,
    pub(crate) root: NodeId,
    /// The root of the files alone, without the changes that lie over them.
    pub(crate) of_files: NodeId,
    /// Which of the files has those changes.
    changes: Option<u16>,
    laid: Vec<Laid>,
    /// What was read of each of those changes.
    entries: Vec<EntryRead>,
}

struct File {
    name: Arc<str>,
    /// The directory that relative paths in it start from.
    base: PathBuf,
    text: Arc<str>,
    /// What tells that from other texts, once it has been asked for.
    hash: OnceLock<u64>,
    /// What was read of it: its part of the tree, and the root in that.
    read: Option<(Part, NodeId)>,
    /// Whether there may be references in it.
    refers: bool,
}

/// A position in a file. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: Arc<str>,
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Something wrong at a position, before the file's name and text are put beside it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fail {
    pub(crate) at: At,
    pub(crate) severity: Severity,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// Where the same thing stood before.
    pub(crate) first: Option<At>,
    /// Whether the line itself is not to be shown.
    pub(crate) hidden: bool,
}

impl Fail {
    pub(crate) fn new(at: At, message: impl Into<String>) -> Self {
        let severity = Severity::Error;
        Self { at, severity, message: message.into(), help: None, first: None, hidden: false }
    }

    pub(crate) fn warning(at: At, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::new(at, message) }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Keeps the line out of the report: it bears a secret.
    pub(crate) fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    pub(crate) fn first(mut self, at: At) -> Self {
        self.first = Some(at);
        self
    }
}

impl Source {
    /// Where the value under a path of keys stands (list items by their number): a map or list
    /// by its key. `None` when the files have no such thing.
    pub fn locate(&self, path: &[&str]) -> Option<Place> {
        self.find(path).map(|at| self.place(at))
    }

    /// A problem at a path of keys, or at the nearest thing above it that stands in a file.
    pub fn problem(
        &self,
        path: &[&str],
        severity: Severity,
        message: impl Into<String>,
    ) -> Problem {
        let fail = Fail { severity, ..Fail::new(self.nearest(path), message) };
        self.explain(fail)
    }

    /// What became of each of the changes that were laid over the files, in their order.
    pub fn laid(&self) -> &[Laid] {
        &self.laid
    }

    /// What the files say under a path of keys, as written, without the changes over them.
    pub fn in_files(&self, path: &[&str]) -> Option<serde_json::Value> {
        let step = |node, key: &&str| self.tree.get(node, key);
        let node = path.iter().try_fold(self.of_files, step)?;
        Some(self.tree.value(node, Spelling::Written))
    }

    /// The file that was given, by the name it was given under.
    pub fn name(&self) -> &str {
        self.files.first().map_or("", |file| &file.name)
    }

    /// A file's place in the order of reading.
    pub(crate) fn number(&self, file: &str) -> Option<usize> {
        self.files.iter().position(|own| &*own.name == file)
    }

    pub(crate) fn nearest(&self, path: &[&str]) -> At {
        let mut path = path;
        loop {
            if let Some(at) = self.find(path) {
                return at;
            }
            let Some((_, shorter)) = path.split_last() else { return At::default() };
            path = shorter;
        }
    }

    /// The place of the last key of a path, whatever stands under it.
    pub(crate) fn key(&self, path: &[&str]) -> At {
        let pair =
            path.split_last().and_then(|(last, parent)| self.tree.pair(self.node(parent)?, last));
        pair.map_or_else(|| self.nearest(path), |(key, _)| self.tree.at(key))
    }

    /// Whether a list of routes stands under a pattern, not one; `place`: where it mostly is among
    /// all.
    pub(crate) fn is_list_of_routes(&self, place: usize, pattern: &str) -> bool {
        let tree = &self.tree;
        let Some(routes) = tree.get(self.root, "routes") else { return false };
        let there = tree.pairs(routes).get(place);
        let there = there.filter(|pair| tree.written(pair.0) == Some(pattern)).map(|pair| pair.1);
        let found = there.or_else(|| tree.get(routes, pattern));
        found.is_some_and(|node| tree.shape(node) == Shape::List)
    }

    /// How many items the list under a path of keys has.
    pub(crate) fn items(&self, path: &[&str]) -> usize {
        self.node(path).map_or(0, |node| self.tree.items(node).len())
    }

    /// The node under a path of keys.
    pub(crate) fn node(&self, path: &[&str]) -> Option<NodeId> {
        let step = |node, key: &&str| match self.tree.shape(node) {
            Shape::List => self.tree.items(node).get(key.parse::<usize>().ok()?).copied(),
            _ => self.tree.get(node, key),
        };
        path.iter().try_fold(self.root, step)
    }

    /// It is kept for as long as it is in force: what was read of its files may be shared by what
    /// is read after it.
    pub(crate) fn settle(&mut self) {
        let of_changes = self.changes.map_or(self.files.len(), usize::from);
        let mut files = Mark::default();
        for (part, _) in self.files.iter().take(of_changes).filter_map(|file| file.read) {
            if part.begin() != files {
                break;
            }
            files = part.end();
        }
        self.tree.settle(files);
    }

    /// How many of the first nodes are the very same in another source, and mean the same there.
    pub(crate) fn shared_with(&self, other: &Self) -> u32 {
        let count = self.tree.shared_with(&other.tree);
        if self.tree.refers_alike(&other.tree, count) { count } else { 0 }
    }

    /// Whether what stands under a node is what stands under one of another source: the same
    /// words with the same meaning, wherever they stand. Paths in them may start from elsewhere:
    /// whoever has read a file by one is known for that.
    pub(crate) fn is_same(&self, node: NodeId, other: &Self, its: NodeId) -> bool {
        self.is_copy(node, other, its) || self.tree.is_same(node, &other.tree, its)
    }

    /// Whether a node was copied from another with all that is below it: then it need not be looked
    /// at. What references stand for may have changed since.
    fn is_copy(&self, node: NodeId, other: &Self, its: NodeId) -> bool {
        let own = self.files.get(self.tree.at(node).file as usize);
        let before = other.files.get(other.tree.at(its).file as usize);
        let (Some(own), Some(before)) = (own, before) else { return false };
        let place = |file: &File, node| file.read.and_then(|(part, _)| part.place(node));
        !own.refers
            && Arc::ptr_eq(&own.text, &before.text)
            && place(own, node).is_some_and(|own| place(before, its) == Some(own))
    }

    pub(crate) fn find(&self, path: &[&str]) -> Option<At> {
        let node = self.node(path)?;
        let (last, parent) = path.split_last()?;
        if matches!(self.tree.shape(node), Shape::Map | Shape::List | Shape::Nothing) {
            let key = self.tree.pair(self.node(parent)?, last).map(|(key, _)| key);
            return Some(self.tree.at(key.unwrap_or(node)));
        }
        Some(self.tree.at(node))
    }

    pub(crate) fn place(&self, at: At) -> Place {
        let file = self.files.get(at.file as usize).map(|file| file.name.clone());
        Place {
            file: file.unwrap_or_else(|| "".into()),
            line: at.line.max(1) as usize,
            column: at.column.max(1) as usize,
        }
    }

    /// The directory that relative paths at a position start from.
    pub(crate) fn base(&self, at: At) -> &Path {
        self.files.get(at.file as usize).map_or(Path::new(""), |file| &file.base)
    }

    /// Puts the file's name and line beside a fail. Whatever a reference stood for is taken out
    /// of its words, should a plugin have repeated it.
    pub(crate) fn explain(&self, fail: Fail) -> Problem {
        let place = self.place(fail.at);
        let text = self.files.get(fail.at.file as usize).map(|file| &file.text);
        let line = text.and_then(|text| text.lines().nth(place.line - 1));
        let mut help = fail.help;
        if let Some(first) = fail.first {
            help = Some(format!("the first one is at {}", self.place(first)));
        }
        Problem {
            severity: fail.severity,
            file: place.file,
            line: place.line,
            column: place.column,
            width: usize::from(fail.at.width.max(1)),
            message: self.without_secrets(fail.message),
            help: help.map(|help| self.without_secrets(help)),
            excerpt: line.filter(|_| !fail.hidden).map(str::to_owned),
        }
    }

    /// Takes what references stood for out of a message, and what would disturb a terminal. What is
    /// short is taken out only where it is quoted.
    pub fn without_secrets(&self, text: String) -> String {
        let mut text = text;
        for reference in self.tree.references() {
            let short = |part: &(Box<str>, Box<str>)| part.1.len() < MIN_SECRET;
            if reference.parts.iter().any(short) {
                let shown = match reference.parts.as_slice() {
                    [(written, value)] if *value == reference.value => written,
                    _ => "[secret]",
                };
                text = text.replace(&format!("`{}`", reference.value), &format!("`{shown}`"));
            }
            for (written, value) in &reference.parts {
                if value.len() >= MIN_SECRET {
                    text = text.replace(&**value, written);
                    let escaped: String = value.escape_debug().collect();
                    text = text.replace(&escaped, written);
                }
            }
        }
        text.replace(char::is_control, "\u{fffd}")
    }
}

/// What is shorter than this stands in other words too: taking it out would garble messages.
const MIN_SECRET: usize = 6;

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.files.iter().map(|file| &file.name)).finish()
    }
}
