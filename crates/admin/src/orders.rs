//! Orders to whoever runs the gateway: read the configuration again, change it, or hand over to a
//! newer program.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::audit::{Outcome, Who, audit};
use crate::guard::refuse_with;
use crate::{Handles, Only};

/// What whoever runs the gateway is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Read the configuration again. Answers with `generation`.
    Reload,
    /// Change the configuration. Answers with `generation`, and what has changed.
    Change(Box<Change>),
    /// Start a successor. Answers like `Tell`, once it has been started.
    Upgrade,
    /// Tell how an upgrade goes: `state`, `pid`, and what belongs to it.
    Tell,
}

/// A change of the configuration, to be kept over its files.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub what: What,
    /// Who wants it.
    pub who: String,
    pub only: Only,
    /// Only tell what it would do.
    pub dry_run: bool,
}

/// See [`Change`].
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// One thing of a section is this, as written; or it is not, and was.
    Set { section: &'static str, name: String, to: Option<Value> },
    /// The whole is what this text says.
    Whole(String),
    /// The files say it all again.
    Files,
    /// The whole is what it was in a version.
    Version(u64),
}

/// An order that was not carried out. Nothing has changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// The status to answer with.
    pub status: u16,
    /// A word for it.
    pub reason: &'static str,
    /// A sentence for it.
    pub detail: String,
    /// What is wrong with the configuration: a list of problems with their places.
    pub problems: Option<Value>,
}

/// What comes of an order.
pub type Answer = Result<Value, Refused>;

/// Gives an order, and hears what came of it.
pub type GiveOrder = dyn Fn(Order) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;

impl Refused {
    /// A refusal without places.
    pub fn new(status: u16, reason: &'static str, detail: impl Into<String>) -> Self {
        Self { status, reason, detail: detail.into(), problems: None }
    }

    /// In short, for the audit log.
    fn to_value(&self) -> Value {
        json!({ "reason": self.reason, "detail": self.detail })
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::CONFLICT);
        refuse_with(status, self.reason, &self.detail, self.problems)
    }
}

/// `POST /admin/upgrade`: starts the program once more and hands over to it. It has only begun
/// with the answer.
pub(crate) async fn begin(
    State(handles): State<Arc<Handles>>,
    Extension(who): Extension<Who>,
) -> Response {
    let before = json!({ "pid": std::process::id() });
    answer(StatusCode::ACCEPTED, told(&handles, &who, "upgrade", before, Order::Upgrade).await)
}

/// `GET /admin/upgrade`: how it goes, by whichever process answers.
pub(crate) async fn state(State(handles): State<Arc<Handles>>) -> Response {
    answer(StatusCode::OK, (handles.order)(Order::Tell).await)
}

/// `POST /admin/reload`: reads the configuration again; 422 with all that is wrong when it is
/// refused, and the old one then stays.
pub(crate) async fn reload(
    State(handles): State<Arc<Handles>>,
    Extension(who): Extension<Who>,
) -> Response {
    answer(StatusCode::OK, read_again(&handles, &who).await)
}

/// Has the configuration read again, for whomever the audit log names.
pub(crate) async fn read_again(handles: &Handles, who: &Who) -> Answer {
    let before = json!({ "generation": handles.shared.snapshot().generation });
    told(handles, who, "reload", before, Order::Reload).await
}

/// Gives an order, and writes in the audit log what came of it: also when whoever asked does not
/// wait for it.
async fn told(
    handles: &Handles,
    who: &Who,
    what: &'static str,
    before: Value,
    order: Order,
) -> Answer {
    let (carried_out, who) = ((handles.order)(order), who.to_string());
    let telling = tokio::spawn(async move {
        let answer = carried_out.await;
        let is = |told: &Value, key, value: Value| told.get(key) == Some(&value);
        let (outcome, after) = match &answer {
            Ok(told) if is(told, "changes", json!(0)) => (Outcome::Unchanged, told.clone()),
            // An upgrade that has not even begun.
            Ok(told) if is(told, "state", json!("failed")) => (Outcome::Refused, told.clone()),
            Ok(told) => (Outcome::Changed, told.clone()),
            Err(refused) => (Outcome::Refused, refused.to_value()),
        };
        audit(outcome, &who, what, &before, &after);
        answer
    });
    telling.await.unwrap_or_else(|_| Err(Refused::new(500, "internal", "it broke off: a bug")))
}

/// An order's answer as a response.
pub(crate) fn answer(status: StatusCode, answer: Answer) -> Response {
    match answer {
        Ok(told) => (status, Json(told)).into_response(),
        Err(refused) => refused.into_response(),
    }
}
