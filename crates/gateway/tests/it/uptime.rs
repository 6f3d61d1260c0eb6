//! The history of services: it outlives the process however that ends, and a disk that fails costs
//! nothing but history.

use std::net::SocketAddr;

use lockgate_testkit::{Echo, Gateway, until};
use serde_json::Value;

use crate::support::{launch, start, upstream};

const ADMIN: &str = "admin: { address: \"127.0.0.1:$ADMIN\", state_dir: $DIR/state }\n";

fn config(endpoints: &[SocketAddr]) -> String {
    let health = "health: { interval: 100ms, timeout: 1s, unhealthy_after: 1 }\noutlier: off";
    let routes = "routes:\n  /status.json: { to: { status: {} } }\n  /status/*: { to: { status: { \
                  title: Test } } }\n  /*: { to: pool }\n";
    format!("upstreams:\n{}{routes}", upstream("pool", endpoints, health))
}

async fn uptime(gateway: &Gateway) -> Value {
    gateway.admin("GET", "/admin/uptime", "").await.json()
}

/// Waits until the pool, or its first endpoint, stands so.
async fn stands(gateway: &Gateway, word: &str) {
    until(word, async || uptime(gateway).await["upstreams"][0]["standing"] == word).await;
}

/// The standings of the pool's intervals, the oldest first.
fn standings(uptime: &Value) -> Vec<String> {
    let intervals = uptime["upstreams"][0]["intervals"].as_array().unwrap();
    intervals.iter().rev().map(|one| one["standing"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn intervals_follow_the_endpoints() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let gateway = start(&config(&[a.address(), b.address()])).await;
    stands(&gateway, "up").await;
    a.healthy(false);
    stands(&gateway, "degraded").await;
    b.healthy(false);
    stands(&gateway, "down").await;
    a.healthy(true);
    b.healthy(true);
    stands(&gateway, "up").await;
    let body = r#"{"override": "down"}"#;
    gateway.admin("PUT", "/admin/health/pool", body).await;
    stands(&gateway, "out").await;
    gateway.get("/").await;
    let told = uptime(&gateway).await;
    let seen = standings(&told);
    let order = ["up", "degraded", "down"];
    assert!(order.iter().all(|word| seen.iter().any(|one| one == word)), "{seen:?}");
    assert_eq!(seen.last().unwrap(), "out");
    let pool = &told["upstreams"][0];
    let hour = &pool["windows"][0];
    assert_eq!(hour["window"], "1h");
    let seconds = |word: &str| hour["seconds"][word].as_f64().unwrap();
    assert!(seconds("down") > 0.0 && seconds("up") > 0.0, "{hour}");
    let share = (seconds("up") + seconds("degraded"))
        / (seconds("up") + seconds("degraded") + seconds("down"));
    assert!((hour["availability"].as_f64().unwrap() - share).abs() < 1e-9, "{hour}");
    assert_eq!(told["kept"]["where"], "memory");
    assert!(told["kept"]["why"].as_str().unwrap().contains("state_dir"), "{told}");
    // Probes are timed; nobody else has asked.
    let endpoint = &pool["endpoints"][0];
    assert!(endpoint["windows"][0]["response"]["count"].as_u64().unwrap() > 0, "{endpoint}");
    let nothing = gateway.admin("GET", "/admin/uptime?filter=other", "").await.json();
    assert_eq!((&nothing["total"], &nothing["upstreams"]), (&0.into(), &Value::Array(vec![])));
}

#[tokio::test]
async fn requests_are_timed_by_upstream() {
    let a = Echo::start("a").await;
    let gateway = start(&config(&[a.address()])).await;
    for _ in 0..5 {
        gateway.get("/delay/20").await;
    }
    until("their times", async || {
        let told = uptime(&gateway).await;
        let response = &told["upstreams"][0]["windows"][1]["response"];
        response["count"] == 5 && response["p50"].as_f64().unwrap() >= 10.0
    })
    .await;
}

#[tokio::test]
async fn the_history_outlives_a_kill_and_an_end() {
    let a = Echo::start("a").await;
    let mut gateway = launch().start(&(ADMIN.to_owned() + &config(&[a.address()]))).await;
    stands(&gateway, "up").await;
    a.healthy(false);
    stands(&gateway, "down").await;
    let known = uptime(&gateway).await["upstreams"][0]["knownSince"].clone();
    // A change is on disk with the next look or the one after it.
    let dir = gateway.dir().path().join("state");
    until("the change to be on disk", async || count(&dir) >= 2).await;
    gateway.restart().await;
    stands(&gateway, "down").await;
    let told = uptime(&gateway).await;
    assert_eq!(told["kept"]["where"], "disk", "{told}");
    assert_eq!(told["upstreams"][0]["knownSince"], known, "{told}");
    a.healthy(true);
    stands(&gateway, "up").await;
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await, 0);
    gateway.restart().await;
    stands(&gateway, "up").await;
    let told = uptime(&gateway).await;
    assert_eq!(told["upstreams"][0]["knownSince"], known, "{told}");
    let seen = standings(&told);
    assert!(seen.starts_with(&["up".to_owned(), "down".to_owned()]), "{seen:?}");
    let sums = &told["upstreams"][0]["windows"][1]["seconds"];
    assert!(sums["down"].as_f64().unwrap() > 0.0, "{told}");
}

/// Spans of upstreams that are on disk.
fn count(dir: &std::path::Path) -> i64 {
    let connection = rusqlite::Connection::open(dir.join("uptime.db")).unwrap();
    let sql = "SELECT count(*) FROM spans WHERE endpoint = ''";
    connection.query_row(sql, [], |row| row.get(0)).unwrap_or_default()
}

#[tokio::test]
async fn an_upgrade_hands_the_history_over() {
    let a = Echo::start("a").await;
    let mut gateway = launch().start(&(ADMIN.to_owned() + &config(&[a.address()]))).await;
    stands(&gateway, "up").await;
    a.healthy(false);
    stands(&gateway, "down").await;
    let known = uptime(&gateway).await["upstreams"][0]["knownSince"].clone();
    let ran = gateway.upgrade().await;
    assert_eq!(ran.code, 0, "{ran:?}");
    until("the new process to have the history", async || {
        let told = uptime(&gateway).await;
        told["kept"]["where"] == "disk" && told["upstreams"][0]["knownSince"] == known
    })
    .await;
    let seen = standings(&uptime(&gateway).await);
    assert!(seen.starts_with(&["up".to_owned(), "down".to_owned()]), "{seen:?}");
}

#[tokio::test]
async fn a_disk_that_fails_costs_nothing_but_history() {
    let a = Echo::start("a").await;
    // A directory where a file should be.
    let config = ADMIN.to_owned() + &config(&[a.address()]);
    let gateway = launch().file("state/uptime.lock/x", "").start(&config).await;
    stands(&gateway, "up").await;
    assert_eq!(gateway.get("/").await.status, 200);
    let told = uptime(&gateway).await;
    assert_eq!(told["kept"]["where"], "memory", "{told}");
    let said = gateway.said();
    assert_eq!(said.matches("the history cannot be written").count(), 1, "{said}");
    let failures = gateway.metrics().await.sum("lockgate_history_store_failures_total", &[]);
    assert!(failures >= 1.0);
}

#[tokio::test]
async fn a_broken_file_is_put_aside() {
    let a = Echo::start("a").await;
    let config = ADMIN.to_owned() + &config(&[a.address()]);
    let launch = launch();
    let launch = launch.file("state/uptime.db", "this is no database, and long enough".repeat(99));
    let gateway = launch.start(&config).await;
    stands(&gateway, "up").await;
    until("a new file", async || uptime(&gateway).await["kept"]["where"] == "disk").await;
    assert!(gateway.dir().path().join("state/uptime.db.broken").exists());
}

#[tokio::test]
async fn the_public_sees_names_and_history() {
    let a = Echo::start("a").await;
    let gateway = start(&config(&[a.address()])).await;
    until("the status", async || {
        let told = gateway.get("/status.json").await.json();
        told["services"][0]["status"] == "up" && told["status"] == "up"
    })
    .await;
    let page = gateway.get("/status").await;
    assert!(page.text().contains("All services are up."), "{}", page.text());
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let badge = gateway.get("/status/badge/pool.svg").await;
    assert_eq!(badge.header("content-type"), Some("image/svg+xml"));
    let all = page.text() + &badge.text() + &gateway.get("/status.json").await.text();
    assert!(!all.contains("127.0.0.1"), "no address: {all}");
    a.healthy(false);
    until("the outage", async || gateway.get("/status.json").await.json()["status"] == "down")
        .await;
    assert_eq!(gateway.get("/status/badge/other.svg").await.reason(), Some("no_service"));
}
