//! Which route takes a request, and what becomes of its path.

use lockgate_testkit::{Echo, Gateway, request};

use crate::support::{cli_on, start, start_to};

/// A gateway whose routes answer with their own pattern.
async fn telling(patterns: &[&str]) -> Gateway {
    let mut config = String::from("routes:\n");
    for pattern in patterns {
        config.push_str(&format!(
            "  \"{pattern}\": {{ to: {{ respond: {{ body: \"{pattern}\" }} }} }}\n"
        ));
    }
    start(&config).await
}

async fn told(gateway: &Gateway, method: &str, host: &str, path: &str) -> (u16, String) {
    let answer = gateway.ask(method, path, &[("Host", host)], "").await;
    (answer.status, answer.text())
}

#[tokio::test]
async fn the_most_specific_route_wins() {
    let gateway = telling(&[
        "/*",
        "/a/*",
        "GET /a/b",
        "/a/{id}",
        "GET /a/{id}",
        "/a/{id}/c",
        "/files/{rest...}",
        "a.test/*",
        "a.test/a/b",
        "*.wild.test/*",
        "x.wild.test/*",
        "POST /only",
    ])
    .await;
    for (method, host, path, pattern) in [
        ("GET", "o.test", "/", "/*"),
        ("GET", "o.test", "/other/x", "/*"),
        ("GET", "o.test", "/a/b", "GET /a/b"),
        ("GET", "o.test", "/a/x", "GET /a/{id}"),
        ("HEAD", "o.test", "/a/x", ""),
        ("PUT", "o.test", "/a/x", "/a/{id}"),
        ("GET", "o.test", "/a/x/c", "/a/{id}/c"),
        ("GET", "o.test", "/a/x/d", "/a/*"),
        ("GET", "o.test", "/files/a/b/c", "/files/{rest...}"),
        ("GET", "a.test", "/a/b", "a.test/a/b"),
        ("GET", "A.TEST:8080", "/a/b", "a.test/a/b"),
        ("GET", "a.test", "/zzz", "a.test/*"),
        ("GET", "y.wild.test", "/", "*.wild.test/*"),
        ("GET", "y.z.wild.test", "/", "*.wild.test/*"),
        ("GET", "x.wild.test", "/", "x.wild.test/*"),
        ("GET", "wild.test", "/", "/*"),
        ("POST", "o.test", "/only", "POST /only"),
        ("GET", "o.test", "/only", "/*"),
    ] {
        let (status, text) = match method {
            "HEAD" => (200, String::new()),
            _ => told(&gateway, method, host, path).await,
        };
        assert_eq!((status, text.as_str()), (200, pattern), "{method} {host}{path}");
    }
}

#[tokio::test]
async fn nowhere_and_not_so_are_told_apart() {
    let gateway = telling(&["GET /a", "POST /a", "DELETE /b/{id}"]).await;
    let nowhere = gateway.get("/zzz").await;
    assert_eq!((nowhere.status, nowhere.reason()), (404, Some("no_route")));
    let not_so = gateway.ask("PUT", "/a", &[], "").await;
    assert_eq!((not_so.status, not_so.reason()), (405, Some("method_not_allowed")));
    let allow = not_so.header("allow").unwrap();
    for method in ["GET", "HEAD", "POST"] {
        assert!(allow.split(", ").any(|word| word == method), "{allow}");
    }
    assert!(!allow.contains("DELETE"), "{allow}");
    let not_so = gateway.ask("GET", "/b/7", &[], "").await;
    assert_eq!(not_so.status, 405);
    assert!(not_so.header("allow").unwrap().contains("DELETE"));
}

#[tokio::test]
async fn head_is_served_where_get_is() {
    let echo = Echo::start("a").await;
    let gateway =
        start(&format!("routes:\n  GET /a: {{ to: \"http://{}\" }}\n", echo.address())).await;
    let mut wire = gateway.wire().await;
    wire.send(request("HEAD", "/a", &[], "")).await;
    assert_eq!(wire.answer_to("HEAD").await.unwrap().status, 200);
    assert_eq!(echo.last().method, "HEAD");
}

