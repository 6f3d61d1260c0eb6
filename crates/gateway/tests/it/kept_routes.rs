//! Routes that stay as they are while others change: what they do, know and keep goes on.

use std::collections::BTreeMap;

use lockgate_testkit::redis::RedisServer;
use lockgate_testkit::{Echo, Gateway, request, until};
use serde_json::Value;

use crate::support::{launch, upstream};

const ADMIN: &str = "admin: { address: \"127.0.0.1:$ADMIN\", state_dir: \"$DIR/state\" }\n";

fn config(echo: &Echo, rest: &str, routes: &str) -> String {
    let pool = upstream("pool", &[echo.address()], "");
    format!("{ADMIN}{rest}upstreams:\n{pool}routes:\n{routes}")
}

/// Asks for a change of a route, and returns what came of it.
async fn change(gateway: &Gateway, method: &str, route: &str, body: &str) -> Value {
    let answer = gateway.admin(method, &format!("/admin/routes/{route}"), body).await;
    assert_eq!(answer.status, 200, "{method} {route}: {}", answer.text());
    answer.json()
}

/// Changes a route that nobody asks for.
async fn change_another(gateway: &Gateway, body: &str) {
    let body = format!("to: {{ respond: {{ body: {body} }} }}\n");
    let told = change(gateway, "PUT", "another", &body).await;
    assert_eq!(told["what"].as_array().map(Vec::len), Some(1), "{told}");
}

#[tokio::test]
async fn a_limit_goes_on_counting() {
    let echo = Echo::start("a").await;
    let routes = "  /a: { rate_limit: { limit: 3/h, by: ip }, to: pool }\n  /b: { to: pool }\n";
    let gateway = launch().start(&config(&echo, "", routes)).await;
    for round in ["one", "two", "three"] {
        assert_eq!(gateway.get("/a").await.status, 200);
        change_another(&gateway, round).await;
        assert_eq!(gateway.get("/another").await.text(), round);
    }
    assert_eq!(gateway.get("/a").await.status, 429);
}

#[tokio::test]
async fn a_write_clears_what_a_route_keeps() {
    let echo = Echo::start("a").await;
    let routes = "  /a/*: { cache: 60s, to: pool }\n  /b: { to: pool }\n";
    let gateway = launch().start(&config(&echo, "", routes)).await;
    for _ in 0..2 {
        assert_eq!(gateway.get("/a/x").await.status, 200);
    }
    assert_eq!(echo.hits(), 1);
    for (hits, round) in [(1, "one"), (3, "two")] {
        change_another(&gateway, round).await;
        assert_eq!(gateway.get("/a/x").await.status, 200);
        assert_eq!(echo.hits(), hits);
        assert_eq!(gateway.ask("POST", "/a/x", &[], "x").await.status, 200);
        assert_eq!(gateway.get("/a/x").await.status, 200);
        assert_eq!(echo.hits(), hits + 2, "the write, and the answer anew");
    }
}

#[tokio::test]
async fn what_a_route_clears_may_be_kept_by_one_that_came_later() {
    let echo = Echo::start("a").await;
    let routes = "  POST /w: { invalidate: [\"/c/x\"], to: pool }\n";
    let gateway = launch().start(&config(&echo, "", routes)).await;
    let body = "{ cache: 60s, to: pool }";
    change(&gateway, "PUT", "c/*", body).await;
    for _ in 0..2 {
        assert_eq!(gateway.get("/c/x").await.status, 200);
    }
    assert_eq!(echo.hits(), 1);
    assert_eq!(gateway.ask("POST", "/w", &[], "x").await.status, 200);
    assert_eq!(gateway.get("/c/x").await.status, 200);
    assert_eq!(echo.hits(), 3, "the write, and the answer anew");
}

#[tokio::test]
async fn a_store_that_no_route_keeps_answers_in_any_more_is_not_told_of_writes() {
    let (echo, redis) = (Echo::start("a").await, RedisServer::start().await);
    let stores = format!("stores: {{ shared: {{ url: \"{}\" }} }}\n", redis.url());
    let routes = "  POST /w: { to: pool }\n";
    let gateway = launch().start(&config(&echo, &stores, routes)).await;
    let told = async || {
        assert_eq!(gateway.ask("POST", "/w", &[], "x").await.status, 200);
        gateway.metrics().await.sum("lockgate_shared_cache_purges_total", &[("how", "made")])
    };
    assert_eq!(told().await, 0.0);
    let body = "{ cache: { ttl: 60s, store: shared }, to: pool }";
    change(&gateway, "PUT", "c/*", body).await;
    let before = told().await;
    assert!(told().await > before);
    change(&gateway, "DELETE", "c/*", "").await;
    let before = told().await;
    assert_eq!(told().await, before);
}

