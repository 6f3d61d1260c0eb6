//! Building a snapshot from a document: every route resolved, every policy built, every error
//! reported with the place that it came from.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use lockgate_config::model::{self, Document, PIECE};
use lockgate_core::{
    Blobs, Build, ConfigError, Identities, Listed, Plugin, Policy, PolicyPlugin, Priority, Provide,
    Stage,
};
use lockgate_telemetry::{AccessLog, Metrics, Traces};
use lockgate_upstream::Upstream;

use crate::pipeline::Entry;
use crate::plans::Plans;
use crate::reserved::Reserved;
use crate::rewrite::Rewrite;
use crate::route::{Condition, Pattern, Router};
use crate::snapshot::{Route, RouteSet, Sets, Snapshot};
use crate::target::Target;

/// What a snapshot is built with.
pub struct Builder<'a> {
    /// The plugin list, as `plugins` has it.
    pub plugins: &'a [Plugin],
    /// The upstreams, already applied from the same document.
    pub upstreams: Arc<HashMap<String, Arc<Upstream>>>,
    /// Where the series of routes are kept.
    pub metrics: &'a Metrics,
    /// The access log.
    pub log: Option<Arc<AccessLog>>,
    /// The traces.
    pub traces: Option<Arc<Traces>>,
    /// What plugins may ask for.
    pub provide: &'a dyn Provide,
    /// The stores in which the document's plugins keep blobs.
    pub stores: Arc<[Arc<dyn Blobs>]>,
    /// The snapshot in force, when the document has been read against its own and what routes are
    /// made of is the same in both: routes that are the same objects there are not built again,
    /// unless they go to an upstream that is another now.
    pub before: Option<Arc<Snapshot>>,
}

/// What is wrong, and at which path of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError {
    /// From the document's root down.
    pub path: Vec<String>,
    /// What is wrong, and what to do.
    pub message: String,
    /// A second place that has to do with it: the other route of a conflict.
    pub other: Option<Vec<String>>,
}

impl BuildError {
    pub(crate) fn new(path: &[&str], message: impl Into<String>) -> Self {
        let path = path.iter().map(|key| (*key).to_owned()).collect();
        Self { path, message: message.into(), other: None }
    }

    /// What a plugin says of the settings under a path.
    fn of(path: &[impl ToString], error: ConfigError) -> Self {
        let path = path.iter().map(ToString::to_string).chain(error.path).collect();
        Self { path, message: error.message, other: None }
    }
}

/// The policies that are one for all routes that inherit them, by where the first of their entries
/// is in memory, which holding on to it keeps from being another's.
pub(crate) type Inherited = HashMap<usize, (Arc<model::PolicyEntry>, Vec<Ready>)>;

/// A policy that has been built: of which entry of its list, when it runs, itself.
pub(crate) type Ready = (usize, Stage, Arc<dyn Policy>);

/// What all routes of a document are built with.
pub(crate) struct Given<'a> {
    identities: &'a Identities,
    inherited: Inherited,
}

