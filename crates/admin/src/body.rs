//! Bodies of requests: JSON, whatever they call themselves, as curl's own content type is a form's.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::Response;
use serde::de::DeserializeOwned;

use crate::guard::refuse;

/// Reads a body. `expected` completes "expected".
///
/// # Errors
/// The refusal that says what is wrong with it.
pub(crate) fn read<T: DeserializeOwned>(
    body: Result<Bytes, BytesRejection>,
    expected: &str,
) -> Result<T, Box<Response>> {
    parse(&whole(body)?, expected)
}

/// The same, where no body at all means the default.
///
/// # Errors
/// As of [`read`].
pub(crate) fn read_or_default<T: DeserializeOwned + Default>(
    body: Result<Bytes, BytesRejection>,
    expected: &str,
) -> Result<T, Box<Response>> {
    match whole(body)?.trim_ascii() {
        [] => Ok(T::default()),
        text => parse(text, expected),
    }
}

/// Its bytes.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Box<Response>> {
    body.map_err(|error| Box::new(refuse(error.status(), "bad_body", &error.body_text())))
}

fn parse<T: DeserializeOwned>(text: &[u8], expected: &str) -> Result<T, Box<Response>> {
    let wrong = |why: &dyn std::fmt::Display| {
        let detail = format!("expected {expected}: {why}");
        Box::new(refuse(StatusCode::BAD_REQUEST, "bad_body", &detail))
    };
    // A list would be read as an object's values, and an empty one as nothing said.
    if !text.trim_ascii_start().starts_with(b"{") {
        return Err(wrong(&"it is no object"));
    }
    serde_json::from_slice(text).map_err(|error| wrong(&error))
}
