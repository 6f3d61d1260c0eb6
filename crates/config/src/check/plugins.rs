//! Policies, handlers and identities: each is built once through its plugin, so that its settings
//! are known to be good before a configuration is used.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use lockgate_core::{Build, ConfigError, Identities, Listed, Nowhere, Plugin, Priority};
use serde_json::Value;

use super::Findings;
use super::dry::{Asked, Dry};
use crate::decode::{HANDLERS, ROUTE_KEYS, UPSTREAM_KEYS, suggest};
use crate::model::{Document, PIECE, PolicyEntry, RouteSet, Settings, Target};
use crate::same::Same;
use crate::source::{Fail, Shape};

/// Policies that the manual fixes the names of, this version's or a later one's.
const RESERVED: &[&str] = &[
    "auth",
    "rate_limit",
    "cache",
    "cors",
    "concurrency",
    "idempotency",
    "serialize",
    "validate",
    "invalidate",
    "compress",
    "headers",
    "waf",
    "ip",
    "quota",
    "transform",
];

/// How many values of one plugin's settings are tried in their other spelling.
const MAX_RESPELLED: usize = 64;

/// What routes inherit, each as its plugin takes it, by its path: one object for all of them.
pub(crate) type Inherited = HashMap<Arc<[Arc<str>]>, Arc<PolicyEntry>>;

/// Returns what plugins have asked for, and what routes inherit.
pub(super) fn check(
    document: &mut Document,
    plugins: &[Plugin],
    same: Option<&Same<'_>>,
    findings: &mut Findings<'_>,
) -> (Asked, Inherited) {
    let dry = Dry::new(document);
    let inherited = same.map(|same| same.inherited().clone()).unwrap_or_default();
    let mut checker = Checker { plugins, findings, inherited, together: HashSet::new() };
    checker.defaults();
    let identities = checker.identities(document, &dry);
    for (number, piece) in document.routes.pieces_mut().iter_mut().enumerate() {
        if let Some(same) = same.filter(|same| same.routes().has_piece(number, piece)) {
            dry.keep_again(same.held_by_piece(piece));
            continue;
        }
        // Nobody else has it.
        for (place, (pattern, set)) in Arc::make_mut(piece).iter_mut().enumerate() {
            let place = number * PIECE + place;
            if let Some(same) = same.filter(|same| same.has(place, pattern, set)) {
                dry.keep_again(same.held(pattern, set));
                continue;
            }
            checker.under_pattern(place, (pattern, Arc::make_mut(set)), &identities, &dry, same);
        }
    }
    let auth = document.admin.auth.clone();
    if document.admin.also_on.is_some() && !auth.is_null() && auth != false {
        let (identities, dry) = (&identities, &dry);
        let (priority, target) = (Priority::High, String::new());
        let at = Stands { pattern: "/admin/*", priority, target, identities, dry };
        let path: [Arc<str>; 2] = ["admin".into(), "auth".into()];
        let entry = PolicyEntry { name: "auth".into(), config: auth.into(), path: path.into() };
        checker.policy(&at, &mut Arc::new(entry));
    }
    (dry.into_asked(), checker.inherited)
}

/// The route that something stands in.
struct Stands<'a> {
    pattern: &'a str,
    priority: Priority,
    target: String,
    identities: &'a Identities,
    dry: &'a Dry,
}

impl Stands<'_> {
    fn build(&self, name: &str, path: &[&str]) -> Build<'_> {
        self.dry.stand_at(path);
        Build {
            route: self.pattern.into(),
            when: "".into(),
            place: path.join(".").into(),
            name: name.into(),
            priority: self.priority,
            target: self.target.as_str().into(),
            identities: self.identities,
            provide: self.dry,
        }
    }
}

struct Checker<'a, 's> {
    plugins: &'a [Plugin],
    findings: &'a mut Findings<'s>,
    /// What is inherited is checked once.
    inherited: Inherited,
    /// The inherited lists that were checked as a whole.
    together: HashSet<Arc<str>>,
}

impl Checker<'_, '_> {
    /// Names in `defaults` must exist even when no route inherits them.
    fn defaults(&mut self) {
        let source = self.findings.source;
        let Some(defaults) = source.tree.get(source.root, "defaults") else { return };
        for &(key, value) in source.tree.pairs(defaults) {
            let word = source.tree.written(key).unwrap_or_default();
            if UPSTREAM_KEYS.contains(&word) || self.is_policy(word) || source.tree.is_off(value) {
                continue;
            }
            let fail = self.unknown(word, UPSTREAM_KEYS);
            self.findings.push(Fail { at: source.tree.at(key), ..fail });
        }
    }

