//! Where a route's requests go, and how they are changed on the way.

use lockgate_testkit::{Echo, request};

use crate::support::{start, upstream};

#[tokio::test]
async fn a_url_is_an_upstream() {
    let echo = Echo::start("a").await;
    let config = format!(
        "routes:\n  /plain/*: {{ to: \"http://{0}\" }}\n  /under/*: {{ to: \"http://{0}/base\" }}\n",
        echo.address()
    );
    let gateway = start(&config).await;
    assert_eq!(gateway.get("/plain/x").await.json()["path"], "/plain/x");
    assert_eq!(gateway.get("/under/x?y").await.json()["path"], "/base/under/x?y");
}

#[tokio::test]
async fn a_split_follows_its_weights() {
    let (a, b, c) = (Echo::start("a").await, Echo::start("b").await, Echo::start("c").await);
    let config = format!(
        "upstreams:\n{}{}{}routes:\n  /*: {{ to: {{ v1: 90, v2: 10, v3: 0 }} }}\n",
        upstream("v1", &[a.address()], ""),
        upstream("v2", &[b.address()], ""),
        upstream("v3", &[c.address()], ""),
    );
    let gateway = start(&config).await;
    let mut wire = gateway.wire().await;
    for _ in 0..1000 {
        assert_eq!(wire.ask(request("GET", "/", &[], "")).await.status, 200);
    }
    assert_eq!(a.hits() + b.hits(), 1000);
    assert!((50..=160).contains(&b.hits()), "a tenth, about: {}", b.hits());
    assert_eq!(c.hits(), 0);
}

#[tokio::test]
async fn paths_are_rewritten() {
    let echo = Echo::start("a").await;
    let config = format!(
        r#"upstreams:
{}routes:
  /api/*: {{ to: up, rewrite: {{ strip_prefix: /api }} }}
  /old/{{id}}/x/{{rest...}}: {{ to: up, rewrite: {{ path: "/new/{{rest}}/of/{{id}}" }} }}
  /deep/*: {{ to: up, rewrite: {{ strip_prefix: /deep, add_prefix: /shallow }} }}
"#,
        upstream("up", &[echo.address()], "")
    );
    let gateway = start(&config).await;
    for (asked, seen) in [
        ("/api/users?x=1", "/users?x=1"),
        ("/api/", "/"),
        ("/old/7/x/a/b?q", "/new/a/b/of/7?q"),
        ("/old/a%2Fb/x/c", "/new/c/of/a%2Fb"),
        ("/deep/sea", "/shallow/sea"),
    ] {
        assert_eq!(gateway.get(asked).await.json()["path"], seen, "{asked}");
    }
}

#[tokio::test]
async fn fixed_answers_are_given() {
    let config = r#"
routes:
  /text: { to: { respond: { status: 418, body: "short and stout", headers: { X-Pot: tea } } } }
  /json: { to: { respond: { body: { ok: true, list: [1, 2] } } } }
  /none: { to: { respond: { status: 204 } } }
"#;
    let gateway = start(config).await;
    let text = gateway.get("/text").await;
    assert_eq!((text.status, text.text().as_str()), (418, "short and stout"));
    assert_eq!(text.header("x-pot"), Some("tea"));
    let json = gateway.get("/json").await;
    assert_eq!(json.header("content-type"), Some("application/json"));
    assert_eq!(json.json(), serde_json::json!({ "ok": true, "list": [1, 2] }));
    assert_eq!(gateway.get("/none").await.status, 204);
    assert_eq!(gateway.ask("POST", "/text", &[], "body").await.status, 418);
}

#[tokio::test]
async fn redirects_are_given() {
    let config = r#"
routes:
  /old/{id}: { to: { redirect: { to: "/new/{id}", status: 301 } } }
  /away/*: { to: { redirect: { to: "https://other.test{path}{query}" } } }
  /safe/*: { to: { redirect: { https: true } } }
"#;
    let gateway = start(config).await;
    let old = gateway.get("/old/7").await;
    assert_eq!((old.status, old.header("location")), (301, Some("/new/7")));
    let away = gateway.get("/away/x?y=1").await;
    assert_eq!(
        (away.status, away.header("location")),
        (302, Some("https://other.test/away/x?y=1"))
    );
    let safe = gateway.get("/safe/x?y").await;
    assert_eq!(
        (safe.status, safe.header("location")),
        (308, Some("https://example.test/safe/x?y"))
    );
}
