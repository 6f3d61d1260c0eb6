//! What the tests of this crate share: settings, upstreams without background work, requests.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::Request;
use lockgate_config::model::{self, Balance};
use lockgate_core::{Connection, Exchange};

use crate::discover::Resolver;
use crate::endpoint::Endpoint;
use crate::task::Spawn;
use crate::upstream::Upstream;

/// An upstream's settings without health checks, ejection or DNS: endpoint → weight.
pub(crate) fn settings(endpoints: &[(&str, u32)], balance: Balance) -> model::Upstream {
    let mut settings =
        model::Upstream { balance, health: None, outlier: None, ..model::Upstream::default() };
    for &(name, weight) in endpoints {
        settings.endpoints.insert(name.into(), model::Endpoint { weight, ..Default::default() });
    }
    settings
}

/// `count` endpoints of weight 1, at ports from 1.
pub(crate) fn many(count: u16, balance: Balance) -> model::Upstream {
    let names: Vec<String> = (1..=count).map(|port| format!("10.0.0.1:{port}")).collect();
    let pairs: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    settings(&pairs, balance)
}

/// An upstream whose background work never runs.
pub(crate) fn idle(settings: &model::Upstream) -> Arc<Upstream> {
    after(settings, None)
}

/// The same after another one.
pub(crate) fn after(settings: &model::Upstream, before: Option<&Upstream>) -> Arc<Upstream> {
    let nowhere = Resolver::server(SocketAddr::from(([127, 0, 0, 1], 1)));
    Upstream::start("orders", settings, before, &Spawn::new(drop), &nowhere)
}

/// The n-th endpoint.
pub(crate) fn endpoint(upstream: &Upstream, at: usize) -> Arc<Endpoint> {
    Arc::clone(&upstream.set().endpoints()[at])
}

/// The port of the endpoint that a pick chooses; released at once.
pub(crate) fn port(upstream: &Arc<Upstream>, exchange: &Exchange) -> u16 {
    upstream.pick(exchange, &[]).unwrap().endpoint().address().port()
}

/// How often each port is picked, of `picks`, each released at once.
pub(crate) fn tally(
    upstream: &Arc<Upstream>,
    picks: usize,
) -> std::collections::BTreeMap<u16, usize> {
    let exchange = exchange(&[]);
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..picks {
        *counts.entry(port(upstream, &exchange)).or_default() += 1;
    }
    counts
}

/// A GET with these headers.
pub(crate) fn exchange(headers: &[(&str, &str)]) -> Exchange {
    let mut request = Request::get("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    let (peer, local) = (([192, 0, 2, 1], 40_000).into(), ([127, 0, 0, 1], 80).into());
    let connection = Rc::new(Connection::plain(peer, local));
    Exchange { host: "shop.test".into(), ..Exchange::begun(head, connection) }
}