    /// Builds the plugins of the routes under one pattern.
    fn under_pattern(
        &mut self,
        place: usize,
        (pattern, set): (&str, &mut RouteSet),
        identities: &Identities,
        dry: &Dry,
        same: Option<&Same<'_>>,
    ) {
        let is_list = self.findings.source.is_list_of_routes(place, pattern);
        // A list that lost a route in decoding does not tell the others' numbers.
        let is_whole =
            !is_list || self.findings.source.items(&["routes", pattern]) == set.routes.len();
        for (place, route) in set.routes.iter_mut().enumerate() {
            let (priority, target) = (route.priority(), route.upstreams());
            let at = Stands { pattern, priority, target, identities, dry };
            let before = self.findings.fails.len();
            for policy in &mut route.policies {
                self.policy(&at, policy);
                if let Some(same) = same.filter(|_| policy.is_inherited()) {
                    dry.keep_again(same.held_by_inherited(&policy.name));
                }
            }
            if self.findings.fails.len() == before {
                for list in route.policies.chunk_by(|one, next| one.name == next.name) {
                    self.together(&at, list);
                }
            }
            if let Target::Handler { name, config } = &mut route.to
                && is_whole
            {
                let place = place.to_string();
                let number = is_list.then_some(place.as_str());
                let front = ["routes", pattern].into_iter().chain(number);
                let path: Vec<&str> = front.chain(["to", name]).collect();
                self.handler(&at, name, &path, config);
            }
        }
    }

    /// Builds every identity, so that policies can name them.
    fn identities(&mut self, document: &mut Document, dry: &Dry) -> Identities {
        let (mut built, none) = (Identities::new(), Identities::new());
        for (name, identity) in &mut document.identity {
            let kind = identity.kind.as_str();
            let path = ["identity", name.as_str(), kind];
            let found = self.plugins.iter().find_map(|plugin| match plugin {
                Plugin::Identity(plugin) if plugin.name() == kind => Some(*plugin),
                _ => None,
            });
            let Some(plugin) = found else {
                let message = format!("this version has no identity of the kind `{kind}`");
                self.findings.error_at_key(&["identity", name, kind], message);
                built.insert(name.clone(), Arc::new(Nowhere));
                continue;
            };
            let (pattern, target) = ("", String::new());
            let at = Stands { pattern, priority: Priority::Normal, target, identities: &none, dry };
            let build = |config: &Value| plugin.build(config, &mut at.build(name, &path));
            self.build(&path, &mut identity.settings, &|config| build(config).map(|_| ()));
            for doubt in plugin.doubts(&identity.settings) {
                let below = doubt.path.iter().map(String::as_str);
                let path: Vec<&str> = path.into_iter().chain(below).collect();
                self.findings.warning(&path, doubt.message);
            }
            let identity = build(&identity.settings).unwrap_or_else(|_| Arc::new(Nowhere));
            built.insert(name.clone(), identity);
        }
        built
    }

    fn is_policy(&self, name: &str) -> bool {
        self.plugins.iter().any(|plugin| matches!(plugin, Plugin::Policy(p) if p.name() == name))
    }

    fn unknown(&self, name: &str, others: &[&str]) -> Fail {
        if RESERVED.contains(&name) {
            let fail =
                Fail::new(Default::default(), format!("this version has no policy `{name}`"));
            return fail.help(format!("`{name}` is a policy of a later version"));
        }
        let policies = self.plugins.iter().filter(|plugin| matches!(plugin, Plugin::Policy(_)));
        let known: Vec<&str> =
            others.iter().copied().chain(policies.map(|plugin| plugin.name())).collect();
        let message = format!("`{name}` is neither a key of a route nor a policy");
        Fail::new(Default::default(), message).help(suggest(name, &known))
    }

    fn policy(&mut self, at: &Stands<'_>, entry: &mut Arc<PolicyEntry>) {
        let is_inherited = entry.is_inherited();
        if is_inherited && let Some(known) = self.inherited.get(&entry.path) {
            entry.clone_from(known);
            return;
        }
        let mut own = PolicyEntry::clone(entry);
        self.own_policy(at, &mut own, is_inherited);
        // What all routes inherit stays one.
        if own != **entry {
            *entry = Arc::new(own);
        }
        if is_inherited {
            self.inherited.insert(Arc::clone(&entry.path), Arc::clone(entry));
        }
    }

    fn own_policy(&mut self, at: &Stands<'_>, entry: &mut PolicyEntry, is_inherited: bool) {
        let PolicyEntry { name, config, path } = entry;
        let found = self.plugins.iter().find_map(|plugin| match plugin {
            Plugin::Policy(plugin) if *plugin.name() == **name => Some(*plugin),
            _ => None,
        });
        let Some(plugin) = found else {
            if !is_inherited {
                let key: Vec<&str> = path.iter().take(4).map(|p| &**p).collect();
                let fail = self.unknown(name, ROUTE_KEYS);
                let at = self.key_of(&key, name);
                self.findings.push(Fail { at, ..fail });
            }
            return;
        };
        let path: Vec<&str> = path.iter().map(|part| &**part).collect();
        self.build(&path, config, &|config| {
            plugin.build(config, &mut at.build(name, &path)).map(|_| ())
        });
    }

