//! Saying why: `lockgate explain`, from the file and from a running gateway, and `Lockgate-Trace`.

use lockgate_testkit::Echo;

use crate::support::{cli_on, pool, start};

const CONFIG: &str = r#"listeners: { web: ":8080" }
upstreams:
  users: { endpoints: ["127.0.0.1:1", "127.0.0.1:2"] }
defaults:
  headers: { response: { set: { X-Frame-Options: deny } } }
routes:
  /users/*: { to: users, rewrite: { strip_prefix: /users } }
  GET /users/{id}: { to: users }
  POST /orders: { to: users }
  /pick:
    - when: { header: { X-Version: "2" } }
      to: { respond: { body: two } }
    - when: { query: { old: true } }
      to: { respond: { body: old } }
"#;

#[tokio::test]
async fn a_file_tells_where_a_request_goes() {
    let ran =
        cli_on(CONFIG, &["explain", "GET", "http://a.test/users/7", "-c", "lockgate.yaml"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in ["GET /users/{id}", "/users/*", "lockgate.yaml:8", "users", "127.0.0.1:1", "web"] {
        assert!(ran.stdout.contains(part), "{part} is missing: {}", ran.stdout);
    }
}

#[tokio::test]
async fn what_is_stated_as_a_secret_is_not_told_beside_a_reference() {
    let config = "routes:\n  /a:\n    to: { respond: {} }\n    headers: { request: { set: { \
                  X-Path: \"${env:PATH}\", X-Team: blue, Authorization: Bearer sk-live } } }\n";
    let ran = cli_on(config, &["explain", "GET", "/a", "-c", "lockgate.yaml"]).await;
    assert!(ran.stdout.contains("${env:PATH}") && ran.stdout.contains("blue"), "{ran:?}");
    assert!(!ran.stdout.contains("sk-live"), "{ran:?}");
}

#[tokio::test]
async fn a_miss_is_explained_too() {
    let arguments = ["explain", "GET", "http://a.test/orders", "-c", "lockgate.yaml"];
    let ran = cli_on(CONFIG, &arguments).await;
    assert!(ran.stdout.contains("405"), "{ran:?}");
    assert!(ran.stdout.contains("method_not_allowed"), "{ran:?}");
    assert!(ran.stdout.contains("POST /orders"), "{ran:?}");
    let ran = cli_on(CONFIG, &["explain", "GET", "/nowhere", "-c", "lockgate.yaml"]).await;
    assert!(ran.stdout.contains("no_route"), "{ran:?}");
    let ran = cli_on(CONFIG, &["explain", "GET", "/pick", "-c", "lockgate.yaml"]).await;
    assert!(ran.stdout.contains("route_condition"), "{ran:?}");
    assert!(ran.stdout.to_ascii_lowercase().contains("x-version"), "the predicate: {ran:?}");
}

#[tokio::test]
async fn headers_count_and_json_is_spoken() {
    let arguments = [
        "explain",
        "GET",
        "http://a.test/pick",
        "-H",
        "X-Version: 2",
        "--json",
        "-c",
        "lockgate.yaml",
    ];
    let ran = cli_on(CONFIG, &arguments).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = ran.json();
    let matched = told["candidates"].as_array().unwrap().iter().find(|one| one["matched"] == true);
    assert_eq!(matched.unwrap()["pattern"], "/pick");
    assert!(told["target"].as_str().unwrap().contains("respond"), "{told}");
    assert!(told["generation"].is_null(), "a file has no generation: {told}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_an_error() {
    for arguments in [
        vec!["explain", "GET", "http://a.test/", "-H", "no colon", "-c", "lockgate.yaml"],
        vec!["explain", "GET", "http://a.test/", "-c", "missing.yaml"],
    ] {
        let ran = cli_on(CONFIG, &arguments).await;
        assert_ne!(ran.code, 0, "{arguments:?}: {ran:?}");
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_running_gateway_knows_its_endpoints() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    b.healthy(false);
    let settings = "health: { interval: 100ms, unhealthy_after: 1 }\noutlier: off";
    let gateway = start(&pool(&[a.address(), b.address()], settings)).await;
    lockgate_testkit::until("b to be out", async || {
        let metrics = gateway.metrics().await;
        let endpoint = b.address().to_string();
        metrics.has("lockgate_endpoint_up", &[("endpoint", &endpoint)])
            && metrics.sum("lockgate_endpoint_up", &[("endpoint", &endpoint)]) == 0.0
    })
    .await;
    let ran =
        gateway.cli(&["explain", "GET", "http://a.test/x", "--json", "-c", "lockgate.yaml"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = ran.json();
    assert_eq!(told["generation"], 1, "{told}");
    let endpoints = told["endpoints"].as_array().unwrap();
    let of = |echo: &Echo| {
        let address = echo.address().to_string();
        let found = endpoints.iter().filter_map(|text| text.as_str());
        found.filter(|text| text.contains(&address)).collect::<Vec<_>>().join("")
    };
    assert_ne!(
        of(&a).replace(&a.address().to_string(), ""),
        of(&b).replace(&b.address().to_string(), "")
    );
    assert!(["down", "probe", "unhealthy"].iter().any(|word| of(&b).contains(word)), "{told}");
}

#[tokio::test]
async fn a_traced_request_bears_its_decisions() {
    let echo = Echo::start("a").await;
    let config = format!(
        "admin: {{ address: \"127.0.0.1:$ADMIN\", token: \"${{env:ADMIN_TOKEN}}\" }}\n{}",
        crate::support::to(echo.address())
    );
    let gateway = crate::support::launch().env("ADMIN_TOKEN", "s3cret-token").start(&config).await;
    let traced = gateway.ask("GET", "/x", &[("Lockgate-Debug", "s3cret-token")], "").await;
    let notes: Vec<&str> = traced.all("lockgate-trace").collect();
    assert!(notes.len() >= 2, "{traced:?}");
    assert!(notes.iter().any(|note| note.contains("/*")), "the route: {notes:?}");
    let address = echo.address().to_string();
    assert!(notes.iter().any(|note| note.contains(&address)), "the endpoint: {notes:?}");
    assert_eq!(traced.seen("lockgate-debug"), None, "the token does not go upstream");
    for headers in [vec![], vec![("Lockgate-Debug", "wrong")], vec![("Lockgate-Debug", "")]] {
        let plain = gateway.ask("GET", "/x", &headers, "").await;
        assert_eq!(plain.header("lockgate-trace"), None, "{headers:?}");
        assert_eq!(plain.seen("lockgate-debug"), None);
    }
    assert!(!gateway.said().contains("s3cret-token"), "nor into a log");
}

#[tokio::test]
async fn the_answer_names_no_more_than_it_needs() {
    let config = "listeners:\n  plain: { address: \":8080\", redirect_https: 8443 }\n  \
                  web: { address: \":9080\" }\nroutes:\n  /: { to: { respond: {} } }\n  \
                  /users/{id}: { to: { respond: {} } }\n  /user: { to: { respond: {} } }\n";
    let ask = async |url: &str| cli_on(config, &["explain", "GET", url]).await.stdout;
    let told = ask("http://a.test:8080/users/1").await;
    assert!(told.contains("308 to https://a.test:8443/users/1"), "{told}");
    let told = ask("http://[::1]:9080/users/1").await;
    assert!(told.starts_with("GET http://[::1]:9080/users/1\n"), "{told}");
    assert!(told.contains("* /users/{id}"), "{told}");
    assert!(!told.contains("/user "), "it did not come near: {told}");
    let told = ask("http://a.test:9080/x").await;
    assert!(told.contains("takes only `/`"), "{told}");
}
