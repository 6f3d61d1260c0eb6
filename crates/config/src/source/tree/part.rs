//! The part of a tree that one file is: it is copied into the next tree instead of being read again
//! when the file's text is the same.

use std::collections::HashSet;

use super::{At, Kind, Mark, Node, NodeId, Range, SMALL, Tree};

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

    /// How many nodes it has.
    pub(crate) fn count(self) -> usize {
        self.nodes.of().len()
    }

    /// How long the tree was before it.
    pub(crate) fn begin(self) -> Mark {
        let Self { nodes, pairs, items, pool } = self;
        Mark { nodes: nodes.from, pairs: pairs.from, items: items.from, pool: pool.from }
    }

    /// How long the tree was behind it.
    pub(crate) fn end(self) -> Mark {
        let Self { nodes, pairs, items, pool } = self;
        Mark { nodes: nodes.to, pairs: pairs.to, items: items.to, pool: pool.to }
    }
}

impl Tree {
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
    /// the file of this number, so many lines further down. What references stood for stays behind.
    /// `root` is a node of the part; its new number comes back.
    pub(crate) fn copy(
        &mut self,
        from: &Self,
        part: Part,
        root: NodeId,
        file: u16,
        lines: u32,
    ) -> NodeId {
        let mark = self.mark();
        let node = |id: NodeId| NodeId(id.0.wrapping_sub(part.nodes.from).wrapping_add(mark.nodes));
        let nodes = from.nodes_in(part.nodes).iter().map(|one| {
            let (old, new) = match one.kind() {
                Kind::Plain | Kind::Quoted => (part.pool.from, mark.pool),
                Kind::Map => (part.pairs.from, mark.pairs),
                Kind::List => (part.items.from, mark.items),
            };
            let moved = |at: u32| at.wrapping_sub(old).wrapping_add(new);
            let line = one.at.line.wrapping_add(lines);
            Node { at: At { file, line, ..one.at }, from: moved(one.from), ..*one }
        });
        self.own.nodes.extend(nodes);
        let pairs = from.pairs_in(part.pairs).iter();
        self.own.pairs.extend(pairs.map(|&(key, value)| (node(key), node(value))));
        self.own.items.extend(from.items_in(part.items).iter().map(|&item| node(item)));
        let (text, pool) = from.all_words_in(part.pool);
        self.own.pool.push_str(text);
        self.own.pool.push_str(pool);
        if part.pairs.of().len() > SMALL {
            let indices = from.own.indices.iter().chain(&from.shared.indices);
            let indices = indices.filter(|(id, _)| part.place(**id).is_some());
            self.own.indices.extend(indices.map(|(id, index)| (node(*id), index.clone())));
        }
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
        self.pairs_in(part.pairs).iter().map(|pair| pair.0).filter(|key| of.contains(key)).collect()
    }
}
