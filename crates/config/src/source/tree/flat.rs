//! The lists that a tree is made of. Those that were read of the files are shared with the trees of
//! the configurations after, for as long as the files say the same: a tree is then what it shares,
//! and its own lists behind that.

use std::collections::HashMap;
use std::ops::Range as Places;
use std::sync::{Arc, OnceLock};

use super::{Node, NodeId, Part, Range, Tree};

/// For a map with many keys: hash of the key and place of the pair, sorted.
pub(super) type Index = Arc<[(u32, u32)]>;

#[derive(Default)]
pub(super) struct Flat {
    pub(super) nodes: Vec<Node>,
    pub(super) pairs: Vec<(NodeId, NodeId)>,
    pub(super) items: Vec<NodeId>,
    /// All words: those that stand so in the first file, which is kept anyway, and behind them the
    /// others.
    pub(super) text: Arc<str>,
    pub(super) pool: String,
    /// Of maps with many keys. Made when one is looked for.
    pub(super) indices: HashMap<NodeId, OnceLock<Index>>,
}

/// How long a tree's lists are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(super) nodes: u32,
    pub(super) pairs: u32,
    pub(super) items: u32,
    pub(super) pool: u32,
}

impl Flat {
    fn mark(&self) -> Mark {
        Mark {
            nodes: self.nodes.len() as u32,
            pairs: self.pairs.len() as u32,
            items: self.items.len() as u32,
            pool: (self.text.len() + self.pool.len()) as u32,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.mark() == Mark::default()
    }

    /// The words of a range, which is in the text or behind it.
    fn words(&self, places: Places<usize>) -> Option<&str> {
        if let Some(words) = self.text.get(places.clone()) {
            return Some(words);
        }
        let behind = places.start.checked_sub(self.text.len())?;
        self.pool.get(behind..places.end - self.text.len())
    }

    /// Takes off what is behind a mark. `first` is the number of the first node.
    fn split_off(&mut self, at: Mark, first: u32) -> Self {
        let is_behind = |id: &NodeId| id.0 >= first + at.nodes;
        let behind = self.indices.extract_if(|id, _| is_behind(id)).collect();
        // A mark is behind the whole of the text, or before all.
        let in_pool = (at.pool as usize).checked_sub(self.text.len());
        let text = match in_pool {
            Some(_) => Arc::default(),
            None => std::mem::take(&mut self.text),
        };
        Self {
            nodes: self.nodes.split_off(at.nodes as usize),
            pairs: self.pairs.split_off(at.pairs as usize),
            items: self.items.split_off(at.items as usize),
            text,
            pool: self.pool.split_off(in_pool.unwrap_or(0)),
            indices: behind,
        }
    }

    /// What is before a mark, with room for what another has.
    fn before(&self, at: Mark, more: &Self) -> Self {
        let indices = self.indices.iter().filter(|(id, _)| id.0 < at.nodes);
        let in_pool = (at.pool as usize).saturating_sub(self.text.len());
        let mut pool = String::with_capacity(in_pool + more.text.len() + more.pool.len());
        pool.push_str(self.pool.get(..in_pool).unwrap_or_default());
        Self {
            nodes: start(&self.nodes, at.nodes, more.nodes.len()),
            pairs: start(&self.pairs, at.pairs, more.pairs.len()),
            items: start(&self.items, at.items, more.items.len()),
            text: Arc::clone(&self.text),
            pool,
            indices: indices.map(|(id, index)| (*id, index.clone())).collect(),
        }
    }

    fn append(&mut self, mut other: Self) {
        self.nodes.append(&mut other.nodes);
        self.pairs.append(&mut other.pairs);
        self.items.append(&mut other.items);
        self.pool.push_str(&other.text);
        self.pool.push_str(&other.pool);
        self.indices.extend(other.indices);
    }

    fn shrink(&mut self) {
        self.nodes.shrink_to_fit();
        self.pairs.shrink_to_fit();
        self.items.shrink_to_fit();
        self.pool.shrink_to_fit();
    }
}

/// The first of a list, with room for more.
fn start<T: Copy>(list: &[T], count: u32, more: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(count as usize + more);
    out.extend_from_slice(list.get(..count as usize).unwrap_or_default());
    out
}

/// Where a range is: in what is shared, or else where in a tree's own.
fn side(range: Range, shared: u32) -> Result<Places<usize>, Places<usize>> {
    match range.to <= shared {
        true => Ok(range.of()),
        false => Err(range.from.wrapping_sub(shared) as usize..(range.to - shared) as usize),
    }
}

impl Tree {
    /// One that may share what another does.
    pub(crate) fn beside(other: &Self) -> Self {
        Self { shared: Arc::clone(&other.shared), ..Self::default() }
    }