impl Builder<'_> {
    /// Builds the snapshot of a document.
    ///
    /// # Errors
    /// All that is wrong with its routes.
    pub fn build(
        &self,
        generation: u64,
        document: Arc<Document>,
        router: Arc<Router>,
    ) -> Result<Snapshot, Vec<BuildError>> {
        let mut errors = Vec::new();
        let before = self.before.as_deref();
        let identities = match before {
            Some(before) => before.identities.clone(),
            None => self.identities(&document, &mut errors),
        };
        let inherited = before.map(|before| before.inherited.clone()).unwrap_or_default();
        let mut given = Given { identities: &identities, inherited };
        let mut sets = self.sets(&document, &router, &mut given, &mut errors);
        let mount = match self.mount(&document, &mut given, &mut sets) {
            Ok(mount) => mount,
            Err(error) => {
                errors.push(error);
                None
            }
        };
        let redirects = document
            .listeners
            .iter()
            .filter_map(|(name, listener)| Some((name.as_str().into(), listener.redirect_https?)))
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let reserved = Reserved::of(&identities, sets.iter(), before).into();
        let inherited = given.inherited;
        Ok(Snapshot {
            generation,
            loaded: SystemTime::now(),
            upstreams: Arc::clone(&self.upstreams),
            log: self.log.clone(),
            traces: self.traces.clone(),
            router,
            sets,
            inherited,
            reserved,
            identities,
            unrouted: self.metrics.no_route(),
            redirects,
            mount,
            plans: Plans::new(&document, self.provide),
            stores: Arc::clone(&self.stores),
            document,
        })
    }

    /// The routes of a document: those that are the same as before are taken over.
    fn sets(
        &self,
        document: &Document,
        router: &Router,
        given: &mut Given<'_>,
        errors: &mut Vec<BuildError>,
    ) -> Sets {
        let before = self.before.as_deref();
        let changed = self.changed();
        let all = document.routes.pieces();
        let mut pieces = Vec::with_capacity(all.len());
        for (number, piece) in all.iter().enumerate() {
            let same = before.and_then(|before| before.same_piece(number, piece));
            if let Some(same) = same.filter(|_| !piece.goes_to(&changed)) {
                pieces.push(same);
                continue;
            }
            let sets = piece.iter().enumerate().map(|(place, (pattern, set))| {
                let place = number * PIECE + place;
                let same = before.and_then(|before| before.same(place, pattern, set));
                same.filter(|_| !set.goes_to(&changed)).unwrap_or_else(|| {
                    let routes = self.routes(pattern, set, given, errors);
                    let (pattern, captures) = (Arc::clone(pattern), router.captures(place));
                    Arc::new(RouteSet { pattern, captures, routes })
                })
            });
            pieces.push(sets.collect());
        }
        Sets { pieces, count: document.routes.len(), own: Vec::new() }
    }

    /// The upstreams that are another object than in the snapshot before: no route that goes to one
    /// is taken over.
    fn changed(&self) -> HashSet<&str> {
        let Some(before) = self.before.as_deref() else { return HashSet::new() };
        let is_other = |(name, upstream): &(&String, &Arc<Upstream>)| {
            before.upstreams.get(*name).is_none_or(|known| !Arc::ptr_eq(known, upstream))
        };
        self.upstreams.iter().filter(is_other).map(|(name, _)| name.as_str()).collect()
    }

    fn identities(&self, document: &Document, errors: &mut Vec<BuildError>) -> Identities {
        let (mut all, none) = (Identities::new(), Identities::new());
        for (name, identity) in &document.identity {
            let found = self.plugins.iter().find_map(|plugin| match plugin {
                Plugin::Identity(plugin) if plugin.name() == identity.kind => Some(plugin),
                _ => None,
            });
            let path = ["identity", name, &identity.kind];
            let Some(plugin) = found else {
                let message = format!("there is no identity of the kind `{}`", identity.kind);
                errors.push(BuildError::new(&path, message));
                continue;
            };
            let mut build = Build {
                route: "".into(),
                when: "".into(),
                place: path.join(".").into(),
                name: name.as_str().into(),
                priority: Priority::Normal,
                target: "".into(),
                identities: &none,
                provide: self.provide,
            };
            match plugin.build(&identity.settings, &mut build) {
                Ok(identity) => drop(all.insert(name.clone(), identity)),
                Err(error) => errors.push(BuildError::of(&path, error)),
            }
        }
        all
    }

    fn routes(
        &self,
        pattern: &Arc<str>,
        set: &model::RouteSet,
        given: &mut Given<'_>,
        errors: &mut Vec<BuildError>,
    ) -> Box<[Route]> {
        let mut routes = Vec::with_capacity(set.routes.len());
        for route in &set.routes {
            match self.route(pattern, route, given) {
                Ok(route) => routes.push(route),
                Err(error) => errors.push(error),
            }
        }
        routes.into()
    }

    fn route(
        &self,
        pattern: &Arc<str>,
        route: &model::Route,
        given: &mut Given<'_>,
    ) -> Result<Route, BuildError> {
        let mut build = Build {
            route: (**pattern).into(),
            when: match *route.when == model::Condition::default() {
                true => "".into(),
                false => format!("{:?}", route.when).into(),
            },
            place: "".into(),
            name: "".into(),
            priority: route.priority(),
            target: route.upstreams().into(),
            identities: given.identities,
            provide: self.provide,
        };
        let mut entries = Vec::with_capacity(route.policies.len());
        // What stands as a list under one name is built together.
        for list in route.policies.chunk_by(|one, next| one.name == next.name) {
            self.entries(pattern, list, &mut build, &mut given.inherited, &mut entries)?;
        }
        // A stable sort: within a stage the configuration's order holds.
        entries.sort_by_key(|entry| entry.stage);
        let rewrite = match *route.rewrite == model::Rewrite::default() {
            true => None,
            false => Some(Box::new(Rewrite::new(&route.rewrite).map_err(|(key, message)| {
                BuildError::new(&["routes", pattern, "rewrite", key], message)
            })?)),
        };
        let upstream = match &route.to {
            model::Target::Upstream(name) => Some(&**name),
            _ => None,
        };
        let handler = match &route.to {
            model::Target::Handler { config, .. } => written(config),
            _ => None,
        };
        Ok(Route {
            written: handler,
            pattern: Arc::clone(pattern),
            when: Condition::new(&route.when)
                .map_err(|error| BuildError::new(&["routes", pattern, "when"], error))?,
            reads_origin: entries.iter().any(|entry| entry.policy.reads_request_on_response()),
            entries: entries.into(),
            target: self.target(pattern, &route.to, &mut build)?,
            rewrite,
            timeout: route.timeout.map(|time| time.0),
            retry: route.retry.clone(),
            series: self.metrics.route(Arc::clone(pattern), upstream),
            // None share one allocation.
            tags: if route.tags.is_empty() { Arc::default() } else { route.tags.clone().into() },
        })
    }

    /// The policies of a route of the gateway's own, in their order.
    pub(crate) fn all_entries(
        &self,
        pattern: &Arc<str>,
        policies: &[Arc<model::PolicyEntry>],
        given: &mut Given<'_>,
    ) -> Result<Box<[Entry]>, BuildError> {
        let mut build = Build {
            route: (**pattern).into(),
            when: "".into(),
            place: "".into(),
            name: "".into(),
            priority: Priority::High,
            target: "".into(),
            identities: given.identities,
            provide: self.provide,
        };
        let mut entries = Vec::with_capacity(policies.len());
        for list in policies.chunk_by(|one, next| one.name == next.name) {
            self.entries(pattern, list, &mut build, &mut given.inherited, &mut entries)?;
        }
        entries.sort_by_key(|entry| entry.stage);
        Ok(entries.into())
    }

    /// The policies of one name in a route: one setting, or those of a list.
    fn entries(
        &self,
        pattern: &Arc<str>,
        list: &[Arc<model::PolicyEntry>],
        build: &mut Build<'_>,
        inherited: &mut Inherited,
        entries: &mut Vec<Entry>,
    ) -> Result<(), BuildError> {
        let Some(first) = list.first() else { return Ok(()) };
        let plugin = self.plugins.iter().find_map(|plugin| match plugin {
            Plugin::Policy(plugin) if *plugin.name() == *first.name => Some(*plugin),
            _ => None,
        });
        let Some(plugin) = plugin else {
            let message = format!("there is no policy `{}`", first.name);
            return Err(BuildError::of(&first.path, ConfigError::new(message)));
        };
        let place = Arc::as_ptr(first).addr();
        let known = inherited.get(&place).map(|(_, built)| built.clone());
        let built = match known {
            Some(built) => built,
            None => {
                let built = build_list(plugin, list, build)?;
                if plugin.is_routeless() && Arc::strong_count(first) > 1 {
                    inherited.insert(place, (Arc::clone(first), built.clone()));
                }
                built
            }
        };
        for (from, stage, policy) in built {
            let one = list.get(from).unwrap_or(first);
            entries.push(Entry {
                name: plugin.name(),
                stage,
                body: plugin.body(),
                policy,
                series: self.metrics.policy(plugin.name(), Arc::clone(pattern)),
                written: written(&one.config),
                origin: Arc::clone(&one.path),
            });
        }
        Ok(())
    }

    fn target(
        &self,
        pattern: &str,
        to: &model::Target,
        build: &mut Build<'_>,
    ) -> Result<Target, BuildError> {
        let at = ["routes", pattern, "to"];
        let upstream = |name: &str| {
            let found = self.upstreams.get(name).cloned();
            found.ok_or_else(|| BuildError::new(&at, format!("there is no upstream `{name}`")))
        };
        match to {
            model::Target::Upstream(name) => upstream(name).map(Target::Upstream),
            model::Target::Split(parts) => {
                let mut sum = 0_u32;
                let mut choices = Vec::with_capacity(parts.len());
                for (name, weight) in parts.iter() {
                    sum = sum.saturating_add(*weight);
                    choices.push((sum, upstream(name)?));
                }
                Ok(Target::Split(choices))
            }
            model::Target::Handler { name, config } => {
                let plugin = self.plugins.iter().find_map(|plugin| match plugin {
                    Plugin::Handler(plugin) if *plugin.name() == **name => Some(plugin),
                    _ => None,
                });
                let Some(plugin) = plugin else {
                    return Err(BuildError::new(&at, format!("there is no handler `{name}`")));
                };
                let path = ["routes", pattern, "to", name];
                (build.name, build.place) = ((**name).into(), path.join(".").into());
                let handler = plugin.build(config, build);
                let handler = handler.map_err(|error| BuildError::of(&path, error))?;
                Ok(Target::Handler(plugin.name(), handler))
            }
        }
    }
}