#[tokio::test]
async fn what_all_inherit_changes_for_all() {
    let echo = Echo::start("a").await;
    let header = |value| {
        format!("defaults: {{ headers: {{ response: {{ set: {{ X-Told: {value} }} }} }} }}\n")
    };
    let routes = "  /a: { to: pool }\n  /b: { to: pool }\n";
    let gateway = launch().start(&config(&echo, &header("old"), routes)).await;
    change_another(&gateway, "one").await;
    assert_eq!(gateway.get("/a").await.header("x-told"), Some("old"));
    gateway.rewrite(&config(&echo, &header("new"), routes));
    until("the new header", async || gateway.get("/a").await.header("x-told") == Some("new")).await;
    for path in ["/a", "/b", "/another"] {
        assert_eq!(gateway.get(path).await.header("x-told"), Some("new"), "{path}");
    }
}

#[tokio::test]
async fn patterns_come_and_go_around_them() {
    let echo = Echo::start("a").await;
    let routes = "  /a/{id}: { to: pool }\n  /c: { to: { respond: { body: c } } }\n";
    let gateway = launch().start(&config(&echo, "", routes)).await;
    for n in 0..5 {
        let body = format!("to: {{ respond: {{ body: own-{n} }} }}\n");
        change(&gateway, "PUT", &format!("a/{n}"), &body).await;
        assert_eq!(gateway.get(&format!("/a/{n}")).await.text(), format!("own-{n}"));
        assert_eq!(gateway.get("/a/other").await.status, 200);
        assert_eq!(gateway.get("/c").await.text(), "c");
    }
    for n in 0..5 {
        change(&gateway, "DELETE", &format!("a/{n}"), "").await;
        assert_eq!(gateway.get(&format!("/a/{n}")).await.status, 200);
    }
    assert_eq!(echo.hits(), 10);
    // What clashes with one of them is refused with both places, as at a start.
    let refused = gateway.admin("PUT", "/admin/routes/a/%7Bname%7D", "to: pool\n").await;
    assert_eq!(refused.status, 422);
    let told = refused.text();
    assert!(told.contains("changes.yaml") && told.contains("lockgate.yaml"), "{told}");
}

#[tokio::test]
async fn many_stay_what_they_are_around_those_that_change_come_and_go() {
    let echo = Echo::start("a").await;
    let mut expected: BTreeMap<String, String> =
        (0..200).map(|n| (format!("/n/{n}"), format!("file-{n}"))).collect();
    let routes: String = (0..200)
        .map(|n| format!("  /n/{n}: {{ to: {{ respond: {{ body: file-{n} }} }} }}\n"))
        .collect();
    let gateway = launch().start(&config(&echo, "", &routes)).await;
    let steps = [
        ("PUT", "/n/70"),
        ("PUT", "/n/71"),
        ("PUT", "/new"),
        ("DELETE", "/n/3"),
        ("PUT", "/n/199"),
        ("PUT", "/n/3"),
        ("DELETE", "/n/70"),
        ("DELETE", "/new"),
        ("DELETE", "/n/199"),
    ];
    for (number, (method, pattern)) in steps.into_iter().enumerate() {
        let body = match method {
            "PUT" => format!("to: {{ respond: {{ body: step-{number} }} }}\n"),
            _ => String::new(),
        };
        let answer = gateway.admin(method, &format!("/admin/routes{pattern}"), &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        match method {
            "PUT" => drop(expected.insert(pattern.to_owned(), format!("step-{number}"))),
            _ => drop(expected.remove(pattern)),
        }
        let mut wire = gateway.wire().await;
        for n in 0..200 {
            let path = format!("/n/{n}");
            let answer = wire.ask(request("GET", &path, &[], "")).await;
            match expected.get(&path) {
                Some(body) => assert_eq!(answer.text(), *body, "{method} {pattern}: {path}"),
                None => assert_eq!(answer.status, 404, "{method} {pattern}: {path}"),
            }
        }
        assert_eq!(gateway.get("/new").await.status == 200, expected.contains_key("/new"));
    }
}

#[tokio::test]
async fn a_changed_upstream_is_asked_by_every_route_that_goes_to_it() {
    let (one, two, other) =
        (Echo::start("one").await, Echo::start("two").await, Echo::start("other").await);
    let config = |pool: &Echo| {
        let pool = upstream("pool", &[pool.address()], "");
        let other = upstream("other", &[other.address()], "");
        let routes = "  /a: { to: pool }\n  /b: { to: { pool: 1, other: 0 } }\n  \
                      /c: { to: other }\n";
        format!("{ADMIN}upstreams:\n{pool}{other}routes:\n{routes}")
    };
    let gateway = launch().start(&config(&one)).await;
    let hits = || (one.hits(), two.hits(), other.hits());
    let ask_all = async || {
        let before = hits();
        for path in ["/a", "/b", "/c"] {
            assert_eq!(gateway.get(path).await.status, 200, "{path}");
        }
        let after = hits();
        (after.0 - before.0, after.1 - before.1, after.2 - before.2)
    };
    assert_eq!(ask_all().await, (2, 0, 1));
    gateway.rewrite(&config(&two));
    until("the other endpoint", async || {
        gateway.get("/a").await;
        two.hits() > 0
    })
    .await;
    assert_eq!(ask_all().await, (0, 2, 1));
    change_another(&gateway, "one").await;
    assert_eq!(ask_all().await, (0, 2, 1));
}
