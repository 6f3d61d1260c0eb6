//! The admin listener and the commands that ask it: what they tell, and what they change.

use lockgate_testkit::{Echo, Gateway, Port, Ran, Wire, request, until};
use serde_json::Value;

use crate::support::{launch, start, upstream};

const FILE: &str = "lockgate.yaml";

async fn read(gateway: &Gateway, path: &str) -> Value {
    let answer = gateway.admin("GET", path, "").await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

#[tokio::test]
async fn services_are_told_one_by_one_and_checked_at_once() {
    let (echo, dead) = (Echo::start("a").await, Port::reserve());
    let config = format!(
        "upstreams:\n{}{}routes: {{ /a/*: {{ to: good }}, /b/*: {{ to: bad }} }}\n",
        upstream("good", &[echo.address()], "health: { path: /, interval: 1h }"),
        upstream("bad", &[dead.address()], "health: { path: /, interval: 1h, unhealthy_after: 1 }"),
    );
    let gateway = start(&config).await;
    let answer = gateway.admin("POST", "/admin/health/check", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["checked"], 2);

    let services = read(&gateway, "/admin/health/services").await;
    assert_eq!(services["total"], 2);
    let bad = &services["services"][0];
    assert_eq!((&bad["service"], &bad["healthy"]), (&"bad".into(), &false.into()), "{bad}");
    assert!(bad["consecutiveFailures"].as_u64().unwrap() >= 1, "{bad}");
    assert!(bad["lastFailureTime"].as_u64() > Some(1_700_000_000_000), "{bad}");
    assert!(bad["lastError"].as_str().unwrap().contains("refused"), "{bad}");
    let good = &services["services"][1];
    assert_eq!((&good["service"], &good["healthy"]), (&"good".into(), &true.into()), "{good}");
    assert!(good["responseTime"].as_f64().unwrap() > 0.0, "{good}");
    assert!(good["lastFailureTime"].is_null(), "{good}");
    let filtered = read(&gateway, "/admin/health/services?filter=good").await;
    assert_eq!(
        (&filtered["total"], &filtered["services"][0]["service"]),
        (&1.into(), &"good".into())
    );

    let overall = gateway.admin("GET", "/admin/health", "").await;
    assert_eq!(overall.status, 503);
    assert_eq!(overall.json()["upstreamsWithoutEndpoint"], serde_json::json!(["bad"]));

    let one = gateway.admin("POST", "/admin/health/check", "{\"service\": \"good\"}").await;
    assert_eq!((one.status, &one.json()["checked"]), (200, &1.into()), "{}", one.text());
    let none = gateway.admin("POST", "/admin/health/check", "{\"service\": \"nobody\"}").await;
    assert_eq!(none.status, 404, "{}", none.text());
    let odd = gateway.admin("POST", "/admin/health/check", "{\"servise\": 1}").await;
    assert_eq!(odd.status, 400, "{}", odd.text());
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let gateway = start("routes: { /*: { to: { respond: {} } } }\n").await;
    let admin = gateway.at("ADMIN");
    let health = || request("GET", "/health", &[("Host", "127.0.0.1")], "");
    // From one address, and from so many that all places are taken.
    let mut silent = Vec::new();
    for n in 0..400 {
        silent.push(Wire::connect_from(&format!("127.0.1.{}", n % 4), admin).await);
    }
    for n in 0..4 {
        let mut wire = Wire::connect_from(&format!("127.0.1.{n}"), admin).await;
        assert_eq!(wire.ask(health()).await.status, 200, "{n}");
    }
    assert_eq!(gateway.admin("GET", "/health", "").await.status, 200);

    // Who speaks has its share, and others theirs.
    let mut spoken = Vec::new();
    for _ in 0..64 {
        let mut wire = Wire::connect_from("127.0.1.9", admin).await;
        assert_eq!(wire.ask(health()).await.status, 200);
        spoken.push(wire);
    }
    let mut one_more = Wire::connect_from("127.0.1.9", admin).await;
    one_more.closed().await;
    assert_eq!(gateway.admin("GET", "/health", "").await.status, 200);
    assert_eq!(spoken[0].ask(health()).await.status, 200);
}

#[tokio::test]
async fn who_is_not_let_in_keeps_no_place() {
    let config = "admin: { address: \"127.0.0.1:$ADMIN\", token: the-admin-token }\n\
                  routes: { /*: { to: { respond: {} } } }\n";
    let gateway = start(config).await;
    let admin = gateway.at("ADMIN");
    let ask = |path: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        request("GET", path, &[("Host", "127.0.0.1"), ("Authorization", &bearer)], "")
    };
    // All places are taken by four addresses that ask, for what is public and for what is not.
    let mut strangers = Vec::new();
    for n in 0..256 {
        let mut wire = Wire::connect_from(&format!("127.0.1.{}", n % 4), admin).await;
        let path = if n % 2 == 0 { "/health" } else { "/admin/config" };
        let status = wire.ask(ask(path, "a-wrong-one")).await.status;
        assert_eq!(status, if n % 2 == 0 { 200 } else { 401 }, "{n}");
        strangers.push(wire);
    }
    let mut operator = Wire::connect_from("127.0.1.9", admin).await;
    assert_eq!(operator.ask(ask("/admin/config", "the-admin-token")).await.status, 200);
    // Whether a token is right is not to be learnt from what is public.
    let mut guesser = Wire::connect_from("127.0.1.10", admin).await;
    assert_eq!(guesser.ask(ask("/health", "the-admin-token")).await.status, 200);
    // And once let in, one stays, however many come.
    for n in 0..256 {
        strangers.push(Wire::connect_from(&format!("127.0.2.{}", n % 4), admin).await);
    }
    assert_eq!(operator.ask(ask("/admin/config", "the-admin-token")).await.status, 200);
    guesser.closed().await;
}

