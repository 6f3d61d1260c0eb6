//! The one place where a fault becomes an answer, in the form that the client understands.

use std::fmt::Write as _;

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use lockgate_core::{Body, Exchange, Fault, RequestId};

const LOCKGATE_REASON: HeaderName = HeaderName::from_static("lockgate-reason");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Renders a fault for the client of this exchange. Neither its detail nor its sources are shown.
pub(crate) fn refuse(fault: &Fault, exchange: &Exchange) -> Response<Body> {
    if exchange.grpc {
        return grpc(fault, &exchange.id);
    }
    plain(fault, &exchange.id, wants_html(&exchange.head.headers))
}

/// Renders a fault for a request that has no exchange, as it could not be read.
pub(crate) fn refuse_unread(fault: &Fault, id: &RequestId) -> Response<Body> {
    let mut response = plain(fault, id, false);
    response.headers_mut().insert(X_REQUEST_ID, id.header());
    response
}

fn plain(fault: &Fault, id: &RequestId, html: bool) -> Response<Body> {
    let status = fault.status();
    let (kind, body) = match fault.own_page() {
        Some((kind, text)) => (kind.clone(), Body::from(text.clone())),
        None if html => {
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            (kind, page(fault, status, id).into())
        }
        None => {
            let kind = HeaderValue::from_static("application/problem+json");
            (kind, problem(fault, status, id).into())
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if fault.kind().closes() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    state(headers, fault);
    response
}

/// A gRPC refusal is a trailers-only answer: HTTP 200, and the truth in `grpc-status`.
fn grpc(fault: &Fault, id: &RequestId) -> Response<Body> {
    let kind = fault.kind();
    let mut response = Response::new(Body::Empty);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(kind.grpc())));
    let message = format!("{} ({}, request {})", kind.sentence(), fault.reason().code, id.as_str());
    if let Ok(message) = HeaderValue::from_str(&message) {
        headers.insert(GRPC_MESSAGE, message);
    }
    state(headers, fault);
    response
}

fn state(headers: &mut HeaderMap, fault: &Fault) {
    headers.insert(LOCKGATE_REASON, HeaderValue::from_static(fault.reason().code));
    if let Some(wait) = fault.wait() {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    for (name, value) in fault.headers() {
        headers.append(name, value.clone());
    }
}

/// RFC 9457. `type` is left out: `about:blank`, as the title says no more than the status.
fn problem(fault: &Fault, status: StatusCode, id: &RequestId) -> String {
    // Every part is our own text or a checked id: nothing in it needs escaping. Members may hold
    // anything, and are written as JSON.
    let mut body = format!(
        "{{\"title\":\"{}\",\"status\":{},\"detail\":\"{}\",\"reason\":\"{}\",\
         \"request_id\":\"{}\"",
        status.canonical_reason().unwrap_or("Error"),
        status.as_u16(),
        fault.kind().sentence(),
        fault.reason().code,
        id.as_str(),
    );
    for (name, value) in fault.members() {
        let _ = write!(body, ",\"{name}\":{value}");
    }
    body.push_str("}\n");
    body
}

fn page(fault: &Fault, status: StatusCode, id: &RequestId) -> String {
    let title = status.canonical_reason().unwrap_or("Error");
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{code} {title}</title>\
         <style>body{{font:1.1rem/1.6 system-ui,sans-serif;margin:15vh auto;max-width:36rem;\
         padding:0 1.5rem;color:#1c2530;background:#fff}}code{{color:#5a6675}}\
         @media(prefers-color-scheme:dark){{body{{color:#e4e9f0;background:#12161c}}\
         code{{color:#93a0b0}}}}</style>\
         <h1>{code} {title}</h1><p>{sentence}</p>\
         <p><code>{reason}</code><br><code>request {id}</code></p></html>\n",
        code = status.as_u16(),
        sentence = fault.kind().sentence(),
        reason = fault.reason().code,
        id = id.as_str(),
    )
}

/// Whether a person's browser asks: `text/html` stands before any JSON in `Accept`.
fn wants_html(headers: &HeaderMap) -> bool {
    let Some(accept) = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let Some(html) = accept.find("text/html") else { return false };
    accept.find("json").is_none_or(|json| html < json)
}

/// What every answer bears, whoever made it: its id as a line that goes out beside the head, which
/// is cheaper than one in it.
pub(crate) fn seal(response: &mut Response<Body>, exchange: &mut Exchange) {
    let headers = response.headers_mut();
    if headers.keys().any(|name| *name == X_REQUEST_ID) {
        headers.remove(X_REQUEST_ID);
    }
    exchange.kept.lines.push_text("x-request-id: ", exchange.id.as_str());
    for note in exchange.trace.iter().flatten() {
        if let Ok(value) = HeaderValue::from_str(note) {
            headers.append(HeaderName::from_static("lockgate-trace"), value);
        }
    }
}
