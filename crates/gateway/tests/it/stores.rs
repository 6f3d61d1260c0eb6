//! Stores on Redis, as an operator meets them: found, lost, refused, secret, kept across reloads.

use lockgate_testkit::redis::RedisServer;
use lockgate_testkit::{Authority, Gateway, until};

use crate::support::{cli_on, launch, start};

const ROUTES: &str = "routes:\n  /*: { to: { respond: { body: ok } } }\n";

/// A gateway with one store of these settings.
async fn with_store(settings: &str) -> Gateway {
    start(&format!("stores: {{ shared: {settings} }}\n{ROUTES}")).await
}

async fn figure(gateway: &Gateway, name: &str) -> f64 {
    let name = format!("lockgate_store_{name}");
    gateway.metrics().await.sum(&name, &[("store", "shared")])
}

#[tokio::test]
async fn gateways_count_each_other_by_their_heartbeats() {
    let redis = RedisServer::start().await;
    let one = with_store(&redis.url()).await;
    let mut two = with_store(&redis.url()).await;
    until("both to be alive", async || figure(&one, "live_gateways").await == 2.0).await;
    assert!(figure(&one, "seconds_count").await >= 1.0);
    let calls = one.metrics().await;
    let labels = [("use", "link"), ("outcome", "answered")];
    assert!(calls.sum("lockgate_store_calls_total", &labels) >= 1.0);
    // Whoever ends says good-bye.
    two.signal("TERM");
    assert_eq!(two.ended().await, 0);
    let left = redis.ask(&["ZCARD", "lockgate:live:{gateways}"]).await;
    assert_eq!(left.int(), 1);
    until("one to be alone", async || figure(&one, "live_gateways").await == 1.0).await;
}

#[tokio::test]
async fn a_store_that_is_away_keeps_no_gateway_from_starting() {
    let mut redis = RedisServer::prepared(&[]);
    let gateway = with_store(&redis.url()).await;
    assert_eq!(gateway.get("/").await.text(), "ok");
    until("the loss to be known", async || figure(&gateway, "breakers_open").await == 1.0).await;
    assert!(gateway.said().contains("cannot be reached at 127.0.0.1"), "{}", gateway.said());
    redis.restart().await;
    until("it to be found", async || figure(&gateway, "breakers_open").await == 0.0).await;
    redis.pause();
    until("its hanging to be known", async || figure(&gateway, "breakers_open").await == 1.0).await;
    assert_eq!(gateway.get("/").await.text(), "ok");
    redis.resume();
    until("it to be well", async || figure(&gateway, "breakers_open").await == 0.0).await;
    // Each of its states is told once.
    until("the log", async || gateway.said().matches("the store is well again").count() == 2).await;
    assert_eq!(gateway.said().matches("it is asked no more until it is well").count(), 2);
}

