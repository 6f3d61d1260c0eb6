//! Plugins that stand in for the real ones.

use lockgate_config::{Loaded, Report, load_str_with};
use lockgate_core::{
    Body, Build, ConfigError, Exchange, Fault, Handler, HandlerPlugin, Plugin, Policy,
    PolicyPlugin, Stage, Step,
};
use serde_json::Value;

/// Takes any settings.
pub struct Any(&'static str);

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

    fn build(&self, _: &Value, _: &mut Build) -> Result<Box<dyn Policy>, ConfigError> {
        Ok(Box::new(Nothing))
    }
}

impl HandlerPlugin for Any {
    fn name(&self) -> &'static str {
        self.0
    }

    fn schema(&self) -> schemars::Schema {
        schemars::json_schema!(true)
    }

    fn build(&self, _: &Value, _: &mut Build) -> Result<Box<dyn Handler>, ConfigError> {
        Ok(Box::new(Nothing))
    }
}

static AUTH: Any = Any("auth");
static RATE_LIMIT: Any = Any("rate_limit");
static CACHE: Any = Any("cache");
static CORS: Any = Any("cors");
static CONCURRENCY: Any = Any("concurrency");
static IDEMPOTENCY: Any = Any("idempotency");
static SERIALIZE: Any = Any("serialize");
static VALIDATE: Any = Any("validate");
static INVALIDATE: Any = Any("invalidate");
static AGGREGATE: Any = Any("aggregate");
static RESPOND: Any = Any("respond");

/// All that the examples of the manual name.
pub const ALL: &[Plugin] = &[
    Plugin::Policy(&AUTH),
    Plugin::Policy(&RATE_LIMIT),
    Plugin::Policy(&CACHE),
    Plugin::Policy(&CORS),
    Plugin::Policy(&CONCURRENCY),
    Plugin::Policy(&IDEMPOTENCY),
    Plugin::Policy(&SERIALIZE),
    Plugin::Policy(&VALIDATE),
    Plugin::Policy(&INVALIDATE),
    Plugin::Handler(&AGGREGATE),
    Plugin::Handler(&RESPOND),
];

/// Loads a text with a small environment.
pub fn read(text: &str) -> Result<Loaded, Report> {
    read_as("lockgate.yaml", text)
}

/// Loads a text under a name.
pub fn read_as(name: &str, text: &str) -> Result<Loaded, Report> {
    load_str_with(name, text, ALL, &|name| match name {
        "JWT_SECRET" | "ALICE_KEY" => Some("s3cr3t-of-the-test".into()),
        "HOST" => Some("10.9.8.7".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    })
}
