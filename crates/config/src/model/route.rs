//! `routes`: which request goes where, and by what rules.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use indexmap::IndexMap;
use lockgate_core::{Priority, Time};
use regex::bytes::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::{Retry, Settings};
use crate::decode::forms;

/// Bytes that one compiled expression may take, and its cache again.
const REGEX_SIZE: usize = 256 << 10;
/// How deep groups may stand in groups.
const REGEX_DEPTH: u32 = 32;

/// The routes under one pattern: the first whose `when` holds wins.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouteSet {
    /// At least one. In the file a single route needs no list.
    pub routes: Box<[Route]>,
}

impl RouteSet {
    /// Whether one of them goes to one of these upstreams.
    pub fn goes_to(&self, upstreams: &HashSet<&str>) -> bool {
        let is_one = |name: &str| upstreams.contains(name);
        let goes = |route: &Route| match &route.to {
            Target::Upstream(name) => is_one(name),
            Target::Split(parts) => parts.keys().any(|name| is_one(name)),
            Target::Handler { .. } => false,
        };
        !upstreams.is_empty() && self.routes.iter().any(goes)
    }
}

/// One route.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Route {
    /// When this route holds; an empty condition always does.
    pub when: Arc<Condition>,
    /// Where its requests go.
    pub to: Target,
    /// How the request is changed on its way upstream.
    pub rewrite: Arc<Rewrite>,
    /// The whole request's limit, instead of the upstream's `timeout.request`; zero: none.
    pub timeout: Option<Time>,
    /// Instead of the upstream's.
    pub retry: Option<Arc<Retry>>,
    /// What is shed last under overload: `high`, `normal`, `low`.
    #[serde(serialize_with = "priority_word")]
    pub priority: Option<Priority>,
    /// Free words, shown by `routes` and in the log.
    pub tags: Box<[String]>,
    /// The policies of the route, those of `defaults` included, in the configuration's order. What
    /// is inherited is one entry for all routes.
    pub policies: Box<[Arc<PolicyEntry>]>,
}

impl Route {
    /// The upstream that it goes to, or all those of a split; empty for a handler.
    pub fn upstreams(&self) -> String {
        match &self.to {
            Target::Upstream(name) => name.to_string(),
            Target::Split(parts) => parts.keys().map(String::as_str).collect::<Vec<_>>().join("+"),
            Target::Handler { .. } => String::new(),
        }
    }

    /// The priority as the route's plugins take it.
    pub fn priority(&self) -> Priority {
        self.priority.unwrap_or(Priority::Normal)
    }
}

/// The word for a priority.
pub(crate) fn word_of(priority: Priority) -> &'static str {
    match priority {
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Low => "low",
    }
}

fn priority_word<S: Serializer>(
    priority: &Option<Priority>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    priority.map(word_of).serialize(serializer)
}

/// One policy as configured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyEntry {
    /// The plugin's name.
    pub name: Arc<str>,
    /// What stands under it. A list under one name has become several entries.
    pub config: Settings,
    /// Where it stands, for [`crate::Source::locate`]: `["routes", "/x/*", "cors"]`, or
    /// `["defaults", "cors"]` when inherited.
    #[serde(skip)]
    pub path: Arc<[Arc<str>]>,
}

impl PolicyEntry {
    /// Whether it stands in `defaults`.
    pub(crate) fn is_inherited(&self) -> bool {
        self.path.first().is_some_and(|first| **first == *"defaults")
    }
}

/// All parts must hold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Condition {
    /// Header name (lower case) → what its value must be.
    #[serde(deserialize_with = "forms::by_header")]
    #[schemars(with = "std::collections::BTreeMap<String, Match>")]
    pub header: IndexMap<String, Match>,
    /// Query parameter → what its first value must be, after percent-decoding.
    #[schemars(with = "std::collections::BTreeMap<String, Match>")]
    pub query: IndexMap<String, Match>,
    /// Cookie → what its value must be.
    #[schemars(with = "std::collections::BTreeMap<String, Match>")]
    pub cookie: IndexMap<String, Match>,
    /// One of these methods; empty: any.
    #[serde(deserialize_with = "forms::methods")]
    pub method: Vec<String>,
    /// An expression of the Common Expression Language that must be true: of `request`, with
    /// `method`, `path`, `host`, `scheme`, `ip`, `query`, `headers` and `cookies`.
    pub cel: Option<String>,
}

/// What a value must be. In the file: `"text"`, `true`/`false` (there or not), `{ prefix }`,
/// `{ regex }`.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    Present,
    Absent,
    Exact(String),
    Prefix(String),
    Regex(String),
}

/// What most routes have, as one value for all of them.
pub(crate) fn no_condition() -> Arc<Condition> {
    static NONE: LazyLock<Arc<Condition>> = LazyLock::new(Arc::default);
    Arc::clone(&NONE)
}

/// The same of rewrites.
pub(crate) fn no_rewrite() -> Arc<Rewrite> {
    static NONE: LazyLock<Arc<Rewrite>> = LazyLock::new(Arc::default);
    Arc::clone(&NONE)
}

impl Match {
    /// Compiles an expression that must match a value as a whole. The one place that says how
    /// large it may be.
    ///
    /// # Errors
    /// What is wrong with it, in a line.
    pub fn compile(text: &str) -> Result<Regex, String> {
        let build = |text: &str| {
            RegexBuilder::new(text)
                .unicode(false)
                .size_limit(REGEX_SIZE)
                .dfa_size_limit(REGEX_SIZE)
                .nest_limit(REGEX_DEPTH)
                .build()
        };
        // First as written, so that an unbalanced group is not balanced by the one around it.
        let whole = build(text).and_then(|_| build(&format!(r"\A(?:{text})\z")));
        whole.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            // The last line says what is wrong; those before draw the pattern.
            other => {
                let text = other.to_string();
                text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            }
        })
    }
}

/// Where a route's requests go.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// An upstream by name. A URL in the file has become an upstream of that name (the URL's
    /// scheme and authority), and its path, if any, the rewrite's prefix.
    Upstream(Arc<str>),
    /// Upstreams by weight, in parts of the sum.
    Split(Box<IndexMap<String, u32>>),
    /// A handler by name, and what stands under it.
    Handler { name: Arc<str>, config: Box<Settings> },
}

/// How the request is changed on its way upstream.
#[derive(Debug, Clone, PartialEq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Rewrite {
    /// Taken off the path's front, on a segment's edge.
    pub strip_prefix: Option<String>,
    /// Put before the path, after `strip_prefix`.
    pub add_prefix: Option<String>,
    /// The whole path, with `{captures}`.
    pub path: Option<String>,
    /// The Host that the upstream sees; `None` keeps the client's.
    pub host: Option<String>,
}
