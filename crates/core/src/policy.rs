//! A policy: two hooks around the route's target, entered in the order of the stages.

use std::pin::Pin;

use http::{HeaderName, Response};

use crate::{Body, Exchange, Fault};

/// A boxed future that stays on its worker.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// When a policy runs: requests go down the stages, responses come back up. Within a stage the
/// order of the configuration holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Request ids, tracing: sees everything.
    Trace,
    /// Cross-origin answers, so that even refusals bear their headers.
    Cors,
    /// Compression: outermost of what touches the body.
    Encode,
    /// Firewall, address lists.
    Guard,
    /// Limits that need no identity.
    LimitIp,
    /// Who is it?
    Identify,
    /// May they?
    Authorize,
    /// Limits by consumer.
    LimitConsumer,
    /// Is the request itself acceptable?
    Validate,
    /// Has this request run before?
    Repeat,
    /// What an answer says of its own request, and is not kept with it.
    Tell,
    /// Answers from memory.
    Cache,
    /// One at a time.
    Serialize,
    /// Changes on the way to the target.
    Transform,
}

/// What a request hook decided.
pub enum Verdict {
    /// Go on.
    Pass,
    /// This is the answer: the target is not asked. Policies entered so far see it on its way up.
    Answer(Response<Body>),
    /// This is the answer, and behind it goes a request of the gateway's own, such as
    /// [`Exchange::behind`]: through the policies after this one to the target, and its answer
    /// back up to this one's response hook, which is the last to see it. Nobody waits for it, and
    /// a worker that has too many of them under way drops it unasked.
    AnswerAnd(Response<Body>, Box<Exchange>),
}

/// A hook's result: at once, or later. Synchronous policies allocate nothing.
pub enum Step<'a, T> {
    /// Done.
    Now(T),
    /// Waits for something; the pipeline awaits it.
    Later(LocalFuture<'a, T>),
}

/// How much of the request's body a policy needs to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BodyUse {
    /// None of it.
    None,
    /// It may wrap the stream.
    Stream,
    /// All of it in memory: the pipeline buffers once, under a cap.
    Buffer,
}

/// A configured policy of one route. Shared by all workers, so its state is atomic or sharded.
pub trait Policy: Send + Sync {
    /// Runs before the target. A refusal is `Err`.
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        let _ = exchange;
        Step::Now(Ok(Verdict::Pass))
    }

    /// Runs on the way up, for every answer of a request that entered this policy: the target's,
    /// another policy's, and the gateway's own refusals (see [`Exchange::origin`]).
    fn response<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        response: &'a mut Response<Body>,
    ) -> Step<'a, Result<(), Fault>> {
        let _ = (exchange, response);
        Step::Now(Ok(()))
    }

    /// Whether its response hook looks at lines of the request's head by which the gateway tells
    /// the target where the request came from (`X-Forwarded-*`, `Forwarded`, `Via`,
    /// `X-Request-Id`). Where no policy of a route does, they are sent and never put in the head.
    fn reads_request_on_response(&self) -> bool {
        false
    }

    /// Headers that it alone may state to the target. What clients send under these names, in any
    /// spelling that may be read as them, is taken away on every route, before any policy runs;
    /// what every client may say by HTTP itself, such as `Authorization`, on its own routes alone,
    /// and by the policy.
    fn states(&self) -> &[HeaderName] {
        &[]
    }

    /// What `lockgate explain` prints of its effective values: one line, no secrets.
    fn describe(&self) -> String;
}
