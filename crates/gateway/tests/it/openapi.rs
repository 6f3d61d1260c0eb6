//! The admin listener's OpenAPI document: every operation in it is asked of a running gateway, and
//! what is answered has the form that it promises.

use lockgate_testkit::{Answer, Authority, Echo, Gateway, Wire, request};
use serde_json::{Value, json};

use crate::support::{launch, upstream};

/// A gateway with something of everything to tell.
async fn gateway(echo: &Echo) -> Gateway {
    let leaf = Authority::new("ours").server(&["localhost"]);
    let config = format!(
        "listeners:\n  web: \"127.0.0.1:$WEB\"\n  safe: {{ address: \"127.0.0.1:$SAFE\", tls: {{ \
         cert: cert.pem, key: key.pem }} }}\n\
         admin: {{ address: \"127.0.0.1:$ADMIN\", state_dir: \"$DIR/state\" }}\n\
         consumers: {{ alice: {{ api_keys: [\"${{env:KEY}}\"] }} }}\n\
         identity: {{ keys: {{ api_key: {{}} }} }}\n\
         upstreams:\n{}{}routes:\n  \
         /cached: {{ cache: 60s, to: pool }}\n  \
         /limited: {{ rate_limit: 1/min, quota: {{ limit: 100/day, by: ip }}, to: pool }}\n  \
         /own: {{ auth: keys, to: pool }}\n  /bad: {{ to: bad }}\n",
        upstream("pool", &[echo.address()], "health: { path: /, interval: 1h }"),
        upstream("bad", &["127.0.0.1:1".parse().unwrap()], "breaker: { failures: 50% }"),
    );
    let gateway = launch()
        .file("cert.pem", &leaf.cert)
        .file("key.pem", &leaf.key)
        .env("KEY", "a-key-of-the-test")
        .start(&config)
        .await;
    for path in ["/cached", "/limited", "/limited", "/bad", "/own", "/nowhere"] {
        gateway.get(path).await;
    }
    gateway
}

/// What is to be sent for an operation to be carried out: the path filled in, and the body.
fn asked(method: &str, path: &str) -> (String, &'static str) {
    let filled = path.replace("{service}", "pool").replace("{number}", "1");
    match (method, path) {
        ("put", "/admin/routes/{pattern}") => ("/admin/routes/new".into(), "{ to: pool }"),
        ("delete", "/admin/routes/{pattern}") => ("/admin/routes/limited".into(), ""),
        ("put", "/admin/health/{service}") => (filled, "{\"override\": \"up\"}"),
        ("put", "/admin/config") => (format!("{path}?dry_run"), "routes: {}"),
        ("post", "/admin/config/rollback") => (path.into(), "{\"to\": 1}"),
        ("get", "/admin/config/diff") => (format!("{path}?from=1"), ""),
        ("get", "/admin/explain") => (format!("{path}?url=http://x/cached"), ""),
        _ => (filled, ""),
    }
}

async fn ask(gateway: &Gateway, method: &str, path: &str, body: &str) -> Answer {
    let method = method.to_uppercase();
    if path == "/admin/events" {
        // It never ends: its head is enough.
        let mut wire = Wire::connect(gateway.at("ADMIN")).await;
        wire.send(&request("GET", path, &[("Host", "127.0.0.1")], "")).await;
        let head = wire.head("GET").await.unwrap();
        let (body, trailers) = (Vec::new(), Vec::new());
        return Answer { status: head.status, headers: head.headers, body, trailers };
    }
    gateway.admin(&method, path, body).await
}

#[tokio::test]
async fn every_operation_answers_in_the_form_that_it_promises() {
    let echo = Echo::start("a").await;
    let gateway = gateway(&echo).await;
    let document = gateway.admin("GET", "/admin/openapi.json", "").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut seen = 0;
    let mut upgrade = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            // It ends this process: the last one.
            if (method.as_str(), path.as_str()) == ("post", "/admin/upgrade") {
                upgrade.push((path.clone(), method.clone(), operation.clone()));
                continue;
            }
            holds(&gateway, path, method, operation).await;
            seen += 1;
        }
    }
    let (path, method, operation) = upgrade.pop().expect("an upgrade");
    holds(&gateway, &path, &method, &operation).await;
    assert!(seen >= 35, "{seen}");
}

async fn holds(gateway: &Gateway, path: &str, method: &str, operation: &Value) {
    let (target, body) = asked(method, path);
    let needs_body = operation["requestBody"]["required"] == json!(true);
    assert!(!needs_body || !body.is_empty(), "{method} {path}: say in this test what to send");
    let answer = ask(gateway, method, &target, body).await;
    let text = answer.text();
    let promised = &operation["responses"][answer.status.to_string()];
    assert!(promised.is_object(), "{method} {target}: {} {text}", answer.status);
    let kind = answer.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap();
    let schema = &promised["content"][kind]["schema"];
    assert!(schema.is_object(), "{method} {target}: {kind} is not promised");
    if kind == "application/json" {
        fits(schema, &answer.json(), &format!("{method} {target}"));
    }
    // A body that is no answer to the question is refused, in the form of refusals.
    if needs_body {
        let refused = gateway.admin(&method.to_uppercase(), &target, "[").await;
        assert_eq!(refused.status, 400, "{method} {target}: {}", refused.text());
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        assert!(refused.json()["reason"].is_string());
    }
}

fn fits(schema: &Value, value: &Value, what: &str) {
    let validator = jsonschema::validator_for(schema).unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{what}: {wrong:#?}\n{value:#}");
}

#[tokio::test]
async fn what_is_not_there_names_what_is() {
    let echo = Echo::start("a").await;
    let gateway = gateway(&echo).await;
    let none = gateway.admin("GET", "/admin/nothing", "").await;
    assert_eq!(none.status, 404);
    assert!(none.text().contains("/admin/config/rollback"), "{}", none.text());
    let other = gateway.admin("POST", "/admin/config", "").await;
    assert_eq!(other.status, 405);
    assert_eq!(other.header("allow"), Some("GET,HEAD,PUT"));
}
