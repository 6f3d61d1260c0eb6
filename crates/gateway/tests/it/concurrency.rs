//! `concurrency` over real sockets: who is let in, who waits, who is refused, and that a permit
//! always comes back.

use lockgate_testkit::{Echo, Gateway, Wire, request, until};

use crate::support::{launch, start};

fn config(echo: &Echo, settings: &str) -> String {
    let address = echo.address();
    format!("routes:\n  /*:\n    concurrency: {settings}\n    to: \"http://{address}\"\n")
}

/// A request that stays at the endpoint until its gate opens.
async fn held(gateway: &Gateway, echo: &Echo, headers: &[(&str, &str)]) -> Wire {
    let before = echo.hits();
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/wait", headers, "")).await;
    until("the endpoint has it", async || echo.hits() > before).await;
    wire
}

async fn figure(gateway: &Gateway, name: &str) -> f64 {
    gateway.metrics().await.sum(&format!("lockgate_concurrency_{name}"), &[])
}

#[tokio::test]
async fn what_is_over_the_limit_is_refused_at_once() {
    let echo = Echo::start("a").await;
    let gateway = start(&config(&echo, "{ limit: 2, queue: 0 }")).await;
    let mut one = held(&gateway, &echo, &[]).await;
    let mut two = held(&gateway, &echo, &[]).await;
    assert_eq!(figure(&gateway, "requests_in_flight").await, 2.0);
    assert_eq!(figure(&gateway, "limit").await, 2.0);
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.reason()), (503, Some("overloaded")));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(echo.hits(), 2, "it was not asked");
    echo.open(2);
    assert_eq!(one.answer().await.status, 200);
    assert_eq!(two.answer().await.status, 200);
    until("a permit is back", async || gateway.get("/").await.status == 200).await;
    // A client has its answer a moment before the permit is back.
    let none = async || figure(&gateway, "requests_in_flight").await == 0.0;
    until("all permits are back", none).await;
}

#[tokio::test]
async fn by_a_key_one_does_not_take_the_others_place() {
    let echo = Echo::start("a").await;
    let gateway = start(&config(&echo, "{ limit: 1, by: \"header:X-Tenant\", queue: 0 }")).await;
    let mut one = held(&gateway, &echo, &[("X-Tenant", "red")]).await;
    let answer = gateway.ask("GET", "/", &[("X-Tenant", "red")], "").await;
    assert_eq!((answer.status, answer.reason()), (429, Some("concurrency_exceeded")));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(gateway.ask("GET", "/", &[("X-Tenant", "blue")], "").await.status, 200);
    echo.open(1);
    assert_eq!(one.answer().await.status, 200);
    let red = async || gateway.ask("GET", "/", &[("X-Tenant", "red")], "").await.status == 200;
    until("its permit is back", red).await;
}

#[tokio::test]
async fn the_queue_waits_for_a_permit() {
    let echo = Echo::start("a").await;
    let gateway = start(&config(&echo, "{ limit: 1, queue: 1, wait: 30s }")).await;
    let mut one = held(&gateway, &echo, &[]).await;
    let mut two = gateway.wire().await;
    two.send(request("GET", "/", &[], "")).await;
    let waiting = async || figure(&gateway, "requests_waiting").await == 1.0;
    until("the second waits", waiting).await;
    let mut three = gateway.wire().await;
    three.send(request("GET", "/", &[], "")).await;
    // The third takes the place of the second, which has waited longer.
    assert_eq!(two.answer().await.status, 503);
    echo.open(1);
    assert_eq!(one.answer().await.status, 200);
    assert_eq!(three.answer().await.status, 200);
}

#[tokio::test]
async fn a_permit_comes_back_when_its_client_goes() {
    let echo = Echo::start("a").await;
    let gateway = start(&config(&echo, "{ limit: 1, queue: 0 }")).await;
    let one = held(&gateway, &echo, &[]).await;
    assert_eq!(gateway.get("/").await.status, 503);
    drop(one);
    until("the permit is back", async || gateway.get("/").await.status == 200).await;
}

#[tokio::test]
async fn a_permit_is_held_to_the_last_byte() {
    let echo = Echo::start("a").await;
    let gateway = start(&config(&echo, "{ limit: 1, queue: 0 }")).await;
    let mut one = gateway.wire().await;
    one.send(request("GET", "/gated/2", &[], "")).await;
    let mut head = one.head("GET").await.unwrap();
    assert!(one.piece(&mut head).await.unwrap().is_some(), "the first piece is there");
    assert_eq!(gateway.get("/").await.status, 503, "the answer is not over");
    echo.open(1);
    while one.piece(&mut head).await.unwrap().is_some() {}
    until("the permit is back", async || gateway.get("/").await.status == 200).await;
}

#[tokio::test]
async fn permits_survive_a_reload_and_defaults_are_one_limit() {
    let echo = Echo::start("a").await;
    let address = echo.address();
    let config = format!(
        "defaults: {{ concurrency: {{ limit: 1, queue: 0 }} }}\nroutes:\n  /*: {{ to: \
         \"http://{address}\" }}\n  /b/*: {{ to: \"http://{address}\" }}\n"
    );
    let gateway = launch().start(&config).await;
    let mut one = held(&gateway, &echo, &[]).await;
    assert_eq!(gateway.get("/b/x").await.status, 503, "one limit for both routes");
    gateway.rewrite(&format!("{config}  /c/*: {{ to: \"http://{address}\" }}\n"));
    let loaded = async || gateway.get("/c/x").await.header("lockgate-reason") != Some("no_route");
    until("the new route is there", loaded).await;
    let generation = async || figure_of(&gateway, "lockgate_config_generation").await == 2.0;
    until("the reload is done", generation).await;
    assert_eq!(gateway.get("/c/x").await.status, 503);
    echo.open(1);
    assert_eq!(one.answer().await.status, 200);
    until("the permit is back", async || gateway.get("/c/x").await.status == 200).await;
}

async fn figure_of(gateway: &Gateway, name: &str) -> f64 {
    gateway.metrics().await.sum(name, &[])
}
