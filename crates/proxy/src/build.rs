//! Building a snapshot from a document: every route resolved, every policy built, every error
//! reported with the place that it came from.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use lockgate_config::model::{self, Document};
use lockgate_core::{Build, ConfigError, Plugin, Policy};
use lockgate_telemetry::{AccessLog, Metrics};
use lockgate_upstream::Upstream;

use crate::pipeline::Entry;
use crate::rewrite::Rewrite;
use crate::route::{Condition, Pattern, Router};
use crate::snapshot::{Route, RouteSet, Snapshot};
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
    fn new(path: &[&str], message: impl Into<String>) -> Self {
        let path = path.iter().map(|key| (*key).to_owned()).collect();
        Self { path, message: message.into(), other: None }
    }
}

/// The policies that are one for all routes that inherit them, by the entry that is shared.
type Inherited = HashMap<*const model::PolicyEntry, Arc<dyn Policy>>;

impl Builder<'_> {
    /// Builds the snapshot of a document and of its routes, which have been taken out of it: they
    /// need not be kept as they were read.
    ///
    /// # Errors
    /// All that is wrong with its routes.
    pub fn build(
        &self,
        generation: u64,
        document: Arc<Document>,
        routes: &model::Routes,
        router: Router,
    ) -> Result<Snapshot, Vec<BuildError>> {
        let mut errors = Vec::new();
        let mut inherited = Inherited::default();
        let mut sets = Vec::with_capacity(routes.len());
        for (place, set) in routes.values().enumerate() {
            // The router has been built of these very routes.
            let Some(pattern) = router.text(place) else { continue };
            let routes = self.routes(&pattern, set, &mut inherited, &mut errors);
            sets.push(RouteSet { pattern, captures: router.captures(place), routes });
        }
        let redirects = document
            .listeners
            .iter()
            .filter_map(|(name, listener)| Some((name.as_str().into(), listener.redirect_https?)))
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Snapshot {
            generation,
            loaded: SystemTime::now(),
            upstreams: Arc::clone(&self.upstreams),
            log: self.log.clone(),
            router,
            sets,
            unrouted: self.metrics.no_route(),
            redirects,
            document,
        })
    }

    fn routes(
        &self,
        pattern: &Arc<str>,
        set: &model::RouteSet,
        inherited: &mut Inherited,
        errors: &mut Vec<BuildError>,
    ) -> Box<[Route]> {
        let mut routes = Vec::with_capacity(set.routes.len());
        for route in &set.routes {
            match self.route(pattern, route, inherited) {
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
        inherited: &mut Inherited,
    ) -> Result<Route, BuildError> {
        let mut entries = Vec::with_capacity(route.policies.len());
        for policy in &route.policies {
            entries.push(self.entry(pattern, policy, inherited)?);
        }
        // A stable sort: within a stage the configuration's order holds.
        entries.sort_by_key(|entry| entry.stage);
        let rewrite = match route.rewrite == model::Rewrite::default() {
            true => None,
            false => Some(Box::new(Rewrite::new(&route.rewrite).map_err(|(key, message)| {
                BuildError::new(&["routes", pattern, "rewrite", key], message)
            })?)),
        };
        let upstream = match &route.to {
            model::Target::Upstream(name) => Some(name.as_str()),
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
            entries: entries.into(),
            target: self.target(pattern, &route.to)?,
            rewrite,
            timeout: route.timeout.map(|time| time.0),
            retry: route.retry.clone().map(Box::new),
            series: self.metrics.route(Arc::clone(pattern), upstream),
            // None share one allocation.
            tags: if route.tags.is_empty() { Arc::default() } else { route.tags.clone().into() },
        })
    }

    fn entry(
        &self,
        pattern: &Arc<str>,
        policy: &Arc<model::PolicyEntry>,
        inherited: &mut Inherited,
    ) -> Result<Entry, BuildError> {
        let error = |error: ConfigError| {
            let mut path: Vec<String> =
                policy.path.iter().map(|word| (**word).to_owned()).collect();
            path.extend(error.path);
            BuildError { path, message: error.message, other: None }
        };
        let plugin = self.plugins.iter().find_map(|plugin| match plugin {
            Plugin::Policy(plugin) if *plugin.name() == *policy.name => Some(plugin),
            _ => None,
        });
        let Some(plugin) = plugin else {
            return Err(error(ConfigError::new(format!("there is no policy `{}`", policy.name))));
        };
        let known = inherited.get(&Arc::as_ptr(policy)).cloned();
        let built = match known {
            Some(built) => built,
            None => {
                let mut build = Build { route: (**pattern).into() };
                let built: Arc<dyn Policy> =
                    plugin.build(&policy.config, &mut build).map_err(error)?.into();
                if plugin.is_routeless() && Arc::strong_count(policy) > 1 {
                    inherited.insert(Arc::as_ptr(policy), Arc::clone(&built));
                }
                built
            }
        };
        Ok(Entry {
            name: plugin.name(),
            stage: plugin.stage(&policy.config),
            body: plugin.body(),
            policy: built,
            series: self.metrics.policy(plugin.name(), Arc::clone(pattern)),
            written: written(&policy.config),
            origin: Arc::clone(&policy.path),
        })
    }

    fn target(&self, pattern: &str, to: &model::Target) -> Result<Target, BuildError> {
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
                for (name, weight) in parts {
                    sum = sum.saturating_add(*weight);
                    choices.push((sum, upstream(name)?));
                }
                Ok(Target::Split(choices))
            }
            model::Target::Handler { name, config } => {
                let plugin = self.plugins.iter().find_map(|plugin| match plugin {
                    Plugin::Handler(plugin) if plugin.name() == name => Some(plugin),
                    _ => None,
                });
                let Some(plugin) = plugin else {
                    return Err(BuildError::new(&at, format!("there is no handler `{name}`")));
                };
                let mut build = Build { route: pattern.into() };
                let handler = plugin.build(config, &mut build).map_err(|error| {
                    let mut path: Vec<String> = at.iter().map(|key| (*key).to_owned()).collect();
                    path.push(name.clone());
                    path.extend(error.path);
                    BuildError { path, message: error.message, other: None }
                })?;
                Ok(Target::Handler(plugin.name(), handler))
            }
        }
    }
}

/// Settings as written, when they have references: then nothing else of them may be shown.
fn written(config: &model::Settings) -> Option<Box<str>> {
    config.has_references().then(|| config.written().to_string().into())
}

/// What building the snapshot will refuse in the routes of a document whose plugins have been
/// checked: conditions and rewrites.
pub fn refusals(document: &Document) -> Vec<BuildError> {
    let mut errors = Vec::new();
    for (pattern, set) in &document.routes {
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
    errors
}

/// The router of a document.
///
/// # Errors
/// Every pattern that cannot be read, and every pair of patterns that tie.
pub fn router(document: &Document) -> Result<Router, Vec<BuildError>> {
    let mut errors = Vec::new();
    let mut patterns = Vec::with_capacity(document.routes.len());
    for (index, key) in document.routes.keys().enumerate() {
        match key.parse::<Pattern>() {
            Ok(pattern) => patterns.push((pattern, index)),
            Err(error) => errors.push(BuildError::new(&["routes", key], error.to_string())),
        }
    }
    let conflicts = match Router::build(patterns) {
        Ok(router) if errors.is_empty() => return Ok(router),
        Ok(_) => return Err(errors),
        Err(conflicts) => conflicts,
    };
    let key = |index: usize| document.routes.get_index(index).map_or("", |(key, _)| key.as_str());
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
