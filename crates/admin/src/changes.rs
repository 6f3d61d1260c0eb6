//! Changes of the configuration: one route, or the whole; what was changed over the files, the
//! versions that were in force, and the way back to one.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, http};
use lockgate_config::read_value;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::aside::aside;
use crate::audit::Who;
use crate::guard::refuse;
use crate::page::{Page, word};
use crate::question::Question;
use crate::{Change, Handles, Only, Order, What, body, diff, orders};

/// A configuration that was in force once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Counts from 1, across restarts.
    pub number: u64,
    /// What the process that put it in force called it.
    pub generation: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// By what: `start`, `files`, `admin`, `rollback`.
    pub via: String,
    /// By whom, where somebody asked for it.
    pub who: String,
    /// What differs from the one before: `~ routes./x`.
    pub what: Vec<String>,
}

/// The versions that are known.
pub trait Versions: Send + Sync {
    /// All of them, the newest first.
    fn list(&self) -> Vec<Version>;

    /// What one said, as YAML, secrets hidden.
    ///
    /// # Errors
    /// Why it is not to be had.
    fn text(&self, number: u64) -> Result<String, String>;
}

/// What may stand behind the `?` of a change.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    #[serde(default, deserialize_with = "flag")]
    dry_run: bool,
}

/// `?dry_run`, `?dry_run=true`.
fn flag<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let text = String::deserialize(from)?;
    match text.as_str() {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(serde::de::Error::custom("expected true or false")),
    }
}

/// Who asks for a change, and on which conditions.
pub(crate) struct Asking {
    who: String,
    only: Only,
    dry_run: bool,
}

impl Asking {
    fn of(who: &Who, headers: &HeaderMap, options: &Options) -> Result<Self, Box<Response>> {
        let only = Only::read(headers)?;
        Ok(Self { who: who.to_string(), only, dry_run: options.dry_run })
    }

    async fn order(self, handles: &Handles, what: What) -> Response {
        let Self { who, only, dry_run } = self;
        let change = Change { what, who, only, dry_run };
        orders::answer(StatusCode::OK, (handles.order)(Order::Change(Box::new(change))).await)
    }
}

type Text = Result<Bytes, BytesRejection>;

/// `PUT /admin/routes/{pattern}`, the route as YAML or JSON: as it would stand under its pattern.
pub(crate) async fn put_route(
    State(handles): State<Arc<Handles>>,
    Extension(who): Extension<Who>,
    pattern: Result<Path<String>, PathRejection>,
    Question(options): Question<Options>,
    headers: HeaderMap,
    body: Text,
) -> Response {
    let asked = || {
        let asking = Asking::of(&who, &headers, &options)?;
        let route = value(&text(body)?)?;
        Ok((asking, pattern_of(pattern)?, route))
    };
    let (asking, name, route) = match asked() {
        Ok(asked) => asked,
        Err::<_, Box<Response>>(refusal) => return *refusal,
    };
    if route.is_null() {
        let text = "expected the route, such as {\"to\": \"users\"}; DELETE removes one";
        return refuse(StatusCode::BAD_REQUEST, "bad_body", text);
    }
    asking.order(&handles, What::Set { section: "routes", name, to: Some(route) }).await
}

/// `DELETE /admin/routes/{pattern}`.
pub(crate) async fn delete_route(
    State(handles): State<Arc<Handles>>,
    Extension(who): Extension<Who>,
    pattern: Result<Path<String>, PathRejection>,
    Question(options): Question<Options>,
    headers: HeaderMap,
) -> Response {
    let asked = || Ok((Asking::of(&who, &headers, &options)?, pattern_of(pattern)?));
    match asked() {
        Ok((asking, name)) => {
            asking.order(&handles, What::Set { section: "routes", name, to: None }).await
        }
        Err::<_, Box<Response>>(refusal) => *refusal,
    }
}

/// `PUT /admin/config`, the whole configuration as YAML or JSON.
pub(crate) async fn put_config(
    State(handles): State<Arc<Handles>>,
    Extension(who): Extension<Who>,
    Question(options): Question<Options>,
    headers: HeaderMap,
    body: Text,
) -> Response {
    let asked = || Ok((Asking::of(&who, &headers, &options)?, text(body)?));
    match asked() {
        Ok((asking, text)) => asking.order(&handles, What::Whole(text)).await,
        Err::<_, Box<Response>>(refusal) => *refusal,
    }
}

/// `GET /admin/config/changes`: what does not stand in the files.
pub(crate) async fn list(
    State(handles): State<Arc<Handles>>,
    Question(page): Question<Page>,
) -> Response {
    match changed(&handles).await {
        Ok(mut told) => {
            let thing = |one: &Value| format!("{}.{}", word(one, "section"), word(one, "name"));
            let wants = |one: &Value| page.wants(&thing(one));
            told.as_object_mut().into_iter().for_each(|told| page.within(told, "changes", wants));
            Json(told).into_response()
        }
        Err(why) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", &why),
    }
}

/// `DELETE /admin/config/changes`: the files say it all again.
pub(crate) async fn drop_all(
    State(handles): State<Arc<Handles>>,
    Extension(who): Extension<Who>,
    Question(options): Question<Options>,
    headers: HeaderMap,
) -> Response {
    match Asking::of(&who, &headers, &options) {
        Ok(asking) => asking.order(&handles, What::Files).await,
        Err(refusal) => *refusal,
    }
}

