//! Whether two nodes say the same, wherever they stand.

use super::{At, Kind, NodeId, Reference, Tree};

impl Tree {
    /// Whether two scalars are spelled alike, and refer to the same.
    fn is_same_scalar(&self, id: NodeId, other: &Self, its: NodeId) -> bool {
        let stands_for = |one: &Reference, two: &Reference| {
            one.value == two.value && one.template == two.template
        };
        self.kind(id) == other.kind(its)
            && self.written(id) == other.written(its)
            && match (self.reference(id), other.reference(its)) {
                (None, None) => true,
                (Some(one), Some(two)) => stands_for(one, two),
                _ => false,
            }
    }

    /// Whether a node and all below it are the same in two trees, wherever they stand. `scalars`
    /// has a word in it.
    pub(crate) fn is_same(
        &self,
        id: NodeId,
        other: &Self,
        its: NodeId,
        scalars: &dyn Fn(At, At) -> bool,
    ) -> bool {
        match (self.kind(id), other.kind(its)) {
            (Some(Kind::Map), Some(Kind::Map)) => {
                let (own, others) = (self.pairs(id), other.pairs(its));
                own.len() == others.len()
                    && own.iter().zip(others).all(|(own, its)| {
                        self.is_same_scalar(own.0, other, its.0)
                            && self.is_same(own.1, other, its.1, scalars)
                    })
            }
            (Some(Kind::List), Some(Kind::List)) => {
                let (own, others) = (self.items(id), other.items(its));
                own.len() == others.len()
                    && own.iter().zip(others).all(|(o, i)| self.is_same(*o, other, *i, scalars))
            }
            _ => self.is_same_scalar(id, other, its) && scalars(self.at(id), other.at(its)),
        }
    }

    fn kind(&self, id: NodeId) -> Option<Kind> {
        self.node(id).map(|node| node.kind)
    }
}
