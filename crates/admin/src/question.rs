//! What stands behind the `?` of a question: read in one way, and refused when there is anything
//! that nobody understands.

use axum::extract::{FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use serde::de::DeserializeOwned;

use crate::guard::refuse;

/// The parameters of a question.
pub(crate) struct Question<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Question<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        read(&parts.uri).map(Self).map_err(|refusal| *refusal)
    }
}

/// Lets a request pass whose parameters all have one of these names.
pub(crate) async fn known(names: Vec<&'static str>, request: Request, next: Next) -> Response {
    let given: Vec<(String, String)> = match read(request.uri()) {
        Ok(given) => given,
        Err(refusal) => return *refusal,
    };
    let Some((name, _)) = given.iter().find(|(name, _)| !names.contains(&name.as_str())) else {
        return next.run(request).await;
    };
    let there = match names.as_slice() {
        [] => "this takes none".to_owned(),
        names => format!("there is `{}`", names.join("`, `")),
    };
    let detail = format!("`{}` is no parameter of this: {there}", name.escape_default());
    refuse(StatusCode::BAD_REQUEST, "bad_question", &detail)
}

fn read<T: DeserializeOwned>(uri: &Uri) -> Result<T, Box<Response>> {
    let read = Query::try_from_uri(uri).map(|Query(read)| read);
    read.map_err(|error| {
        Box::new(refuse(StatusCode::BAD_REQUEST, "bad_question", &error.body_text()))
    })
}
