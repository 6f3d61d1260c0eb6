//! What an operator says of endpoints holds until it is taken back: over upgrades, and with a
//! directory to keep it in over a death.

use lockgate_testkit::{Dir, Echo, Gateway, Load, request, until};
use serde_json::{Value, json};

use crate::support::{BINARY, launch, pool, start};

fn kept_in(state: &Dir, pool: &str) -> String {
    let state = state.path().display();
    format!("admin: {{ address: \"127.0.0.1:$ADMIN\", state_dir: \"{state}\" }}\n{pool}")
}

async fn order(gateway: &Gateway, service: &str, word: &str) -> Value {
    let body = json!({ "override": word }).to_string();
    let mut answer = Value::Null;
    // In the moment in which another process takes over, nobody takes orders.
    until("an order to be taken", async || {
        let told = gateway.admin("PUT", &format!("/admin/health/{service}"), &body).await;
        answer = told.json();
        assert!(matches!(told.status, 200 | 503), "{answer}");
        told.status == 200
    })
    .await;
    answer
}

/// What is told of an endpoint's override.
async fn told(gateway: &Gateway, echo: &Echo) -> Value {
    let all = gateway.admin("GET", "/admin/health/services", "").await.json();
    let address = echo.address().to_string();
    let all = all["services"].as_array().unwrap().clone();
    all.into_iter().find(|one| one["address"] == address.as_str()).unwrap()["override"].clone()
}

/// Sends some requests, of which one endpoint gets none.
async fn spares(gateway: &Gateway, echo: &Echo) {
    let before = echo.hits();
    for _ in 0..10 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!(echo.hits(), before);
}

async fn reaches(gateway: &Gateway, echo: &Echo) {
    let before = echo.hits();
    until("a request that arrives", async || {
        gateway.get("/").await;
        echo.hits() > before
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_forgets_no_order() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let mut gateway = start(&pool(&[a.address(), b.address()], "")).await;
    let name = b.address().to_string();
    let done = order(&gateway, &name, "drain").await;
    assert_eq!((&done["changed"], &done["kept"]), (&json!(1), &json!(false)), "{done}");
    assert!(done["why"].as_str().unwrap().contains("admin.state_dir"), "{done}");
    let load = Load::start(gateway.web(), 2, &request("GET", "/", &[], ""));
    for _ in 0..3 {
        load.more(20).await;
        let ran = gateway.upgrade().await;
        assert_eq!(ran.code, 0, "{}\n{}", ran.text(), gateway.said());
    }
    load.more(20).await;
    load.stop().await.flawless(80);
    assert_eq!(b.hits(), 0, "it was drained all the time");
    assert_eq!(told(&gateway, &b).await, "drain");
    assert_eq!(told(&gateway, &a).await, "none");

    order(&gateway, &name, "clear").await;
    reaches(&gateway, &b).await;
    assert_eq!(gateway.upgrade().await.code, 0);
    reaches(&gateway, &b).await;
}

#[tokio::test]
async fn a_killed_gateway_comes_back_with_its_orders() {
    let (a, b, state) = (Echo::start("a").await, Echo::start("b").await, Dir::new());
    let config = kept_in(&state, &pool(&[a.address(), b.address()], ""));
    let mut gateway = launch().start(&config).await;
    let name = b.address().to_string();
    let done = order(&gateway, &name, "drain").await;
    assert_eq!(done, json!({ "changed": 1, "kept": true }));
    gateway.restart().await;
    spares(&gateway, &b).await;
    assert_eq!(told(&gateway, &b).await, "drain");

    // Over an upgrade too, which keeps it for the next death.
    assert_eq!(gateway.upgrade().await.code, 0);
    spares(&gateway, &b).await;
    order(&gateway, &a.address().to_string(), "up").await;
    gateway.restart().await;
    spares(&gateway, &b).await;
    assert_eq!(told(&gateway, &a).await, "up");

    let done = order(&gateway, "pool", "clear").await;
    assert_eq!(done, json!({ "changed": 2, "kept": true }));
    gateway.restart().await;
    reaches(&gateway, &b).await;
    assert_eq!(told(&gateway, &a).await, "none");
}

#[tokio::test]
async fn an_order_is_dropped_with_its_endpoint_and_the_log_says_so() {
    let (a, b, state) = (Echo::start("a").await, Echo::start("b").await, Dir::new());
    let both = kept_in(&state, &pool(&[a.address(), b.address()], ""));
    let one = kept_in(&state, &pool(&[a.address()], ""));
    let mut gateway = launch().start(&both).await;
    let name = b.address().to_string();
    let dropped = |gateway: &Gateway| gateway.said().matches("override dropped").count();

    // By a reload.
    order(&gateway, &name, "down").await;
    gateway.rewrite(&one);
    until("the reload", async || dropped(&gateway) == 1).await;
    until("the file", async || !state.read("overrides.json").contains(&name)).await;
    gateway.rewrite(&both);
    until("both again", async || gateway.said().matches("reloaded").count() == 2).await;
    gateway.restart().await;
    reaches(&gateway, &b).await;

    // And between two processes.
    order(&gateway, &name, "down").await;
    assert!(state.read("overrides.json").contains(&name));
    gateway.rewrite(&one);
    gateway.kill();
    gateway.restart().await;
    until("a word about it", async || dropped(&gateway) >= 1).await;
    assert!(gateway.said().contains(&name));
    until("the file", async || !state.read("overrides.json").contains(&name)).await;
}

#[tokio::test]
async fn what_cannot_be_kept_holds_and_what_cannot_be_read_stops_a_start() {
    let (a, b, state) = (Echo::start("a").await, Echo::start("b").await, Dir::new());
    let config = kept_in(&state, &pool(&[a.address(), b.address()], ""));
    let gateway = launch().start(&config).await;
    order(&gateway, &a.address().to_string(), "up").await;
    // It serves beside another one whose directory this is, with what that one has kept.
    let second = launch().start(&config).await;
    assert_eq!(told(&second, &a).await, "up");
    let name = b.address().to_string();
    let done = order(&second, &name, "drain").await;
    assert_eq!(done["kept"], false, "{done}");
    let whose = format!("process {}", gateway.pid());
    assert!(done["why"].as_str().unwrap().contains(&whose), "{done}");
    spares(&second, &b).await;
    reaches(&gateway, &b).await;

    // What the other has kept by then is in force here once that one is gone, beside its own.
    order(&gateway, "pool", "clear").await;
    drop(gateway);
    until("the orders of both", async || told(&second, &a).await == "none").await;
    spares(&second, &b).await;
    until("the file", async || state.read("overrides.json").contains(&name)).await;
    drop(second);

    state.write("overrides.json", "[broken");
    let file = kept_in(&state, &pool(&[a.address()], ""));
    let place = Dir::new();
    place.write("lockgate.yaml", file.replace("127.0.0.1:$ADMIN", "127.0.0.1:0"));
    let ran = lockgate_testkit::cli(BINARY, place.path(), &["run"]).await;
    assert_eq!(ran.code, 1, "{}", ran.text());
    assert!(
        ran.stderr.contains("overrides.json") && ran.stderr.contains("Mend it"),
        "{}",
        ran.text()
    );
}
