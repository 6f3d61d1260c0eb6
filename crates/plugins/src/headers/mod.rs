//! `headers`: adds, sets and removes header lines on the way to the target and on the way back.
//! Refuses the fields of the framing and of the connection, and names that two lists fight over.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use http::header::{HOST, HeaderMap};
use http::{HeaderName, HeaderValue, Response};
use lockgate_core::{
    Body, Build, Built, ConfigError, Derived, Exchange, Fault, Listed, Policy, PolicyPlugin, Stage,
    Step, Template, Verdict, Written, decode,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::Value;

use crate::fields;

/// Adds, sets and removes headers.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Config {
    /// Changes to the request, before the target sees it.
    request: Lists,
    /// Changes to the answer, before the client sees it.
    response: Lists,
    /// Whether `response` also holds for the gateway's own error answers (`false`).
    on_errors: bool,
}

/// One direction's changes.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
struct Lists {
    /// Name → value, which may have words such as `${ip}`. Takes the place of all lines of that
    /// name.
    set: BTreeMap<String, String>,
    /// Name → value. Comes after the lines of that name that are there already.
    add: BTreeMap<String, String>,
    /// Names whose lines are all taken away.
    remove: Vec<String>,
}

/// The entry in the list of plugins.
pub(crate) struct Headers;

impl PolicyPlugin for Headers {
    fn name(&self) -> &'static str {
        "headers"
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Transform
    }

    fn is_routeless(&self) -> bool {
        true
    }

    fn templates(&self) -> &'static [&'static str] {
        &["request.set.*", "request.add.*", "response.set.*", "response.add.*"]
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(&self, config: &Value, _: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        Ok(Box::new(Change::read(config)?))
    }

    /// What the answer says of its own request is said outside of the cache: each of a list may
    /// be two policies.
    fn build_list(
        &self,
        list: &[Listed<'_>],
        _: &mut Build<'_>,
    ) -> Result<Vec<Built>, (usize, ConfigError)> {
        let mut all = Vec::with_capacity(list.len());
        for (from, one) in list.iter().enumerate() {
            all.push(Change::read(one.config).map_err(|error| (from, error))?);
        }
        let told: HashSet<HeaderName> =
            all.iter().flat_map(|change| change.response.with_words()).cloned().collect();
        let mut built = Vec::with_capacity(all.len());
        for (from, mut change) in all.into_iter().enumerate() {
            if let Some(outer) = change.split(&told) {
                built.push(Built { from, stage: Stage::Tell, policy: Box::new(outer) });
                if change.request.is_nothing() && change.response.is_nothing() {
                    continue;
                }
            }
            built.push(Built { from, stage: Stage::Transform, policy: Box::new(change) });
        }
        Ok(built)
    }
}

/// A header's value.
enum Text {
    Fixed(HeaderValue),
    Words(Template),
}

impl Text {
    fn read(text: &str) -> Result<Self, ConfigError> {
        let template: Template = text.parse().map_err(|why: String| ConfigError::new(why))?;
        if let Some(fixed) = template.fixed() {
            return fields::value(&fixed).map(Self::Fixed);
        }
        for part in template.texts() {
            fields::value(part.trim_matches(' '))?;
        }
        Ok(Self::Words(template))
    }
}

/// One direction's changes, checked.
#[derive(Default)]
struct Changes {
    set: Box<[(HeaderName, Text)]>,
    add: Box<[(HeaderName, Text)]>,
    remove: Box<[HeaderName]>,
    /// The values that have words.
    derived: Option<Derived>,
}

impl Changes {
    fn read(lists: &Lists) -> Result<Self, ConfigError> {
        let mut seen = HashSet::new();
        let mut name = |verb: &str, key: &str, text: &str| {
            let at = |error: ConfigError| error.at(key).at(verb);
            let name = fields::name(text).map_err(at)?;
            if seen.insert(name.clone()) {
                Ok(name)
            } else {
                Err(at(ConfigError::new(format!("`{name}` is named twice: say one thing of it"))))
            }
        };
        let mut remove = Vec::with_capacity(lists.remove.len());
        for (place, text) in lists.remove.iter().enumerate() {
            remove.push(name("remove", &place.to_string(), text)?);
        }
        let mut lines = |verb: &str, list: &BTreeMap<String, String>| {
            let mut lines = Vec::with_capacity(list.len());
            for (key, text) in list {
                let name = name(verb, key, key)?;
                let value = Text::read(text).map_err(|error| error.at(key).at(verb))?;
                lines.push((name, value));
            }
            Ok::<Box<[_]>, ConfigError>(lines.into())
        };
        let (set, add) = (lines("set", &lists.set)?, lines("add", &lists.add)?);
        Ok(Self::new(set, add, remove.into()))
    }

    fn new(
        set: Box<[(HeaderName, Text)]>,
        add: Box<[(HeaderName, Text)]>,
        remove: Box<[HeaderName]>,
    ) -> Self {
        let words = set.iter().chain(&add).filter_map(|(name, text)| match text {
            Text::Words(template) => Some((name.clone(), template.clone())),
            Text::Fixed(_) => None,
        });
        let words: Arc<[_]> = words.collect();
        let derived = (!words.is_empty()).then_some(Derived(words));
        Self { derived, set, add, remove }
    }

    /// The names whose values have words.
    fn with_words(&self) -> impl Iterator<Item = &HeaderName> {
        self.derived.iter().flat_map(|derived| derived.0.iter().map(|(name, _)| name))
    }

    /// Takes out the changes to these headers, if there are any.
    fn split(&mut self, names: &HashSet<HeaderName>) -> Option<Self> {
        let is_theirs = |(name, _): &(HeaderName, Text)| names.contains(name);
        let taken = std::mem::take(self);
        let (set, own_set) = taken.set.into_iter().partition::<Vec<_>, _>(is_theirs);
        let (add, own_add) = taken.add.into_iter().partition::<Vec<_>, _>(is_theirs);
        let (remove, own_remove) =
            taken.remove.into_iter().partition::<Vec<_>, _>(|name| names.contains(name));
        *self = Self::new(own_set.into(), own_add.into(), own_remove.into());
        Some(Self::new(set.into(), add.into(), remove.into())).filter(|taken| !taken.is_nothing())
    }

    fn is_nothing(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }

    fn verb_for(&self, name: &HeaderName) -> Option<(&'static str, &HeaderName)> {
        let set = self.set.iter().map(|(name, _)| ("set", name));
        let add = self.add.iter().map(|(name, _)| ("add", name));
        let remove = self.remove.iter().map(|name| ("remove", name));
        set.chain(add).chain(remove).find(|(_, found)| *found == name)
    }

    /// Makes the changes to the request or to its answer.
    fn make(&self, exchange: &mut Exchange, answer: Option<&mut HeaderMap>) {
        let has_words = self.derived.is_some();
        let words = if has_words { self.words(exchange) } else { Vec::new() };
        let headers = answer.unwrap_or(&mut exchange.head.headers);
        if has_words { self.apply(words, headers) } else { self.put(headers, || None) }
    }

    /// What the values with words come to, in the order of `set` and `add`. They speak of the
    /// request as it is before any of the changes.
    fn words(&self, exchange: &mut Exchange) -> Vec<Option<HeaderValue>> {
        let mut all = Vec::new();
        for (name, text) in self.set.iter().chain(&self.add) {
            let Text::Words(template) = text else { continue };
            all.push(match template.header(exchange) {
                Written::Value(value) => Some(value),
                Written::Nothing => None,
                Written::Unfit => {
                    exchange.note(|| format!("header {name}: left out, its value would be none"));
                    None
                }
            });
        }
        all
    }

    fn reads_headers(&self) -> bool {
        let mut all = self.derived.iter().flat_map(|derived| derived.0.iter());
        all.any(|(_, template)| template.reads_headers())
    }

    fn apply(&self, words: Vec<Option<HeaderValue>>, headers: &mut HeaderMap) {
        let mut words = words.into_iter();
        self.put(headers, || words.next().flatten());
    }

    /// `word` gives what the values with words come to, one after the other.
    fn put(&self, headers: &mut HeaderMap, mut word: impl FnMut() -> Option<HeaderValue>) {
        let mut value = |text: &Text| match text {
            Text::Fixed(value) => Some(value.clone()),
            Text::Words(_) => word(),
        };
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, text) in &self.set {
            match value(text) {
                Some(value) => drop(headers.insert(name, value)),
                None => drop(headers.remove(name)),
            }
        }
        for (name, text) in &self.add {
            if let Some(value) = value(text) {
                headers.append(name, value);
            }
        }
    }
}

