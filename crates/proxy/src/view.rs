//! The routes in force, for whoever shows them: what each is called, does and leads to, without the
//! routing and without their settings.

use crate::explain::{Explanation, Locate, explain_route};
use crate::snapshot::{Route, Snapshot};
use crate::target::Target;

/// The routes under one pattern, told apart by their `when`.
#[derive(Clone, Copy)]
pub struct RouteView<'s> {
    /// As written.
    pub pattern: &'s str,
    routes: &'s [Route],
}

impl Snapshot {
    /// Every pattern, in the order of the configuration.
    pub fn routes(&self) -> impl Iterator<Item = RouteView<'_>> {
        self.sets.iter().map(|set| RouteView { pattern: &set.pattern, routes: &set.routes })
    }

    /// What holds for the routes under a pattern, with the places that it is from: one for each
    /// `when`. Empty when there is no such pattern.
    pub fn explain_pattern(&self, pattern: &str, locate: Locate<'_>) -> Vec<Explanation> {
        let Some(view) = self.routes().find(|view| view.pattern == pattern) else {
            return Vec::new();
        };
        let told = view.routes.iter().map(|route| {
            let generation = Some(self.generation);
            let mut told = Explanation { generation, ..Explanation::default() };
            explain_route(&mut told, route, locate, true);
            told
        });
        told.collect()
    }
}

impl<'s> RouteView<'s> {
    /// How many there are.
    pub fn choices(&self) -> usize {
        self.routes.len()
    }

    /// The policies of all of them by name, in the order in which they run, each once.
    pub fn policies(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for entry in self.routes.iter().flat_map(|route| &route.entries) {
            if !names.contains(&entry.name) {
                names.push(entry.name);
            }
        }
        names
    }

    /// Where requests go: upstreams or handlers by name, each once.
    pub fn targets(&self) -> Vec<&'s str> {
        let mut names: Vec<&str> = Vec::new();
        let mut add = |name: &'s str| {
            if !names.contains(&name) {
                names.push(name);
            }
        };
        for route in self.routes {
            match &route.target {
                Target::Handler(name, _) => add(name),
                Target::Upstream(upstream) => add(upstream.name()),
                Target::Split(choices) => choices.iter().for_each(|(_, one)| add(one.name())),
            }
        }
        names
    }
}
