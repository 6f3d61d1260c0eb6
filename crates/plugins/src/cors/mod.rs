//! `cors`: which pages of other origins may read what (Fetch §3.2). Preflights are answered here;
//! every other answer, a refusal of the gateway included, gets the headers that it is due. What an
//! upstream says of the matter is replaced.

mod origins;

use std::borrow::Cow;
use std::fmt::Write;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use lockgate_core::{
    Body, Build, ConfigError, Exchange, Fault, Kind, Lines, Policy, PolicyPlugin, Reason, Stage,
    Step, Time, Verdict, decode, preflight,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};
use serde::Deserialize;
use serde_json::Value;

use crate::fields;
use crate::one_or_more::OneOrMore;
use origins::{Entry, Origins};

/// Lets pages of other origins read the answers.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Who may: `https://app.example`, `https://*.example.com` (any depth, not the parent itself),
    /// `{ regex: .. }` or `regex:..` (the whole origin), `null`, or `*` alone for everybody.
    origins: OneOrMore<Entry>,
    /// Methods that may be used: `[GET, HEAD, POST]` unless said. `*` for all.
    methods: Option<OneOrMore<String>>,
    /// Request headers that may be sent beside the harmless ones. `*` for all but `Authorization`.
    headers: OneOrMore<String>,
    /// Answer headers that may be read beside the harmless ones. `*` for all.
    expose: OneOrMore<String>,
    /// Whether cookies and other credentials may come along (`false`). Not with any `*`.
    credentials: bool,
    /// How long a browser may keep the answer to a preflight. Five seconds when it is not told.
    max_age: Option<Time>,
    /// Whether pages of the public network may reach this one in a private network (`false`).
    private_network: bool,
    /// Whether requests of other origins are refused, instead of only not readable (`false`).
    enforce: bool,
}

/// What may stand under `cors`.
struct Settings;

impl JsonSchema for Settings {
    fn schema_name() -> Cow<'static, str> {
        "Cors".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let whole = generator.subschema_for::<Config>();
        json_schema!({
            "description": "Lets pages of other origins read the answers. A text is the origin.",
            "anyOf": [whole, { "type": "string" }],
        })
    }
}

static REFUSED: Reason = Reason {
    code: "origin_refused",
    kind: Kind::Forbidden,
    help: "The request's `Origin` is none that the route's `cors` allows, and it says `enforce`.",
};

const PRIVATE_ASKED: HeaderName = HeaderName::from_static("access-control-request-private-network");
const PRIVATE_ALLOWED: HeaderName = HeaderName::from_static("access-control-allow-private-network");
static TRUE: HeaderValue = HeaderValue::from_static("true");
static EVERYBODY: HeaderValue = HeaderValue::from_static("*");
static BY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
static BY_METHOD: HeaderValue = HeaderValue::from_static("Access-Control-Request-Method");
static BY_HEADERS: HeaderValue = HeaderValue::from_static("Access-Control-Request-Headers");

/// The entry in the list of plugins.
pub(crate) struct Cors;

