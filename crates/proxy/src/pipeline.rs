//! The policies of a route, in the order of their stages: down with the request, up with the
//! answer, and up only through those that were entered.

use std::sync::Arc;

use lockgate_core::{Body, BodyUse, Exchange, Fault, Policy, Stage, Step, Verdict};
use lockgate_telemetry::{Decided, PolicySeries, Took};
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
    let worker = exchange.connection.worker;
    let Some(first) = entries.first() else { return Ok(Verdict::Pass) };
    let mut begun = first.series.is_due(worker).then(Instant::now);
    for entry in entries {
        if entry.body == BodyUse::Buffer && matches!(exchange.body, Body::Stream(_)) {
            let body = std::mem::take(&mut exchange.body);
            exchange.body = body.collect(max_buffered).await?.into();
            let now = Instant::now();
            exchange.waited(now);
            begun = begun.map(|_| now);
        }
        *entered += 1;
        let step = entry.policy.request(&mut *exchange);
        // The usual case, in which a verdict need not be moved.
        if matches!(step, Step::Now(Ok(Verdict::Pass))) {
            drop(step);
            tell_once(exchange, *entered);
            entry.series.observe(worker, Decided::Pass, lap(&mut begun));
            exchange.note(|| format!("policy {}: pass", entry.name));
            continue;
        }
        let (verdict, took) = heard(step, &mut begun).await;
        tell_once(exchange, *entered);
        if let Took::Waited(took) = took {
            let now = Instant::now();
            exchange.waited(now);
            begun = begun.map(|_| now);
            let reason = verdict.as_ref().err().map(Fault::reason);
            exchange.spans.waited(entry.name, now - took, now, reason);
        }
        match verdict {
            Ok(Verdict::Pass) => {
                entry.series.observe(worker, Decided::Pass, took);
                exchange.note(|| format!("policy {}: pass", entry.name));
            }
            Ok(answer) => {
                entry.series.observe(worker, Decided::Answer, took);
                exchange.note(|| format!("policy {}: answer", entry.name));
                return Ok(answer);
            }
            Err(fault) => {
                let code = fault.reason().code;
                entry.series.observe(worker, Decided::Refuse(code), took);
                exchange.note(|| format!("policy {}: {code}", entry.name));
                return Err(fault);
            }
        }
    }
    Ok(Verdict::Pass)
}

/// Whoever hears of the request's end elsewhere is told how far it got.
fn tell_once(exchange: &Exchange, entered: usize) {
    if let Some(once) = &exchange.once {
        once.set_entered(entered);
    }
}

/// Waits for a step, if need be.
async fn heard<T>(step: Step<'_, T>, begun: &mut Option<Instant>) -> (T, Took) {
    match step {
        Step::Now(done) => (done, lap(begun)),
        Step::Later(later) => {
            let since = begun.unwrap_or_else(Instant::now);
            let done = later.await;
            (done, Took::Waited(since.elapsed()))
        }
    }
}

/// The time since the last look at the clock, where this request is timed.
fn lap(begun: &mut Option<Instant>) -> Took {
    let Some(since) = begun else { return Took::Unknown };
    let end = Instant::now();
    Took::Timed(end - std::mem::replace(since, end))
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
        let done = {
            let step = entry.policy.response(exchange, &mut answer.response);
            // The usual case, in which nothing need be moved.
            if matches!(step, Step::Now(Ok(()))) {
                continue;
            }
            match step {
                Step::Now(done) => done,
                Step::Later(done) => done.await,
            }
        };
        if let Err(fault) = done {
            exchange.note(|| format!("policy {}: {}", entry.name, fault.reason().code));
            // A switch of protocols is over with the answer that was to begin it.
            *answer = Answer::refusal(fault, exchange);
        }
    }
}
