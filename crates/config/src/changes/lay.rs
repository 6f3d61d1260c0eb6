//! Laying changes over the tree of the files.

use std::collections::HashSet;

use indexmap::IndexMap;

use super::{Base, Laid, MOST, NAMED, Outcome, hash};
use crate::source::{At, NodeId, Shape, Tree};

/// One change as it stands in its file.
pub(super) struct Found<'t> {
    pub(super) section: &'t str,
    pub(super) name: &'t str,
    /// The node that says the name, or the section where that is all.
    key: NodeId,
    pub(super) to: Option<NodeId>,
    pub(super) base: Base,
}

/// A change that is in force: what names it, and what it is now.
struct Change {
    key: NodeId,
    name: String,
    to: Option<NodeId>,
}

/// Lays the changes in the map `changes` over that of the files. Returns the new root, and what
/// became of each change.
///
/// # Errors
/// What is wrong with them; they are written by the gateway, so that is rare.
pub(crate) fn lay(
    tree: &mut Tree,
    files: NodeId,
    changes: NodeId,
) -> Result<(NodeId, Vec<Laid>), String> {
    let mut laid = Vec::new();
    let mut sections: IndexMap<String, Vec<Change>> = IndexMap::new();
    for found in entries(tree, changes)? {
        let before = match found.name {
            "" => tree.get(files, found.section),
            name => tree.get(files, found.section).and_then(|section| tree.get(section, name)),
        };
        let said = |node| Base::Was(hash(tree, node));
        let now = before.map_or(Base::Nothing, said);
        let is_said = match found.to {
            Some(to) => before.is_some() && now == said(to),
            None => before.is_none(),
        };
        let outcome = match found.base {
            _ if is_said => Outcome::Settled,
            Base::Now => Outcome::InForce,
            base if base == now => Outcome::InForce,
            _ => Outcome::Overruled,
        };
        let (section, name) = (found.section.to_owned(), found.name.to_owned());
        if outcome == Outcome::InForce {
            let change = Change { key: found.key, name: name.clone(), to: found.to };
            sections.entry(section.clone()).or_default().push(change);
        }
        laid.push(Laid { section, name, outcome, base: now });
    }
    let mut root = tree.pairs(files).to_vec();
    for (section, changes) in sections {
        let place = root.iter().position(|pair| tree.written(pair.0) == Some(&section));
        let next = match changes.as_slice() {
            [Change { key, name, to }] if name.is_empty() => to.map(|to| (*key, to)),
            _ => {
                let before = place.and_then(|place| root.get(place)).copied();
                Some(with_changes(tree, &section, before, changes))
            }
        };
        match (place, next) {
            (Some(place), Some(pair)) => root.splice(place..=place, [pair]).for_each(drop),
            (Some(place), None) => drop(root.remove(place)),
            (None, Some(pair)) => root.push(pair),
            (None, None) => {}
        }
    }
    Ok((tree.map(tree.at(files), &root), laid))
}

/// One section with changes of single things in it.
fn with_changes(
    tree: &mut Tree,
    section: &str,
    before: Option<(NodeId, NodeId)>,
    changes: Vec<Change>,
) -> (NodeId, NodeId) {
    let at = before.map(|pair| pair.1).or(changes.first().map(|change| change.key));
    let at = at.map_or_else(At::default, |node| tree.at(node));
    let own = before.map(|pair| pair.1);
    let mut pairs = own.map(|own| tree.pairs(own).to_vec()).unwrap_or_default();
    let mut added: IndexMap<String, (NodeId, NodeId)> = IndexMap::new();
    let mut removed: HashSet<usize> = HashSet::new();
    for Change { key, name, to } in changes {
        let place = own.and_then(|own| tree.place(own, &name));
        match (to, place.and_then(|place| pairs.get_mut(place))) {
            (Some(to), Some(pair)) => *pair = (key, to),
            (Some(to), None) => drop(added.insert(name, (key, to))),
            (None, _) => removed.extend(place),
        }
    }
    if !removed.is_empty() {
        let mut place = 0..;
        pairs.retain(|_| !place.next().is_some_and(|place| removed.contains(&place)));
    }
    pairs.extend(added.into_values());
    let value = tree.map(at, &pairs);
    (before.map_or_else(|| tree.scalar(at, section, false), |pair| pair.0), value)
}

/// The changes that stand in a file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn entries<'t>(tree: &'t Tree, root: NodeId) -> Result<Vec<Found<'t>>, String> {
    let wrong = |node, what: &str| Err(format!("line {}: {what}", tree.at(node).line));
    let Some(list) = tree.get(root, "changes") else {
        return wrong(root, "expected `changes`, a list");
    };
    let items = tree.items(list);
    if items.len() > MOST {
        return wrong(list, "there are too many changes");
    }
    let mut all = Vec::with_capacity(items.len());
    for &item in items {
        let word = |key| tree.get(item, key).and_then(|node| tree.written(node));
        let Some(section) = word("section") else {
            return wrong(item, "a change needs its `section`");
        };
        let name = word("name").unwrap_or_default();
        if name.is_empty() == NAMED.contains(&section) {
            return wrong(
                item,
                "a change names one thing of a section, or a section without names",
            );
        }
        let said = if name.is_empty() { "section" } else { "name" };
        let key = tree.get(item, said).unwrap_or(item);
        let to = tree.get(item, "to");
        let removed = tree.get(item, "removed").map(|node| tree.shape(node));
        if to.is_some() == (removed == Some(Shape::Bool(true))) {
            return wrong(item, "a change says what the thing is (`to`), or `removed: true`");
        }
        let Some(base) = word("base").and_then(base) else {
            return wrong(item, "a change says what the files said: `base`");
        };
        all.push(Found { section, name, key, to, base });
    }
    Ok(all)
}

fn base(text: &str) -> Option<Base> {
    match text {
        "now" => Some(Base::Now),
        "nothing" => Some(Base::Nothing),
        _ => u64::from_str_radix(text.strip_prefix("was ")?, 16).ok().map(Base::Was),
    }
}
