//! Routes: a few keys of their own, and every other key a policy's name.

use std::sync::Arc;

use lockgate_core::{Priority, Time};
use serde_json::Value;

use super::inherit::Inherited;
use super::target::{self, UrlUpstreams};
use super::{Decoder, Reading, forms, suggest};
use crate::model::{self, PolicyEntry, Route, RouteSet, Settings, word_of};
use crate::same::Same;
use crate::source::{Fail, NodeId, Shape, Spelling};

/// A route's own keys.
pub(crate) const ROUTE_KEYS: &[&str] =
    &["when", "to", "rewrite", "timeout", "retry", "priority", "tags"];

const PRIORITIES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// Where a route stands: under its pattern, or which of a list there.
#[derive(Clone, Copy)]
struct Place<'p> {
    pattern: &'p Arc<str>,
    number: Option<usize>,
}

/// Reads `routes`.
pub(super) struct Routes<'a, 's> {
    cx: &'a Decoder<'s>,
    inherited: &'a Inherited,
    handlers: &'a [&'a str],
    /// Name → the entries that every route has unless it names the policy itself.
    shared: Vec<(&'s str, Vec<Arc<PolicyEntry>>)>,
}

impl<'a, 's> Routes<'a, 's> {
    pub(super) fn new(
        cx: &'a Decoder<'s>,
        inherited: &'a Inherited,
        handlers: &'a [&'a str],
    ) -> Self {
        let mut routes = Self { cx, inherited, handlers, shared: Vec::new() };
        let path = [Arc::from("defaults")];
        for &(key, value) in &inherited.policies {
            let name = cx.source.tree.written(key).unwrap_or_default();
            let mut entries = Vec::new();
            routes.policy(&path, name, value, &mut entries);
            routes.shared.push((name, entries));
        }
        routes
    }

    /// Reads them all but those that are the same as before, which are taken over.
    pub(super) fn read(
        &self,
        node: NodeId,
        same: Option<&Same<'_>>,
        urls: &mut UrlUpstreams,
    ) -> model::Routes {
        let tree = &self.cx.source.tree;
        if !self.cx.expect_map(node, "a map from patterns to routes") {
            return model::Routes::default();
        }
        let mut all = model::Gathered::beside(same.map(Same::routes));
        let mut rest = tree.pairs(node);
        while let Some((&(key, node), behind)) = rest.split_first() {
            let piece = same.and_then(|same| same.piece(all.len(), rest));
            if let Some(piece) = piece.filter(|_| self.cx.has_all()) {
                urls.take_all(piece);
                all.push_piece(piece);
                rest = rest.get(piece.len()..).unwrap_or_default();
                continue;
            }
            rest = behind;
            if !self.cx.is_removed(key) && !self.cx.is_removed(node) {
                self.read_one(key, node, same, urls, &mut all);
            }
        }
        all.end()
    }

    /// Reads what stands under one pattern.
    fn read_one(
        &self,
        key: NodeId,
        node: NodeId,
        same: Option<&Same<'_>>,
        urls: &mut UrlUpstreams,
        all: &mut model::Gathered<'_>,
    ) {
        let tree = &self.cx.source.tree;
        let known = same.and_then(|same| same.find(self.cx.source, all.len(), (key, node)));
        if let Some((pattern, set)) = known {
            urls.take(set);
            all.push(Arc::clone(pattern), Arc::clone(set));
            return;
        }
        let pattern: Arc<str> = tree.written(key).unwrap_or_default().into();
        // Mostly one: a list that grows would have room for four.
        let mut routes = Vec::with_capacity(tree.items(node).len().max(1));
        if tree.shape(node) == Shape::List {
            for (place, item) in tree.items(node).iter().enumerate() {
                let path = Place { pattern: &pattern, number: Some(place) };
                routes.extend(self.route(path, *item, *item, urls));
            }
            if tree.items(node).is_empty() {
                let fail = Fail::new(tree.at(key), "a list of routes needs at least one");
                self.cx.fail(fail);
            }
        } else {
            let path = Place { pattern: &pattern, number: None };
            routes.extend(self.route(path, key, node, urls));
        }
        if !routes.is_empty() {
            all.push(pattern, Arc::new(RouteSet { routes: routes.into() }));
        }
    }

    fn route(
        &self,
        path: Place<'_>,
        key: NodeId,
        node: NodeId,
        urls: &mut UrlUpstreams,
    ) -> Option<Route> {
        let cx = self.cx;
        let tree = &cx.source.tree;
        if tree.shape(node) != Shape::Map {
            let message = "expected a route: a map with `to`, such as `{ to: orders }`";
            cx.fail(Fail::new(
                tree.at(if tree.written(node) == Some("") { key } else { node }),
                message,
            ));
            return None;
        }
        let mut to = None;
        let (mut when, mut rewrite) = (model::no_condition(), model::no_rewrite());
        let mut route = (None, None, None, Vec::new());
        let mut own: Vec<(&'s str, NodeId)> = Vec::new();
        for (word, _, value) in cx.pairs(node) {
            match word {
                "to" => to = Some(target::target(cx, value, self.handlers, urls)),
                "when" => when = cx.decode(value).map_or_else(model::no_condition, Arc::new),
                "rewrite" => rewrite = cx.decode(value).map_or_else(model::no_rewrite, Arc::new),
                "timeout" if tree.is_off(value) => route.0 = Some(Time::default()),
                "timeout" => route.0 = cx.decode(value),
                "retry" => route.1 = cx.decode(self.inherited.retry(value)).map(Arc::new),
                "priority" => route.2 = self.priority(value),
                "tags" => route.3 = cx.decode(value).map_or(Vec::new(), |tags: forms::Tags| tags.0),
                _ => own.push((word, value)),
            }
        }
        if to.is_none() && tree.get(node, "to").is_none() {
            let fail = Fail::new(tree.at(key), "this route has no `to`");
            cx.fail(fail.help("an upstream's name, a URL, weights, or a handler"));
        }
        let target = to??;
        let (timeout, retry, priority, tags) = route;
        if let Some(prefix) = target.prefix {
            let rewrite = Arc::make_mut(&mut rewrite);
            rewrite.add_prefix = Some(match rewrite.add_prefix.take() {
                Some(own) => format!("{prefix}/{}", own.trim_start_matches('/')),
                None => prefix,
            });
        }
        let policies = self.policies(path, &own);
        let to = target.to;
        let (tags, policies) = (tags.into(), policies.into());
        Some(Route { when, to, rewrite, timeout, retry, priority, tags, policies })
    }

    /// The inherited policies that the route does not name itself, then its own.
    fn policies(&self, path: Place<'_>, own: &[(&'s str, NodeId)]) -> Vec<Arc<PolicyEntry>> {
        let inherited: usize = self.shared.iter().map(|(_, shared)| shared.len()).sum();
        let mut entries = Vec::with_capacity(inherited + own.len());
        for (name, shared) in &self.shared {
            if !own.iter().any(|(word, _)| word == name) {
                entries.extend_from_slice(shared);
            }
        }
        if !own.is_empty() {
            let number = path.number.map(|number| number.to_string().into());
            let front = [self.cx.word("routes"), Arc::clone(path.pattern)].into_iter();
            let path: Vec<Arc<str>> = front.chain(number).collect();
            for &(name, value) in own {
                self.policy(&path, name, value, &mut entries);
            }
        }
        entries
    }

    fn policy(
        &self,
        path: &[Arc<str>],
        name: &'s str,
        node: NodeId,
        entries: &mut Vec<Arc<PolicyEntry>>,
    ) {
        let tree = &self.cx.source.tree;
        if tree.is_off(node) {
            return;
        }
        let name = self.cx.word(name);
        let path = |number: Option<Arc<str>>| {
            path.iter().cloned().chain([Arc::clone(&name)]).chain(number).collect()
        };
        if tree.shape(node) != Shape::List {
            let config = settings(self.cx, node);
            let path = path(None);
            entries.push(Arc::new(PolicyEntry { name, config, path }));
            return;
        }
        for (place, &item) in tree.items(node).iter().enumerate() {
            let config = settings(self.cx, item);
            let path = path(Some(place.to_string().into()));
            entries.push(Arc::new(PolicyEntry { name: Arc::clone(&name), config, path }));
        }
    }

    fn priority(&self, node: NodeId) -> Option<Priority> {
        let word: String = self.cx.decode(node)?;
        let found = PRIORITIES.iter().find(|priority| word_of(**priority) == word);
        if found.is_none() {
            let tree = &self.cx.source.tree;
            let written = tree.written(node).unwrap_or_default();
            let fail = Fail::new(tree.at(node), format!("`{written}` is not a priority"));
            self.cx.fail(fail.help(suggest(written, &PRIORITIES.map(word_of))));
        }
        found.copied()
    }
}

/// A plugin's settings, resolved unless they are to be shown.
pub(super) fn settings(cx: &Decoder<'_>, node: NodeId) -> Settings {
    let tree = &cx.source.tree;
    let written = |spelling| tree.value(node, spelling);
    if !tree.refers(node) {
        return written(Spelling::Resolved).into();
    }
    let shown: Value = written(Spelling::Written);
    match cx.reading {
        Reading::Resolved => Settings::new(written(Spelling::Resolved), shown),
        Reading::Shown => shown.into(),
    }
}