#[tokio::test]
async fn options_reach_the_service_or_name_the_methods() {
    let echo = Echo::start("a").await;
    let config = format!(
        "routes:\n  /any/*: {{ to: \"http://{0}\" }}\n  GET /get: {{ to: \"http://{0}\" }}\n",
        echo.address()
    );
    let gateway = start(&config).await;
    let answer = gateway.ask("OPTIONS", "/any/x", &[], "").await;
    assert_eq!((answer.status, answer.endpoint()), (200, "a"));
    let answer = gateway.ask("OPTIONS", "/get", &[], "").await;
    assert!(matches!(answer.status, 200 | 204 | 405), "{answer:?}");
    assert!(answer.header("allow").unwrap().contains("GET"), "{answer:?}");
    assert_eq!(echo.hits(), 1);
    let star = gateway.ask("OPTIONS", "*", &[], "").await;
    assert!(star.status < 500, "{star:?}");
    assert_eq!(echo.hits(), 1, "the asterisk is no path of the service's");
}

#[tokio::test]
async fn conditions_choose_among_routes() {
    let config = r#"
routes:
  /a:
    - when: { header: { X-Version: "2" } }
      to: { respond: { body: header } }
    - when: { query: { beta: true } }
      to: { respond: { body: query } }
    - when: { cookie: { group: { prefix: "te" } } }
      to: { respond: { body: cookie } }
    - when: { method: [PUT, PATCH] }
      to: { respond: { body: method } }
    - when: { header: { X-Name: { regex: "^[a-c]+$" } }, query: { x: "1 2" } }
      to: { respond: { body: both } }
    - to: { respond: { body: default } }
  /b:
    - when: { header: { X-Version: "2" } }
      to: { respond: { body: header } }
"#;
    let gateway = start(config).await;
    for (method, path, headers, body) in [
        ("GET", "/a", vec![("x-version", "2")], "header"),
        ("GET", "/a", vec![("x-version", "22")], "default"),
        ("GET", "/a?beta", vec![], "query"),
        ("GET", "/a?x=1&beta=0", vec![], "query"),
        ("GET", "/a?betatest=1", vec![], "default"),
        ("GET", "/a", vec![("Cookie", "x=y; group=team")], "cookie"),
        ("GET", "/a", vec![("Cookie", "group=other")], "default"),
        ("PATCH", "/a", vec![], "method"),
        ("GET", "/a?x=1%202", vec![("X-Name", "abc")], "both"),
        ("GET", "/a?x=1%202", vec![("X-Name", "xyz")], "default"),
        ("GET", "/a", vec![("X-Name", "abc")], "default"),
        ("GET", "/a?beta", vec![("X-Version", "2")], "header"),
    ] {
        let answer = gateway.ask(method, path, &headers, "").await;
        assert_eq!(answer.text(), body, "{method} {path} {headers:?}");
    }
    let none = gateway.get("/b").await;
    assert_eq!((none.status, none.reason()), (404, Some("route_condition")));
}