    /// Settings of a list that are fine one by one may not fit together.
    fn together(&mut self, at: &Stands<'_>, list: &[Arc<PolicyEntry>]) {
        let [first, _, ..] = list else { return };
        let found = self.plugins.iter().find_map(|plugin| match plugin {
            Plugin::Policy(plugin) if *plugin.name() == *first.name => Some(*plugin),
            _ => None,
        });
        let Some(plugin) = found else { return };
        if first.is_inherited() && !self.together.insert(first.name.clone()) {
            return;
        }
        let places: Vec<String> = list.iter().map(|one| one.path.join(".")).collect();
        let all: Vec<Listed<'_>> = list
            .iter()
            .zip(&places)
            .map(|(one, place)| Listed { config: &one.config, place })
            .collect();
        let path = words(&first.path);
        let built = plugin.build_list(&all, &mut at.build(&first.name, &path));
        if let Err((place, error)) = built {
            let one = list.get(place).unwrap_or(first);
            let has_references = list.iter().any(|one| one.config.has_references());
            // What is said may repeat a value that came from a reference.
            let error = match has_references {
                true => ConfigError::new("these settings do not fit together"),
                false => error,
            };
            self.tell(&words(&one.path), &error);
        }
    }

    /// The place of a policy's name; its entries may be items of a list below it.
    fn key_of(&self, path: &[&str], name: &str) -> crate::source::At {
        let last = path.iter().rposition(|part| *part == name).unwrap_or(0);
        self.findings.source.key(path.get(..=last).unwrap_or(path))
    }

    fn handler(&mut self, at: &Stands<'_>, name: &str, path: &[&str], config: &mut Settings) {
        let found = self.plugins.iter().find_map(|plugin| match plugin {
            Plugin::Handler(plugin) if plugin.name() == name => Some(*plugin),
            _ => None,
        });
        let Some(plugin) = found else {
            let message;
            let help;
            if HANDLERS.contains(&name) {
                message = format!("this version has no handler `{name}`");
                help = format!("`{name}` is a handler of a later version");
            } else {
                message = format!("there is no handler `{name}`");
                help = suggest(name, &super::handler_names(self.plugins));
            }
            self.findings.error_at_key(path, message).help = Some(help);
            return;
        };
        self.build(path, config, &|config| {
            plugin.build(config, &mut at.build(name, path)).map(|_| ())
        });
    }

    /// Builds, and says what is wrong. A plain word or number that is refused is tried as text:
    /// `off` may be meant as that word, and a header's value may look like a number.
    fn build(
        &mut self,
        path: &[&str],
        config: &mut Settings,
        build: &dyn Fn(&Value) -> Result<(), ConfigError>,
    ) {
        let Err(error) = build(config) else { return };
        let mut respelled = config.clone();
        let mut last = error.clone();
        for _ in 0..MAX_RESPELLED {
            let below = keys(&last);
            if !self.respell(path, &below, &mut respelled) {
                break;
            }
            match build(&respelled) {
                Ok(()) => {
                    *config = respelled;
                    return;
                }
                Err(next) => last = next,
            }
        }
        let error = if last.path == error.path { error } else { last };
        let told = self.without_references(error, config, build);
        self.tell(path, &told);
    }

    /// Puts one plain value into its text. False: it is text already.
    fn respell(&self, path: &[&str], below: &[String], config: &mut Settings) -> bool {
        let source = self.findings.source;
        let below_it = below.iter().map(String::as_str);
        let all: Vec<&str> = path.iter().copied().chain(below_it).collect();
        let Some(node) = source.node(&all) else { return false };
        if !matches!(source.tree.shape(node), Shape::Bool(_) | Shape::Number) {
            return false;
        }
        let text = source.tree.written(node).unwrap_or_default();
        config.replace(below, text)
    }

    /// What a plugin says may repeat a value. When that came from a reference, the plugin is
    /// asked once more about the settings as they are written.
    fn without_references(
        &self,
        error: ConfigError,
        config: &Settings,
        build: &dyn Fn(&Value) -> Result<(), ConfigError>,
    ) -> ConfigError {
        if !config.has_references() {
            return error;
        }
        match build(config.written()) {
            Err(written) if written.path == error.path => written,
            _ => ConfigError {
                message: "what stands here, its references resolved, is not accepted".into(),
                ..error
            },
        }
    }

    fn tell(&mut self, path: &[&str], error: &ConfigError) {
        let below = keys(error);
        let below = below.iter().map(String::as_str);
        let mut all: Vec<&str> = path.iter().copied().chain(below).collect();
        if let Some((unknown, known)) = unknown_field(&error.message) {
            if all.last() != Some(&unknown) {
                all.push(unknown);
            }
            let message = format!("unknown key `{unknown}`");
            self.findings.error_at_key(&all, message).help = Some(suggest(unknown, &known));
            return;
        }
        self.findings.error(&all, error.message.clone());
    }
}

/// A path as borrowed words.
fn words(path: &[Arc<str>]) -> Vec<&str> {
    path.iter().map(|word| &**word).collect()
}

/// The keys of an error's path; list items are plain numbers.
fn keys(error: &ConfigError) -> Vec<String> {
    let plain = |key: &String| key.trim_start_matches('[').trim_end_matches(']').to_owned();
    error.path.iter().map(plain).collect()
}

/// serde's words for an unknown key: the key, and the known ones.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (field, rest) = rest.split_once('`')?;
    Some((field, rest.split('`').skip(1).step_by(2).collect()))
}
