//! The admin pages on a public listener: the same paths, behind `auth` with the role `admin`.

use lockgate_testkit::{Answer, Echo, Gateway, Wire, request};

use crate::support::{cli_on, launch, upstream};

fn config(echo: &Echo) -> String {
    format!(
        "listeners: {{ web: \"127.0.0.1:$WEB\", other: \"127.0.0.1:$OTHER\" }}\n\
         admin: {{ address: \"127.0.0.1:$ADMIN\", state_dir: \"$DIR/state\", also_on: web, auth: keys }}\n\
         identity: {{ keys: {{ api_key: {{}} }} }}\n\
         consumers:\n  \
         root: {{ api_keys: [\"${{env:ROOT_KEY}}\"], roles: [admin] }}\n  \
         alice: {{ api_keys: [\"${{env:ALICE_KEY}}\"], roles: [teller] }}\n\
         upstreams:\n{}routes:\n  /*: {{ to: pool }}\n  /metrics: {{ to: pool }}\n",
        upstream("pool", &[echo.address()], "")
    )
}

async fn start(echo: &Echo) -> Gateway {
    let launch = launch().env("ROOT_KEY", "key-of-root-1").env("ALICE_KEY", "key-of-alice-1");
    launch.start(&config(echo)).await
}

async fn ask(gateway: &Gateway, at: &str, method: &str, path: &str, key: &str) -> Answer {
    ask_with(gateway, at, method, path, &[("X-API-Key", key)], "").await
}

async fn ask_with(
    gateway: &Gateway,
    at: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let headers: Vec<_> =
        [("Host", "gw.example")].into_iter().chain(headers.iter().copied()).collect();
    let headers: Vec<_> = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let mut wire = Wire::connect(gateway.at(at)).await;
    wire.ask(request(method, path, &headers, body)).await
}

#[tokio::test]
async fn one_logs_out_where_one_has_logged_in() {
    let echo = Echo::start("a").await;
    let config = config(&echo).replace("also_on:", "token: let-me-in-please, also_on:");
    // Its name is no log-in.
    let config = config.replace("  root:", "  the dashboard:");
    let launch = launch().env("ROOT_KEY", "key-of-root-1").env("ALICE_KEY", "key-of-alice-1");
    let gateway = launch.start(&config).await;
    let there = ask(&gateway, "WEB", "GET", "/admin/status", "key-of-root-1").await;
    assert_eq!(there.status, 200, "{}", there.text());
    assert!(!there.text().contains("Log out"), "{}", there.text());
    let token = [("Authorization", "Bearer let-me-in-please")];
    let borne = ask_with(&gateway, "ADMIN", "GET", "/admin/status", &token, "").await;
    assert!(borne.status == 200 && !borne.text().contains("Log out"), "{}", borne.text());
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let text = "token=let-me-in-please";
    let given = ask_with(&gateway, "ADMIN", "POST", "/admin/login", &form, text).await;
    let cookie = given.header("set-cookie").unwrap().split(';').next().unwrap();
    let own = ask_with(&gateway, "ADMIN", "GET", "/admin/status", &[("Cookie", cookie)], "").await;
    assert!(own.text().contains("Log out"), "{}", own.text());
}

#[tokio::test]
async fn only_an_admin_sees_them_there() {
    let echo = Echo::start("a").await;
    let gateway = start(&echo).await;
    let status = async |path: &str, key: &str| ask(&gateway, "WEB", "GET", path, key).await.status;
    for path in ["/admin/status", "/admin/config", "/admin", "/admin/upgrade", "/admin/%63onfig"] {
        assert_eq!(status(path, "").await, 401, "{path}");
        assert_eq!(status(path, "nonsense").await, 403, "{path}");
        assert_eq!(status(path, "key-of-alice-1").await, 403, "{path}");
    }
    assert_eq!(status("/admin/status", "key-of-root-1").await, 200);
    assert_eq!(status("/admin/config", "key-of-root-1").await, 200);
    assert_eq!(status("/admin/%63onfig", "key-of-root-1").await, 200);
    assert_eq!(status("/admin/nothing", "key-of-root-1").await, 404);
    // What is public, and what a route has as its own.
    let health = ask(&gateway, "WEB", "GET", "/health", "").await;
    assert_eq!((health.status, health.json()["status"].as_str()), (200, Some("ok")));
    assert_eq!(ask(&gateway, "WEB", "GET", "/admin/ready", "").await.status, 200);
    assert_eq!(ask(&gateway, "WEB", "GET", "/metrics", "").await.endpoint(), "a");
    // On another listener these are paths like all others.
    assert_eq!(ask(&gateway, "OTHER", "GET", "/admin/status", "").await.endpoint(), "a");
    assert_eq!(ask(&gateway, "WEB", "GET", "/administrators", "").await.endpoint(), "a");
    // The own listener is as it was.
    assert_eq!(gateway.admin("GET", "/admin/config", "").await.status, 200);
}