/// `GET /admin/config/export`: files and changes as one, for git.
pub(crate) async fn export(State(handles): State<Arc<Handles>>) -> Response {
    let written = Arc::clone(&handles.written);
    match aside(move || written()).await {
        Ok(text) => yaml(text),
        Err(why) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", &why),
    }
}

/// `GET /admin/config/history`: the versions, the newest first.
pub(crate) async fn history(
    State(handles): State<Arc<Handles>>,
    Question(page): Question<Page>,
) -> Response {
    let wanted = |one: &Version| page.wants_any(one.what.iter().map(String::as_str));
    let all = handles.versions.list().into_iter().filter(wanted);
    page.answer("versions", all.map(|version| json!(version)))
}

/// `GET /admin/config/history/{number}`: what a version said.
pub(crate) async fn version(
    State(handles): State<Arc<Handles>>,
    number: Result<Path<u64>, PathRejection>,
) -> Response {
    match number {
        Ok(Path(number)) => match text_of(&handles, number).await {
            Ok(text) => yaml(text),
            Err(why) => no_version(&why),
        },
        Err(error) => refuse(StatusCode::BAD_REQUEST, "bad_path", &error.body_text()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Two {
    from: u64,
    /// Unless told, the configuration in force.
    to: Option<u64>,
}

/// `GET /admin/config/diff?from=3&to=5`: what differs between two versions, line by line.
pub(crate) async fn diff(
    State(handles): State<Arc<Handles>>,
    Question(two): Question<Two>,
) -> Response {
    match difference(&handles, two.from, two.to).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/x-diff; charset=utf-8")], text).into_response(),
        Err(why) => no_version(&why),
    }
}

/// The lines that differ between two versions, or one and what is in force.
///
/// # Errors
/// Why one of them is not to be had, in words.
pub(crate) async fn difference(
    handles: &Handles,
    from: u64,
    to: Option<u64>,
) -> Result<String, String> {
    let newest = || handles.versions.list().first().map_or(0, |version| version.number);
    let to = to.unwrap_or_else(newest);
    let (before, after) = (text_of(handles, from).await?, text_of(handles, to).await?);
    let (old, new) = (format!("version {from}"), format!("version {to}"));
    aside(move || diff::unified(&before, &after, &old, &new)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Back {
    to: u64,
}

/// `POST /admin/config/rollback` with `{"to": 3}`: a version is in force again, as a change over
/// the files.
pub(crate) async fn roll_back(
    State(handles): State<Arc<Handles>>,
    Extension(who): Extension<Who>,
    Question(options): Question<Options>,
    headers: HeaderMap,
    body: Text,
) -> Response {
    let asked = || {
        let back: Back = body::read(body, "{\"to\": 3}, the number of a version")?;
        Ok((Asking::of(&who, &headers, &options)?, back.to))
    };
    match asked() {
        Ok((asking, number)) => asking.order(&handles, What::Version(number)).await,
        Err::<_, Box<Response>>(refusal) => *refusal,
    }
}

/// What a version said.
///
/// # Errors
/// Why it is not to be had, in words.
pub(crate) async fn text_of(handles: &Handles, number: u64) -> Result<String, String> {
    let versions = Arc::clone(&handles.versions);
    aside(move || versions.text(number)).await.flatten()
}

/// What does not stand in the files, as `GET /admin/config/changes` tells it.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn changed(handles: &Handles) -> Result<Value, String> {
    let changes = Arc::clone(&handles.changes);
    let mut told = aside(move || changes()).await?;
    if let (Some(why), Some(told)) = ((handles.no_changes)(), told.as_object_mut()) {
        told.insert("refused".to_owned(), why.into());
    }
    Ok(told)
}

fn no_version(why: &str) -> Response {
    refuse(StatusCode::NOT_FOUND, "no_version", why)
}

fn yaml(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/yaml; charset=utf-8")], text).into_response()
}

fn text(body: Text) -> Result<String, Box<Response>> {
    let whole = body::whole(body)?;
    String::from_utf8(whole.into()).map_err(|_| {
        Box::new(refuse(StatusCode::BAD_REQUEST, "bad_body", "the body is not UTF-8 text"))
    })
}

fn value(text: &str) -> Result<Value, Box<Response>> {
    read_value(text).map_err(|why| {
        let detail = format!("the body is neither YAML nor JSON: {why}");
        Box::new(refuse(StatusCode::BAD_REQUEST, "bad_body", &detail))
    })
}

/// The pattern that a path names. `/admin/routes/v1/users` is the route `/v1/users`. A method or a
/// host is told by a blank before the path, percent-encoded: `GET%20/v1/users`,
/// `%20example.com/v1`.
fn pattern_of(path: Result<Path<String>, PathRejection>) -> Result<String, Box<Response>> {
    let Ok(Path(path)) = path else {
        let text = "the pattern is not UTF-8";
        return Err(Box::new(refuse(http::StatusCode::BAD_REQUEST, "bad_path", text)));
    };
    let is_whole = path.starts_with('/') || path.contains(' ');
    Ok(if is_whole { path.trim().to_owned() } else { format!("/{path}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_pattern() {
        let of = |path: &str| pattern_of(Ok(Path(path.to_owned()))).unwrap();
        assert_eq!(of("v1/users/*"), "/v1/users/*");
        assert_eq!(of("/v1/users"), "/v1/users");
        assert_eq!(of("GET /v1/users/{id}"), "GET /v1/users/{id}");
        assert_eq!(of(" example.com/v1"), "example.com/v1");
        assert_eq!(of("*"), "/*");
    }
}