impl PolicyPlugin for Cors {
    fn name(&self) -> &'static str {
        "cors"
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Cors
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&REFUSED];
        REASONS
    }

    fn schema(&self) -> Schema {
        schema_for!(Settings)
    }

    fn build(&self, config: &Value, _: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        let (config, short) = match config {
            Value::String(text) => {
                let origins = decode(&Value::from(text.as_str()))?;
                (Config { origins, ..Config::default() }, true)
            }
            long => (decode(long)?, false),
        };
        let origins = Origins::read(&config.origins.0).map_err(|error| match short {
            true => ConfigError::new(error.message),
            false => error.at("origins"),
        })?;
        let listed = |list: &OneOrMore<String>, key: &str| words(&list.0, key);
        let methods = config
            .methods
            .unwrap_or_else(|| OneOrMore(["GET", "HEAD", "POST"].map(str::to_owned).into()));
        for (place, method) in methods.0.iter().enumerate() {
            if method.bytes().any(|b| b.is_ascii_lowercase()) {
                let message = format!("`{method}`: methods are written in capitals");
                return Err(ConfigError::new(message).at(place.to_string()).at("methods"));
            }
        }
        if config.credentials {
            no_star(&origins, &methods, &config.headers, &config.expose)?;
        }
        Ok(Box::new(Allowed {
            origins,
            methods: listed(&methods, "methods")?,
            headers: listed(&config.headers, "headers")?,
            expose: listed(&config.expose, "expose")?,
            credentials: config.credentials,
            max_age: config.max_age.map(|Time(age)| HeaderValue::from(age.as_secs())),
            private_network: config.private_network,
            enforce: config.enforce,
        }))
    }

    fn build_list(
        &self,
        list: &[lockgate_core::Listed<'_>],
        build: &mut Build<'_>,
    ) -> Result<Vec<lockgate_core::Built>, (usize, ConfigError)> {
        if list.len() > 1 {
            let message = "a route has one `cors`: its `origins` may be a list";
            return Err((1, ConfigError::new(message)));
        }
        let mut all = Vec::with_capacity(1);
        for one in list {
            build.place = one.place.into();
            let policy = self.build(one.config, build).map_err(|error| (0, error))?;
            all.push(lockgate_core::Built { from: 0, stage: Stage::Cors, policy });
        }
        Ok(all)
    }
}

/// A list of tokens as one header value; `None` when there are none.
fn words(list: &[String], key: &str) -> Result<Option<HeaderValue>, ConfigError> {
    for (place, word) in list.iter().enumerate() {
        if word.parse::<HeaderName>().is_err() {
            let message = format!("`{word}` is not a name");
            return Err(ConfigError::new(message).at(place.to_string()).at(key));
        }
    }
    let text = list.join(", ");
    // Names are visible ASCII.
    Ok((!text.is_empty()).then(|| HeaderValue::try_from(text)).and_then(Result::ok))
}

/// With credentials browsers take a star for a name, or refuse it (Fetch §3.2.5).
fn no_star(
    origins: &Origins,
    methods: &OneOrMore<String>,
    headers: &OneOrMore<String>,
    expose: &OneOrMore<String>,
) -> Result<(), ConfigError> {
    if matches!(origins, Origins::Any) {
        let message = "`*` with `credentials: true` would hand every page in the world its \
                       visitor's session: name the origins";
        return Err(ConfigError::new(message).at("origins"));
    }
    for (key, list) in [("methods", methods), ("headers", headers), ("expose", expose)] {
        if list.0.iter().any(|word| word == "*") {
            let message = "with `credentials: true` browsers do not take `*` for all: name them";
            return Err(ConfigError::new(message).at(key));
        }
    }
    Ok(())
}

struct Allowed {
    origins: Origins,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: Option<HeaderValue>,
    private_network: bool,
    enforce: bool,
}

/// What was found of a request that names an origin.
struct Found<'r> {
    origin: &'r HeaderValue,
    allowed: bool,
    is_preflight: bool,
    asks_private: bool,
}

impl Allowed {
    fn judge<'r>(&self, head: &'r Parts) -> Option<Found<'r>> {
        let headers = &head.headers;
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = origins.next()?;
        let single = origins.next().is_none();
        let allowed = single && origin.to_str().is_ok_and(|text| self.origins.allow(text));
        let is_preflight = preflight(&head.method, headers).is_some();
        let asks_private = is_preflight && headers.get(PRIVATE_ASKED).is_some_and(|v| v == TRUE);
        Some(Found { origin, allowed, is_preflight, asks_private })
    }

    /// What the answer to a request will say, whoever answers it.
    fn state(&self, found: Option<&Found<'_>>, lines: &mut Lines) {
        let everybody = matches!(self.origins, Origins::Any);
        let is_preflight = found.is_some_and(|found| found.is_preflight);
        match found {
            Some(found) if !found.allowed => return,
            Some(found) if !everybody => {
                lines.push(&header::ACCESS_CONTROL_ALLOW_ORIGIN, found.origin);
            }
            // The same for all, so that a cache may keep one answer for all.
            _ if everybody => lines.push(&header::ACCESS_CONTROL_ALLOW_ORIGIN, &EVERYBODY),
            _ => return,
        }
        if self.credentials {
            lines.push(&header::ACCESS_CONTROL_ALLOW_CREDENTIALS, &TRUE);
        }
        let mut put = |name: &HeaderName, value: &Option<HeaderValue>| {
            if let Some(value) = value {
                lines.push(name, value);
            }
        };
        if !is_preflight {
            put(&header::ACCESS_CONTROL_EXPOSE_HEADERS, &self.expose);
            return;
        }
        put(&header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods);
        put(&header::ACCESS_CONTROL_ALLOW_HEADERS, &self.headers);
        put(&header::ACCESS_CONTROL_MAX_AGE, &self.max_age);
        if self.private_network && found.is_some_and(|found| found.asks_private) {
            lines.push(&PRIVATE_ALLOWED, &TRUE);
        }
    }
}

