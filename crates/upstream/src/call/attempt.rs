//! One attempt after another: pick an endpoint, send, learn from what came, and try again where
//! that is safe, within the retry budget and the deadline.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use lockgate_config::model::{HostHeader, Retry, RetryOn};
use lockgate_core::{Blame, Body, Exchange, Fault, Resend, reasons};
use lockgate_net::ClientAnswer;
use lockgate_net::h1::{ClientLimits, Reuse};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::cargo::Cargo;
use super::held::{Call, Hold};
use super::pool::Way;
use super::{Answer, Caller, Plan, Upgraded};
use crate::endpoint::Endpoint;
use crate::picked::{Ending, Failure, Picked};
use crate::upstream::Upstream;

/// What a codec says of a request.
type Sent = Result<ClientAnswer, (Fault, Option<Body>)>;

/// An answer that is due at once is still waited for a moment.
const SHORTEST: Duration = Duration::from_millis(1);

impl Caller {
    /// Sends the exchange's request to an upstream until an answer comes that may be passed on.
    /// The exchange's head must be in its final form; its notes are filled in here.
    ///
    /// # Errors
    /// The last attempt's fault, or `upstream_timeout` when the deadline passed.
    pub async fn call(
        &self,
        upstream: &Arc<Upstream>,
        plan: &Plan<'_>,
        exchange: &mut Exchange,
    ) -> Result<Answer, Fault> {
        exchange.upstream.name = Some(Arc::clone(upstream.name()));
        if plan.retry.attempts > 0 {
            upstream.budget().request(exchange.lately());
        }
        let repeatable = is_repeatable(exchange);
        let body = std::mem::take(&mut exchange.body);
        let mut cargo = Cargo::new(body, repeatable && plan.retry.attempts > 0);
        let mut tried: Vec<Arc<Endpoint>> = Vec::new();
        // Boxed, as it is rare: this future has room for it, and is moved.
        let mut before: Option<Box<Result<Answer, Fault>>> = None;
        loop {
            let last = exchange.upstream.attempts >= plan.retry.attempts;
            let picked = match pick(upstream, exchange, &tried) {
                Ok(picked) => picked,
                Err(fault) if before.is_none() && is_busy(&fault) => {
                    Box::pin(queue(upstream, exchange, fault)).await?
                }
                // What the last attempt brought says more than that there is no other.
                Err(fault) => return before.map_or(Err(fault), |before| *before),
            };
            drop(before.take());
            let endpoint = Arc::clone(picked.endpoint());
            exchange.upstream.attempts += 1;
            let pool = self.pool(upstream, &endpoint);
            let call = Rc::new(Call::new(pool, picked));
            let once = exchange.once.clone();
            once.iter().for_each(|once| once.tries());
            let outcome = attempt(call, &endpoint, plan, exchange, &mut cargo).await;
            once.iter().for_each(|once| once.tried(&outcome));
            if let Err(fault) = &outcome {
                exchange.attempt_over(Some(fault.reason()));
            }
            let resend = match &outcome {
                Ok(answer) => {
                    let status = RetryOn::Status(answer.response.status().as_u16());
                    let wanted = plan.retry.on.contains(&status) && repeatable;
                    wanted.then_some(Resend::IfIdempotent)
                }
                Err(fault) => wanted(plan.retry, fault, repeatable),
            };
            exchange.note(|| told(&endpoint, &outcome));
            let Some(resend) = resend else { return outcome };
            if last || !cargo.is_whole() || !upstream.budget().retry() {
                return outcome;
            }
            tried.push(endpoint);
            let pause = pause(plan.retry, resend, tried.len());
            if exchange.deadline.is_some_and(|end| Instant::now() + pause >= end) {
                return outcome;
            }
            exchange.attempt_over(None);
            before = Some(Box::new(outcome));
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    }
}

/// One attempt on one endpoint.
async fn attempt(
    call: Rc<Call>,
    endpoint: &Endpoint,
    plan: &Plan<'_>,
    exchange: &mut Exchange,
    cargo: &mut Cargo,
) -> Result<Answer, Fault> {
    // The pick has just read the clock.
    let begun = call.picked.borrow().since();
    if exchange.upstream.attempts == 1 {
        exchange.upstream.queued = begun.saturating_duration_since(exchange.started);
    }
    exchange.upstream.endpoint = Some(Arc::clone(endpoint.label()));
    exchange.upstream.connect = Duration::ZERO;
    exchange.upstream.first_byte = None;
    exchange.upstream.status = None;
    if plan.host == HostHeader::Endpoint
        && let Ok(host) = HeaderValue::from_str(endpoint.name())
    {
        exchange.head.headers.insert(header::HOST, host);
    }
    exchange.spans.begin_attempt(begun);
    if plan.stated.is_empty() {
        exchange.spans.state(&mut exchange.head.headers);
    }
    let sent = match quick(&call, plan, exchange, cargo, begun) {
        Some(answer) => checked(answer.await, exchange),
        None => None,
    };
    let result = match sent {
        Some(result) => result,
        // Boxed, as it is rare and large: connecting, HTTP/2, streamed bodies.
        None => Box::pin(bounded(&call, plan, exchange, cargo)).await,
    };
    match result {
        Ok(answer) => {
            let now = call.returned.take().unwrap_or_else(Instant::now);
            let latency = now.saturating_duration_since(begun);
            let status = answer.response.status().as_u16();
            call.done(Ending::Answered { status, latency });
            exchange.upstream.first_byte = Some(latency);
            exchange.upstream.status = Some(status);
            Ok(bound(answer, call))
        }
        Err(fault) => {
            if let Some(kind) = failure(&fault) {
                call.done(Ending::Failed { kind });
            }
            Err(fault)
        }
    }
}

/// What an answer may be, and how long its head may take: `timeout.headers`, or what is left of
/// the deadline.
fn limits(call: &Call, deadline: Option<Instant>, now: Instant) -> ClientLimits {
    let settings = call.pool.settings();
    let own = settings.timeout.headers.0;
    let left = deadline.map(|end| end.saturating_duration_since(now).max(SHORTEST));
    let headers = match left {
        Some(left) if own.is_zero() || left < own => left,
        _ => own,
    };
    ClientLimits {
        max_header_size: usize::try_from(settings.pool.max_header_size.0).unwrap_or(usize::MAX),
        headers,
        idle: settings.timeout.idle.0,
        now: Some(now),
        ..ClientLimits::default()
    }
}

/// The usual case, and the hot one: an idle connection and the body are at hand, so that there is
/// nothing to wait for but the answer, which the codec's own timer bounds. `None` when it is not
/// so.
fn quick(
    call: &Rc<Call>,
    plan: &Plan<'_>,
    exchange: &Exchange,
    cargo: &Cargo,
    now: Instant,
) -> Option<impl Future<Output = Sent> + use<>> {
    let body = cargo.at_hand()?;
    let (connection, line) = call.pool.idle(exchange.upgrade, now)?;
    call.line.set(Some(line));
    let limits = limits(call, exchange.deadline, now);
    let reuse = Rc::clone(call) as Rc<dyn Reuse>;
    let beside = plan.beside(exchange);
    Some(connection.send_stating(&exchange.head, beside, body, limits, reuse))
}

/// What came of the usual case. `None` when the connection turned out to have been closed.
fn checked(sent: Sent, exchange: &Exchange) -> Option<Result<ClientAnswer, Fault>> {
    match sent {
        Ok(answer) => Some(accept(answer, exchange)),
        Err((fault, _)) if is_stale(&fault) && wanted_again(&fault, exchange) => {
            exchange.once.iter().for_each(|once| once.failed(&fault));
            None
        }
        Err((fault, _)) => Some(Err(overdue(fault, exchange))),
    }
}

/// A head that took too long because the deadline was nearer than `timeout.headers`.
fn overdue(fault: Fault, exchange: &Exchange) -> Fault {
    let passed = exchange.deadline.is_some_and(|end| Instant::now() >= end);
    if passed && fault.reason() == &reasons::UPSTREAM_TIMEOUTS { late(exchange) } else { fault }
}

/// The general case, until the deadline.
async fn bounded(
    call: &Rc<Call>,
    plan: &Plan<'_>,
    exchange: &mut Exchange,
    cargo: &mut Cargo,
) -> Result<ClientAnswer, Fault> {
    let Some(end) = exchange.deadline else { return send(call, plan, exchange, cargo).await };
    match timeout_at(end, send(call, plan, exchange, cargo)).await {
        Ok(result) => result,
        Err(_) => Err(late(exchange)),
    }
}

async fn send(
    call: &Rc<Call>,
    plan: &Plan<'_>,
    exchange: &mut Exchange,
    cargo: &mut Cargo,
) -> Result<ClientAnswer, Fault> {
    // The time would be an old one once there is a connection.
    let limits = ClientLimits { now: None, ..limits(call, None, Instant::now()) };
    let mut again = true;
    loop {
        // A connection that was found closed must not count while a new one is waited for.
        drop(call.line.take());
        let (way, took) = call.pool.take(exchange.upgrade).await?;
        exchange.upstream.connect = took;
        let Some(body) = cargo.load() else {
            return Err(Fault::gateway(&reasons::INTERNAL).detail("the body has been sent before"));
        };
        let (sent, used) = match way {
            Way::Http1 { connection, line, used } => {
                call.line.set(Some(line));
                let reuse = Rc::clone(call) as Rc<dyn Reuse>;
                let beside = plan.beside(exchange);
                let sending = connection.send_stating(&exchange.head, beside, body, limits, reuse);
                (sending.await, used)
            }
            Way::Http2(shared) => (shared.handle.send(exchange.head.clone(), body).await, true),
        };
        let (fault, body) = match sent {
            Ok(answer) => return accept(answer, exchange),
            Err(failed) => failed,
        };
        cargo.unload(body);
        let stale = used && is_stale(&fault) && wanted_again(&fault, exchange);
        if !(stale && again && cargo.is_whole()) {
            return Err(fault);
        }
        exchange.once.iter().for_each(|once| once.failed(&fault));
        again = false;
    }
}

/// A switch of protocols that nobody asked for is not an answer.
fn accept(answer: ClientAnswer, exchange: &Exchange) -> Result<ClientAnswer, Fault> {
    if answer.upgraded.is_some() && !exchange.upgrade {
        return Err(Fault::upstream(&reasons::UPSTREAM_BAD_ANSWER)
            .detail("the endpoint switched protocols unasked"));
    }
    Ok(answer)
}

/// Picks an endpoint, with the breaker's leave.
fn pick(
    upstream: &Arc<Upstream>,
    exchange: &Exchange,
    tried: &[Arc<Endpoint>],
) -> Result<Picked, Fault> {
    let permit = upstream.breaker().map(|breaker| breaker.admit()).transpose()?;
    let mut picked = upstream.pick(exchange, tried)?;
    if let Some(permit) = permit {
        picked.hold(permit);
    }
    Ok(picked)
}

/// Waits for a place with an endpoint: no longer than `timeout.connect`, and not when too many
/// wait already.
async fn queue(
    upstream: &Arc<Upstream>,
    exchange: &Exchange,
    busy: Fault,
) -> Result<Picked, Fault> {
    let settings = upstream.settings();
    let Some(waiting) = upstream.queue().join(settings.pool.max_pending) else {
        return Err(busy);
    };
    let end = Instant::now() + settings.timeout.connect.0;
    let look = || match pick(upstream, exchange, &[]) {
        Err(fault) if is_busy(&fault) => None,
        picked => Some(picked),
    };
    let nothing_else = Notify::const_new();
    let looking = waiting.until(&nothing_else, look);
    match timeout_at(exchange.deadline.map_or(end, |own| own.min(end)), looking).await {
        Ok(picked) => picked,
        Err(_) if exchange.deadline.is_some_and(|own| own <= end) => Err(late(exchange)),
        Err(_) => Err(busy),
    }
}

fn is_busy(fault: &Fault) -> bool {
    fault.reason() == &reasons::ENDPOINTS_BUSY
}

/// The answer, with the endpoint's place held until its body ends, and its sticky cookie.
fn bound(answer: ClientAnswer, call: Rc<Call>) -> Answer {
    let ClientAnswer { mut response, upgraded } = answer;
    let cookie = call.picked.borrow_mut().set_cookie();
    if let Some(io) = upgraded {
        call.ended();
        let upgraded = Some(Upgraded { io, hold: Hold(call) });
        return Answer { response, cookie, upgraded };
    }
    // An HTTP/1.1 body holds the call itself, as its way back to the pool.
    let shared = call.line.take().map(|line| call.line.set(Some(line))).is_none();
    if shared && matches!(response.body(), Body::Stream(_)) {
        let body = std::mem::take(response.body_mut());
        *response.body_mut() = Body::stream(Bound { body, call });
    } else if shared {
        call.ended();
    }
    Answer { response, cookie, upgraded: None }
}

/// A body that holds its request's place with the endpoint.
struct Bound {
    body: Body,
    call: Rc<Call>,
}

impl HttpBody for Bound {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(fault))) = &frame
            && fault.blame() == Blame::Upstream
        {
            self.call.broke_off();
        }
        // The codec above may not ask again once it has the last frame.
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.call.ended();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether the request may be sent twice although an endpoint may have acted on it
/// (RFC 9110 §9.2.2), or bears the key by which a service tells the second from the first. Where a
/// policy keeps a record by that key, it says whether the service can.
fn is_repeatable(exchange: &Exchange) -> bool {
    let head = &exchange.head;
    match &exchange.once {
        Some(once) => once.resends(),
        None => {
            use Method as M;
            let idempotent = [M::GET, M::HEAD, M::PUT, M::DELETE, M::OPTIONS, M::TRACE];
            idempotent.contains(&head.method) || head.headers.contains_key("idempotency-key")
        }
    }
}

