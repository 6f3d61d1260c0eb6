//! Log-ins of browsers: who knows the admin token is given a cookie instead, for some hours. The
//! cookie is a random number that means nothing elsewhere; attempts are limited.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Form;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::Handles;
use crate::dashboard::{self, Html};

const COOKIE: &str = "lockgate_admin";
/// A working day.
const LIFE: Duration = Duration::from_secs(12 * 3600);
/// Most browsers at once; the oldest is logged out for one more.
const MOST: usize = 64;
/// Wrong tokens in [`WINDOW`] after which nobody is let try.
const TRIES: u32 = 5;
const WINDOW: Duration = Duration::from_secs(30);

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
pub struct Sessions(Mutex<Open>);

#[derive(Default)]
struct Open {
    /// By their cookie: until when, and the token that opened it.
    open: HashMap<String, (Instant, String)>,
    wrong: u32,
    window: Option<Instant>,
}

impl Sessions {
    /// Whether a request bears the cookie of one that was opened with the token in force.
    pub(crate) fn knows(&self, headers: &HeaderMap, token: &str) -> bool {
        let Some(given) = cookie(headers) else { return false };
        let state = self.state();
        // By equality of a hash map: the numbers are random and as long as a key.
        let found = state.open.get(given);
        found.is_some_and(|(until, with)| *until > Instant::now() && with == token)
    }

    fn open(&self, token: &str) -> Option<String> {
        let number = random()?;
        let mut state = self.state();
        let now = Instant::now();
        state.open.retain(|_, (until, _)| *until > now);
        if state.open.len() >= MOST {
            let oldest = state.open.iter().min_by_key(|(_, (until, _))| *until);
            if let Some(oldest) = oldest.map(|(number, _)| number.clone()) {
                state.open.remove(&oldest);
            }
        }
        state.open.insert(number.clone(), (now + LIFE, token.to_owned()));
        Some(number)
    }

    fn close(&self, headers: &HeaderMap) {
        if let Some(given) = cookie(headers) {
            self.state().open.remove(given);
        }
    }

    /// Whether somebody may try a token now.
    fn may_try(&self) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        if state.window.is_none_or(|begun| now.duration_since(begun) > WINDOW) {
            state.window = Some(now);
            state.wrong = 0;
        }
        state.wrong < TRIES
    }

    fn was_wrong(&self) {
        self.state().wrong += 1;
    }

    fn state(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    headers: HeaderMap,
    Form(given): Form<Given>,
) -> Response {
    if !handles.sessions.may_try() {
        tracing::warn!("too many log-ins with a wrong admin token");
        let wrong = "Too many attempts: try again in half a minute.";
        return form(StatusCode::TOO_MANY_REQUESTS, wrong);
    }
    let snapshot = handles.shared.snapshot();
    let token = snapshot.document.admin.token.as_deref().unwrap_or_default();
    if token.is_empty() || !bool::from(given.token.as_bytes().ct_eq(token.as_bytes())) {
        handles.sessions.was_wrong();
        tracing::warn!("a log-in with a wrong admin token");
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
