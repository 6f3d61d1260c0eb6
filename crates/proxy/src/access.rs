//! The end of a journey: one line in the access log and one sample in the metrics, when the last
//! byte of the answer has been written, or can no longer be.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use http::uri::PathAndQuery;
use http::{Response, Version, header};
use lockgate_core::span::{SpanId, TraceId};
use lockgate_core::{
    Blame, Body, Connection, Exchange, Fault, Finish, Incoming, Kind, Origin, Outcome, Reason,
    Reply, RequestId, reasons,
};
use lockgate_telemetry::{Entry, Exemplar, FailureKind, InFlight, Sample, Told};
use tokio::time::Instant;

use crate::receive::{fit, receive};
use crate::reply;
use crate::snapshot::Place;
use crate::worker::{Current, Worker};

/// A request and all that belongs to it, from its head to the last byte of its answer.
pub(crate) struct Journey {
    pub(crate) exchange: Exchange,
    pub(crate) snapshot: Current,
    pub(crate) worker: Rc<Worker>,
    /// The route that matched.
    pub(crate) place: Option<Place>,
    /// What the client asked for, before anything was rewritten.
    target: Option<PathAndQuery>,
    status: u16,
    logged: bool,
    _in_flight: InFlight,
}

impl Journey {
    /// Begins with a request; the second part says whether it may go on at all.
    pub(crate) fn begin(worker: Rc<Worker>, incoming: Incoming) -> (Box<Self>, Result<(), Fault>) {
        let snapshot = worker.snapshot();
        let target = incoming.head.uri.path_and_query().cloned();
        // Where it will stay from the beginning: it is large to be moved there.
        let mut journey = Box::write(
            Box::new_uninit(),
            Self {
                exchange: receive(incoming, &snapshot),
                snapshot,
                place: None,
                target,
                // What is logged when the client goes before there is an answer.
                status: reasons::CLIENT_CLOSED.kind.status().as_u16(),
                logged: false,
                _in_flight: worker.series.enter(),
                worker,
            },
        );
        let fit = fit(&journey.exchange);
        let (trace, fate) = (journey.exchange.spans.trace(), journey.exchange.spans.fate());
        if let Some(trace) = trace {
            journey.exchange.note(|| format!("trace {trace:?}: {}", fate.word()));
        }
        (journey, fit)
    }

    /// The answer to a fault outside of any route.
    pub(crate) fn refuse(&mut self, fault: Fault) -> crate::target::Answer {
        if fault.reason() == &reasons::PANIC {
            self.worker.shared.metrics.panicked();
        }
        crate::target::Answer::refusal(fault, &mut self.exchange)
    }

    /// The answer's head is on its way.
    pub(crate) fn answered(&mut self, response: &Response<Body>) {
        self.status = response.status().as_u16();
    }

    fn end(&mut self, outcome: &Outcome) {
        self.logged = true;
        let exchange = &self.exchange;
        let (reason, blame) = cause(exchange, outcome);
        let ended = outcome.ended.unwrap_or_else(Instant::now);
        let total = ended.saturating_duration_since(exchange.started);
        let route = self.place.and_then(|place| self.snapshot.route(place));
        let series = route.map_or(&self.snapshot.unrouted, |route| &route.series);
        series.observe(
            self.worker.index,
            &Sample {
                status: self.status,
                reason: reason.map(|reason| reason.code),
                total,
                upstream_first_byte: exchange.upstream.first_byte,
                received: outcome.received,
                sent: outcome.sent,
                attempts: exchange.upstream.attempts,
                exemplar: self.tell(outcome, (reason, blame), ended, total),
            },
        );
        let consumer = exchange.consumer.as_deref();
        if let Some(plan) = consumer.and_then(|consumer| consumer.plan.as_deref()) {
            self.snapshot.plans.count(plan, self.status, self.worker.index);
        }
        let tell = |write: &mut dyn FnMut(&mut Entry<'_>)| {
            let story = exchange.fault.as_ref().map(Fault::story).unwrap_or_default();
            let (trace, span) = (exchange.spans.trace(), exchange.spans.id());
            let (trace, span) = (trace.map(TraceId::hex), span.map(SpanId::hex));
            let mut entry = self.entry(outcome, total);
            entry.trace_id = trace.as_ref().and_then(|hex| str::from_utf8(hex).ok());
            entry.span_id = span.as_ref().and_then(|hex| str::from_utf8(hex).ok());
            entry.reason = reason.map(|reason| reason.code);
            entry.blame = blame;
            entry.story = &story;
            entry.tags = route.map_or(&[], |route| &route.tags);
            write(&mut entry);
        };
        self.worker.log(|log| tell(&mut |entry| log.write(entry)));
        let kind = FailureKind::of(self.status, reason.map(|reason| reason.code), blame);
        let failures = &self.worker.failures;
        if let Some(kind) = kind.filter(|kind| failures.wants(*kind)) {
            tell(&mut |entry| failures.note(kind, entry));
        }
    }

