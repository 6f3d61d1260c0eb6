//! What survives a reload, and what does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use indexmap::IndexMap;
use lockgate_config::model::{self, Balance, Breaker, Health};
use lockgate_core::Time;

use super::Registry;
use crate::discover::Resolver;
use crate::endpoint::Override;
use crate::task::Spawn;
use crate::testing::{endpoint, exchange, many, port};

fn registry() -> Registry {
    Registry::new(Spawn::new(drop), Resolver::server(SocketAddr::from(([127, 0, 0, 1], 1))))
}

fn sections(list: &[(&str, &model::Upstream)]) -> IndexMap<String, model::Upstream> {
    list.iter().map(|(name, settings)| ((*name).to_owned(), (*settings).clone())).collect()
}

#[test]
fn what_has_not_changed_is_not_touched() {
    let registry = registry();
    let (orders, users) = (many(2, Balance::RoundRobin), many(3, Balance::P2c));
    let first = registry.apply(&sections(&[("orders", &orders), ("users", &users)]));
    let mut larger = users.clone();
    larger.slow_start = Time(Duration::from_secs(1));
    let second = registry.apply(&sections(&[("users", &larger), ("orders", &orders)]));
    assert!(Arc::ptr_eq(&first["orders"], &second["orders"]));
    assert!(!Arc::ptr_eq(&first["users"], &second["users"]));
}

#[test]
fn endpoints_keep_what_is_known_of_them() {
    let registry = registry();
    let mut settings = many(3, Balance::RoundRobin);
    settings.breaker = Some(Breaker::default());
    let first = Arc::clone(&registry.apply(&sections(&[("orders", &settings)]))["orders"]);
    let exchange = exchange(&[]);
    let before = [port(&first, &exchange), port(&first, &exchange)];
    let held = first.pick(&exchange, &[]).unwrap();
    let kept = endpoint(&first, 0);
    kept.order(Override::Down);

    settings.endpoints.shift_remove("10.0.0.1:2");
    settings.endpoints["10.0.0.1:1"].weight = 7;
    settings.endpoints.insert("10.0.0.1:9".into(), model::Endpoint::default());
    let second = Arc::clone(&registry.apply(&sections(&[("orders", &settings)]))["orders"]);
    assert!(Arc::ptr_eq(&kept, &endpoint(&second, 0)));
    assert_eq!((kept.weight(), kept.ordered()), (7, Override::Down));
    assert!(endpoint(&first, 1).gone() && !kept.gone() && !endpoint(&second, 2).gone());
    assert!(Arc::ptr_eq(held.endpoint(), &endpoint(&second, 1)), "port 3");
    assert_eq!(endpoint(&second, 1).in_flight(), 1, "requests in flight go on counting");
    drop(held);
    assert_eq!(endpoint(&second, 1).in_flight(), 0);
    assert!(Arc::ptr_eq(first.breaker().unwrap(), second.breaker().unwrap()));
    assert_eq!(before, [1, 2]);

    settings.breaker = Some(Breaker { of_last: 5, ..Breaker::default() });
    let third = Arc::clone(&registry.apply(&sections(&[("orders", &settings)]))["orders"]);
    assert!(!Arc::ptr_eq(second.breaker().unwrap(), third.breaker().unwrap()));
}

#[test]
fn the_turn_goes_on_after_a_reload() {
    let registry = registry();
    let mut settings = many(3, Balance::RoundRobin);
    let exchange = exchange(&[]);
    let mut turns = Vec::new();
    for round in 1..=6 {
        settings.pool.max_idle = round;
        let upstream = Arc::clone(&registry.apply(&sections(&[("orders", &settings)]))["orders"]);
        turns.push(port(&upstream, &exchange));
    }
    assert_eq!(turns, [1, 2, 3, 1, 2, 3], "50 reloads a second do not favour the first");
}

#[test]
fn the_same_address_in_two_upstreams_is_two_endpoints() {
    let registry = registry();
    let settings = many(1, Balance::RoundRobin);
    let all = registry.apply(&sections(&[("a", &settings), ("b", &settings)]));
    endpoint(&all["a"], 0).order(Override::Down);
    assert_eq!(endpoint(&all["b"], 0).ordered(), Override::None);
    assert_ne!(endpoint(&all["a"], 0).id(), endpoint(&all["b"], 0).id());
}

