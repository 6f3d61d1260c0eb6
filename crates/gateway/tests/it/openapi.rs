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

#[tokio::test]
async fn every_list_is_asked_for_in_one_way_and_nothing_odd_is_passed_over() {
    let echo = Echo::start("a").await;
    let gateway = gateway(&echo).await;
    let document = gateway.admin("GET", "/admin/openapi.json", "").await.json();
    let (mut lists, mut all) = (0, 0);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().unwrap();
            let takes = |name: &str| parameters.iter().any(|one| one["name"] == name);
            let (target, body) = asked(method, path);
            let refused = async |query: &str| {
                let join = if target.contains('?') { '&' } else { '?' };
                let asked = format!("{target}{join}{query}");
                let answer = gateway.admin(&method.to_uppercase(), &asked, body).await;
                let reason = answer.json()["reason"].clone();
                assert_eq!((answer.status, &reason), (400, &json!("bad_question")), "{asked}");
                answer.text()
            };
            // What machines poll is told whatever else they say.
            if !["/health", "/metrics", "/admin/live", "/admin/ready"].contains(&path.as_str()) {
                assert!(refused("odd=1").await.contains("`odd` is no parameter"), "{path}");
                all += 1;
            }
            if !takes("limit") {
                continue;
            }
            lists += 1;
            for odd in ["limit=x", "limit=1001", "limit=1&limit=2", "offset=-1"] {
                refused(odd).await;
            }
            let page = async |query: &str| {
                let answer = gateway.admin("GET", &format!("{target}?{query}"), "").await;
                assert_eq!(answer.status, 200, "{target}?{query}: {}", answer.text());
                let told = answer.json();
                // Of alerts there are three lists.
                let total = match &told["total"] {
                    Value::Object(each) => each.values().map(|one| one.as_u64().unwrap()).sum(),
                    one => one.as_u64().unwrap(),
                };
                let kept = told.as_object().unwrap().iter();
                let listed = kept.filter(|(name, _)| *name != "sinks" && *name != "workers");
                let listed: usize =
                    listed.filter_map(|(_, list)| list.as_array()).map(Vec::len).sum();
                (total, told["offset"].as_u64().unwrap(), listed)
            };
            let (total, _, whole) = page("").await;
            assert_eq!(total, whole as u64, "{path}");
            assert_eq!(page("limit=0").await.2, 0, "{path}");
            assert_eq!(page("limit=1").await.2, usize::from(whole > 0), "{path}");
            assert_eq!(page("offset=900").await, (page("").await.0, 900, 0), "{path}");
            if takes("filter") {
                assert_eq!(page("filter=zzz-nobody").await.0, 0, "{path}");
            } else {
                refused("filter=a").await;
            }
        }
    }
    assert!(lists >= 14 && all >= 35, "{lists} of {all}");
    let pool = gateway.admin("GET", "/admin/upstreams?filter=po", "").await.json();
    assert_eq!((&pool["total"], &pool["upstreams"][0]["name"]), (&json!(1), &json!("pool")));
    let address = echo.address().to_string();
    let pool = gateway.admin("GET", &format!("/admin/upstreams?filter={address}"), "").await.json();
    assert_eq!(pool["total"], 1, "{pool}");
    let certificate = gateway.admin("GET", "/admin/certs?filter=localhost", "").await.json();
    assert_eq!(certificate["certificates"][0]["listener"], "safe", "{certificate}");
}

#[tokio::test]
async fn what_is_told_is_called_in_one_spelling() {
    let gateway = gateway(&Echo::start("a").await).await;
    let document = gateway.admin("GET", "/admin/openapi.json", "").await.json();
    let mut names = Vec::new();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            properties(&operation["responses"], &mut names);
        }
    }
    assert!(names.len() > 150, "{}", names.len());
    let odd: Vec<_> = names.iter().filter(|name| name.contains(['_', '-'])).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

/// The names of all that a schema has in it.
fn properties(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            let own = map.get("properties").and_then(Value::as_object);
            names.extend(own.into_iter().flat_map(|own| own.keys().cloned()));
            map.values().for_each(|part| properties(part, names));
        }
        Value::Array(all) => all.iter().for_each(|part| properties(part, names)),
        _ => {}
    }
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
