//! `maintenance`: closes a route for everybody but those who work on it, with a page of one's own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use lockgate_core::{
    Build, ConfigError, Exchange, Fault, Kind, Policy, PolicyPlugin, Reason, Stage, Step, Time,
    Verdict,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq;

use crate::fields;
use crate::networks::{self, Listed, Networks};
use crate::one_or_more::OneOrMore;
use crate::switch::{self, OrOn};

/// Closes a route for a while.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Whether it is closed (`true`).
    on: bool,
    /// When clients should ask again: the `Retry-After` of the answer.
    retry_after: Option<Time>,
    /// The answer's text, instead of the gateway's own.
    body: Option<String>,
    /// The page for browsers.
    html: Option<String>,
    /// Networks or addresses that come in all the same.
    allow: OneOrMore<String>,
    /// A header that opens the route to whoever sends it.
    bypass_header: Option<Bypass>,
}

impl Default for Config {
    fn default() -> Self {
        let (allow, bypass_header) = (OneOrMore::default(), None);
        Self { on: true, retry_after: None, body: None, html: None, allow, bypass_header }
    }
}

/// A header that opens a closed route.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Bypass {
    /// Its name.
    name: String,
    /// Its value, a secret: `${env:NAME}` or `${file:path}`.
    value: String,
}

static MAINTENANCE: Reason = Reason {
    code: "maintenance",
    kind: Kind::Unavailable,
    help: "The route is closed by its `maintenance`.",
};

/// Shorter secrets are guessed.
const SHORTEST: usize = 8;

/// The entry in the list of plugins.
pub(crate) struct Maintenance;

impl PolicyPlugin for Maintenance {
    fn name(&self) -> &'static str {
        "maintenance"
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Guard
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&MAINTENANCE];
        REASONS
    }

    fn schema(&self) -> Schema {
        schema_for!(OrOn<Config>)
    }

    fn build(&self, config: &Value, build: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        let config: Config = switch::settings(config)?;
        let allow = allowed(&config.allow.0)?;
        let bypass = config.bypass_header.as_ref().map(bypass).transpose();
        let page = |kind: &'static str, text: Option<String>| {
            text.map(|text| (HeaderValue::from_static(kind), Bytes::from(text)))
        };
        Ok(Box::new(Closed {
            on: config.on,
            retry_after: config.retry_after.map(|time| time.0),
            text: page("text/plain; charset=utf-8", config.body),
            html: page("text/html; charset=utf-8", config.html),
            allowed: config.allow.0.len(),
            allow: build.shared(&config.allow.0.join(" "), || {
                let allow = allow.iter().map(|net| (*net, Listed::Allow));
                Arc::new(Networks::new(allow))
            }),
            bypass: bypass.map_err(|error| error.at("bypass_header"))?,
        }))
    }
}

fn allowed(list: &[String]) -> Result<Vec<IpNet>, ConfigError> {
    let read = |(place, text): (usize, &String)| {
        let at = |why| ConfigError::new(why).at(place.to_string()).at("allow");
        networks::read(text).map_err(at)
    };
    list.iter().enumerate().map(read).collect()
}

fn bypass(bypass: &Bypass) -> Result<(HeaderName, Box<[u8]>), ConfigError> {
    let name = fields::name(&bypass.name).map_err(|error| error.at("name"))?;
    fields::value(&bypass.value).map_err(|error| error.at("value"))?;
    if bypass.value.len() < SHORTEST {
        let message = format!("a secret has at least {SHORTEST} characters");
        return Err(ConfigError::new(message).at("value"));
    }
    Ok((name, bypass.value.as_bytes().into()))
}

struct Closed {
    on: bool,
    retry_after: Option<Duration>,
    text: Option<(HeaderValue, Bytes)>,
    html: Option<(HeaderValue, Bytes)>,
    allowed: usize,
    allow: Arc<Networks>,
    bypass: Option<(HeaderName, Box<[u8]>)>,
}

impl Closed {
    /// Whether the request comes in all the same. The secret goes no further.
    fn opens(&self, exchange: &mut Exchange) -> bool {
        let shown = self.bypass.as_ref().is_some_and(|(name, secret)| {
            let shown = exchange.head.headers.remove(name);
            shown.is_some_and(|shown| shown.as_bytes().ct_eq(secret).into())
        });
        shown || self.allow.get(exchange.client_ip) == Listed::Allow
    }

    fn fault(&self, exchange: &Exchange) -> Fault {
        let mut fault = Fault::gateway(&MAINTENANCE);
        if let Some(wait) = self.retry_after {
            fault = fault.retry_after(wait);
        }
        let accept = exchange.head.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        let browser = accept.is_some_and(|accept| accept.contains("text/html"));
        let page = self.html.as_ref().filter(|_| browser).or(self.text.as_ref());
        match page {
            Some((kind, text)) => fault.page(kind.clone(), text.clone()),
            None => fault,
        }
    }
}

impl Policy for Closed {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        let opens = self.opens(exchange);
        Step::Now(if !self.on || opens { Ok(Verdict::Pass) } else { Err(self.fault(exchange)) })
    }

    fn describe(&self) -> String {
        if !self.on {
            return "open".to_owned();
        }
        let bypass = self.bypass.as_ref().map(|(name, _)| format!(", or who shows {name}"));
        format!("closed but to {} networks{}", self.allowed, bypass.unwrap_or_default())
    }
}
