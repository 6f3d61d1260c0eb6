//! Plugins that stand in for the real ones, and shorthands for loading.

use std::path::PathBuf;

use lockgate_config::{Loaded, Problem, Report, Severity, load_str_with};
use lockgate_core::{
    Body, Build, ConfigError, Exchange, Fault, Handler, HandlerPlugin, Identity, IdentityPlugin,
    Plugin, Policy, PolicyPlugin, Proof, Stage, Step, Template, decode,
};
use serde_json::Value;

/// Takes any settings with which it can do what it does with them when it is built.
struct Any(&'static str, fn(&Value, &mut Build<'_>) -> Result<(), ConfigError>);

/// Takes `{ limit: number, word: text, on: bool }` and nothing else.
struct Strict;

#[derive(serde::Deserialize, schemars::JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
struct StrictConfig {
    /// At most ten.
    limit: u32,
    /// A word.
    word: String,
    on: bool,
    more: Vec<Inner>,
}

#[derive(serde::Deserialize, schemars::JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
struct Inner {
    name: String,
}

struct Nothing;

impl Policy for Nothing {
    fn describe(&self) -> String {
        String::new()
    }
}

impl Handler for Nothing {
    fn handle<'a>(&'a self, _: &'a mut Exchange) -> Step<'a, Result<http::Response<Body>, Fault>> {
        Step::Now(Ok(http::Response::new(Body::Empty)))
    }

    fn describe(&self) -> String {
        String::new()
    }
}

impl Identity for Nothing {
    fn identify<'a>(&'a self, _: &'a mut Exchange) -> Step<'a, Result<Proof, Fault>> {
        Step::Now(Ok(Proof::Absent))
    }

    fn describe(&self) -> String {
        String::new()
    }
}

impl IdentityPlugin for Any {
    fn name(&self) -> &'static str {
        self.0
    }

    fn schema(&self) -> schemars::Schema {
        schemars::json_schema!(true)
    }

    fn build(
        &self,
        config: &Value,
        build: &mut Build<'_>,
    ) -> Result<std::sync::Arc<dyn Identity>, ConfigError> {
        (self.1)(config, build)?;
        Ok(std::sync::Arc::new(Nothing))
    }
}

impl PolicyPlugin for Any {
    fn name(&self) -> &'static str {
        self.0
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Guard
    }

    fn schema(&self) -> schemars::Schema {
        schemars::json_schema!(true)
    }

    fn build(&self, config: &Value, build: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        (self.1)(config, build)?;
        Ok(Box::new(Nothing))
    }
}

impl PolicyPlugin for Strict {
    fn name(&self) -> &'static str {
        "strict"
    }

    fn templates(&self) -> &'static [&'static str] {
        &["word", "more.*.name"]
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Guard
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(StrictConfig)
    }

    fn build(&self, config: &Value, _: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        let config: StrictConfig = decode(config)?;
        if config.limit > 10 {
            return Err(ConfigError::new("at most 10").at("limit"));
        }
        if config.word.starts_with("s3cr3t") {
            return Err(ConfigError::new(format!("`{}` is not a word", config.word)).at("word"));
        }
        if let Err(why) = config.word.parse::<Template>() {
            return Err(ConfigError::new(why).at("word"));
        }
        let _ = (config.on, config.more.iter().map(|inner| inner.name.len()).sum::<usize>());
        Ok(Box::new(Nothing))
    }
}

/// Keeps counters and answers in the store that it names, and leases in another one; or names an
/// upstream by its URL.
fn keep(config: &Value, build: &mut Build<'_>) -> Result<(), ConfigError> {
    let store = config.as_str().unwrap_or("memory");
    if store.contains("://") {
        let is_there = build.provide.has_upstream(store);
        let none = || ConfigError::new(format!("there is no upstream {store}"));
        return if is_there { Ok(()) } else { Err(none()) };
    }
    build.counters(store)?;
    build.blobs(store)?;
    build.leases(store)?;
    build.leases("memory")?;
    Ok(())
}

/// Reads the file that it names, which must not say `bad`.
fn read_file(config: &Value, build: &mut Build<'_>) -> Result<(), ConfigError> {
    let Some(path) = config.get("file").and_then(Value::as_str) else { return Ok(()) };
    let text = build.provide.read(path.as_ref()).map_err(ConfigError::new)?;
    if text.starts_with(b"bad") { Err(ConfigError::new("it says bad")) } else { Ok(()) }
}

