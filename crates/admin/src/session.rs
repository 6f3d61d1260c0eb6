//! Log-ins of browsers: who knows the admin token is given a cookie instead, for some hours. The
//! cookie is a random number that means nothing elsewhere; attempts are limited.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Form;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::Handles;
use crate::audit::Who;
use crate::dashboard::{self, Html};
use crate::tries::Tries;

const COOKIE: &str = "lockgate_admin";
/// A working day.
const LIFE: Duration = Duration::from_secs(12 * 3600);
/// Most browsers at once; the oldest is logged out for one more.
const MOST: usize = 64;

tokio::task_local! {
    /// Whether what is answered was asked for by a browser that has logged in.
    static LOGGED_IN: bool;
}

/// Runs what answers a request, and lets it know whether that came from a log-in.
pub(crate) async fn within<F: Future>(logged_in: bool, answering: F) -> F::Output {
    LOGGED_IN.scope(logged_in, answering).await
}

/// Whether whoever asks has logged in, so that there is something to log out of.
pub(crate) fn is_logged_in() -> bool {
    LOGGED_IN.try_with(|logged_in| *logged_in).unwrap_or(false)
}

/// The browsers that are logged in.
#[derive(Default)]
pub struct Sessions {
    /// By their cookie: until when, and the token that opened it.
    open: Mutex<HashMap<String, (Instant, String)>>,
    pub(crate) tries: Tries,
}

impl Sessions {
    /// Whether a request bears the cookie of one that was opened with the token in force.
    pub(crate) fn knows(&self, headers: &HeaderMap, token: &str) -> bool {
        let Some(given) = cookie(headers) else { return false };
        let open = self.all();
        // By equality of a hash map: the numbers are random and as long as a key.
        let found = open.get(given);
        found.is_some_and(|(until, with)| *until > Instant::now() && with == token)
    }

    fn open(&self, token: &str) -> Option<String> {
        let number = random()?;
        let mut open = self.all();
        let now = Instant::now();
        open.retain(|_, (until, _)| *until > now);
        if open.len() >= MOST {
            let oldest = open.iter().min_by_key(|(_, (until, _))| *until);
            if let Some(oldest) = oldest.map(|(number, _)| number.clone()) {
                open.remove(&oldest);
            }
        }
        open.insert(number.clone(), (now + LIFE, token.to_owned()));
        Some(number)
    }

    fn close(&self, headers: &HeaderMap) {
        if let Some(given) = cookie(headers) {
            self.all().remove(given);
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, (Instant, String)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 192 random bits.
fn random() -> Option<String> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

#[derive(Deserialize)]
pub(crate) struct Given {
    token: String,
}

/// `GET /admin/login`.
pub(crate) async fn page() -> Response {
    form(StatusCode::OK, "")
}

fn form(status: StatusCode, wrong: &str) -> Response {
    let mut html = Html::new();
    html.raw("<form class=login method=post action=/admin/login><h1>Lockgate</h1>");
    if !wrong.is_empty() {
        html.raw("<p class=bad role=alert>").text(wrong).raw("</p>");
    }
    html.raw(
        "<label for=token>Admin token</label>\
         <input id=token name=token type=password autocomplete=current-password required autofocus>\
         <button>Log in</button></form>",
    );
    let mut response = dashboard::bare("Log in", html);
    *response.status_mut() = status;
    response
}

/// `POST /admin/login` with the form's `token`.
pub(crate) async fn log_in(
    State(handles): State<Arc<Handles>>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
    Form(given): Form<Given>,
) -> Response {
    // Without an address, which a connection always has, it is one of those that have none.
    let from = who.from.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    if let Some(wait) = handles.sessions.tries.wait(from) {
        tracing::warn!(%from, "too many log-ins with a wrong admin token");
        let seconds = wait.as_secs() + 1;
        let wrong = format!("Too many attempts: try again in {seconds} seconds.");
        let mut response = form(StatusCode::TOO_MANY_REQUESTS, &wrong);
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        return response;
    }
    let snapshot = handles.shared.snapshot();
    let token = snapshot.document.admin.token.as_deref().unwrap_or_default();
    if token.is_empty() || !bool::from(given.token.as_bytes().ct_eq(token.as_bytes())) {
        handles.sessions.tries.was_wrong(from);
        tracing::warn!(%from, "a log-in with a wrong admin token");
        return form(StatusCode::FORBIDDEN, "That is not the token.");
    }
    let Some(number) = handles.sessions.open(token) else {
        return form(StatusCode::INTERNAL_SERVER_ERROR, "The system gives no random numbers.");
    };
    tracing::info!("an operator has logged in");
    let secure = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let secure = if secure { "; Secure" } else { "" };
    let life = LIFE.as_secs();
    let cookie = format!(
        "{COOKIE}={number}; Path=/admin; HttpOnly; SameSite=Strict; Max-Age={life}{secure}"
    );
    ([(header::SET_COOKIE, cookie)], Redirect::to("/admin/status")).into_response()
}

/// `POST /admin/logout`.
pub(crate) async fn log_out(State(handles): State<Arc<Handles>>, headers: HeaderMap) -> Response {
    handles.sessions.close(&headers);
    let cookie = format!("{COOKIE}=; Path=/admin; HttpOnly; SameSite=Strict; Max-Age=0");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/admin/login")).into_response()
}
