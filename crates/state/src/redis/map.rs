//! Who serves what: the servers of a store that are asked, and in a Cluster which of them has
//! which slot.

use std::sync::Arc;

use super::key::SLOTS;
use super::link::{Lane, Node};
use super::settings::Address;

/// No server has the slot.
const NOBODY: u16 = u16::MAX;
/// Most servers that are remembered.
const MOST_NODES: usize = 1000;

/// A store's servers.
#[derive(Clone, Default)]
pub(super) struct Map {
    nodes: Vec<Arc<Node>>,
    /// A server's number for each slot; `None` where the first has all.
    slots: Option<Box<[u16]>>,
}

/// Slots from the first to the last, and who has them.
pub(super) struct Range {
    pub(super) from: u16,
    pub(super) to: u16,
    pub(super) at: Address,
}

impl Map {
    /// One server has everything.
    pub(super) fn one(node: Arc<Node>) -> Self {
        Self { nodes: vec![node], slots: None }
    }

    /// A Cluster. Servers that are known already stay what they are.
    pub(super) fn cluster(ranges: &[Range], known: &Self) -> Self {
        let mut map = Self { nodes: Vec::new(), slots: Some(empty()) };
        for Range { from, to, at } in ranges {
            let Some(number) = map.number(at, known) else { continue };
            let slots = map.slots.as_deref_mut();
            let range = slots.and_then(|slots| slots.get_mut(*from as usize..=*to as usize));
            range.into_iter().flatten().for_each(|slot| *slot = number);
        }
        map
    }

    /// The same, but this slot is another server's.
    pub(super) fn with(&self, slot: u16, at: &Address) -> Self {
        let mut map = self.clone();
        if let Some(number) = map.number(at, self) {
            let slots = map.slots.get_or_insert_with(empty);
            if let Some(place) = slots.get_mut(usize::from(slot)) {
                *place = number;
            }
        }
        map
    }

    /// A server's number; it is added if there is room.
    fn number(&mut self, at: &Address, known: &Self) -> Option<u16> {
        if let Some(number) = self.nodes.iter().position(|node| node.address == *at) {
            return u16::try_from(number).ok();
        }
        if self.nodes.len() >= MOST_NODES {
            return None;
        }
        let node = known.at(at).unwrap_or_else(|| Arc::new(Node::new(at.clone())));
        self.nodes.push(node);
        u16::try_from(self.nodes.len() - 1).ok()
    }

    /// The server at an address.
    pub(super) fn at(&self, address: &Address) -> Option<Arc<Node>> {
        self.nodes.iter().find(|node| node.address == *address).cloned()
    }

    /// Who has a slot; without one, any server that is well.
    pub(super) fn node(&self, slot: Option<u16>) -> Option<&Arc<Node>> {
        let (Some(slots), Some(slot)) = (&self.slots, slot) else { return self.any() };
        let number = slots.get(usize::from(slot)).filter(|number| **number != NOBODY)?;
        self.nodes.get(usize::from(*number))
    }

    /// One of those that are well, or the first.
    fn any(&self) -> Option<&Arc<Node>> {
        if let [only] = &*self.nodes {
            return Some(only);
        }
        let well = self.nodes.iter().filter(|node| node.lets(Lane::Small)).count();
        let any = fastrand::usize(..well.max(1));
        self.nodes
            .iter()
            .filter(|node| node.lets(Lane::Small))
            .nth(any)
            .or_else(|| self.nodes.first())
    }

    /// All servers.
    pub(super) fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Whether both say the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same = |(one, other): (&Arc<Node>, &Arc<Node>)| Arc::ptr_eq(one, other);
        self.slots == other.slots
            && self.nodes.len() == other.nodes.len()
            && self.nodes.iter().zip(&other.nodes).all(same)
    }
}

fn empty() -> Box<[u16]> {
    vec![NOBODY; usize::from(SLOTS)].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Address {
        Address::new("h", port)
    }

    fn port(map: &Map, slot: u16) -> Option<u16> {
        map.node(Some(slot)).map(|node| node.address.port)
    }

    #[test]
    fn slots_are_found_and_move() {
        let ranges = [
            Range { from: 0, to: 99, at: at(1) },
            Range { from: 100, to: 199, at: at(2) },
            Range { from: 16_383, to: 16_383, at: at(1) },
        ];
        let map = Map::cluster(&ranges, &Map::default());
        assert_eq!([port(&map, 0), port(&map, 99)], [Some(1); 2]);
        assert_eq!([port(&map, 100), port(&map, 199)], [Some(2); 2]);
        assert_eq!([port(&map, 200), port(&map, 16_383)], [None, Some(1)]);
        let moved = map.with(150, &at(3));
        assert_eq!([port(&moved, 149), port(&moved, 150)], [Some(2), Some(3)]);
        assert!(!map.is_same(&moved));
        // What is known of a server is kept.
        let again = Map::cluster(&ranges, &moved);
        assert!(Arc::ptr_eq(map.node(Some(0)).unwrap(), again.node(Some(0)).unwrap()));
        assert!(map.is_same(&again));
    }
}