/// Builds the policies of one name.
fn build_list(
    plugin: &dyn PolicyPlugin,
    list: &[Arc<model::PolicyEntry>],
    build: &mut Build<'_>,
) -> Result<Vec<Ready>, BuildError> {
    let places: Vec<String> = list.iter().map(|one| one.path.join(".")).collect();
    let all: Vec<Listed<'_>> = list
        .iter()
        .zip(&places)
        .map(|(one, place)| Listed { config: &one.config, place })
        .collect();
    build.name = plugin.name().into();
    let built = plugin.build_list(&all, build).map_err(|(place, error)| {
        let path = list.get(place).map_or(&[][..], |one| &one.path);
        BuildError::of(path, error)
    })?;
    Ok(built.into_iter().map(|one| (one.from, one.stage, one.policy.into())).collect())
}

/// Settings as written, when they have references: then nothing else of them may be shown. Nor may
/// a secret that stands there in plain text.
fn written(config: &model::Settings) -> Option<Box<str>> {
    let shown = || lockgate_config::bare(config.written().clone()).to_string().into();
    config.has_references().then(shown)
}

/// What building the snapshot will refuse in the routes of a document whose plugins have been
/// checked: conditions and rewrites. Those that `before` serves have been built already.
pub fn refusals(document: &Document, before: Option<&Snapshot>) -> Vec<BuildError> {
    let mut errors = Vec::new();
    let known = before.map(|before| &before.document.routes);
    for (first, piece) in document.routes.pieces_beside(known) {
        for (place, (pattern, set)) in piece.iter().enumerate() {
            if before.is_none_or(|before| before.same(first + place, pattern, set).is_none()) {
                refused(pattern, set, &mut errors);
            }
        }
    }
    errors
}