    /// How long it is now.
    pub(crate) fn mark(&self) -> Mark {
        let (shared, own) = (self.shares, self.own.mark());
        Mark {
            nodes: shared.nodes + own.nodes,
            pairs: shared.pairs + own.pairs,
            items: shared.items + own.items,
            pool: shared.pool + own.pool,
        }
    }

    /// Moves what has been added since so many lines further down.
    pub(crate) fn move_lines(&mut self, since: Mark, lines: u32) {
        let first = since.nodes.saturating_sub(self.shares.nodes);
        for node in self.own.nodes.iter_mut().skip(first as usize) {
            node.at.line = node.at.line.wrapping_add(lines);
        }
    }

    /// Takes a part over as it is, where that is what comes next. False: it is to be copied.
    pub(crate) fn share(&mut self, part: Part) -> bool {
        let (own, all) = (self.own.mark(), self.shared.mark());
        let is_next = own == Mark::default() && part.begin() == self.shares;
        let end = part.end();
        let is_there = end.nodes <= all.nodes && end.pairs <= all.pairs;
        let is_there = is_there && end.items <= all.items && end.pool <= all.pool;
        if is_next && is_there {
            self.shares = end;
        }
        is_next && is_there
    }

    /// How many of the first nodes are the very same in another tree.
    pub(crate) fn shared_with(&self, other: &Self) -> u32 {
        match Arc::ptr_eq(&self.shared, &other.shared) {
            true => self.shares.nodes.min(other.shares.nodes),
            false => 0,
        }
    }

    /// Makes what is before a mark ready to be shared, and gives back the room that was made for
    /// more.
    pub(crate) fn settle(&mut self, files: Mark) {
        let is_settled = self.shares == files && self.shared.mark() == files;
        if !is_settled && files.nodes >= self.shares.nodes {
            let of_files = Mark {
                nodes: files.nodes - self.shares.nodes,
                pairs: files.pairs - self.shares.pairs,
                items: files.items - self.shares.items,
                pool: files.pool - self.shares.pool,
            };
            let rest = self.own.split_off(of_files, self.shares.nodes);
            let own = std::mem::replace(&mut self.own, rest);
            let mut all = match self.shares == Mark::default() {
                true => own,
                false => {
                    let mut all = self.shared.before(self.shares, &own);
                    all.append(own);
                    all
                }
            };
            all.shrink();
            self.shares = files;
            self.shared = Arc::new(all);
        }
        self.own.shrink();
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        match id.0.checked_sub(self.shares.nodes) {
            None => self.shared.nodes.get(id.0 as usize),
            Some(own) => self.own.nodes.get(own as usize),
        }
    }

    pub(super) fn nodes_in(&self, range: Range) -> &[Node] {
        let found = match side(range, self.shares.nodes) {
            Ok(places) => self.shared.nodes.get(places),
            Err(places) => self.own.nodes.get(places),
        };
        found.unwrap_or_default()
    }

    pub(super) fn pairs_in(&self, range: Range) -> &[(NodeId, NodeId)] {
        let found = match side(range, self.shares.pairs) {
            Ok(places) => self.shared.pairs.get(places),
            Err(places) => self.own.pairs.get(places),
        };
        found.unwrap_or_default()
    }

    pub(super) fn items_in(&self, range: Range) -> &[NodeId] {
        let found = match side(range, self.shares.items) {
            Ok(places) => self.shared.items.get(places),
            Err(places) => self.own.items.get(places),
        };
        found.unwrap_or_default()
    }

    pub(super) fn words_in(&self, range: Range) -> &str {
        let found = match side(range, self.shares.pool) {
            Ok(places) => self.shared.words(places),
            Err(places) => self.own.words(places),
        };
        found.unwrap_or_default()
    }

    /// The words of a part: those in the text, and those behind it.
    pub(super) fn all_words_in(&self, range: Range) -> (&str, &str) {
        let (flat, places) = match side(range, self.shares.pool) {
            Ok(places) => (&*self.shared, places),
            Err(places) => (&self.own, places),
        };
        let text = flat.text.len();
        let in_text = places.start.min(text)..places.end.min(text);
        let behind = places.start.saturating_sub(text)..places.end.saturating_sub(text);
        (flat.text.get(in_text).unwrap_or_default(), flat.pool.get(behind).unwrap_or_default())
    }

    /// The index of a map with many keys.
    pub(super) fn index_of(&self, id: NodeId) -> Option<&OnceLock<Index>> {
        match id.0 < self.shares.nodes {
            true => self.shared.indices.get(&id),
            false => self.own.indices.get(&id),
        }
    }
}
