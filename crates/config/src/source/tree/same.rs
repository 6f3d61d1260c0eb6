//! Whether two nodes say the same, wherever they stand.

use super::{Kind, Node, NodeId, Reference, Tree};

impl Reference {
    fn stands_for_the_same(&self, other: &Self) -> bool {
        self.value == other.value && self.template == other.template
    }
}

impl Tree {
    /// Whether two scalars are spelled alike, and refer to the same.
    fn is_same_scalar(&self, id: NodeId, other: &Self, its: NodeId) -> bool {
        self.kind(id) == other.kind(its)
            && self.written(id) == other.written(its)
            && match (self.reference(id), other.reference(its)) {
                (None, None) => true,
                (Some(one), Some(two)) => one.stands_for_the_same(two),
                _ => false,
            }
    }

    /// Whether a node and all below it are the same in two trees, wherever they stand.
    pub(crate) fn is_same(&self, id: NodeId, other: &Self, its: NodeId) -> bool {
        match (self.kind(id), other.kind(its)) {
            (Some(Kind::Map), Some(Kind::Map)) => {
                let (own, others) = (self.pairs(id), other.pairs(its));
                own.len() == others.len()
                    && own.iter().zip(others).all(|(own, its)| {
                        self.is_same_scalar(own.0, other, its.0)
                            && self.is_same(own.1, other, its.1)
                    })
            }
            (Some(Kind::List), Some(Kind::List)) => {
                let (own, others) = (self.items(id), other.items(its));
                own.len() == others.len()
                    && own.iter().zip(others).all(|(own, its)| self.is_same(*own, other, *its))
            }
            _ => self.is_same_scalar(id, other, its),
        }
    }

    /// Whether what the references in the first nodes stand for is the same in two trees that share
    /// these.
    pub(crate) fn refers_alike(&self, other: &Self, count: u32) -> bool {
        let own = self.refer.iter().take_while(|one| one.0.0 < count);
        let others = other.refer.iter().take_while(|one| one.0.0 < count);
        own.clone().count() == others.clone().count()
            && own.zip(others).all(|(own, its)| {
                let one = self.references.get(own.1 as usize);
                let two = other.references.get(its.1 as usize);
                own.0 == its.0
                    && one.zip(two).is_some_and(|(one, two)| one.stands_for_the_same(two))
            })
    }

    fn kind(&self, id: NodeId) -> Option<Kind> {
        self.node(id).map(Node::kind)
    }
}
