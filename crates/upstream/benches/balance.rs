//! What one pick costs, for each balancer, with few and many endpoints, and with one of them out.

#![allow(clippy::expect_used, reason = "a bench may stop")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::Request;
use lockgate_config::model::{self, Balance};
use lockgate_core::{Connection, Exchange};
use lockgate_upstream::{Override, Registry, Resolver, Spawn, Upstream};

fn upstream(count: u16, balance: Balance) -> Arc<Upstream> {
    let mut settings = model::Upstream { balance, health: None, ..model::Upstream::default() };
    for port in 1..=count {
        let endpoint = model::Endpoint { weight: 1 + u32::from(port % 3), ..Default::default() };
        settings.endpoints.insert(format!("10.0.0.1:{port}"), endpoint);
    }
    let nowhere = Resolver::server(SocketAddr::from(([127, 0, 0, 1], 1)));
    let registry = Registry::new(Spawn::new(drop), nowhere);
    let all = registry.apply(&[("orders".to_owned(), settings)].into_iter().collect());
    Arc::clone(all.get("orders").expect("the upstream"))
}

fn exchange() -> Exchange {
    let request = Request::get("/").header("x-user", "alice").body(());
    let (head, ()) = request.expect("a request").into_parts();
    let (peer, local) = (([192, 0, 2, 1], 40_000).into(), ([127, 0, 0, 1], 80).into());
    Exchange::begun(head, Rc::new(Connection::plain(peer, local)))
}

fn picks(criterion: &mut Criterion) {
    let key = "header:x-user".parse().expect("a key");
    let plans = [
        ("round_robin", Balance::RoundRobin),
        ("least_connections", Balance::LeastConnections),
        ("random", Balance::Random),
        ("p2c", Balance::P2c),
        ("peak_ewma", Balance::PeakEwma),
        ("maglev", Balance::Maglev(key)),
    ];
    let exchange = exchange();
    let mut group = criterion.benchmark_group("pick");
    for (name, balance) in plans {
        for (count, down) in [(2, false), (10, false), (10, true), (1_000, false)] {
            let upstream = upstream(count, balance.clone());
            if down {
                upstream.order("10.0.0.1:1", Override::Down);
            }
            let case = format!("{count}{}", if down { ", one down" } else { "" });
            group.bench_function(BenchmarkId::new(name, case), |bencher| {
                bencher.iter(|| drop(black_box(upstream.pick(&exchange, &[]))));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, picks);
criterion_main!(benches);