/// Names only: values may be secrets.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.set.iter().map(|(name, _)| ("set", name));
        let add = self.add.iter().map(|(name, _)| ("add", name));
        let remove = self.remove.iter().map(|name| ("remove", name));
        let mut any = false;
        for (verb, name) in set.chain(add).chain(remove) {
            write!(f, "{}{verb} {name}", if any { ", " } else { "" })?;
            any = true;
        }
        if any { Ok(()) } else { f.write_str("nothing") }
    }
}

struct Change {
    request: Changes,
    response: Changes,
    on_errors: bool,
}

impl Change {
    fn read(config: &Value) -> Result<Self, ConfigError> {
        let config: Config = decode(config)?;
        let request = Changes::read(&config.request).map_err(|error| error.at("request"))?;
        let response = Changes::read(&config.response).map_err(|error| error.at("response"))?;
        if let Some((verb, _)) = request.verb_for(&HOST) {
            let message = "the request's Host is set by the route's `rewrite: { host }`";
            return Err(ConfigError::new(message).at(verb).at("request"));
        }
        Ok(Self { request, response, on_errors: config.on_errors })
    }

    /// Takes out what it does to these headers of answers, if it does anything.
    fn split(&mut self, names: &HashSet<HeaderName>) -> Option<Self> {
        let response = self.response.split(names)?;
        Some(Self { request: Changes::default(), response, on_errors: self.on_errors })
    }
}

impl Policy for Change {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        self.request.make(exchange, None);
        if let Some(derived) = &self.request.derived {
            exchange.kept.put(self, derived.clone());
        }
        Step::Now(Ok(Verdict::Pass))
    }

    fn response<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        response: &'a mut Response<Body>,
    ) -> Step<'a, Result<(), Fault>> {
        if exchange.fault.is_none() || self.on_errors {
            self.response.make(exchange, Some(response.headers_mut()));
        }
        Step::Now(Ok(()))
    }

    fn reads_request_on_response(&self) -> bool {
        self.response.reads_headers()
    }

    fn describe(&self) -> String {
        let errors = if self.on_errors { " (on errors too)" } else { "" };
        format!("request: {}; response: {}{errors}", self.request, self.response)
    }
}