fn refused(pattern: &str, set: &model::RouteSet, errors: &mut Vec<BuildError>) {
    for (number, route) in set.routes.iter().enumerate() {
        let number = number.to_string();
        let at: &[&str] = match set.routes.len() {
            1 => &["routes", pattern],
            _ => &["routes", pattern, &number],
        };
        if let Err(error) = Condition::new(&route.when) {
            errors.push(BuildError::new(&[at, &["when"]].concat(), error));
        }
        if let Err((key, message)) = Rewrite::new(&route.rewrite) {
            errors.push(BuildError::new(&[at, &["rewrite", key]].concat(), message));
        }
    }
}

/// Whether two documents have the same patterns in the same order.
fn has_same_patterns(old: &model::Routes, new: &model::Routes) -> bool {
    let mut changed = new.pieces_beside(Some(old));
    old.len() == new.len()
        && changed.all(|(first, piece)| {
            let mut patterns = piece.iter().enumerate();
            patterns.all(|(place, (pattern, _))| {
                old.at(first + place).is_some_and(|(known, _)| known == pattern)
            })
        })
}

/// The router of a document: that of the snapshot before, when the patterns are the same.
///
/// # Errors
/// Every pattern that cannot be read, and every pair of patterns that tie.
pub fn router(
    document: &Document,
    before: Option<&Snapshot>,
) -> Result<Arc<Router>, Vec<BuildError>> {
    if let Some(before) = before
        && has_same_patterns(&before.document.routes, &document.routes)
    {
        return Ok(Arc::clone(&before.router));
    }
    let mut errors = Vec::new();
    let mut patterns = Vec::with_capacity(document.routes.len());
    let mut captures = HashSet::new();
    for (index, key) in document.routes.keys().enumerate() {
        match Pattern::new(key) {
            Ok(mut pattern) => {
                pattern.share_captures(&mut captures);
                patterns.push((pattern, index));
            }
            Err(error) => errors.push(BuildError::new(&["routes", key], error.to_string())),
        }
    }
    let conflicts = match Router::build(patterns) {
        Ok(router) if errors.is_empty() => return Ok(Arc::new(router)),
        Ok(_) => return Err(errors),
        Err(conflicts) => conflicts,
    };
    let key = |index: usize| document.routes.at(index).map_or("", |(key, _)| &**key);
    for conflict in conflicts {
        let (first, second) = (key(conflict.a.min(conflict.b)), key(conflict.a.max(conflict.b)));
        let message = format!(
            "`{second}` ties with `{first}`: both match {}, and neither is more specific",
            conflict.example
        );
        let mut error = BuildError::new(&["routes", second], message);
        error.other = Some(vec!["routes".to_owned(), first.to_owned()]);
        errors.push(error);
    }
    Err(errors)
}