#[tokio::test]
async fn paths_are_normal_before_they_are_matched_and_sent() {
    let echo = Echo::start("a").await;
    let config = format!(
        "routes:\n  /pub/*: {{ to: \"http://{}\" }}\n  /admin/*: {{ to: {{ respond: {{ status: 403 \
         }} }} }}\n",
        echo.address()
    );
    let gateway = start(&config).await;
    for (asked, seen) in [
        ("/pub/a/../b", "/pub/b"),
        ("/pub/./b", "/pub/b"),
        ("/pub//b", "/pub/b"),
        ("//pub/b", "/pub/b"),
        ("/x/../pub/b", "/pub/b"),
        ("/%70ub/%62", "/pub/b"),
        ("/pub/%7euser", "/pub/~user"),
        ("/pub/a%2fb", "/pub/a%2Fb"),
        ("/pub/a%20b", "/pub/a%20b"),
        ("/pub/%2e%2e/pub/b", "/pub/b"),
        ("/pub/b/", "/pub/b/"),
        ("/pub/b/..", "/pub/"),
        ("/pub/b?q=a/../b&%7e=%2e", "/pub/b?q=a/../b&%7e=%2e"),
        ("/pub/b?", "/pub/b?"),
        ("/pub/...", "/pub/..."),
    ] {
        let answer = gateway.get(asked).await;
        assert_eq!(answer.status, 200, "{asked}: {answer:?}");
        let path = answer.json()["path"].as_str().unwrap().to_owned();
        assert_eq!(path.trim_end_matches('?'), seen.trim_end_matches('?'), "{asked}");
    }
    for asked in ["/pub/../admin/x", "/pub/%2e%2e/admin/x", "//admin/x", "/%61dmin/x"] {
        assert_eq!(gateway.get(asked).await.status, 403, "{asked}");
    }
    let hits = echo.hits();
    for asked in [
        "/..",
        "/pub/../..",
        "/pub/%00",
        "/pub/%zz",
        "/pub/%2",
        "/pub/a\\b",
        "/pub/a%5cb",
        "/pub/..;/admin",
        "/pub/..%2fadmin",
        "/pub/%2e%2e%2fadmin",
    ] {
        let answer = gateway.get(asked).await;
        assert_eq!((answer.status, answer.reason()), (400, Some("bad_target")), "{asked}");
    }
    assert_eq!(echo.hits(), hits, "nothing of it goes upstream");
}

#[tokio::test]
async fn queries_pass_as_they_are() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    for path in ["/?", "/?a=b&a=c", "/?%41=%2f..%2f&+", "/?x=%e4%20;&&", "/?q='(){}|"] {
        let answer = gateway.get(path).await;
        let seen = answer.json()["path"].as_str().unwrap().to_owned();
        assert_eq!(seen.trim_end_matches('?'), path.trim_end_matches('?'));
    }
}

#[tokio::test]
async fn ties_are_errors_that_name_both_lines() {
    let config = "routes:\n  /a/{x}/b: { to: { respond: {} } }\n  /c: { to: { respond: {} } }\n  \
                  /a/{y}/b: { to: { respond: {} } }\n";
    let ran = cli_on(config, &["check", "lockgate.yaml"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let text = ran.text();
    assert!(text.contains("/a/{x}/b") && text.contains("/a/{y}/b"), "{text}");
    assert!(text.contains('2') && text.contains(":4:"), "both lines: {text}");

    let overlap = "routes:\n  /a/{x}: { to: { respond: {} } }\n  /{y}/b: { to: { respond: {} } }\n";
    let ran = cli_on(overlap, &["check", "lockgate.yaml"]).await;
    assert_eq!(ran.code, 1, "neither is more specific: {ran:?}");
}

#[tokio::test]
async fn unreachable_choices_are_errors() {
    let config = "routes:\n  /a:\n    - to: { respond: {} }\n    - when: { method: GET }\n      \
                  to: { respond: {} }\n";
    let ran = cli_on(config, &["check", "lockgate.yaml"]).await;
    let text = ran.text();
    assert!(text.contains(":4:") || text.contains(":3:"), "{text}");
    assert!(text.contains("never") || text.contains("reach"), "{text}");
}

#[tokio::test]
async fn ten_thousand_routes_are_served() {
    let mut config = String::from("routes:\n");
    for n in 0..10_000 {
        config.push_str(&format!("  /r{n}/{{id}}: {{ to: {{ respond: {{ body: \"{n}\" }} }} }}\n"));
    }
    let gateway = start(&config).await;
    let mut wire = gateway.wire().await;
    for n in [0, 1, 4_999, 9_998, 9_999] {
        let answer = wire.ask(request("GET", &format!("/r{n}/x"), &[], "")).await;
        assert_eq!(answer.text(), n.to_string());
    }
    assert_eq!(wire.ask(request("GET", "/r10000/x", &[], "")).await.status, 404);
}