#[tokio::test]
async fn a_wrong_password_is_told_and_no_password_is_ever_shown() {
    let redis = RedisServer::start_with_password("right-hunter2").await;
    let url = redis.url().replace("redis://", "redis://:wrong-hunter2@");
    let config = format!("stores: {{ shared: \"{url}\" }}\n{ROUTES}");
    let gateway = start(&config).await;
    let said = "refuses the user or the password";
    until("the refusal to be told", async || gateway.said().contains(said)).await;
    assert_eq!(gateway.get("/").await.text(), "ok");
    let mut texts = vec![gateway.said()];
    for path in ["/admin/config", "/admin/routes", "/metrics", "/admin"] {
        texts.push(gateway.admin("GET", path, "").await.text());
    }
    for command in [
        ["check", "lockgate.yaml"].as_slice(),
        &["fmt", "--long", "lockgate.yaml"],
        &["explain", "GET", "/"],
    ] {
        texts.push(cli_on(&config, command).await.text());
    }
    for text in &texts {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(texts.iter().any(|text| text.contains("a password stands here in plain text")));
    let right = "{ url: \"$URL\", password: \"${env:STORE_PASSWORD}\" }";
    let config = format!("stores: {{ shared: {} }}\n{ROUTES}", right.replace("$URL", &redis.url()));
    let gateway = launch().env("STORE_PASSWORD", "right-hunter2").start(&config).await;
    until("its word to be taken", async || {
        let labels = [("store", "shared"), ("outcome", "answered")];
        gateway.metrics().await.sum("lockgate_store_calls_total", &labels) >= 1.0
    })
    .await;
    assert!(!gateway.said().contains("hunter2"));
}

#[tokio::test]
async fn tls_is_verified_and_a_user_of_acls_is_enough() {
    let user = ["--user", "gate", "on", ">hunter2", "~own:*", "&own:*", "+@all", "-@dangerous"];
    let redis = RedisServer::start_with_tls(&user).await;
    let port = redis.server.address().port();
    let config = |ca: &str, more: &str| {
        format!(
            "stores:\n  shared: {{ url: \"rediss://gate:hunter2@127.0.0.1:{port}\", prefix: own, \
             ca: {ca}{more} }}\n{ROUTES}"
        )
    };
    let files = || {
        launch()
            .file("ca.pem", &redis.authority.pem)
            .file("other.pem", Authority::new("another").pem)
            .file("cert.pem", &redis.client.cert)
            .file("key.pem", &redis.client.key)
    };
    let mine = ", cert: cert.pem, key: key.pem";
    let gateway = files().start(&config("ca.pem", mine)).await;
    until("its word to be taken", async || {
        let labels = [("store", "shared"), ("outcome", "answered")];
        gateway.metrics().await.sum("lockgate_store_calls_total", &labels) >= 1.0
    })
    .await;
    assert_eq!(figure(&gateway, "breakers_open").await, 0.0);
    // Another authority vouches for nobody here; and a name that is not in the certificate is not
    // this server's.
    for wrong in [config("other.pem", mine), config("ca.pem", ", sni: other.test")] {
        let gateway = files().start(&wrong).await;
        until("the distrust to be told", async || gateway.said().contains("cannot be trusted"))
            .await;
        assert_eq!(figure(&gateway, "breakers_open").await, 1.0);
        assert!(!gateway.said().contains("hunter2"));
    }
    // The server asks for a certificate, and says so after the handshake.
    let gateway = files().start(&config("ca.pem", "")).await;
    until("the refusal", async || figure(&gateway, "breakers_open").await == 1.0).await;
}

#[tokio::test]
async fn a_reload_keeps_the_connections_of_a_store_that_is_unchanged() {
    let redis = RedisServer::start().await;
    let config = |prefix: &str, body: &str| {
        format!(
            "stores: {{ shared: {{ url: \"{}\", prefix: {prefix} }} }}\nroutes:\n  \
             /*: {{ to: {{ respond: {{ body: {body} }} }} }}\n",
            redis.url()
        )
    };
    let gateway = start(&config("p", "one")).await;
    until("a connection", async || figure(&gateway, "connections_total").await == 1.0).await;
    let clients = async || redis.ask(&["CLIENT", "LIST"]).await.text();
    let before = clients().await;
    let id = format!("{} ", before.split_whitespace().next().unwrap_or_default());
    gateway.rewrite(&config("p", "two"));
    until("the reload", async || gateway.get("/").await.text() == "two").await;
    assert!(clients().await.contains(&id));
    assert_eq!(figure(&gateway, "connections_total").await, 1.0);
    gateway.rewrite(&config("q", "three"));
    until("the reload", async || gateway.get("/").await.text() == "three").await;
    until("the old store to be let go", async || !clients().await.contains(&id)).await;
    let key = ["EXISTS", "q:live:{gateways}"];
    until("the new one to be used", async || redis.ask(&key).await.int() == 1).await;
}

#[tokio::test]
async fn check_warns_of_what_replicas_would_have_to_share() {
    let config = "replicas: 3\nstores: { shared: redis://127.0.0.1:1 }\nroutes:\n  \
                  /a: { rate_limit: 5/min, to: { respond: {} } }\n  \
                  /b: { cache: 60s, to: http://127.0.0.1:1 }\n";
    let said = cli_on(config, &["check", "lockgate.yaml"]).await.text();
    assert!(said.contains("lockgate.yaml:4:"), "{said}");
    assert!(said.contains("each of the 3 replicas counts for itself in `memory`"), "{said}");
    assert!(said.contains("lockgate.yaml:5:"), "{said}");
    assert!(said.contains("each of the 3 replicas keeps answers for itself"), "{said}");
    let alone = config.replace("replicas: 3", "replicas: 1");
    let said = cli_on(&alone, &["check", "lockgate.yaml"]).await.text();
    assert!(!said.contains("for itself"), "{said}");
}

#[tokio::test]
async fn a_hung_store_costs_one_request_its_time_and_the_others_nothing() {
    let redis = RedisServer::start().await;
    let gateway = start(&format!(
        "stores: {{ shared: {{ url: \"{}\", timeout: 200ms }} }}\nroutes:\n  /*: {{ rate_limit: \
         {{ limit: 1000/h, by: ip, store: shared, on_store_error: allow }}, \
         to: {{ respond: {{ body: ok }} }} }}\n",
        redis.url()
    ))
    .await;
    let calls = async |outcome: &str| {
        let labels = [("store", "shared"), ("use", "counters"), ("outcome", outcome)];
        gateway.metrics().await.sum("lockgate_store_calls_total", &labels)
    };
    for _ in 0..10 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!(calls("answered").await, 10.0);
    redis.pause();
    for _ in 0..30 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    // None, when the heartbeat was there first.
    assert!(calls("timeout").await <= 1.0);
    assert_eq!(calls("answered").await, 10.0);
    redis.resume();
    until("the store to be asked again", async || {
        assert_eq!(gateway.get("/").await.status, 200);
        calls("answered").await > 10.0
    })
    .await;
}
