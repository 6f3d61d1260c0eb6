//! `respond`: a fixed answer without any upstream. Refuses statuses that a fixed answer cannot
//! have (1xx, and a body where HTTP allows none).

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, Response, StatusCode};
use lockgate_core::{
    Body, Build, ConfigError, Exchange, Fault, Handler, HandlerPlugin, Step, decode,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::Value;

use crate::fields;

/// Answers with a fixed status, headers and body.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// The status: 200 to 599.
    #[schemars(range(min = 200, max = 599))]
    status: u16,
    /// Headers of the answer: name → value.
    headers: BTreeMap<String, String>,
    /// The body. A text goes out as it stands (`text/plain; charset=utf-8`); a mapping, a list, a
    /// number or a boolean goes out as JSON (`application/json`). Leave it out for none.
    body: Option<Value>,
    /// The Content-Type, instead of the one that follows from the body.
    content_type: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { status: 200, headers: BTreeMap::new(), body: None, content_type: None }
    }
}

/// The entry in the list of plugins.
pub(crate) struct Respond;

impl HandlerPlugin for Respond {
    fn name(&self) -> &'static str {
        "respond"
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(&self, config: &Value, _: &mut Build<'_>) -> Result<Box<dyn Handler>, ConfigError> {
        let config: Config = decode(config)?;
        let status = status(config.status)?;
        let (body, kind) = match config.body {
            None => (Bytes::new(), None),
            Some(Value::String(text)) => (text.into(), Some("text/plain; charset=utf-8")),
            Some(json) => (json.to_string().into(), Some("application/json")),
        };
        if !body.is_empty() && matches!(status.as_u16(), 204 | 205 | 304) {
            let message = format!("an answer with status {} has no body", status.as_u16());
            return Err(ConfigError::new(message).at("body"));
        }
        let mut headers = HeaderMap::new();
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        for (name, value) in &config.headers {
            let at = |error: ConfigError| error.at(name).at("headers");
            headers.insert(fields::name(name).map_err(at)?, fields::value(value).map_err(at)?);
        }
        if let Some(kind) = config.content_type {
            let kind = fields::value(&kind).map_err(|error| error.at("content_type"))?;
            headers.insert(CONTENT_TYPE, kind);
        }
        Ok(Box::new(Fixed { status, headers, body }))
    }
}

fn status(number: u16) -> Result<StatusCode, ConfigError> {
    StatusCode::from_u16(number)
        .ok()
        .filter(|status| (200..=599).contains(&status.as_u16()))
        .ok_or_else(|| {
            ConfigError::new(format!("`{number}` is not a status from 200 to 599")).at("status")
        })
}

struct Fixed {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Handler for Fixed {
    fn handle<'a>(&'a self, _: &'a mut Exchange) -> Step<'a, Result<Response<Body>, Fault>> {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        Step::Now(Ok(response))
    }

    fn describe(&self) -> String {
        format!("answers {} with {} bytes", self.status.as_u16(), self.body.len())
    }
}