#[tokio::test]
async fn figures_are_told_as_json() {
    let echo = Echo::start("a").await;
    let config = format!(
        "upstreams:\n{}routes: {{ /*: {{ to: pool }} }}\n",
        upstream("pool", &[echo.address()], "")
    );
    let gateway = start(&config).await;
    for path in ["/", "/", "/status/500"] {
        gateway.get(path).await;
    }
    let mut figures = Value::Null;
    until("the requests to be counted", async || {
        figures = read(&gateway, "/admin/metrics").await;
        figures["totalRequests"] == 3
    })
    .await;
    assert_eq!(figures["totalErrors"], 1, "{figures}");
    assert_eq!(figures["requestsByStatus"]["200"], 2, "{figures}");
    assert_eq!(figures["requestsByService"]["pool"]["requests"], 3, "{figures}");
    let latency = &figures["latencyStats"];
    assert_eq!(latency["count"], 3, "{figures}");
    for key in ["min", "max", "total", "avg", "p50", "p90", "p99"] {
        assert!(latency[key].as_f64().unwrap() > 0.0, "{key}: {latency}");
    }
    let balance = read(&gateway, "/admin/loadbalancer/stats").await;
    let endpoint = &balance["pool"]["endpoints"][0];
    assert_eq!(endpoint["address"], echo.address().to_string(), "{balance}");
    let connections = read(&gateway, "/admin/connections").await;
    assert!(connections["accepted"].as_u64() >= Some(3), "{connections}");
    assert_eq!(connections["listeners"][0]["listener"], "web", "{connections}");
}