    /// Has the request's spans told, if they are to be: by which it is found then.
    fn tell(
        &self,
        outcome: &Outcome,
        (reason, blame): (Option<&'static Reason>, Option<Blame>),
        ended: Instant,
        total: Duration,
    ) -> Option<Exemplar> {
        let Self { exchange, worker, .. } = self;
        let (traces, spans) = (self.snapshot.traces.as_ref()?, &exchange.spans);
        if !traces.is_told(spans, self.status, blame, total, ended) {
            return None;
        }
        worker.tell(&Told {
            exchange,
            target: self.target.as_ref(),
            status: self.status,
            reason,
            blame,
            ended,
            received: outcome.received,
            sent: outcome.sent,
            time: &|at| worker.time_of_day(at),
        });
        let time = worker.time_of_day(ended);
        spans.trace().zip(spans.id()).map(|(trace, span)| Exemplar { trace, span, time })
    }

    /// What a line says of a request that nothing went wrong with.
    fn entry(&self, outcome: &Outcome, total: Duration) -> Entry<'_> {
        let Self { exchange, worker, .. } = self;
        let connection = &exchange.connection;
        let headers = &exchange.head.headers;
        let consumer = exchange.consumer.as_deref();
        let (mut user_agent, mut referer) = (None, None);
        // One look at the names is cheaper than asking the map for each.
        for (name, value) in headers {
            match *name {
                header::USER_AGENT if user_agent.is_none() => user_agent = Some(value.as_bytes()),
                header::REFERER if referer.is_none() => referer = Some(value.as_bytes()),
                _ => {}
            }
        }
        Entry {
            time: worker.time_of_day(exchange.started),
            id: exchange.id.as_str(),
            client_ip: exchange.client_ip,
            peer: connection.peer,
            worker: worker.index,
            listener: &connection.listener,
            protocol: protocol(exchange.head.version),
            scheme: if exchange.secure { "https" } else { "http" },
            method: exchange.head.method.as_str(),
            host: &exchange.host,
            path: self.target.as_ref().map_or("", PathAndQuery::as_str),
            status: self.status,
            reason: None,
            blame: None,
            story: "",
            origin: exchange.origin,
            route: exchange.route.as_deref(),
            consumer: consumer.map(|consumer| &*consumer.name),
            identity: consumer.map(|consumer| &*consumer.identity),
            plan: consumer.and_then(|consumer| consumer.plan.as_deref()),
            upstream: exchange.upstream.name.as_deref(),
            endpoint: exchange.upstream.endpoint.as_deref(),
            attempts: exchange.upstream.attempts,
            upstream_status: exchange.upstream.status,
            cache: exchange.kept.cached,
            limit: exchange.kept.limit.as_deref(),
            total,
            queued: exchange.upstream.queued,
            connect: exchange.upstream.connect,
            first_byte: exchange.upstream.first_byte,
            body: outcome.took,
            received: outcome.received,
            sent: outcome.sent,
            user_agent,
            referer,
            tls: connection.tls.as_ref(),
            trace_id: None,
            span_id: None,
            tags: &[],
            headers: Some(headers),
        }
    }
}

/// Why the answer is what it is, when something went wrong: the fault that made it, or else what
/// broke it off.
fn cause(exchange: &Exchange, outcome: &Outcome) -> (Option<&'static Reason>, Option<Blame>) {
    match (&exchange.fault, outcome.broken) {
        (Some(fault), _) => (Some(fault.reason()), Some(fault.blame())),
        (None, Some(reason)) => (Some(reason), Some(blame(reason))),
        (None, None) => (None, None),
    }
}

/// Whose doing it was that an answer broke off after its head: its fault is gone by then, but the
/// row of the error table tells them apart.
fn blame(reason: &'static Reason) -> Blame {
    match reason.kind {
        Kind::BadGateway | Kind::GatewayTimeout => Blame::Upstream,
        _ if reason == &reasons::UPSTREAM_TIMEOUTS => Blame::Upstream,
        kind if kind.status().is_client_error() => Blame::Client,
        _ => Blame::Gateway,
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

impl Finish for Journey {
    fn finish(mut self: Box<Self>, outcome: Outcome) {
        self.end(&outcome);
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        if !self.logged {
            let broken = Some(&reasons::CLIENT_CLOSED);
            self.end(&Outcome { broken, ..Outcome::default() });
        }
    }
}

/// Answers and logs a request that could not be read: there is no exchange for it.
pub(crate) fn refuse_unread(worker: &Worker, fault: Fault, connection: &Rc<Connection>) -> Reply {
    let id = RequestId::random();
    let snapshot = worker.snapshot();
    let response = reply::refuse_unread(&fault, &id);
    let status = response.status().as_u16();
    let reason = Some(fault.reason().code);
    snapshot.unrouted.observe(worker.index, &Sample { status, reason, ..Sample::default() });
    let story = fault.story();
    let mut entry = Entry {
        time: SystemTime::now(),
        id: id.as_str(),
        client_ip: connection.peer.ip().to_canonical(),
        peer: connection.peer,
        listener: &connection.listener,
        scheme: if connection.tls.is_some() { "https" } else { "http" },
        status,
        reason,
        blame: Some(fault.blame()),
        story: &story,
        origin: Origin::Gateway,
        tls: connection.tls.as_ref(),
        ..Entry::default()
    };
    worker.log(|log| log.write(&mut entry));
    let kind = FailureKind::of(status, reason, entry.blame);
    if let Some(kind) = kind.filter(|kind| worker.failures.wants(*kind)) {
        worker.failures.note(kind, &entry);
    }
    response.into()
}
