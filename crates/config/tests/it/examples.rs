//! The examples of the manual load, and mean what it says.

use std::time::Duration;

use lockgate_config::model::{Balance, Health, Http2Use, PolicyEntry, Sticky, Target};
use lockgate_core::{Percent, Time};
use serde_json::json;

use crate::fake::{good, read_as};

pub(crate) const SHORT: &str = include_str!("../data/short.yaml");
pub(crate) const BANK: &str = include_str!("../data/bank.yaml");
pub(crate) const SPELLINGS: &str = include_str!("../data/spellings.yaml");

fn secs(count: u64) -> Time {
    Time(Duration::from_secs(count))
}

#[test]
fn the_short_example_becomes_its_long_form() {
    let loaded = good(SHORT);
    let document = &loaded.document;
    assert_eq!(document.listeners["web"].address, "[::]:8080".parse().unwrap());
    assert_eq!(document.admin.address, Some("127.0.0.1:9901".parse().unwrap()));
    assert_eq!(document.stores["shared"].url.as_deref(), Some("redis://127.0.0.1:6379"));
    assert_eq!(document.identity["idp"].kind, "jwt");
    let orders = &document.upstreams["orders"];
    let weights: Vec<_> =
        orders.endpoints.iter().map(|(name, one)| (name.as_str(), one.weight)).collect();
    assert_eq!(weights, [("10.0.0.1:8080", 90), ("10.0.0.2:8080", 10)]);
    assert_eq!(orders.health.as_ref().unwrap().interval, secs(5));
    let route = &document.routes["/orders/*"].routes[0];
    assert_eq!(route.to, Target::Upstream("orders".into()));
    let names: Vec<_> = route.policies.iter().map(|policy| &*policy.name).collect();
    assert_eq!(names, ["auth", "rate_limit"]);
    assert_eq!(*route.policies[0].config, json!("idp"));
    assert_eq!(route.policies[1].config["limit"], "100/min");
    let place = loaded.source.locate(&["routes", "/orders/*", "rate_limit"]).unwrap();
    assert_eq!(place.to_string(), "tests/data/lockgate.yaml:12:5");
    let catalog = &document.routes["/catalog/*"].routes[0];
    assert_eq!(catalog.to, Target::Upstream("http://10.0.0.3:8080".into()));
    let made = &document.upstreams["http://10.0.0.3:8080"];
    assert!(made.endpoints.contains_key("10.0.0.3:8080"));
    assert_eq!((made.health.as_ref(), made.tls.as_ref()), (None, None));
    let told: Vec<&str> = loaded.warnings.iter().map(|warning| &*warning.message).collect();
    assert!(told.iter().all(|told| told.ends_with("each gateway for itself")), "{told:?}");
}

fn words(policy: &PolicyEntry) -> Vec<&str> {
    policy.path.iter().map(|word| &**word).collect()
}

#[test]
fn the_bank_example_keeps_lists_weights_handlers_and_conditions() {
    let document = good(BANK).document;
    let transfers = &document.routes["POST /accounts/{id}/transfers"].routes[0];
    let names: Vec<_> = transfers.policies.iter().map(|policy| &*policy.name).collect();
    assert_eq!(
        names,
        ["auth", "rate_limit", "rate_limit", "idempotency", "serialize", "validate", "invalidate"]
    );
    assert_eq!(transfers.policies[2].config["on_store_error"], "deny");
    assert_eq!(
        words(&transfers.policies[2]),
        ["routes", "POST /accounts/{id}/transfers", "rate_limit", "1"]
    );
    let split = [("ledger-v1".to_owned(), 95), ("ledger-v2".to_owned(), 5)];
    let split = Box::new(split.into_iter().collect());
    assert_eq!(transfers.to, Target::Split(split));
    let summary = &document.routes["GET /accounts/{id}/summary"].routes[0];
    assert!(matches!(&summary.to, Target::Handler { name, .. } if **name == *"aggregate"));
    // Inherited: the default limit comes first, the route's own policies after it.
    assert_eq!(words(&summary.policies[0]), ["defaults", "rate_limit"]);
    assert_eq!(*summary.policies[1].name, *"cache");
    let products = &document.routes["GET /products/*"].routes;
    assert_eq!(products.len(), 2);
    assert!(products[0].when.header.contains_key("x-api-version"));
    let retry = &document.upstreams["products"].retry;
    assert_eq!((retry.attempts, retry.budget), (2, Percent(0.2)));
}

#[test]
fn the_fixed_spellings_are_read() {
    let document = good(SPELLINGS).document;
    assert_eq!(document.workers, Some(1));
    assert_eq!(document.telemetry.access_log, None);
    let users = &document.upstreams["users"];
    assert_eq!(users.balance, Balance::LeastConnections);
    assert!(
        matches!(&users.sticky, Some(Sticky::Cookie { name, .. }) if name == "lockgate_sticky")
    );
    let health = Health { timeout: secs(2), interval: secs(10), ..Health::default() };
    assert_eq!(users.health, Some(health));
    assert_eq!(users.breaker.as_ref().unwrap().open_for, secs(10));
    assert_eq!(users.tls.as_ref().unwrap().ca, Some("tests/data/ca.pem".into()));
    assert_eq!(users.http2, Http2Use::On);
    assert_eq!(document.consumers["alice"].roles, ["teller"]);
    assert_eq!(document.consumers["alice"].api_keys.len(), 1);
    let own = &document.identity["own"].settings;
    assert_eq!(own.written()["secret"], "${env:JWT_SECRET}");
    assert_ne!(own["secret"], "${env:JWT_SECRET}");
}

#[test]
fn json_and_toml_read_as_the_same_document() {
    let yaml = good(
        "upstreams:\n  users:\n    endpoints: {\"10.0.0.1:80\": 2}\n    timeout: 5s\nroutes:\n  \
         /b/*: { to: users }\n  /a/*: { to: users, cache: { ttl: 1s } }\n",
    );
    let json = read_as(
        "tests/data/x.json",
        "{\n\t\"upstreams\": {\"users\": {\"endpoints\": {\"10.0.0.1:80\": 2}, \"timeout\": \
         \"5s\"}},\n\t\"routes\": {\"/b/*\": {\"to\": \"users\"}, \"\\u002fa/*\": {\"to\": \
         \"users\", \"cache\": {\"ttl\": \"1s\"}}}\n}\n",
    )
    .unwrap_or_else(|report| panic!("{report}"));
    let toml = read_as(
        "tests/data/x.toml",
        "[upstreams.users]\nendpoints = { \"10.0.0.1:80\" = 2 }\ntimeout = \"5s\"\n\n\
         [routes.\"/b/*\"]\nto = \"users\"\n[routes.\"/a/*\"]\nto = \"users\"\ncache.ttl = \
         \"1s\"\n",
    )
    .unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(yaml.document, json.document);
    assert_eq!(yaml.document, toml.document);
    let order: Vec<&str> = toml.document.routes.keys().map(|pattern| &**pattern).collect();
    assert_eq!(order, ["/b/*", "/a/*"]);
    let place = toml.source.locate(&["routes", "/a/*", "cache", "ttl"]).unwrap();
    assert_eq!((place.line, place.column), (9, 13));
}