#[tokio::test]
async fn the_configuration_is_told_without_its_secrets() {
    let config = "
identity: { partner: { api_key: { pepper: \"${env:SECRET}\" } } }
consumers: { acme: { api_keys: [plain-key-of-acme-0123456789], roles: [partner] } }
routes:
  /a: { auth: partner, to: { respond: { status: 200 } } }
  /b/*: { to: { respond: { status: 204 } } }
";
    let secret = "not-to-be-seen-0123456789abcdef";
    let gateway = launch().env("SECRET", secret).start(config).await;
    let answer = gateway.admin("GET", "/admin/config", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.json()["routes"]["/b/*"]["to"]["respond"]["status"],
        204,
        "{}",
        answer.text()
    );
    let tag = answer.header("etag").unwrap().to_owned();
    let mut wire = lockgate_testkit::Wire::connect(gateway.at("ADMIN")).await;
    let headers = [("Host", "127.0.0.1"), ("If-None-Match", tag.as_str())];
    assert_eq!(wire.ask(request("GET", "/admin/config", &headers, "")).await.status, 304);

    let routes = read(&gateway, "/admin/routes?filter=/a").await;
    assert_eq!((&routes["total"], &routes["routes"][0]["pattern"]), (&1.into(), &"/a".into()));
    let consumers = read(&gateway, "/admin/consumers").await;
    assert_eq!(consumers["consumers"][0]["name"], "acme", "{consumers}");
    for path in ["/admin/config", "/admin/routes", "/admin/consumers"] {
        let text = gateway.admin("GET", path, "").await.text();
        assert!(!text.contains(secret) && !text.contains("plain-key"), "{path}: {text}");
        assert_eq!(text.contains("${hidden}"), path != "/admin/routes", "{path}: {text}");
    }

    gateway.rewrite(&config.replace("/b/*", "/c/*"));
    until("the new configuration", async || {
        read(&gateway, "/admin/routes?filter=/c").await["total"] == 1
    })
    .await;
    let answer = wire.ask(request("GET", "/admin/config", &headers, "")).await;
    assert_eq!(answer.status, 200, "another generation is another tag");
    let odd = gateway.admin("GET", "/admin/routes?limitt=1", "").await;
    assert_eq!(odd.status, 400, "{}", odd.text());
}

#[tokio::test]
async fn what_is_a_secret_in_part_is_told_in_part() {
    let echo = Echo::start("a").await;
    let config = format!(
        "admin: {{ address: \"127.0.0.1:$ADMIN\", state_dir: \"$DIR/state\" }}\nalerts:\n  \
         hook: http://{at}/in-the-path\n  chat: {{ url: \"http://{at}/of-slack\", kind: slack }}\n  \
         run: {{ command: [\"true\", --token, of-a-flag, \"--key=of-a-pair\"] }}\nupstreams:\n\
         {}routes: {{ /*: {{ to: pool }} }}\n",
        upstream(
            "pool",
            &[echo.address()],
            "health: { path: \"/up?token=of-a-probe\", interval: 1h }"
        ),
        at = echo.address(),
    );
    let gateway = start(&config).await;
    let long = gateway.admin("GET", "/admin/config", "").await.text();
    let mut told = vec![long.clone()];
    for path in ["/admin/config/export", "/admin/config/history/1"] {
        told.push(gateway.admin("GET", path, "").await.text());
    }
    let host = format!("http://{}/${{hidden}}", echo.address());
    for text in &told {
        for secret in ["in-the-path", "of-slack", "of-a-flag", "of-a-pair", "of-a-probe"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert!(text.matches(&host).count() == 2, "{text}");
        assert!(text.contains("/up?${hidden}") && text.contains("--key=${hidden}"), "{text}");
    }
    // What was shown may be sent back.
    let same = gateway.admin("PUT", "/admin/config", &long).await;
    assert_eq!((same.status, same.json()["changes"].as_u64()), (200, Some(0)), "{}", same.text());
    assert!(!gateway.said().contains("in-the-path"), "{}", gateway.said());
}

async fn command(gateway: &Gateway, words: &[&str]) -> Ran {
    let mut all = words.to_vec();
    all.extend(["-c", FILE]);
    gateway.cli(&all).await
}

#[tokio::test]
async fn commands_ask_the_running_gateway() {
    let (echo, other) = (Echo::start("a").await, Echo::start("b").await);
    let config = |cache: &str| {
        format!(
            "upstreams:\n{}routes: {{ /*: {{ to: pool }}, /kept: {{ {cache} to: pool }} }}\n",
            upstream("pool", &[echo.address(), other.address()], "")
        )
    };
    let gateway = start(&config("cache: 60s,")).await;
    gateway.get("/").await;
    let status = command(&gateway, &["status"]).await;
    assert_eq!(status.code, 0, "{}", status.text());
    assert!(status.stdout.contains("2 of 2 take requests"), "{}", status.text());
    assert!(status.stdout.lines().all(|line| line.chars().count() <= 80), "{}", status.text());
    assert_eq!(
        command(&gateway, &["status", "--json"]).await.json()["health"]["status"],
        "healthy"
    );

    let name = other.address().to_string();
    let drain = command(&gateway, &["drain", &name]).await;
    assert_eq!((drain.code, drain.stdout.trim()), (0, &*format!("{name}: drain, 1 endpoint")));
    for _ in 0..6 {
        assert_eq!(gateway.get("/").await.endpoint(), "a");
    }
    let upstreams = command(&gateway, &["upstreams"]).await;
    assert!(upstreams.stdout.contains("draining, by an operator"), "{}", upstreams.text());
    let clear = command(&gateway, &["drain", "pool", "--clear"]).await;
    assert!(clear.stdout.contains("pool: clear, 2 endpoints"), "{}", clear.text());
    let unknown = command(&gateway, &["drain", "nobody:1"]).await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("there is no upstream or endpoint `nobody:1`"), "{unknown:?}");

    let kept = gateway.get("/kept").await;
    assert_eq!(kept.status, 200);
    assert!(gateway.get("/kept").await.header("age").is_some(), "it is kept");
    let purge = command(&gateway, &["purge", "--pattern", "/kept"]).await;
    assert_eq!(purge.stdout.trim(), "cleared 1 from this gateway's memory", "{}", purge.text());
    assert!(gateway.get("/kept").await.header("age").is_none());
    assert_eq!(command(&gateway, &["purge"]).await.code, 2, "it must be said what");

    let reload = command(&gateway, &["reload"]).await;
    assert!(reload.stdout.contains("is in force"), "{}", reload.text());
    let same = command(&gateway, &["reload", "--json"]).await.json();
    assert!(same["generation"].as_u64().unwrap() > 1, "{same}");
    // What only the gateway can find out: a certificate of its own machine.
    let web = gateway.web();
    gateway.rewrite(&format!(
        "listeners: {{ web: \"{web}\", more: \"192.0.2.1:1\" }}\n{}",
        config("cache: 60s,")
    ));
    let refused = command(&gateway, &["reload"]).await;
    assert_eq!(refused.code, 1, "{}", refused.text());
    assert!(refused.stderr.contains("192.0.2.1"), "{}", refused.text());
    assert_eq!(gateway.get("/").await.status, 200, "the old one stays");
}
