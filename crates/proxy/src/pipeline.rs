//! The policies of a route, in the order of their stages: down with the request, up with the
//! answer, and up only through those that were entered.

use std::sync::Arc;

use lockgate_core::{Body, BodyUse, Exchange, Fault, Policy, Stage, Step, Verdict};
use lockgate_telemetry::{Decided, PolicySeries};
use tokio::time::Instant;

use crate::target::Answer;

/// A policy in its place.
pub(crate) struct Entry {
    /// The plugin's name.
    pub(crate) name: &'static str,
    /// When it runs.
    pub(crate) stage: Stage,
    /// What it needs of the request's body.
    pub(crate) body: BodyUse,
    /// The policy itself.
    pub(crate) policy: Arc<dyn Policy>,
    /// How often it ran, what it decided, how long it took.
    pub(crate) series: PolicySeries,
    /// Its settings as written, where they have references, for `explain`.
    pub(crate) written: Option<Box<str>>,
    /// Where it was configured, for `explain`.
    pub(crate) origin: Arc<[Arc<str>]>,
}

/// Runs the request hooks in order. `entered` counts the policies that saw the request, the one
/// that ended it included.
///
/// # Errors
/// The refusal of a policy, or `too_large` when one needs the body whole and it is too large.
pub(crate) async fn down(
    entries: &[Entry],
    exchange: &mut Exchange,
    max_buffered: usize,
    entered: &mut usize,
) -> Result<Verdict, Fault> {
    if entries.is_empty() {
        return Ok(Verdict::Pass);
    }
    let mut begun = Instant::now();
    for entry in entries {
        if entry.body == BodyUse::Buffer && matches!(exchange.body, Body::Stream(_)) {
            let body = std::mem::take(&mut exchange.body);
            exchange.body = body.collect(max_buffered).await?.into();
        }
        *entered += 1;
        let verdict = match entry.policy.request(&mut *exchange) {
            Step::Now(verdict) => verdict,
            Step::Later(verdict) => verdict.await,
        };
        if let Some(once) = &exchange.once {
            once.set_entered(*entered);
        }
        let end = Instant::now();
        let decided = match &verdict {
            Ok(Verdict::Pass) => Decided::Pass,
            Ok(Verdict::Answer(_) | Verdict::AnswerAnd(..)) => Decided::Answer,
            Err(fault) => Decided::Refuse(fault.reason().code),
        };
        entry.series.observe(exchange.connection.worker, decided, end - begun);
        begun = end;
        match verdict {
            Ok(Verdict::Pass) => exchange.note(|| format!("policy {}: pass", entry.name)),
            Ok(answer) => {
                exchange.note(|| format!("policy {}: answer", entry.name));
                return Ok(answer);
            }
            Err(fault) => {
                exchange.note(|| format!("policy {}: {}", entry.name, fault.reason().code));
                return Err(fault);
            }
        }
    }
    Ok(Verdict::Pass)
}

/// Runs the response hooks of the policies entered, last first. The fault of one makes the answer
/// the gateway's refusal, and the policies around it see that like any other answer: refusals too
/// bear their headers.
pub(crate) async fn up(
    entries: &[Entry],
    exchange: &mut Exchange,
    entered: usize,
    answer: &mut Answer,
) {
    for entry in entries.iter().take(entered).rev() {
        let done = match entry.policy.response(exchange, &mut answer.response) {
            Step::Now(done) => done,
            Step::Later(done) => done.await,
        };
        if let Err(fault) = done {
            exchange.note(|| format!("policy {}: {}", entry.name, fault.reason().code));
            // A switch of protocols is over with the answer that was to begin it.
            *answer = Answer::refusal(fault, exchange);
        }
    }
}
