//! The node tree that every format is read into: compact, and each node knows where it stands.
//!
//! Nodes, pairs and items live in three flat lists and all text in one string, so that thousands
//! of routes cost a handful of allocations. The tree is only ever added to.

mod flat;
mod part;
mod same;

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Number, Value};
use xxhash_rust::xxh3::xxh3_64;

use flat::Flat;
pub(crate) use flat::Mark;
pub(crate) use part::Part;

/// A node's index in its [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(crate) u32);

/// Where a node stands. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct At {
    pub(crate) file: u16,
    /// Characters to underline; at least 1 is drawn.
    pub(crate) width: u16,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

#[derive(Debug, Clone, Copy)]
struct Range {
    from: u32,
    to: u32,
}

impl Range {
    fn of(self) -> std::ops::Range<usize> {
        self.from as usize..self.to as usize
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Written without quotes, so that `off`, `12` and nothing at all have a meaning.
    Plain,
    /// Written with quotes.
    Quoted,
    Map,
    List,
}

/// As small as can be, as there are tens of thousands of them for as long as they are in force.
#[derive(Debug, Clone, Copy)]
struct Node {
    at: At,
    /// Where its range begins, in the texts, in the pairs or in the items.
    from: u32,
    /// How long that is, and the kind in the two highest bits.
    length: u32,
}

/// The bits of a length: more than the largest file has.
const LENGTH: u32 = u32::MAX >> 2;

impl Node {
    fn new(at: At, range: Range, kind: Kind) -> Self {
        let length = range.to.saturating_sub(range.from).min(LENGTH);
        Self { at, from: range.from, length: length | (kind as u32) << 30 }
    }

    fn kind(&self) -> Kind {
        match self.length >> 30 {
            0 => Kind::Plain,
            1 => Kind::Quoted,
            2 => Kind::Map,
            _ => Kind::List,
        }
    }

    fn range(&self) -> Range {
        Range { from: self.from, to: self.from + (self.length & LENGTH) }
    }
}

/// A scalar that has `${...}` in it, with what that stands for. Never shown.
pub(crate) struct Reference {
    pub(crate) value: Box<str>,
    /// The same as a template, with the words and escapes of one.
    pub(crate) template: Box<str>,
    /// Each `${...}` as written, and what it stands for.
    pub(crate) parts: Vec<(Box<str>, Box<str>)>,
}

/// What a node is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Nothing,
    Bool(bool),
    Number,
    Text,
    Map,
    List,
}

/// All nodes of all files of one configuration.
#[derive(Default)]
pub(crate) struct Tree {
    /// What trees before have read of the files; to this mark it is this one's too.
    shared: Arc<Flat>,
    shares: Mark,
    /// What is behind that: all numbers go on.
    own: Flat,
    references: Vec<Reference>,
    /// The scalars that have references, in their order, and which.
    refer: Vec<(NodeId, u32)>,
}

/// Maps up to this size are searched from the front.
const SMALL: usize = 16;

impl Tree {
    /// Makes room for what a text of so many bytes usually has in it.
    pub(crate) fn expect(&mut self, bytes: usize) {
        self.own.nodes.reserve(bytes / 8);
        self.own.pairs.reserve(bytes / 16);
    }

    /// A file's text is read from now on: what stands in it word for word is not kept again. Of
    /// several files it is the first, which is mostly the largest.
    pub(crate) fn begin(&mut self, text: &Arc<str>) {
        if self.own.is_empty() {
            self.own.text = Arc::clone(text);
        }
    }

    /// Whether this very text is the one that has begun. Words of another that stand in it by
    /// chance would be none of that other file's part.
    pub(crate) fn reads(&self, text: &str) -> bool {
        std::ptr::eq(text, &*self.own.text)
    }

    /// A scalar that may stand word for word at this byte of the text that has begun.
    pub(crate) fn scalar_at(&mut self, at: At, byte: usize, text: &str, plain: bool) -> NodeId {
        if self.own.text.get(byte..).is_none_or(|rest| !rest.starts_with(text)) {
            return self.scalar(at, text, plain);
        }
        let from = self.shares.pool + byte as u32;
        let kind = if plain { Kind::Plain } else { Kind::Quoted };
        self.push(at, Range { from, to: from + text.len() as u32 }, kind)
    }

    pub(crate) fn scalar(&mut self, at: At, text: &str, plain: bool) -> NodeId {
        let from = self.mark().pool;
        self.own.pool.push_str(text);
        let kind = if plain { Kind::Plain } else { Kind::Quoted };
        self.push(at, Range { from, to: self.mark().pool }, kind)
    }

