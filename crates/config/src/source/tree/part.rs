//! The part of a tree that one file is: it is copied into the next tree instead of being read again
//! when the file's text is the same.

use std::collections::HashSet;
use std::sync::Arc;

use super::{At, Kind, Node, NodeId, Range, Tree};

/// What was added to a tree from one moment to another: the nodes of one file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    nodes: Range,
    pairs: Range,
    items: Range,
    pool: Range,
}

impl Part {
    /// Where in it a node is, if it is in it.
    pub(crate) fn place(self, node: NodeId) -> Option<u32> {
        let is_in = (self.nodes.from..self.nodes.to).contains(&node.0);
        is_in.then(|| node.0.wrapping_sub(self.nodes.from))
    }
}

/// How long a tree's lists are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    nodes: u32,
    pairs: u32,
    items: u32,
    pool: u32,
}

impl Tree {
    /// How long it is now.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            nodes: self.nodes.len() as u32,
            pairs: self.pairs.len() as u32,
            items: self.items.len() as u32,
            pool: self.pool.len() as u32,
        }
    }

    /// What has been added since.
    pub(crate) fn since(&self, mark: Mark) -> Part {
        let now = self.mark();
        let range = |from, to| Range { from, to };
        Part {
            nodes: range(mark.nodes, now.nodes),
            pairs: range(mark.pairs, now.pairs),
            items: range(mark.items, now.items),
            pool: range(mark.pool, now.pool),
        }
    }

    /// Adds what is a part of another tree, as if the same text had been read into this one as
    /// the file of this number. What references stood for stays behind. `root` is a node of the
    /// part; its new number comes back.
    pub(crate) fn copy(&mut self, from: &Self, part: Part, root: NodeId, file: u16) -> NodeId {
        let mark = self.mark();
        let node = |id: NodeId| NodeId(id.0.wrapping_sub(part.nodes.from).wrapping_add(mark.nodes));
        let nodes = from.nodes.get(part.nodes.of()).unwrap_or_default().iter().map(|one| {
            let (old, new) = match one.kind {
                Kind::Plain | Kind::Quoted => (part.pool.from, mark.pool),
                Kind::Map => (part.pairs.from, mark.pairs),
                Kind::List => (part.items.from, mark.items),
            };
            let moved = |at: u32| at.wrapping_sub(old).wrapping_add(new);
            let range = Range { from: moved(one.range.from), to: moved(one.range.to) };
            Node { at: At { file, ..one.at }, range, kind: one.kind }
        });
        self.nodes.extend(nodes);
        let pairs = from.pairs.get(part.pairs.of()).unwrap_or_default().iter();
        self.pairs.extend(pairs.map(|&(key, value)| (node(key), node(value))));
        let items = from.items.get(part.items.of()).unwrap_or_default().iter();
        self.items.extend(items.map(|&item| node(item)));
        self.pool.push_str(from.pool.get(part.pool.of()).unwrap_or_default());
        let indices = from.indices.iter().filter(|(id, _)| part.place(**id).is_some());
        self.indices.extend(indices.map(|(id, index)| (node(*id), Arc::clone(index))));
        node(root)
    }

    /// The scalars of a part that have `${` in them.
    pub(crate) fn with_references(&self, part: Part) -> Vec<NodeId> {
        let all = (part.nodes.from..part.nodes.to).map(NodeId);
        all.filter(|id| self.written(*id).is_some_and(|text| text.contains("${"))).collect()
    }

    /// Those of some nodes of a part that are keys.
    pub(crate) fn keys(&self, part: Part, of: &[NodeId]) -> HashSet<NodeId> {
        let of: HashSet<&NodeId> = of.iter().collect();
        let pairs = self.pairs.get(part.pairs.of()).unwrap_or_default();
        pairs.iter().map(|pair| pair.0).filter(|key| of.contains(key)).collect()
    }
}