#[tokio::test]
async fn what_is_public_is_only_looked_at() {
    let echo = Echo::start("a").await;
    let public =
        "[/health, /admin/config, /admin/config/changes, /admin/reload, /admin/routes/new]";
    let config = config(&echo)
        .replace("also_on:", &format!("token: let-me-in-please, public: {public}, also_on:"));
    let launch = launch().env("ROOT_KEY", "key-of-root-1").env("ALICE_KEY", "key-of-alice-1");
    let gateway = launch.start(&config).await;
    let body = "{\"to\": \"pool\"}";
    for at in ["WEB", "ADMIN"] {
        assert_eq!(ask(&gateway, at, "GET", "/admin/config", "").await.status, 200, "{at}");
        let mut wire = Wire::connect(gateway.at(at)).await;
        wire.send(request("HEAD", "/admin/config", &[("Host", "gw.example")], "")).await;
        assert_eq!(wire.head("HEAD").await.unwrap().status, 200, "{at}");
        for (method, path) in [
            ("PUT", "/admin/config"),
            ("OPTIONS", "/admin/config"),
            ("DELETE", "/admin/config/changes"),
            ("POST", "/admin/reload"),
            ("PUT", "/admin/routes/new"),
            ("DELETE", "/admin/routes/new"),
            ("POST", "/health"),
        ] {
            let refused = ask_with(&gateway, at, method, path, &[], body).await;
            assert_eq!(refused.status, 401, "{at} {method} {path}: {}", refused.text());
        }
    }
    let config = ask(&gateway, "WEB", "GET", "/health", "").await;
    assert_eq!(config.json()["generation"], 1, "nobody has changed anything");
    let by_name = [("X-API-Key", "key-of-root-1")];
    let made = ask_with(&gateway, "WEB", "PUT", "/admin/routes/new", &by_name, body).await;
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(ask(&gateway, "WEB", "POST", "/health", "key-of-root-1").await.status, 405);
    let told = async |method: &str| {
        let path = format!("/admin/explain?method={method}&url=http://gw.example/admin/config");
        ask(&gateway, "WEB", "GET", &path, "key-of-root-1").await.text()
    };
    assert!(told("GET").await.contains("open to all"), "{}", told("GET").await);
    assert!(told("PUT").await.contains("behind `admin.auth`"), "{}", told("PUT").await);
}

#[tokio::test]
async fn changes_are_made_there_by_name_and_not_by_pages_of_others() {
    let echo = Echo::start("a").await;
    let gateway = start(&echo).await;
    let path = "/admin/routes/new";
    let body = "{\"to\": {\"respond\": {\"status\": 418}}}";
    let key = ("X-API-Key", "key-of-root-1");
    let foreign = [key, ("Origin", "https://evil.example")];
    let refused = ask_with(&gateway, "WEB", "PUT", path, &foreign, body).await;
    assert_eq!((refused.status, refused.json()["reason"].as_str()), (403, Some("web_page")));
    let own = [key, ("Origin", "http://gw.example")];
    assert_eq!(ask_with(&gateway, "WEB", "PUT", path, &own, body).await.status, 200);
    assert_eq!(gateway.get("/new").await.status, 418);
    let versions = ask(&gateway, "WEB", "GET", "/admin/config/history", "key-of-root-1").await;
    assert_eq!(versions.json()["versions"][0]["who"], "root from 127.0.0.1");
    assert!(gateway.said().contains("\"who\":\"root from 127.0.0.1\""), "{}", gateway.said());
}

#[tokio::test]
async fn events_flow_and_end_with_their_reader() {
    let echo = Echo::start("a").await;
    let gateway = start(&echo).await;
    // More than may listen at once, one after the other: each leaves its place.
    for _ in 0..20 {
        let mut wire = Wire::connect(gateway.web()).await;
        let headers = [("Host", "gw.example"), ("X-API-Key", "key-of-root-1")];
        wire.send(request("GET", "/admin/events", &headers, "")).await;
        let mut head = wire.head("GET").await.unwrap();
        assert_eq!(head.status, 200);
        let piece = wire.piece(&mut head).await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&piece).contains("event"), "{piece:?}");
    }
}

#[tokio::test]
async fn who_guesses_is_slowed() {
    let echo = Echo::start("a").await;
    let gateway = start(&echo).await;
    let mut last = 0;
    for _ in 0..40 {
        last = ask(&gateway, "WEB", "GET", "/admin/config", "guess").await.status;
    }
    assert_eq!(last, 429);
}

/// By connections that say they will send something, and by such as do not read.
#[tokio::test]
async fn who_is_unknown_takes_no_place_from_others() {
    let echo = Echo::start("a").await;
    let gateway = start(&echo).await;
    let mut held = Vec::new();
    for n in 0..140 {
        let mut wire = Wire::connect(gateway.web()).await;
        let kind = if n % 2 == 0 { "Transfer-Encoding: chunked" } else { "Content-Length: 9" };
        wire.send(format!("GET /health HTTP/1.1\r\nHost: gw.example\r\n{kind}\r\n\r\n")).await;
        held.push(wire);
    }
    // The limit of one address is on, but no place is taken.
    let refused = held.last_mut().unwrap().answer().await;
    assert!([413, 429].contains(&refused.status), "{}", refused.text());
    let seen = ask(&gateway, "WEB", "GET", "/admin/status", "key-of-root-1").await;
    assert_eq!(seen.status, 200, "{}", seen.text());
    let first = held.first_mut().unwrap().answer().await;
    assert_eq!((first.status, first.json()["reason"].as_str()), (413, Some("too_large")));
}

#[tokio::test]
async fn it_is_never_without_auth() {
    for (admin, wanted) in [
        ("also_on: web", "need `auth`"),
        ("also_on: web, auth: off", "need `auth`"),
        ("also_on: web, auth: nobody", "nobody"),
        ("also_on: web, auth: { any_of: keys, roles: [teller] }", "`roles` cannot be said here"),
        ("also_on: web, auth: { any_of: keys, optional: true }", "`optional` cannot be said here"),
    ] {
        let config = format!(
            "admin: {{ {admin} }}\nidentity: {{ keys: {{ api_key: {{}} }} }}\nroutes: {{ /*: {{ \
             to: {{ respond: {{ status: 200 }} }} }} }}\n"
        );
        let ran = cli_on(&config, &["check", "lockgate.yaml"]).await;
        assert_eq!(ran.code, 1, "{admin}: {}{}", ran.stdout, ran.stderr);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains(wanted), "{admin}: {said}");
    }
}
