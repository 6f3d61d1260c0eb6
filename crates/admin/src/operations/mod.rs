//! What can be asked of the admin listener: one list, of which its routes, the answer to what is
//! not there and the OpenAPI document are made, so that none of them can say what the others do
//! not.

mod document;
mod list;
mod shape;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode};
use axum::middleware::from_fn;
use axum::response::Response;

use crate::guard::refuse;
use crate::question::known;
use crate::{Handles, MOST_BODY};

pub(crate) use document::openapi;
use list::list;

/// What is asked for by machines that may say more than is understood: that makes no gateway a sick
/// one.
const POLLED: [&str; 4] = ["/health", "/metrics", "/admin/live", "/admin/ready"];

/// One thing that can be asked.
pub(crate) struct Operation {
    method: Method,
    path: &'static str,
    /// What it does, in a sentence.
    summary: &'static str,
    /// What may stand behind the `?`: name, shape, meaning.
    query: &'static [(&'static str, &'static str, &'static str)],
    body: Option<Body>,
    /// The answers that are no refusals: status, form, shape, meaning.
    answers: &'static [(u16, Media, &'static str, &'static str)],
}

/// What is sent.
#[derive(Clone, Copy)]
struct Body {
    media: Media,
    shape: &'static str,
    text: &'static str,
    needed: bool,
}

/// In which form something is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Media {
    Json,
    Yaml,
    Text,
    Diff,
    Events,
}

impl Media {
    fn word(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Text => "text/plain",
            Self::Diff => "text/x-diff",
            Self::Events => "text/event-stream",
        }
    }
}

/// All of them, as routes.
pub(crate) fn routes() -> Router<Arc<Handles>> {
    let mut routes = Router::new();
    for (operation, handler) in list() {
        let names: Vec<&str> = operation.query.iter().map(|one| one.0).collect();
        let handler = match POLLED.contains(&operation.path) {
            true => handler,
            false => handler
                .route_layer(from_fn(move |request, next| known(names.clone(), request, next))),
        };
        routes = routes.route(operation.path, handler);
    }
    routes.layer(DefaultBodyLimit::max(MOST_BODY))
}

/// The answer to a method that a page does not take; `Allow` says which it does.
pub(crate) async fn not_this_method() -> Response {
    let text = "`Allow` names the methods that this takes; /admin/openapi.json tells of everything";
    refuse(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text)
}

/// The answer to a path that is not there.
pub(crate) async fn nothing() -> Response {
    let mut paths: Vec<&str> = list().iter().map(|(operation, _)| operation.path).collect();
    paths.dedup();
    let text = format!("there is /admin/status (the dashboard), {}", paths.join(", "));
    refuse(StatusCode::NOT_FOUND, "no_page", &text)
}
