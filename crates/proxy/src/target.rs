//! A route's target: an upstream, a weighted choice of several, or a handler.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Response;
use http::header::{self, HeaderMap, HeaderValue};
use lockgate_config::model::HostHeader;
use lockgate_core::{Body, Cut, Exchange, Fault, Handler, Lines, Origin, Step, Tls, Tunnel};
use lockgate_upstream::{Plan, Upstream};
use tokio::time::Instant;

use crate::snapshot::{Route, Snapshot};
use crate::worker::Worker;
use crate::{deadline, fields, forward, reply, tunnel};

/// Where a route's requests go, resolved.
pub(crate) enum Target {
    /// An upstream.
    Upstream(Arc<Upstream>),
    /// Upstreams, each with the running sum of the weights up to it.
    Split(Vec<(u32, Arc<Upstream>)>),
    /// A handler, and its name.
    Handler(&'static str, Box<dyn Handler>),
}

/// An answer on its way back to the client.
pub(crate) struct Answer {
    /// The head and the body.
    pub(crate) response: Box<Response<Body>>,
    /// The far side of a protocol switch.
    pub(crate) tunnel: Option<Tunnel>,
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self { response: Box::new(response), tunnel: None }
    }
}

impl Answer {
    /// The gateway's own refusal. The exchange keeps the fault for the log.
    pub(crate) fn refusal(fault: Fault, exchange: &mut Exchange) -> Self {
        let response = reply::refuse(&fault, exchange);
        exchange.origin = Origin::Gateway;
        exchange.fault = Some(fault);
        response.into()
    }
}

/// Asks the route's target.
///
/// # Errors
/// Whatever kept the target from answering.
pub(crate) async fn ask(
    route: &Route,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    worker: &Rc<Worker>,
) -> Result<Answer, Fault> {
    let Some(cut) = exchange.kept.take_cut() else {
        return ask_whole(route, snapshot, exchange, worker).await;
    };
    // Boxed, as it is rare.
    let asked = Box::pin(ask_whole(route, snapshot, exchange, worker));
    cut_short(cut, asked).await
}

/// What comes of asking, unless it is cut short: let go then, by which an endpoint hears of it.
async fn cut_short(
    mut cut: Cut,
    mut asked: impl Future<Output = Result<Answer, Fault>> + Unpin,
) -> Result<Answer, Fault> {
    poll_fn(|cx| match cut.as_mut().poll(cx) {
        Poll::Ready(fault) => Poll::Ready(Err(fault)),
        Poll::Pending => Pin::new(&mut asked).poll(cx),
    })
    .await
}

async fn ask_whole(
    route: &Route,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    worker: &Rc<Worker>,
) -> Result<Answer, Fault> {
    let upstream = match &route.target {
        Target::Handler(name, handler) => {
            exchange.note(|| format!("handler {name}"));
            let once = exchange.once.clone();
            once.iter().for_each(|once| once.tries());
            let response = match handler.handle(exchange) {
                Step::Now(response) => response,
                Step::Later(response) => response.await,
            };
            once.iter().for_each(|once| once.tried(&response));
            return response.map(Answer::from);
        }
        Target::Upstream(upstream) => upstream,
        Target::Split(choices) => choose(choices)?,
    };
    // Before the rewrite: what is told of the origin is the client's own host.
    let trusted = snapshot.trusts(exchange.connection.peer.ip().to_canonical());
    let stated = if !trusted && is_only_sent(route, snapshot, upstream, exchange) {
        forward::origin_lines(exchange)
    } else {
        forward::state_origin(exchange, trusted);
        Lines::default()
    };
    if let Some(rewrite) = &route.rewrite {
        rewrite.apply(exchange)?;
    }
    let (plan, end) = plan(route, upstream, exchange, stated);
    let answer = worker.caller.call(upstream, &plan, exchange).await?;
    exchange.origin = Origin::Upstream;
    if let Some(cookie) = answer.cookie {
        // Beside the head: nothing that keeps the answer for others is to see it.
        exchange.kept.lines.push(&header::SET_COOKIE, &cookie);
    }
    let mut response = answer.response;
    let switching = answer.upgraded.is_some();
    let protocol = switching.then(|| response.headers().get(header::UPGRADE).cloned());
    fields::strip_hop_by_hop(response.headers_mut());
    fields::strip_own(response.headers_mut());
    if let Some(protocol) = protocol.flatten() {
        let upgrade = HeaderValue::from_static("upgrade");
        response.headers_mut().insert(header::CONNECTION, upgrade);
        response.headers_mut().insert(header::UPGRADE, protocol);
    }
    if let Some(end) = end.filter(|_| !is_event_stream(response.headers())) {
        let body = std::mem::take(response.body_mut());
        *response.body_mut() = deadline::until(body, end);
    }
    let idle = upstream.settings().timeout.idle.0;
    let tunnel = answer.upgraded.map(|far| tunnel::between(far, idle));
    Ok(Answer { response, tunnel })
}

