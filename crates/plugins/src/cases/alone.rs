//! Parts of a case's surroundings for tests that are no cases: a policy built alone, a request to a
//! route; and the time that a played upstream takes, unless the request is cut short.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use lockgate_core::{Build, ConfigError, Exchange, Fault, Identities, Policy, Priority};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::case;
use super::played::Played;
use super::run;

/// A request as a case would write it, to a route with this pattern.
pub(crate) fn request_to(pattern: &str, request: &Value) -> Exchange {
    run::exchange(pattern, request).expect("a request")
}

/// A policy of this name.
pub(crate) fn policy(name: &str, config: &Value) -> Result<Arc<dyn Policy>, ConfigError> {
    let case = json!({ "case": "", "route": {} });
    let played = Played::new(&mut serde_json::from_value(case).expect("a case"));
    let found = crate::ALL.iter().find_map(|plugin| match plugin {
        lockgate_core::Plugin::Policy(policy) if policy.name() == name => Some(*policy),
        _ => None,
    });
    let mut build = Build {
        route: "/*".into(),
        when: "".into(),
        place: format!("routes./*.{name}").into(),
        name: name.into(),
        priority: Priority::Normal,
        target: "users".into(),
        identities: &Identities::new(),
        provide: &played,
    };
    found.expect("a policy's name").build(config, &mut build).map(Arc::from)
}

/// Waits for as long as the played upstream takes. What the request was cut short with, if it was.
pub(super) async fn cut(
    exchange: &mut Exchange,
    upstream: Option<&case::Upstream>,
) -> Option<Fault> {
    let takes = upstream.and_then(|upstream| upstream.takes).unwrap_or_default();
    let mut cut = exchange.kept.take_cut();
    let mut taken = Box::pin(sleep(takes.0));
    poll_fn(|cx| {
        if let Some(Poll::Ready(fault)) = cut.as_mut().map(|cut| cut.as_mut().poll(cx)) {
            return Poll::Ready(Some(fault));
        }
        // Most take no time, and then none passes.
        if takes.0.is_zero() { Poll::Ready(None) } else { taken.as_mut().poll(cx).map(|()| None) }
    })
    .await
}