/// Whether a page asks the very host that it came from: browsers send `Origin` then too, with
/// every method but GET and HEAD.
fn is_own(exchange: &Exchange) -> bool {
    let headers = &exchange.head.headers;
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else {
        return false;
    };
    let (scheme, port) = if exchange.secure { ("https://", ":443") } else { ("http://", ":80") };
    let host = host.strip_suffix(port).unwrap_or(host);
    origin.strip_prefix(scheme).is_some_and(|own| own.eq_ignore_ascii_case(host))
}

/// Takes away what an upstream says of the matter. Whether it says what its answer varies by.
fn strip(headers: &mut HeaderMap) -> bool {
    let (mut speaks, mut varies) = (false, false);
    for name in headers.keys() {
        speaks |= name.as_str().starts_with("access-control-");
        varies |= *name == header::VARY;
    }
    if !speaks {
        return varies;
    }
    for name in [
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        header::ACCESS_CONTROL_MAX_AGE,
        PRIVATE_ALLOWED,
    ] {
        headers.remove(name);
    }
    varies
}

impl Policy for Allowed {
    /// Judges and states on the way down, as later policies may change the request: the lines are
    /// for whatever answer it gets.
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        let Exchange { head, kept, .. } = &mut *exchange;
        let found = self.judge(head);
        self.state(found.as_ref(), &mut kept.lines);
        let Some(Found { allowed, is_preflight, .. }) = found else {
            return Step::Now(Ok(Verdict::Pass));
        };
        if self.enforce && !allowed && !is_own(exchange) {
            return Step::Now(Err(Fault::client(&REFUSED)));
        }
        if !is_preflight {
            return Step::Now(Ok(Verdict::Pass));
        }
        let mut answer = Response::new(Body::Empty);
        *answer.status_mut() = StatusCode::NO_CONTENT;
        Step::Now(Ok(Verdict::Answer(answer)))
    }

    fn response<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        response: &'a mut Response<Body>,
    ) -> Step<'a, Result<(), Fault>> {
        let headers = response.headers_mut();
        let varies = strip(headers);
        let Exchange { head, kept, .. } = exchange;
        if matches!(self.origins, Origins::Listed(_)) {
            match varies {
                true => fields::vary(headers, "Origin"),
                false => kept.lines.push(&header::VARY, &BY_ORIGIN),
            }
        }
        // Nothing but this policy answers one, so that the request is as it was judged.
        if preflight(&head.method, &head.headers).is_some() {
            kept.lines.push(&header::VARY, &BY_METHOD);
            kept.lines.push(&header::VARY, &BY_HEADERS);
        }
        Step::Now(Ok(()))
    }

    fn describe(&self) -> String {
        let mut text = format!("origins {}", self.origins);
        for (word, list) in
            [("methods", &self.methods), ("headers", &self.headers), ("expose", &self.expose)]
        {
            if let Some(list) = list.as_ref().and_then(|list| list.to_str().ok()) {
                // Writing to memory cannot fail.
                let _ = write!(text, "; {word} {list}");
            }
        }
        if let Some(age) = self.max_age.as_ref().and_then(|age| age.to_str().ok()) {
            let _ = write!(text, "; max_age {age}s");
        }
        for (word, on) in [
            ("credentials", self.credentials),
            ("private network", self.private_network),
            ("enforced", self.enforce),
        ] {
            text.push_str(if on { "; " } else { "" });
            text.push_str(if on { word } else { "" });
        }
        text
    }
}