/// Whether nobody but an endpoint of HTTP/1.1 sees what is stated of the origin: neither a policy,
/// on the way back, nor the balancer's key, nor the access log. Then it need not be in the head,
/// unless a policy has put a line there that is to give way.
fn is_only_sent(
    route: &Route,
    snapshot: &Snapshot,
    upstream: &Upstream,
    exchange: &Exchange,
) -> bool {
    let certified = |tls: &Tls| tls.client.is_some();
    let log = &snapshot.document.telemetry.access_log;
    !route.reads_origin
        && !upstream.settings().may_speak_http2()
        && !upstream.is_keyed()
        && !exchange.connection.tls.as_ref().is_some_and(certified)
        && log.as_ref().is_none_or(|log| log.headers.is_empty())
        && (route.entries.is_empty() || !forward::is_stated(&exchange.head.headers))
}

fn choose(choices: &[(u32, Arc<Upstream>)]) -> Result<&Arc<Upstream>, Fault> {
    let total = choices.last().map_or(0, |(sum, _)| *sum);
    let drawn = fastrand::u32(..total.max(1));
    let found = choices.iter().find(|(sum, _)| drawn < *sum);
    found.map(|(_, upstream)| upstream).ok_or_else(|| {
        Fault::gateway(&lockgate_core::reasons::NO_ENDPOINTS).detail("the split has no weight")
    })
}

/// When the whole request must be over, as far as that is known before its target is chosen: so
/// that no policy waits longer.
pub(crate) fn deadline(route: &Route, exchange: &Exchange) -> Option<Instant> {
    let whole = match (route.timeout, &route.target) {
        (Some(own), _) => own,
        (None, Target::Upstream(upstream)) => upstream.settings().timeout.request.0,
        (None, _) => return None,
    };
    (!whole.is_zero()).then(|| exchange.started + whole)
}

/// The limits of this call: the route's own where it has them, the client's gRPC deadline when it
/// is nearer. And when the answer's body must be whole: a gRPC call may be a stream, so that only
/// its client knows that.
fn plan<'r>(
    route: &'r Route,
    upstream: &'r Upstream,
    exchange: &mut Exchange,
    stated: Lines,
) -> (Plan<'r>, Option<Instant>) {
    let settings = upstream.settings();
    let whole = route.timeout.unwrap_or(settings.timeout.request.0);
    let own = (!whole.is_zero()).then(|| exchange.started + whole);
    let asked = exchange.grpc.then(|| grpc_timeout(exchange)).flatten();
    exchange.deadline = match (own, asked) {
        (Some(own), Some(asked)) => Some(own.min(asked)),
        (own, asked) => own.or(asked),
    };
    let host = match &route.rewrite {
        Some(rewrite) if rewrite.sets_host() => HostHeader::Keep,
        _ => settings.host,
    };
    let plan = Plan { retry: route.retry.as_deref().unwrap_or(&settings.retry), host, stated };
    (plan, if exchange.grpc { asked } else { own })
}

/// Server-sent events come for as long as the client wants them.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.and_then(|kind| kind.get(..EVENTS.len())).is_some_and(|k| k.eq_ignore_ascii_case(EVENTS))
}

const EVENTS: &[u8] = b"text/event-stream";

/// `grpc-timeout`: up to eight digits and a unit (the gRPC over HTTP/2 protocol's own grammar).
fn grpc_timeout(exchange: &Exchange) -> Option<Instant> {
    let text = exchange.head.headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.is_empty() || number.len() > 8 {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    let time = match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    };
    exchange.started.checked_add(time)
}
