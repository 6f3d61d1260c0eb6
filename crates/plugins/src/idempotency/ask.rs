//! The way down: the body is read, the record begun; the first goes on, and a repeat gets what
//! the record says.

use std::rc::Rc;
use std::time::Duration;

use http::Response;
use http::header::{HeaderName, HeaderValue};
use lockgate_core::{
    Begin, Begun, Body, Exchange, Fault, Fingerprint, Origin, Step, StoreError, Verdict, reasons,
};
use tokio::time::Instant;

use super::reasons::{ANSWER_NOT_KEPT, KEY_REUSED, RUNNING, STORE_FULL, UNKNOWN_OUTCOME};
use super::record::Kept;
use super::run::Run;
use super::settings::{OnStoreError, OnUnknown};
use super::{Once, Outcome};

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// When clients should ask again what runs still.
const SOON: Duration = Duration::from_secs(1);

impl Once {
    pub(super) async fn ask(
        &self,
        exchange: &mut Exchange,
        key: [u8; 32],
    ) -> Result<Verdict, Fault> {
        let body = std::mem::take(&mut exchange.body).collect(self.max_body).await?;
        let fingerprint = self.same.fingerprint(exchange, &body);
        exchange.body = body.into();
        let mut until = Instant::now() + self.wait;
        if let Some(end) = exchange.deadline {
            until = until.min(end);
        }
        let mut run = Run::new(&self.records, key, self.upstream_retries);
        let begin = Begin {
            key: &key,
            owner: run.owner,
            fingerprint: &fingerprint,
            keep: self.keep,
            lost_after: self.lost_after,
            again: self.on_unknown == OnUnknown::Retry,
        };
        let mut seen: Option<Duration> = None;
        loop {
            let begun = match self.records.begin(&begin) {
                Step::Now(begun) => begun,
                Step::Later(begun) => begun.await,
            };
            let begun = match begun {
                Ok(begun) => begun,
                // Dropped, the run says that it has not run: the record may be there all the same,
                // unless the store was surely not asked.
                Err(error) if self.on_store_error == OnStoreError::Deny => {
                    run.set_ours(!error.is_undone());
                    return Err(Fault::gateway(&reasons::STORE_UNAVAILABLE).source(error));
                }
                Err(error) => {
                    run.set_ours(seen.is_none() && !error.is_undone());
                    return self.without_store(exchange, &error, seen);
                }
            };
            if begun == Begun::First {
                self.count(exchange, Outcome::First);
                exchange.once = Some(Rc::clone(&run.once));
                exchange.kept.put(self, run);
                return Ok(Verdict::Pass);
            }
            run.set_ours(false);
            let left = until.saturating_duration_since(Instant::now());
            if let Begun::Running { fingerprint: own, age } = &begun
                && *own == fingerprint
                && !left.is_zero()
            {
                seen = Some(*age);
                self.records.ended(&key, left).await;
                run.set_ours(true);
                continue;
            }
            return self.repeat(exchange, begun, &fingerprint);
        }
    }

    /// What becomes of a request when the store is away and that is allowed: it passes, unless it
    /// has been told already that the first one runs.
    fn without_store(
        &self,
        exchange: &mut Exchange,
        error: &StoreError,
        seen: Option<Duration>,
    ) -> Result<Verdict, Fault> {
        if let Some(age) = seen {
            exchange.note(|| format!("idempotency: {error}"));
            self.count(exchange, Outcome::Running);
            let fault = Fault::client(&RUNNING).retry_after(SOON);
            return Err(fault.member("age_seconds", age.as_secs()));
        }
        self.passes_by(exchange);
        exchange.note(|| format!("idempotency: unprotected, {error}"));
        self.count(exchange, Outcome::Unprotected);
        Ok(Verdict::Pass)
    }

    /// What a repeat gets.
    fn repeat(
        &self,
        exchange: &mut Exchange,
        begun: Begun,
        asked: &Fingerprint,
    ) -> Result<Verdict, Fault> {
        let age = |fault: Fault, age: Duration| fault.member("age_seconds", age.as_secs());
        let (outcome, fault) = match begun {
            Begun::Running { fingerprint, .. }
            | Begun::Unknown { fingerprint, .. }
            | Begun::Done { fingerprint, .. }
                if fingerprint != *asked =>
            {
                (Outcome::Mismatched, Fault::client(&KEY_REUSED))
            }
            Begun::Done { record, .. } => match Kept::decode(&record) {
                Ok(Kept::Whole(answer)) => {
                    let mut response: Response<Body> = (*answer).into();
                    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
                    exchange.origin = Origin::Cache;
                    self.count(exchange, Outcome::Replayed);
                    return Ok(Verdict::Answer(response));
                }
                Ok(Kept::Status(status)) => {
                    let fault = Fault::client(&ANSWER_NOT_KEPT);
                    (Outcome::NotKept, fault.member("first_status", status.as_u16()))
                }
                // Such as by another version of the gateway.
                Err(why) => (Outcome::NotKept, Fault::gateway(&ANSWER_NOT_KEPT).detail(why)),
            },
            Begun::Running { age: since, .. } => {
                let fault = Fault::client(&RUNNING).retry_after(SOON);
                (Outcome::Running, age(fault, since))
            }
            Begun::Unknown { age: since, .. } => {
                (Outcome::Unknown, age(Fault::gateway(&UNKNOWN_OUTCOME), since))
            }
            Begun::Full | Begun::First => (Outcome::Full, Fault::gateway(&STORE_FULL)),
        };
        self.count(exchange, outcome);
        Err(fault)
    }

    fn count(&self, exchange: &Exchange, outcome: Outcome) {
        self.counts.add(exchange.connection.worker, outcome);
    }
}