    pub(crate) fn map(&mut self, at: At, pairs: &[(NodeId, NodeId)]) -> NodeId {
        let from = self.mark().pairs;
        self.own.pairs.extend_from_slice(pairs);
        let id = self.push(at, Range { from, to: self.mark().pairs }, Kind::Map);
        if pairs.len() > SMALL {
            self.own.indices.insert(id, OnceLock::new());
        }
        id
    }

    pub(crate) fn list(&mut self, at: At, items: &[NodeId]) -> NodeId {
        let from = self.mark().items;
        self.own.items.extend_from_slice(items);
        self.push(at, Range { from, to: self.mark().items }, Kind::List)
    }

    fn push(&mut self, at: At, range: Range, kind: Kind) -> NodeId {
        self.own.nodes.push(Node::new(at, range, kind));
        NodeId(self.mark().nodes - 1)
    }

    /// Says what the `${...}` in a scalar stand for. Scalars are told in their order.
    pub(crate) fn refer(&mut self, id: NodeId, stands_for: Reference) {
        self.refer.push((id, self.references.len() as u32));
        self.references.push(stands_for);
    }

    fn reference_number(&self, id: NodeId) -> Option<usize> {
        if self.refer.is_empty() {
            return None;
        }
        let place = self.refer.binary_search_by_key(&id, |one| one.0).ok()?;
        self.refer.get(place).map(|one| one.1 as usize)
    }

    /// Makes a scalar's references stand in a template.
    pub(crate) fn make_template(&mut self, id: NodeId) {
        let Some(number) = self.reference_number(id) else { return };
        if let Some(reference) = self.references.get_mut(number) {
            reference.value.clone_from(&reference.template);
        }
    }

    /// The range of a node of a kind.
    fn range(&self, id: NodeId, kind: Kind) -> Option<Range> {
        self.node(id).filter(|node| node.kind() == kind).map(Node::range)
    }

    pub(crate) fn at(&self, id: NodeId) -> At {
        self.node(id).map(|node| node.at).unwrap_or_default()
    }

    /// The pairs of a map; empty for anything else.
    pub(crate) fn pairs(&self, id: NodeId) -> &[(NodeId, NodeId)] {
        self.range(id, Kind::Map).map(|range| self.pairs_in(range)).unwrap_or_default()
    }

    /// The items of a list; empty for anything else.
    pub(crate) fn items(&self, id: NodeId) -> &[NodeId] {
        self.range(id, Kind::List).map(|range| self.items_in(range)).unwrap_or_default()
    }

    /// A scalar as the file spells it, quotes and escapes undone; `None` for maps and lists.
    pub(crate) fn written(&self, id: NodeId) -> Option<&str> {
        let node = self.node(id)?;
        match node.kind() {
            Kind::Plain | Kind::Quoted => Some(self.words_in(node.range())),
            Kind::Map | Kind::List => None,
        }
    }

    /// A scalar's text with its references resolved.
    pub(crate) fn text(&self, id: NodeId) -> Option<&str> {
        match self.reference(id) {
            Some(reference) => Some(&reference.value),
            None => self.written(id),
        }
    }

    /// What the references in a scalar stand for, if it has any.
    pub(crate) fn reference(&self, id: NodeId) -> Option<&Reference> {
        self.references.get(self.reference_number(id)?)
    }

    pub(crate) fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Whether a reference stands in the node or below it.
    pub(crate) fn refers(&self, id: NodeId) -> bool {
        if self.references.is_empty() {
            return false;
        }
        self.reference(id).is_some()
            || self.pairs(id).iter().any(|&(_, value)| self.refers(value))
            || self.items(id).iter().any(|&item| self.refers(item))
    }

    /// Whether a reference may stand below a pair's value: without a look at every node of it.
    pub(crate) fn may_refer(&self, (key, value): (NodeId, NodeId)) -> bool {
        // A value is read behind its key, and what is in it before it ends.
        let first = self.refer.partition_point(|one| one.0 < key);
        key > value || self.refer.get(first).is_some_and(|one| one.0 <= value)
    }

    pub(crate) fn shape(&self, id: NodeId) -> Shape {
        let Some(node) = self.node(id) else { return Shape::Nothing };
        match node.kind() {
            Kind::Map => Shape::Map,
            Kind::List => Shape::List,
            Kind::Plain if self.reference_number(id).is_none() => {
                plain_shape(self.words_in(node.range()))
            }
            Kind::Plain | Kind::Quoted => Shape::Text,
        }
    }