#[test]
fn switching_checks_off_forgets_what_they_said() {
    let registry = registry();
    let mut settings = many(2, Balance::RoundRobin);
    settings.health = Some(Health::default());
    let first = Arc::clone(&registry.apply(&sections(&[("orders", &settings)]))["orders"]);
    endpoint(&first, 0).set_health(crate::Health::Unhealthy);
    settings.pool.max_idle = 1;
    let second = Arc::clone(&registry.apply(&sections(&[("orders", &settings)]))["orders"]);
    assert_eq!(endpoint(&second, 0).health(), crate::Health::Unhealthy);
    endpoint(&second, 1).eject(tokio::time::Instant::now(), Duration::from_secs(60));
    assert!(!second.view().endpoints[1].usable);
    settings.health = None;
    let third = Arc::clone(&registry.apply(&sections(&[("orders", &settings)]))["orders"]);
    assert_eq!(endpoint(&third, 0).health(), crate::Health::Unknown);
    assert!(third.view().endpoints[1].usable, "passive checks are off too");
}

/// Counts background tasks while they run.
fn counting() -> (Spawn, Arc<AtomicUsize>) {
    let running = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&running);
    let spawn = Spawn::new(move |work| {
        let count = Arc::clone(&count);
        count.fetch_add(1, SeqCst);
        drop(tokio::spawn(async move {
            work.await;
            count.fetch_sub(1, SeqCst);
        }));
    });
    (spawn, running)
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn background_work_follows_the_configuration() {
    let (spawn, running) = counting();
    let nowhere = Resolver::server(SocketAddr::from(([127, 0, 0, 1], 1)));
    let registry = Registry::new(spawn, nowhere);
    let mut settings = many(3, Balance::RoundRobin);
    settings.health = Some(Health::default());
    registry.apply(&sections(&[("orders", &settings), ("users", &settings)]));
    settle().await;
    assert_eq!(running.load(SeqCst), 6, "one monitor for each endpoint");
    for round in 1..=50 {
        settings.pool.max_idle = round;
        registry.apply(&sections(&[("orders", &settings)]));
    }
    settle().await;
    assert_eq!(running.load(SeqCst), 3, "none is left behind by 50 reloads");
    registry.apply(&IndexMap::new());
    settle().await;
    assert_eq!(running.load(SeqCst), 0);
}

#[tokio::test]
async fn what_is_prepared_and_dropped_leaves_no_trace() {
    let (spawn, running) = counting();
    let nowhere = Resolver::server(SocketAddr::from(([127, 0, 0, 1], 1)));
    let registry = Registry::new(spawn, nowhere);
    let mut settings = many(3, Balance::RoundRobin);
    settings.health = Some(Health::default());
    let first = registry.apply(&sections(&[("orders", &settings), ("users", &settings)]));
    settle().await;
    let kept = endpoint(&first["orders"], 0);
    kept.set_health(crate::Health::Unhealthy);

    let mut other = settings.clone();
    other.health = None;
    other.endpoints["10.0.0.1:1"].weight = 9;
    other.endpoints.shift_remove("10.0.0.1:2");
    let prepared = registry.prepare(&sections(&[("orders", &other), ("new", &settings)]));
    assert!(!Arc::ptr_eq(&prepared.upstreams()["orders"], &first["orders"]));
    drop(prepared);
    settle().await;
    assert!(Arc::ptr_eq(&registry.upstreams(), &first));
    assert_eq!(running.load(SeqCst), 6, "the monitors of both go on, and no others");
    assert_eq!((kept.weight(), kept.health()), (1, crate::Health::Unhealthy));
    assert!((0..3).all(|place| !endpoint(&first["orders"], place).gone()));

    let mut prepared = registry.prepare(&sections(&[("orders", &other)]));
    registry.begin(&mut prepared, Duration::ZERO).await;
    assert_eq!(running.load(SeqCst), 6, "the old one works until the new one is in force");
    registry.commit(prepared);
    settle().await;
    assert_eq!((running.load(SeqCst), kept.weight()), (0, 9));
}
