//! `status`: a page for the public that says how services are and were, as HTML, JSON and badges.
//! It tells names and history, and refuses to tell anything else: no address, no error, no figure
//! of traffic.

mod badge;
mod page;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, Response};
use lockgate_core::{
    Board, Body, Build, ConfigError, Exchange, Fault, Handler, HandlerPlugin, Kind, Reason,
    ServiceStatus, Status, Step, WINDOWS, decode,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Shows how services are and were: names and history, nothing else.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// The page's title.
    title: String,
    /// The upstreams that are shown, in this order. All that have a name of their own, unless said.
    services: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { title: "Status".to_owned(), services: Vec::new() }
    }
}

static NO_SERVICE: Reason = Reason {
    code: "no_service",
    kind: Kind::NotFound,
    help: "There is no badge for this name: the `status` handler of the route shows no such service.",
};

/// How long others may keep an answer: the status is renewed every few seconds.
const KEEP: HeaderValue = HeaderValue::from_static("public, max-age=10");

/// The entry in the list of plugins.
pub(crate) struct StatusPages;

impl HandlerPlugin for StatusPages {
    fn name(&self) -> &'static str {
        "status"
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&NO_SERVICE];
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
        for (at, name) in config.services.iter().enumerate() {
            if !build.provide.has_upstream(name) {
                let error = ConfigError::new(format!("there is no upstream `{name}`"));
                return Err(error.at(at.to_string()).at("services"));
            }
        }
        let policy = format!(
            "default-src 'none'; style-src '{}'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
            page::style_hash()
        );
        let policy = HeaderValue::try_from(policy)
            .map_err(|_| ConfigError::new("a bug: the page's policy cannot be sent"))?;
        let board = build.provide.board();
        Ok(Box::new(Pages { config, board, policy, page: Made::default(), json: Made::default() }))
    }
}

struct Pages {
    config: Config,
    board: Arc<dyn Board>,
    policy: HeaderValue,
    page: Made,
    json: Made,
}

/// A body as it was made last, and of what.
#[derive(Default)]
struct Made(Mutex<Option<(Arc<Status>, Bytes)>>);

impl Made {
    fn of(&self, status: &Arc<Status>, make: impl FnOnce() -> String) -> Bytes {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, body)) = &*made
            && Arc::ptr_eq(of, status)
        {
            return body.clone();
        }
        let body = Bytes::from(make());
        *made = Some((Arc::clone(status), body.clone()));
        body
    }
}

impl Pages {
    /// Those that are shown. The name of an upstream that a route's URL has made is an address.
    fn shown<'a>(&'a self, status: &'a Status) -> Vec<&'a ServiceStatus> {
        let all = status.services.iter();
        if self.config.services.is_empty() {
            return all.filter(|one| !one.name.contains([':', '/'])).collect();
        }
        let find = |name: &String| status.services.iter().find(|one| *one.name == **name);
        self.config.services.iter().filter_map(find).collect()
    }

    fn page(&self, status: &Arc<Status>) -> Bytes {
        let title = &self.config.title;
        self.page.of(status, || page::render(title, &self.shown(status), status.at))
    }

    fn json(&self, status: &Arc<Status>) -> Bytes {
        self.json.of(status, || self.told(status))
    }

    fn told(&self, status: &Status) -> String {
        let services = self.shown(status).into_iter().map(|one| {
            let availability: Map<String, Value> = WINDOWS
                .iter()
                .zip(one.availability)
                .map(|((window, _), share)| ((*window).to_owned(), json!(share)))
                .collect();
            json!({
                "name": one.name,
                "status": one.standing.map(|standing| standing.word()),
                "since": one.since,
                "availability": availability,
                "days": one.days,
            })
        });
        let told = json!({
            "status": page::overall(&self.shown(status)),
            "services": services.collect::<Value>(),
        });
        told.to_string()
    }

    fn badge(&self, status: &Status, name: &str) -> Result<Response<Body>, Fault> {
        let shown = self.shown(status);
        let named = shown.into_iter().find(|one| *one.name == *name);
        let one = named.ok_or_else(|| Fault::client(&NO_SERVICE))?;
        Ok(answer("image/svg+xml", badge::render(one).into()))
    }
}

impl Handler for Pages {
    fn handle<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Response<Body>, Fault>> {
        let status = self.board.status();
        let path = exchange.head.uri.path();
        if let Some((_, name)) = path.rsplit_once("/badge/")
            && let Some(name) = name.strip_suffix(".svg")
        {
            return Step::Now(self.badge(&status, name));
        }
        let accept = exchange.head.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let wants_json = accept.is_some_and(|accept| {
            accept.contains("application/json") && !accept.contains("text/html")
        });
        if path.ends_with(".json") || wants_json {
            return Step::Now(Ok(answer("application/json", self.json(&status))));
        }
        let mut response = answer("text/html; charset=utf-8", self.page(&status));
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        Step::Now(Ok(response))
    }

    fn describe(&self) -> String {
        match self.config.services.as_slice() {
            [] => "shows how all services are".to_owned(),
            services => format!("shows how {} are", services.join(", ")),
        }
    }
}

fn answer(kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, KEEP);
    response
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    struct Fixed;

    impl Board for Fixed {
        fn status(&self) -> Arc<Status> {
            Arc::new(Status { at: SystemTime::UNIX_EPOCH, services: Vec::new() })
        }
    }

    #[test]
    fn what_is_shown_is_made_once_for_each_look() {
        let pages = Pages {
            config: Config::default(),
            board: Arc::new(Fixed),
            policy: KEEP,
            page: Made::default(),
            json: Made::default(),
        };
        let (one, next) = (pages.board.status(), pages.board.status());
        for body in [Pages::page, Pages::json] {
            let first = body(&pages, &one);
            assert_eq!(first.as_ptr(), body(&pages, &one).as_ptr());
            assert_ne!(first.as_ptr(), body(&pages, &next).as_ptr());
        }
    }
}
