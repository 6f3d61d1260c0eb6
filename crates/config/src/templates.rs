//! Which scalars are templates: those that a plugin's settings have where it says so. There `${ip}`
//! and the like are left to the plugin; everywhere else they are errors.

use std::collections::HashSet;

use lockgate_core::Plugin;

use crate::source::{NodeId, Shape, Source, Tree};

/// Finds them, and makes the references in them stand in a template.
pub(crate) fn claim(source: &mut Source, plugins: &[Plugin]) -> HashSet<NodeId> {
    let mut found = HashSet::new();
    if source.tree.references().is_empty() {
        return found;
    }
    let (tree, root) = (&source.tree, source.root);
    let mut places: Vec<NodeId> = tree.get(root, "defaults").into_iter().collect();
    let routes = tree.get(root, "routes").map(|routes| tree.pairs(routes)).unwrap_or_default();
    for &(_, route) in routes.iter().filter(|pair| tree.may_refer(**pair)) {
        places.extend(one_or_items(tree, route));
    }
    for plugin in plugins {
        for path in plugin.templates() {
            for place in &places {
                let place = match plugin {
                    Plugin::Handler(_) => tree.get(*place, "to"),
                    _ => Some(*place),
                };
                let settings = place.and_then(|place| tree.get(place, plugin.name()));
                for one in settings.into_iter().flat_map(|node| one_or_items(tree, node)) {
                    below(tree, one, path, &mut found);
                }
            }
        }
    }
    for node in &found {
        source.tree.make_template(*node);
    }
    found
}

/// A list's items, or the node itself.
fn one_or_items(tree: &Tree, node: NodeId) -> Vec<NodeId> {
    if tree.shape(node) == Shape::List { tree.items(node).to_vec() } else { vec![node] }
}

fn below(tree: &Tree, node: NodeId, path: &str, found: &mut HashSet<NodeId>) {
    if path.is_empty() {
        if tree.reference(node).is_some() {
            found.insert(node);
        }
        return;
    }
    let (key, rest) = path.split_once('.').unwrap_or((path, ""));
    if key != "*" {
        if let Some(node) = tree.get(node, key) {
            below(tree, node, rest, found);
        }
        return;
    }
    for &(_, value) in tree.pairs(node) {
        below(tree, value, rest, found);
    }
    for &item in tree.items(node) {
        below(tree, item, rest, found);
    }
}