/// An identity's settings: they may name a file, and an audience that there is.
fn identify(config: &Value, build: &mut Build<'_>) -> Result<(), ConfigError> {
    read_file(config, build)?;
    if config.get("audience").is_some_and(|audience| audience == "nobody") {
        return Err(ConfigError::new("nobody is no audience").at("audience"));
    }
    Ok(())
}

impl HandlerPlugin for Any {
    fn name(&self) -> &'static str {
        self.0
    }

    fn schema(&self) -> schemars::Schema {
        schemars::json_schema!(true)
    }

    fn build(
        &self,
        config: &Value,
        build: &mut Build<'_>,
    ) -> Result<Box<dyn Handler>, ConfigError> {
        (self.1)(config, build)?;
        Ok(Box::new(Nothing))
    }
}

const fn any(name: &'static str) -> Any {
    Any(name, |_, _| Ok(()))
}

static JWT: Any = Any("jwt", identify);
static API_KEY: Any = Any("api_key", identify);
static AUTH: Any = any("auth");
static RATE_LIMIT: Any = any("rate_limit");
static CACHE: Any = any("cache");
static CORS: Any = any("cors");
static HEADERS: Any = any("headers");
static CONCURRENCY: Any = any("concurrency");
static IDEMPOTENCY: Any = any("idempotency");
static SERIALIZE: Any = any("serialize");
static VALIDATE: Any = any("validate");
static INVALIDATE: Any = any("invalidate");
static KEEPS: Any = Any("keeps", keep);
static READS: Any = Any("reads", read_file);
static AGGREGATE: Any = any("aggregate");
static RESPOND: Any = any("respond");

/// All that the examples of the manual name, and a strict one.
pub(crate) static ALL: &[Plugin] = &[
    Plugin::Identity(&JWT),
    Plugin::Identity(&API_KEY),
    Plugin::Policy(&AUTH),
    Plugin::Policy(&RATE_LIMIT),
    Plugin::Policy(&CACHE),
    Plugin::Policy(&CORS),
    Plugin::Policy(&HEADERS),
    Plugin::Policy(&CONCURRENCY),
    Plugin::Policy(&IDEMPOTENCY),
    Plugin::Policy(&SERIALIZE),
    Plugin::Policy(&VALIDATE),
    Plugin::Policy(&INVALIDATE),
    Plugin::Policy(&Strict),
    Plugin::Policy(&KEEPS),
    Plugin::Policy(&READS),
    Plugin::Handler(&AGGREGATE),
    Plugin::Handler(&RESPOND),
];

/// What the secrets of the tests stand for.
pub(crate) const SECRET: &str = "s3cr3t-of-the-test\"\n";

/// Loads a text that lies beside the test data, with a small environment.
pub(crate) fn read(text: &str) -> Result<Loaded, Report> {
    read_as("tests/data/lockgate.yaml", text)
}

/// Loads a text under a name.
pub(crate) fn read_as(name: &str, text: &str) -> Result<Loaded, Report> {
    load_str_with(name, text, ALL, &|name| match name {
        "WORD" => Some(SECRET.trim_end_matches(['"', '\n']).into()),
        "JWT_SECRET" | "ALICE_KEY" | "SECRET" => Some(SECRET.into()),
        "HOST" => Some("10.9.8.7".into()),
        "COUNT" => Some("7".into()),
        "LEVEL" => Some("trusted".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    })
}

/// Loads what must load.
pub(crate) fn good(text: &str) -> Loaded {
    read(text).unwrap_or_else(|report| panic!("{report}"))
}

/// Everything that is wrong with a text, one line each: `line:column message [help]`.
pub(crate) fn errors(text: &str) -> Vec<String> {
    let report = read(text).err().unwrap_or_else(|| Report::new(Vec::new()));
    told(&report.problems, Severity::Error)
}

/// The warnings of a text that loads.
pub(crate) fn warnings(text: &str) -> Vec<String> {
    told(&good(text).warnings, Severity::Warning)
}

fn told(problems: &[Problem], severity: Severity) -> Vec<String> {
    let all = problems.iter().filter(|problem| problem.severity == severity);
    all.map(|p| {
        let help = p.help.as_ref().map(|help| format!(" [{help}]")).unwrap_or_default();
        format!("{}:{} {}{help}", p.line, p.column, p.message)
    })
    .collect()
}

/// A fresh directory with files in it.
pub(crate) fn directory(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("config").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    for (name, text) in files {
        let file = path.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    path
}