/// Whether and how safely a failed request is sent again, by the route's rules.
fn wanted(retry: &Retry, fault: &Fault, repeatable: bool) -> Option<Resend> {
    let resend = fault.may_resend();
    let on = match failure(fault)? {
        // One that ran out before anything was sent is one of connecting.
        Failure::Timeout if resend != Resend::Safe => RetryOn::Timeout,
        _ => RetryOn::Connect,
    };
    let allowed = match resend {
        Resend::Safe => true,
        Resend::IfIdempotent => repeatable,
        Resend::No => false,
    };
    (allowed && retry.on.contains(&on)).then_some(resend)
}

/// Whether an idle connection had been closed before the request reached the other side.
fn is_stale(fault: &Fault) -> bool {
    fault.reason() == &reasons::UPSTREAM_CLOSED
}

fn wanted_again(fault: &Fault, exchange: &Exchange) -> bool {
    match fault.may_resend() {
        Resend::Safe => true,
        Resend::IfIdempotent => is_repeatable(exchange),
        Resend::No => false,
    }
}

/// What an attempt's fault says of the endpoint; `None` when it says nothing, as it was the
/// client's doing or our own.
fn failure(fault: &Fault) -> Option<Failure> {
    let reason = fault.reason();
    if reason == &reasons::UPSTREAM_REFUSED || reason == &reasons::UPSTREAM_TLS {
        return Some(Failure::Connect);
    }
    if reason == &reasons::UPSTREAM_TIMEOUTS || reason == &reasons::UPSTREAM_TIMEOUT {
        return Some(Failure::Timeout);
    }
    let broken =
        [&reasons::UPSTREAM_CLOSED, &reasons::UPSTREAM_BAD_ANSWER, &reasons::UPSTREAM_BROKE_OFF];
    broken.contains(&reason).then_some(Failure::Broken)
}

/// No pause before another endpoint when the first was surely not reached; else the backoff,
/// doubled each time, with full jitter.
fn pause(retry: &Retry, resend: Resend, retries: usize) -> Duration {
    if resend == Resend::Safe && retries == 1 {
        return Duration::ZERO;
    }
    let doubled = 1_u32 << retries.saturating_sub(1).min(16);
    let most = retry.backoff.0.saturating_mul(doubled).min(retry.max_backoff.0);
    most.mul_f64(fastrand::f64())
}

fn late(exchange: &Exchange) -> Fault {
    let waited = exchange.started.elapsed().as_millis();
    Fault::upstream(&reasons::UPSTREAM_TIMEOUT).detail(format!("no answer after {waited} ms"))
}

fn told(endpoint: &Endpoint, outcome: &Result<Answer, Fault>) -> String {
    match outcome {
        Ok(answer) => format!("endpoint {}: {}", endpoint.label(), answer.response.status()),
        Err(fault) => format!("endpoint {}: {}", endpoint.label(), fault.reason().code),
    }
}
