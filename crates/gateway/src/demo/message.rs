//! Small HTTP messages: JSON answers, and bodies read whole under a cap and within a time.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

/// Most bytes in a request's body.
const MAX_BODY: usize = 64 * 1024;
/// Longest wait for a request's body.
const BODY_TIME: Duration = Duration::from_secs(10);

/// What the services answer with.
pub(super) type Answer = Response<Full<Bytes>>;

/// A JSON answer, one line and a line break.
pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Response::new(Full::from(format!("{value}\n")));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// An error answer: what is wrong, in a sentence.
pub(super) fn error(status: StatusCode, what: impl Into<String>) -> Answer {
    json(status, &json!({ "error": what.into() }))
}

/// 405, with the methods that there are.
pub(super) fn not_allowed(allow: &'static str) -> Answer {
    let mut answer =
        error(StatusCode::METHOD_NOT_ALLOWED, format!("this takes {allow} and nothing else"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

/// Reads a body whole.
///
/// # Errors
/// The answer to give when it is too large, too slow or broken.
pub(super) async fn read<B>(body: B) -> Result<Bytes, Answer>
where
    B: Body<Data = Bytes> + Unpin,
{
    let late = |_| error(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    tokio::time::timeout(BODY_TIME, read_on(body)).await.map_err(late)?
}

async fn read_on<B>(mut body: B) -> Result<Bytes, Answer>
where
    B: Body<Data = Bytes> + Unpin,
{
    let too_large =
        || error(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {MAX_BODY} bytes"));
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| error(StatusCode::BAD_REQUEST, "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + data.len() > MAX_BODY {
            return Err(too_large());
        }
        all.extend_from_slice(&data);
    }
    Ok(all.into())
}
