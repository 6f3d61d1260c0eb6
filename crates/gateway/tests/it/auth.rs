//! Who may pass, over real sockets: keys, passwords, roles, what the upstream is told, and what
//! the log, the metrics and `explain` say of it.

use lockgate_testkit::{Dir, Echo, Gateway, Ran, cli, until};

use crate::support::{BINARY, launch};

/// The hash of `a-key`.
const STORED: &str = "lgk1:38448baaa56ba0b13e8caf541879298088b15715ebaf1fb071a75fbb0aaf1abb";
/// His password is `s3cret pass`.
const USERS: &str = "bob:$argon2id$v=19$m=19456,t=2,p=1$W0I9f9X4OL5ItLwpkWSpeA$\
                     xjpFFHE9RY/STFjmABIx4Clez+7mrifm2no9uhQTajw\n";

async fn start(config: &str) -> Gateway {
    launch().file("users.txt", USERS).start(config).await
}

/// Runs the binary beside a configuration and its users.
async fn cli_on(config: &str, arguments: &[&str]) -> Ran {
    let dir = Dir::new();
    dir.write("lockgate.yaml", config);
    dir.write("users.txt", USERS);
    cli(BINARY, dir.path(), arguments).await
}

fn config(echo: &Echo, keys: &str) -> String {
    let to = format!("http://{}", echo.address());
    format!(
        "identity:
  keys: {{ api_key: {{}} }}
  staff: {{ basic: {{ file: users.txt }} }}
consumers:
  alice: {{ api_keys: [{keys}], roles: [teller], plan: gold }}
plans:
  gold: {{}}
routes:
  /keys/*: {{ auth: keys, to: \"{to}\" }}
  /admin/*: {{ auth: {{ any_of: keys, roles: [admin] }}, to: \"{to}\" }}
  /both/*: {{ auth: [keys, staff], to: \"{to}\" }}
  /open/*:
    auth: {{ any_of: keys, optional: true, forward: {{ headers: {{ X-Plan: plan }} }} }}
    to: \"{to}\"
  /when/*:
    auth: {{ any_of: keys, when: 'request.query.owner == consumer.name' }}
    to: \"{to}\"
  /cel/*:
    - when: {{ cel: 'request.headers[\"x-beta\"] == \"yes\"' }}
      to: {{ respond: {{ body: beta }} }}
    - to: {{ respond: {{ body: stable }} }}
"
    )
}

#[tokio::test]
async fn no_key_is_401_a_wrong_one_403_and_a_right_one_passes() {
    let echo = Echo::start("a").await;
    let gateway = start(&config(&echo, "a-key")).await;
    let missing = gateway.get("/keys/1").await;
    assert_eq!(missing.status, 401);
    assert_eq!(missing.header("lockgate-reason"), Some("credentials_missing"));
    let challenge = missing.header("www-authenticate");
    assert_eq!(challenge, Some("ApiKey realm=\"keys\", header=\"x-api-key\""));

    let wrong = gateway.ask("GET", "/keys/1", &[("X-API-Key", "b-key")], "").await;
    assert_eq!(wrong.status, 403);
    assert_eq!(wrong.header("lockgate-reason"), Some("credentials_invalid"));
    let line = gateway.logged(|line| line["status"] == 403).await;
    assert_eq!(line["story"], "keys: api_key_unknown", "{line}");
    assert!(line.get("consumer").is_none(), "{line}");

    let right = gateway.ask("GET", "/keys/1", &[("X-API-Key", "a-key")], "").await;
    assert_eq!(right.status, 200);
    assert_eq!(right.seen("x-user-id").as_deref(), Some("alice"));
    assert_eq!(right.seen("x-user-role").as_deref(), Some("teller"));
    assert_eq!(right.seen("x-authenticated").as_deref(), Some("true"));
    assert_eq!(right.seen("x-api-key"), None);
    let line = gateway.logged(|line| line["status"] == 200).await;
    assert_eq!(line["consumer"], "alice", "{line}");
    assert_eq!(line["identity"], "keys", "{line}");
    assert_eq!(line["plan"], "gold", "{line}");

    let admin = gateway.ask("GET", "/admin/1", &[("X-API-Key", "a-key")], "").await;
    assert_eq!(admin.status, 403);
    assert_eq!(admin.header("lockgate-reason"), Some("forbidden"));
    let line = gateway.logged(|line| line["reason"] == "forbidden").await;
    assert_eq!(line["consumer"], "alice", "who was refused: {line}");
    assert!(line["story"].as_str().unwrap().contains("none of the roles admin"), "{line}");
}

#[tokio::test]
async fn what_a_client_says_of_itself_never_reaches_the_upstream() {
    let echo = Echo::start("a").await;
    let gateway = start(&config(&echo, "a-key")).await;
    let forged = [
        ("X-User-ID", "root"),
        ("x_user_id", "root"),
        ("X-User_Id", "root"),
        ("X-USER-ROLE", "root"),
        ("x_user_role", "root"),
        ("X-Authenticated", "root"),
        ("X_AUTHENTICATED", "root"),
        ("X-Plan", "root"),
        ("x_plan", "root"),
    ];
    for path in ["/open/1", "/keys/1"] {
        let key = [("X-API-Key", "a-key")];
        for credentials in [&key[..], &[]] {
            let sent = [&forged[..], credentials].concat();
            let answer = gateway.ask("GET", path, &sent, "").await;
            if path == "/keys/1" {
                let expected = if credentials.is_empty() { 401 } else { 200 };
                assert_eq!(answer.status, expected);
                continue;
            }
            assert_eq!(answer.status, 200);
            assert!(!answer.text().contains("root"), "{}", answer.text());
            let plan = answer.seen("x-plan");
            assert_eq!(plan.as_deref(), (!credentials.is_empty()).then_some("gold"));
        }
    }
    let invalid = gateway.ask("GET", "/open/1", &[("X-API-Key", "no")], "").await;
    assert_eq!(invalid.status, 403, "invalid credentials are no absence");
}

#[tokio::test]
async fn one_of_two_identities_is_enough() {
    let echo = Echo::start("a").await;
    let gateway = start(&config(&echo, STORED)).await;
    let missing = gateway.get("/both/1").await;
    assert_eq!(missing.status, 401);
    assert_eq!(missing.all("www-authenticate").count(), 2);
    let bob = ("Authorization", "Basic Ym9iOnMzY3JldCBwYXNz");
    for _ in 0..2 {
        let answer = gateway.ask("GET", "/both/1", &[bob], "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.seen("x-user-id").as_deref(), Some("bob"));
        assert_eq!(answer.seen("authorization"), None);
    }
    let answer = gateway.ask("GET", "/both/1", &[("X-API-Key", "a-key")], "").await;
    assert_eq!(answer.seen("x-user-id").as_deref(), Some("alice"));
    let answer = gateway.ask("GET", "/both/1", &[("X-API-Key", "x"), bob], "").await;
    assert_eq!(answer.seen("x-user-id").as_deref(), Some("bob"), "another vouches");
    let wrong = [("Authorization", "Basic Ym9iOndyb25n")];
    assert_eq!(gateway.ask("GET", "/both/1", &wrong, "").await.status, 403);
}

#[tokio::test]
async fn an_expression_decides_of_a_route_and_of_a_consumer() {
    let echo = Echo::start("a").await;
    let gateway = start(&config(&echo, "a-key")).await;
    let key = [("X-API-Key", "a-key")];
    assert_eq!(gateway.ask("GET", "/when/1?owner=alice", &key, "").await.status, 200);
    for path in ["/when/1?owner=bob", "/when/1"] {
        let answer = gateway.ask("GET", path, &key, "").await;
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(answer.header("lockgate-reason"), Some("forbidden"));
    }
    assert_eq!(gateway.ask("GET", "/cel/", &[("X-Beta", "yes")], "").await.text(), "beta");
    assert_eq!(gateway.get("/cel/").await.text(), "stable");
}

#[tokio::test]
async fn keys_change_by_a_reload_without_a_gap() {
    let echo = Echo::start("a").await;
    let gateway = start(&config(&echo, "old-key")).await;
    let status =
        async |key: &str| gateway.ask("GET", "/keys/1", &[("X-API-Key", key)], "").await.status;
    assert_eq!(status("old-key").await, 200);
    gateway.rewrite(&config(&echo, "old-key, new-key"));
    until("the new key to be live", async || status("new-key").await == 200).await;
    assert_eq!(status("old-key").await, 200);
    gateway.rewrite(&config(&echo, "new-key"));
    until("the old key to be withdrawn", async || status("old-key").await == 403).await;
    assert_eq!(status("new-key").await, 200);
}

#[tokio::test]
async fn requests_are_counted_by_plan_and_never_by_consumer() {
    let echo = Echo::start("a").await;
    let gateway = start(&config(&echo, "a-key")).await;
    gateway.ask("GET", "/keys/1", &[("X-API-Key", "a-key")], "").await;
    gateway.get("/keys/1").await;
    gateway.logged(|line| line["status"] == 401).await;
    let metrics = gateway.metrics().await;
    let of = |class| {
        let labels = [("plan", "gold"), ("status_class", class)];
        metrics.sum("lockgate_plan_requests_total", &labels)
    };
    assert_eq!((of("2xx"), of("4xx")), (1.0, 0.0), "{metrics:?}");
    assert!(!metrics.0.contains("alice"), "{metrics:?}");
}

#[tokio::test]
async fn explain_shows_who_may_pass_and_no_key() {
    let echo = Echo::start("a").await;
    let ran = cli_on(&config(&echo, "a-key"), &["explain", "GET", "/both/1", "--offline"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let wanted =
        "keys (API key in header x-api-key, 1 known) or staff (name and password, 1 users)";
    assert!(ran.stdout.contains(wanted), "{}", ran.stdout);
    assert!(!ran.text().contains("argon2id"), "{}", ran.stdout);
    let mistyped = config(&echo, "a-key").replace("auth: keys", "auth: keyz");
    let ran = cli_on(&mistyped, &["check", "lockgate.yaml"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.text().contains("did you mean `keys`?"), "{}", ran.text());
}

#[tokio::test]
async fn a_hash_is_no_secret_and_a_key_is() {
    let echo = Echo::start("a").await;
    let ran = cli_on(&config(&echo, STORED), &["check", "lockgate.yaml"]).await;
    assert!(!ran.text().contains("plain text"), "{}", ran.text());
    let ran = cli_on(&config(&echo, "a-key"), &["check", "lockgate.yaml"]).await;
    assert!(ran.text().contains("plain text"), "{}", ran.text());
}

#[tokio::test]
async fn a_fresh_key_and_its_hash_belong_together() {
    let dir = Dir::new();
    let ran = cli(BINARY, dir.path(), &["keys", "new", "--consumer", "alice", "--json"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let made = ran.json();
    let (key, hash) = (made["key"].as_str().unwrap(), made["hash"].as_str().unwrap());
    assert!(key.starts_with("lgk_") && hash.starts_with("lgk1:"), "{made}");
    let echo = Echo::start("a").await;
    let gateway = start(&config(&echo, hash)).await;
    let answer = gateway.ask("GET", "/keys/1", &[("X-API-Key", key)], "").await;
    assert_eq!(answer.status, 200);
    let answer = gateway.ask("GET", "/keys/1", &[("X-API-Key", hash)], "").await;
    assert_eq!(answer.status, 403, "a hash is no key");
    let ran = cli(BINARY, dir.path(), &["keys", "hash"]).await;
    assert_eq!(ran.code, 1, "there is nothing on stdin: {ran:?}");
}
