//! Who may ask. With a token: whoever bears it or has logged in with it, and anybody who only looks
//! at the public paths. Without one the listener is on the loopback, and what remains to be kept
//! out is a web page of others in the operator's own browser: such requests bear another `Origin`,
//! or a `Host` that is no address of this machine.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::time::timeout;

use crate::Handles;
use crate::audit::Who;
use crate::places::Claim;
use crate::session::{self, Sessions};

/// How long a request's body and its answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The address that a connection comes from.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Whom a public listener has let in, by name; nobody by name, for what is public.
#[derive(Clone)]
pub(crate) struct LetIn(pub(crate) Option<String>);

pub(crate) async fn admit(
    State(handles): State<Arc<Handles>>,
    mut request: Request,
    next: Next,
) -> Response {
    let admin = &handles.shared.snapshot().document.admin;
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) && !of_own_page(headers) {
        return refuse(
            StatusCode::FORBIDDEN,
            "web_page",
            "requests of other web pages are not taken here",
        );
    }
    let path = request.uri().path().to_owned();
    let path = path.as_str();
    let looks = matches!(*request.method(), Method::GET | Method::HEAD);
    let public = looks && admin.public.iter().any(|public| public == path) || PAGES.contains(&path);
    let let_in = request.extensions().get::<LetIn>().cloned();
    let is_let_in = let_in.is_some();
    let let_in = let_in.and_then(|let_in| let_in.0);
    let from = request.extensions().get::<Peer>().map(|peer| peer.0);
    let name = match &admin.token {
        _ if is_let_in => let_in.as_deref(),
        // Not looked at: nobody shall learn there whether a guess was right.
        Some(_) if public => None,
        Some(token) => match whose(&handles.sessions, headers, token, from) {
            Ok(name) => name,
            Err(wait) => return too_often(wait),
        },
        None => Some("this machine"),
    };
    match &admin.token {
        // Whoever let it in may have gone by another configuration.
        _ if is_let_in && name.is_none() && !public => {
            let text = "what `admin.public` names is only looked at without a name: GET and HEAD";
            return refuse(StatusCode::FORBIDDEN, "not_public", text);
        }
        _ if is_let_in => {}
        Some(_) if !public && name.is_none() => {
            if wants_page(headers, path) {
                return Redirect::to("/admin/login").into_response();
            }
            return challenge();
        }
        None if !local_host(headers) => {
            return refuse(
                StatusCode::FORBIDDEN,
                "foreign_host",
                "the Host is not an address of this machine",
            );
        }
        _ => {}
    }
    // What is public anybody may ask for, and keep no place by that.
    name.and(request.extensions().get()).into_iter().for_each(Claim::is_known);
    let logged_in = !is_let_in && name == Some(DASHBOARD);
    let who = Who { name: name.unwrap_or("anybody").to_owned(), from };
    request.extensions_mut().insert(who);
    let answering = session::within(logged_in, next.run(request));
    match timeout(PATIENCE, answering).await {
        Ok(response) => response,
        Err(_) => {
            let text = "no answer within 10 s: the body is too slow, or what was asked for takes \
                        longer, and may still be carried out; look before asking again";
            refuse(StatusCode::GATEWAY_TIMEOUT, "slow", text)
        }
    }
}

/// Whose request it is, where there is a token. `from`: an address that shall not guess, and which
/// has to wait when it has.
fn whose(
    sessions: &Sessions,
    headers: &HeaderMap,
    token: &str,
    from: Option<IpAddr>,
) -> Result<Option<&'static str>, Duration> {
    if sessions.knows(headers, token) {
        return Ok(Some(DASHBOARD));
    }
    let Some(given) = borne(headers) else { return Ok(None) };
    if let Some(wait) = from.and_then(|from| sessions.tries.wait_alone(from)) {
        return Err(wait);
    }
    if given.as_bytes().ct_eq(token.as_bytes()).into() {
        return Ok(Some("the token"));
    }
    from.into_iter().for_each(|from| sessions.tries.was_wrong(from, given));
    Ok(None)
}

fn challenge() -> Response {
    let text = "this needs `Authorization: Bearer` with the admin token";
    let mut response = refuse(StatusCode::UNAUTHORIZED, "no_token", text);
    let challenge = header::HeaderValue::from_static("Bearer");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn too_often(wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let text = format!("too many wrong tokens from this address: wait for {seconds} seconds");
    let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, "too_many_tokens", &text);
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response
}

/// Who has logged in, by name.
const DASHBOARD: &str = "the dashboard";

/// What a browser needs to log in.
const PAGES: [&str; 3] = ["/admin/login", "/admin/status/style.css", "/admin/status/live.js"];

/// Whether a browser asks for a page of the dashboard.
fn wants_page(headers: &HeaderMap, path: &str) -> bool {
    let html = |value: &header::HeaderValue| {
        value.to_str().is_ok_and(|accept| accept.contains("text/html"))
    };
    path.starts_with("/admin/status") && headers.get(header::ACCEPT).is_some_and(html)
}

/// Whether the page that sends it was got from here: its origin is the host that is asked.
fn of_own_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else {
        return false;
    };
    let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    own.is_some_and(|own| own.eq_ignore_ascii_case(host))
}

pub(crate) fn refuse(status: StatusCode, reason: &str, detail: &str) -> Response {
    refuse_with(status, reason, detail, None)
}

/// The same with a list of problems.
pub(crate) fn refuse_with(
    status: StatusCode,
    reason: &str,
    detail: &str,
    problems: Option<Value>,
) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let mut body = json!({
        "title": title, "status": status.as_u16(), "reason": reason, "detail": detail,
    });
    if let Some(problems) = problems
        && let Some(body) = body.as_object_mut()
    {
        body.insert("problems".to_owned(), problems);
    }
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, format!("{body}\n")).into_response()
}

fn borne(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    given.and_then(|value| value.strip_prefix("Bearer "))
}

/// A page that has rebound its own name to the loopback still sends that name.
fn local_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|value| value.to_str().ok()) else {
        return true;
    };
    let Ok(authority) = host.parse::<axum::http::uri::Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<IpAddr>().is_ok()
}
