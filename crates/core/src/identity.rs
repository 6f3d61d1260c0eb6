//! An identity: a way by which callers prove who they are. `auth` asks it; it never refuses by
//! itself, so that several can be tried one after another.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Response};

use crate::{Body, Consumer, Exchange, Fault, Reason, Step};

/// What an identity found in a request.
#[derive(Debug)]
pub enum Proof {
    /// No credentials of its kind.
    Absent,
    /// Credentials that hold, and whose they are.
    Consumer(Arc<Consumer>),
    /// Credentials of its kind that do not hold.
    Invalid(Rejection),
    /// No credentials that hold, and an answer that tells the client what to do: an auth service's
    /// own refusal, a way to a login. It is given when no other identity vouches.
    Answer(Rejection, Response<Body>),
}

/// Why credentials do not hold.
#[derive(Debug)]
pub struct Rejection {
    /// The cause: `token_expired` and the like.
    pub reason: &'static Reason,
    /// For the log alone; bears no credential.
    pub detail: Cow<'static, str>,
}

/// What a `WWW-Authenticate` is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Challenge<'a> {
    /// There were no credentials.
    Missing,
    /// They did not hold.
    Invalid(&'a Rejection),
    /// They hold, but lack these scopes (space-separated).
    Scope(&'a str),
}

/// A configured identity. Shared by all workers and routes.
pub trait Identity: Send + Sync {
    /// Looks for credentials of its kind and verifies them. It may change the request: take away
    /// what is not to go upstream.
    ///
    /// # Errors
    /// Only what makes it impossible to tell: an auth service that does not answer. The request
    /// is then refused, whatever else would identify it.
    fn identify<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Proof, Fault>>;

    /// Headers that it alone may state to the target, as [`crate::Policy::states`] has it: `auth`
    /// takes away what a client sends under these names before any identity is asked.
    fn states(&self) -> &[HeaderName] {
        &[]
    }

    /// Whether identifying may wait for something ([`Step::Later`]). One that never does costs its
    /// requests no allocation.
    fn waits(&self) -> bool {
        true
    }

    /// How a client is told what to send (RFC 9110 §11.6.1); `None` for a kind that has no scheme.
    fn challenge(&self, why: Challenge<'_>) -> Option<HeaderValue> {
        let _ = why;
        None
    }

    /// What `lockgate explain` prints of it: one line, no secrets.
    fn describe(&self) -> String;
}
