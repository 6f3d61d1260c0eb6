//! `redirect`: sends the client elsewhere. Refuses targets whose host a request could choose: the
//! scheme and the host stand in the configuration, or are the request's own.

mod target;

#[cfg(test)]
mod tests;

use http::header::LOCATION;
use http::{HeaderValue, Response, StatusCode};
use lockgate_core::{
    Body, Build, ConfigError, Exchange, Fault, Handler, HandlerPlugin, Kind, Reason, Step, decode,
    reasons,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::Value;

use target::Target;

/// Sends the client to another address.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping such as `{ to: /new }`")]
struct Config {
    /// Where to: a path (`/new/{id}`) or a whole URL (`https://example.com{path}{query}`). The
    /// route's captures stand in braces; `{host}`, `{path}` and `{query}` are the request's own.
    to: Option<String>,
    /// `true` sends the client to the same host, path and query on https, instead of `to`.
    #[serde(default)]
    https: bool,
    /// The port for `https`, when it is not 443.
    port: Option<u16>,
    /// 301 or 308 for good, 302, 303 or 307 for now. 307 and 308 keep the method and the body.
    /// When left out it is 302 with `to`, and 308 with `https`.
    status: Option<u16>,
}

/// The client is already where it would be sent.
static LOOP: Reason = Reason {
    code: "redirect_loop",
    kind: Kind::NotFound,
    help: "The redirect leads to the address that was asked for, so nothing is served there. \
           Narrow the route's pattern, or give the target a route of its own.",
};

/// The entry in the list of plugins.
pub(crate) struct Redirect;

impl HandlerPlugin for Redirect {
    fn name(&self) -> &'static str {
        "redirect"
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&LOOP];
        REASONS
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(
        &self,
        config: &Value,
        build: &mut Build<'_>,
    ) -> Result<Box<dyn Handler>, ConfigError> {
        let config: Config = decode(config)?;
        let (target, usual) = match (&config.to, config.https) {
            (Some(to), false) if config.port.is_none() => {
                (Target::parse(to, &build.route).map_err(|error| error.at("to"))?, 302)
            }
            (Some(_), false) => {
                return Err(ConfigError::new("`port` goes with `https: true`").at("port"));
            }
            (None, true) => (Target::https(config.port.unwrap_or(443)), 308),
            _ => return Err(ConfigError::new("expected either `to` or `https: true`")),
        };
        let number = config.status.unwrap_or(usual);
        let status = StatusCode::from_u16(number)
            .ok()
            .filter(|_| matches!(number, 301 | 302 | 303 | 307 | 308))
            .ok_or_else(|| {
                let message = format!("`{number}` is none of 301, 302, 303, 307, 308");
                ConfigError::new(message).at("status")
            })?;
        Ok(Box::new(Elsewhere { target, status }))
    }
}

struct Elsewhere {
    target: Target,
    status: StatusCode,
}

impl Handler for Elsewhere {
    fn handle<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Response<Body>, Fault>> {
        Step::Now(self.answer(exchange))
    }

    fn describe(&self) -> String {
        format!("redirects with {} to {}", self.status.as_u16(), self.target)
    }
}

impl Elsewhere {
    fn answer(&self, exchange: &Exchange) -> Result<Response<Body>, Fault> {
        let to = self.target.write(exchange);
        if is_here(&to, exchange) {
            return Err(Fault::gateway(&LOOP).detail(format!("redirects to itself: {to}")));
        }
        let location = HeaderValue::from_str(&to).map_err(|_| {
            Fault::client(&reasons::BAD_TARGET).detail("the path does not fit into a Location")
        })?;
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = self.status;
        response.headers_mut().insert(LOCATION, location);
        Ok(response)
    }
}

/// Whether a client that follows would ask for the very same again.
fn is_here(to: &str, exchange: &Exchange) -> bool {
    let asked = exchange.head.uri.path_and_query().map_or("/", |target| target.as_str());
    if to.starts_with('/') {
        return to == asked;
    }
    let scheme = if exchange.secure { "https://" } else { "http://" };
    let host = to.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(&*exchange.host));
    host.is_some_and(|rest| rest == asked)
}
