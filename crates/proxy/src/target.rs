//! A route's target: an upstream, a weighted choice of several, or a handler.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::header::{self, HeaderValue};
use lockgate_config::model::HostHeader;
use lockgate_core::{Body, Exchange, Fault, Handler, Origin, Step, Tunnel};
use lockgate_upstream::{Plan, Upstream};
use tokio::time::Instant;

use crate::snapshot::{Route, Snapshot};
use crate::worker::Worker;
use crate::{fields, forward, reply, tunnel};

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
    pub(crate) response: Response<Body>,
    /// The far side of a protocol switch.
    pub(crate) tunnel: Option<Tunnel>,
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self { response, tunnel: None }
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
    let upstream = match &route.target {
        Target::Handler(name, handler) => {
            exchange.note(|| format!("handler {name}"));
            let response = match handler.handle(exchange) {
                Step::Now(response) => response,
                Step::Later(response) => response.await,
            };
            return response.map(Answer::from);
        }
        Target::Upstream(upstream) => upstream,
        Target::Split(choices) => choose(choices)?,
    };
    // Before the rewrite: what is told of the origin is the client's own host.
    let trusted = snapshot.trusts(exchange.connection.peer.ip().to_canonical());
    forward::state_origin(exchange, trusted);
    if let Some(rewrite) = &route.rewrite {
        rewrite.apply(exchange)?;
    }
    let plan = plan(route, upstream, exchange);
    let answer = worker.caller.call(upstream, &plan, exchange).await?;
    exchange.origin = Origin::Upstream;
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
    let idle = upstream.settings().timeout.idle.0;
    let tunnel = answer.upgraded.map(|far| tunnel::between(far, idle));
    Ok(Answer { response, tunnel })
}

fn choose(choices: &[(u32, Arc<Upstream>)]) -> Result<&Arc<Upstream>, Fault> {
    let total = choices.last().map_or(0, |(sum, _)| *sum);
    let drawn = fastrand::u32(..total.max(1));
    let found = choices.iter().find(|(sum, _)| drawn < *sum);
    found.map(|(_, upstream)| upstream).ok_or_else(|| {
        Fault::gateway(&lockgate_core::reasons::NO_ENDPOINTS).detail("the split has no weight")
    })
}

/// The limits of this call: the route's own where it has them, the client's gRPC deadline when it
/// is nearer.
fn plan<'r>(route: &'r Route, upstream: &'r Upstream, exchange: &mut Exchange) -> Plan<'r> {
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
    Plan { retry: route.retry.as_deref().unwrap_or(&settings.retry), host }
}

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
