//! Policies, handlers and identities: each is built once through its plugin, so that its settings
//! are known to be good before a configuration is used.

use std::collections::HashMap;
use std::path::PathBuf;

use lockgate_core::{Build, ConfigError, Identities, Plugin, Priority};
use serde_json::Value;

use super::Findings;
use super::dry::Dry;
use crate::decode::{HANDLERS, ROUTE_KEYS, UPSTREAM_KEYS, suggest};
use crate::model::{Document, Settings, Target};
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

/// Returns the files that plugins read.
pub(super) fn check(
    document: &mut Document,
    plugins: &[Plugin],
    findings: &mut Findings<'_>,
) -> Vec<PathBuf> {
    let dry = Dry::new(document);
    let mut checker = Checker { plugins, findings, inherited: HashMap::new() };
    checker.defaults();
    let identities = checker.identities(document, &dry);
    let listed = checker.findings.source.listed_routes();
    for (pattern, set) in &mut document.routes {
        let is_list = listed.contains(pattern.as_str());
        // A list that lost a route in decoding does not tell the others' numbers.
        let is_whole =
            !is_list || checker.findings.source.items(&["routes", pattern]) == set.routes.len();
        for (place, route) in set.routes.iter_mut().enumerate() {
            let (identities, dry) = (&identities, &dry);
            let at = Stands { pattern, priority: route.priority(), identities, dry };
            for policy in &mut route.policies {
                checker.policy(&at, &policy.name, &policy.path, &mut policy.config);
            }
            if let Target::Handler { name, config } = &mut route.to
                && is_whole
            {
                let mut path = vec!["routes".to_owned(), pattern.clone()];
                if is_list {
                    path.push(place.to_string());
                }
                path.extend(["to".to_owned(), name.clone()]);
                checker.handler(&at, name, &path, config);
            }
        }
    }
    dry.into_files()
}

/// The route that something stands in.
struct Stands<'a> {
    pattern: &'a str,
    priority: Priority,
    identities: &'a Identities,
    dry: &'a Dry,
}

impl Stands<'_> {
    fn build(&self, name: &str, path: &[String]) -> Build<'_> {
        Build {
            route: self.pattern.into(),
            when: "".into(),
            place: path.join(".").into(),
            name: name.into(),
            priority: self.priority,
            identities: self.identities,
            provide: self.dry,
        }
    }
}

struct Checker<'a, 's> {
    plugins: &'a [Plugin],
    findings: &'a mut Findings<'s>,
    /// What is inherited is checked once: its path → its settings, as the plugin takes them.
    inherited: HashMap<Vec<String>, Settings>,
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

    /// Builds every identity, so that policies can name them.
    fn identities(&mut self, document: &mut Document, dry: &Dry) -> Identities {
        let (mut built, none) = (Identities::new(), Identities::new());
        for (name, identity) in &mut document.identity {
            let kind = identity.kind.as_str();
            let path = ["identity".to_owned(), name.clone(), kind.to_owned()];
            let found = self.plugins.iter().find_map(|plugin| match plugin {
                Plugin::Identity(plugin) if plugin.name() == kind => Some(*plugin),
                _ => None,
            });
            let Some(plugin) = found else {
                let message = format!("this version has no identity of the kind `{kind}`");
                self.findings.error_at_key(&["identity", name, kind], message);
                continue;
            };
            let at = Stands { pattern: "", priority: Priority::Normal, identities: &none, dry };
            let build = |config: &Value| plugin.build(config, &mut at.build(name, &path));
            self.build(&path, &mut identity.settings, &|config| build(config).map(|_| ()));
            if let Ok(identity) = build(&identity.settings) {
                built.insert(name.clone(), identity);
            }
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

    fn policy(&mut self, at: &Stands<'_>, name: &str, path: &[String], config: &mut Settings) {
        let is_inherited = path.first().is_some_and(|first| first == "defaults");
        if is_inherited {
            if let Some(known) = self.inherited.get(path) {
                config.clone_from(known);
                return;
            }
            self.inherited.insert(path.to_vec(), config.clone());
        }
        let found = self.plugins.iter().find_map(|plugin| match plugin {
            Plugin::Policy(plugin) if plugin.name() == name => Some(*plugin),
            _ => None,
        });
        let Some(plugin) = found else {
            if !is_inherited {
                let key: Vec<&str> = path.iter().take(path.len().min(4)).map(|p| &**p).collect();
                let fail = self.unknown(name, ROUTE_KEYS);
                let at = self.key_of(&key, name);
                self.findings.push(Fail { at, ..fail });
            }
            return;
        };
        self.build(path, config, &|config| {
            plugin.build(config, &mut at.build(name, path)).map(|_| ())
        });
        if is_inherited {
            self.inherited.insert(path.to_vec(), config.clone());
        }
    }

    /// The place of a policy's name; its entries may be items of a list below it.
    fn key_of(&self, path: &[&str], name: &str) -> crate::source::At {
        let last = path.iter().rposition(|part| *part == name).unwrap_or(0);
        self.findings.source.key(path.get(..=last).unwrap_or(path))
    }

    fn handler(&mut self, at: &Stands<'_>, name: &str, path: &[String], config: &mut Settings) {
        let found = self.plugins.iter().find_map(|plugin| match plugin {
            Plugin::Handler(plugin) if plugin.name() == name => Some(*plugin),
            _ => None,
        });
        let Some(plugin) = found else {
            let key: Vec<&str> = path.iter().map(|part| &**part).collect();
            let message;
            let help;
            if HANDLERS.contains(&name) {
                message = format!("this version has no handler `{name}`");
                help = format!("`{name}` is a handler of a later version");
            } else {
                message = format!("there is no handler `{name}`");
                help = suggest(name, &super::handler_names(self.plugins));
            }
            self.findings.error_at_key(&key, message).help = Some(help);
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
        path: &[String],
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
    fn respell(&self, path: &[String], below: &[String], config: &mut Settings) -> bool {
        let source = self.findings.source;
        let all: Vec<&str> = path.iter().chain(below).map(String::as_str).collect();
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

    fn tell(&mut self, path: &[String], error: &ConfigError) {
        let below = keys(error);
        let mut all: Vec<&str> = path.iter().chain(&below).map(String::as_str).collect();
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