    /// Whether it is `off` or `false`.
    pub(crate) fn is_off(&self, id: NodeId) -> bool {
        self.shape(id) == Shape::Bool(false)
    }

    /// The value that stands under a key.
    pub(crate) fn get(&self, id: NodeId, key: &str) -> Option<NodeId> {
        self.pair(id, key).map(|(_, value)| value)
    }

    /// A key's node and its value's.
    pub(crate) fn pair(&self, id: NodeId, key: &str) -> Option<(NodeId, NodeId)> {
        self.pairs(id).get(self.place(id, key)?).copied()
    }

    /// Which of a map's pairs has a key.
    pub(crate) fn place(&self, id: NodeId, key: &str) -> Option<usize> {
        let pairs = self.pairs(id);
        let is = |pair: &(NodeId, NodeId)| self.written(pair.0) == Some(key);
        let index = self.index_of(id).filter(|_| pairs.len() > SMALL);
        let Some(index) = index.map(|index| index.get_or_init(|| self.indexed(pairs))) else {
            return pairs.iter().position(is);
        };
        let hash = short_hash(key);
        let first = index.partition_point(|entry| entry.0 < hash);
        let alike =
            index.get(first..).unwrap_or_default().iter().take_while(|entry| entry.0 == hash);
        alike.map(|entry| entry.1 as usize).find(|place| pairs.get(*place).is_some_and(is))
    }

    /// The hash of each key of a map and its place, sorted.
    fn indexed(&self, pairs: &[(NodeId, NodeId)]) -> Arc<[(u32, u32)]> {
        let hash = |key| short_hash(self.written(key).unwrap_or_default());
        let hashes = pairs.iter().zip(0_u32..);
        let mut index: Vec<_> = hashes.map(|(pair, place)| (hash(pair.0), place)).collect();
        index.sort_unstable();
        index.into()
    }

    /// The node as a JSON value. `off` is `false` when `resolved`, and else stays a word.
    pub(crate) fn value(&self, id: NodeId, as_: Spelling) -> Value {
        match self.shape(id) {
            Shape::Map => {
                // A map that grows would have room for four.
                let mut map = Map::with_capacity(self.pairs(id).len());
                for &(key, value) in self.pairs(id) {
                    let key = self.written(key).unwrap_or_default();
                    map.insert(key.into(), self.value(value, as_));
                }
                Value::Object(map)
            }
            Shape::List => self.items(id).iter().map(|&item| self.value(item, as_)).collect(),
            Shape::Nothing => Value::Null,
            Shape::Bool(on) => match self.written(id) {
                Some("off") if as_ == Spelling::OffAsWord => "off".into(),
                _ => on.into(),
            },
            Shape::Number => number(self.written(id).unwrap_or_default()),
            Shape::Text if as_ == Spelling::Written => self.written(id).unwrap_or_default().into(),
            Shape::Text => self.text(id).unwrap_or_default().into(),
        }
    }
}

/// How [`Tree::value`] spells what has more than one spelling.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// References resolved, `off` as `false`.
    Resolved,
    /// References resolved, `off` as the word.
    OffAsWord,
    /// References as written, `off` as `false`.
    Written,
}

/// A hash of a key. Equal ones only cost a closer look.
fn short_hash(key: &str) -> u32 {
    xxh3_64(key.as_bytes()) as u32
}

fn plain_shape(text: &str) -> Shape {
    match text {
        "" | "~" | "null" => Shape::Nothing,
        "true" => Shape::Bool(true),
        "false" | "off" => Shape::Bool(false),
        _ if is_number(text) => Shape::Number,
        _ => Shape::Text,
    }
}

/// JSON's numbers, with an optional sign.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let bytes = digits.as_bytes();
    let Some(first) = bytes.first() else { return false };
    if !first.is_ascii_digit() || (*first == b'0' && bytes.get(1).is_some_and(u8::is_ascii_digit)) {
        return false;
    }
    if bytes.iter().all(u8::is_ascii_digit) {
        return true;
    }
    let fits = bytes.iter().all(|b| b.is_ascii_digit() || b".eE+-".contains(b));
    fits && digits.parse::<f64>().is_ok_and(f64::is_finite)
}

fn number(text: &str) -> Value {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = digits.parse::<u64>() {
        return number.into();
    }
    if let Ok(number) = digits.parse::<i64>() {
        return number.into();
    }
    let float = digits.parse::<f64>().ok().and_then(Number::from_f64);
    float.map_or_else(|| text.into(), Value::Number)
}
