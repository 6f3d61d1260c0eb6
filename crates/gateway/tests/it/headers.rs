//! What the upstream is told of the client, and what does not pass a hop.

use lockgate_testkit::{Echo, H2, Pieces};

use crate::support::{pool, start, start_to, to, upstream};

#[tokio::test]
async fn the_way_of_a_request_is_stated() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let answer = gateway.ask("GET", "/", &[("Host", "a.test:81")], "").await;
    assert_eq!(answer.seen_all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(answer.seen_all("x-forwarded-proto"), ["http"]);
    assert_eq!(answer.seen_all("x-forwarded-host"), ["a.test:81"]);
    assert_eq!(answer.seen_all("x-forwarded-port"), [gateway.web().port().to_string()]);
    let forwarded = answer.seen("forwarded").unwrap().to_ascii_lowercase();
    assert!(forwarded.contains("for=127.0.0.1"), "{forwarded}");
    assert!(forwarded.contains("proto=http"), "{forwarded}");
    assert!(forwarded.contains("host=\"a.test:81\""), "{forwarded}");
    assert!(answer.seen("via").unwrap().starts_with("1.1 "));
    assert_eq!(answer.seen_all("host"), ["a.test:81"], "the Host is kept");
}

#[tokio::test]
async fn each_request_of_a_connection_has_its_own_way_stated() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    let asked = [
        ("a.test", "1.1", "X-Request-Id: mine\r\n"),
        ("a.test", "1.1", ""),
        ("b.test", "1.1", ""),
        ("b.test", "1.0", "Connection: keep-alive\r\n"),
        ("a.test", "1.1", "X-Request-Id: not one\r\n"),
    ];
    let mut ids = Vec::new();
    for (host, version, more) in asked {
        let head = format!("GET / HTTP/{version}\r\nHost: {host}\r\n{more}\r\n");
        let answer = wire.ask(head).await;
        assert_eq!(answer.seen_all("x-forwarded-host"), [host]);
        assert_eq!(answer.seen_all("via"), [format!("{version} lockgate")]);
        let forwarded = format!("for=127.0.0.1;host=\"{host}\";proto=http");
        assert_eq!(answer.seen_all("forwarded"), [forwarded]);
        assert_eq!(answer.seen_all("x-request-id"), [answer.header("x-request-id").unwrap()]);
        ids.push(answer.header("x-request-id").unwrap().to_owned());
    }
    assert_eq!(ids[0], "mine");
    assert!(ids[1..].iter().all(|id| id.len() == 32), "{ids:?}");
    assert!(ids[1] != ids[2], "{ids:?}");
}

const FORGED: [(&str, &str); 9] = [
    ("X-Forwarded-For", "6.6.6.6"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.test"),
    ("X-Forwarded-Port", "443"),
    ("Forwarded", "for=6.6.6.6;proto=https"),
    ("X-Real-IP", "6.6.6.6"),
    ("X_Forwarded_For", "6.6.6.6"),
    ("X-User-Id", "root"),
    ("X-Authenticated", "true"),
];

#[tokio::test]
async fn a_clients_own_word_for_it_is_dropped() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let answer = gateway.ask("GET", "/", &FORGED, "").await;
    assert_eq!(answer.seen_all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(answer.seen_all("x-forwarded-proto"), ["http"]);
    assert_eq!(answer.seen_all("x-forwarded-host"), ["example.test"]);
    assert!(!answer.seen("forwarded").unwrap().contains("6.6.6.6"));
    for name in ["x_forwarded_for", "x-user-id", "x-authenticated"] {
        assert_eq!(answer.seen(name), None, "{name}");
    }
    assert!(!answer.text().contains("6.6.6.6"), "{}", answer.text());
    let line = gateway.logged(|_| true).await;
    assert_eq!(line["client_ip"], "127.0.0.1");
}

#[tokio::test]
async fn a_policy_changes_nothing_of_what_is_stated_and_may_look_at_it() {
    let echo = Echo::start("a").await;
    let to = echo.address();
    let set = "set: { X-Forwarded-For: 6.6.6.6, Forwarded: for=6.6.6.6, X-A: b }";
    let add = "add: { X-Request-Id: forged }";
    let told = "set: { X-Told: \"${header:X-Forwarded-For}\" }";
    let gateway = start(&format!(
        "routes:\n  /set: {{ headers: {{ request: {{ {set}, {add} }} }}, to: \"http://{to}\" }}\n  \
         /told: {{ headers: {{ response: {{ {told} }} }}, to: \"http://{to}\" }}\n  \
         /plain: {{ headers: {{ request: {{ set: {{ X-A: b }} }} }}, to: \"http://{to}\" }}\n"
    ))
    .await;
    for path in ["/set", "/told", "/plain"] {
        for _ in 0..2 {
            let answer = gateway.ask("GET", path, &[("X-Request-Id", "mine")], "").await;
            assert_eq!(answer.seen_all("x-forwarded-for"), ["127.0.0.1"], "{path}");
            assert_eq!(answer.seen_all("x-forwarded-host"), ["example.test"], "{path}");
            let forwarded = "for=127.0.0.1;host=\"example.test\";proto=http";
            assert_eq!(answer.seen_all("forwarded"), [forwarded], "{path}");
            assert_eq!(answer.seen_all("x-request-id"), ["mine"], "{path}");
            assert_eq!(answer.seen_all("via"), ["1.1 lockgate"], "{path}");
            let told = (path == "/told").then_some("127.0.0.1");
            assert_eq!(answer.header("x-told"), told, "{path}");
            assert_eq!(answer.seen("x-a").is_some(), path != "/told", "{path}");
        }
    }
}

#[tokio::test]
async fn a_trusted_proxys_chain_is_continued() {
    let echo = Echo::start("a").await;
    let config = format!("trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]\n{}", to(echo.address()));
    let gateway = start(&config).await;
    let chain = [
        ("X-Forwarded-For", "6.6.6.6, 1.2.3.4, 10.0.0.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-User-Id", "root"),
    ];
    let answer = gateway.ask("GET", "/", &chain, "").await;
    assert_eq!(answer.seen_all("x-forwarded-for"), ["6.6.6.6, 1.2.3.4, 10.0.0.7, 127.0.0.1"]);
    assert_eq!(answer.seen_all("x-forwarded-proto"), ["https"]);
    assert_eq!(answer.seen("x-user-id"), None, "an identity is nobody's to state");
    let line = gateway.logged(|_| true).await;
    assert_eq!(line["client_ip"], "1.2.3.4", "the nearest that is not a trusted proxy");
}

#[tokio::test]
async fn what_is_of_one_hop_does_not_go_up() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let sent = [
        ("Connection", "keep-alive, X-Private, X-Other"),
        ("X-Private", "1"),
        ("X-Other", "2"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("TE", "gzip"),
        ("X-Public", "3"),
        ("Authorization", "Bearer t"),
    ];
    let answer = gateway.ask("GET", "/", &sent, "").await;
    for name in
        ["x-private", "x-other", "keep-alive", "proxy-connection", "proxy-authorization", "te"]
    {
        assert_eq!(answer.seen(name), None, "{name}");
    }
    assert_eq!(answer.seen("x-public").as_deref(), Some("3"));
    assert_eq!(answer.seen("authorization").as_deref(), Some("Bearer t"));
}

#[tokio::test]
async fn connection_cannot_disarm_the_gateway() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let named = "close, Host, X-Forwarded-For, Forwarded, Authorization, Cookie, X-Request-Id";
    let sent = [("Connection", named), ("Authorization", "Bearer t"), ("Cookie", "a=b")];
    let answer = gateway.ask("GET", "/", &sent, "").await;
    for name in ["host", "x-forwarded-for", "forwarded", "authorization", "cookie", "x-request-id"]
    {
        assert!(answer.seen(name).is_some(), "{name}");
    }
}

#[tokio::test]
async fn what_is_of_one_hop_does_not_come_down() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let answer = gateway.get("/headers").await;
    for name in ["x-private", "keep-alive", "proxy-authenticate"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert!(answer.all("connection").all(|value| !value.contains("x-private")));
    assert_eq!(answer.header("x-public"), Some("of the end"));
}

#[tokio::test]
async fn te_trailers_passes_for_grpc() {
    let echo = Echo::h2c("a").await;
    let gateway = start(&pool(&[echo.address()], "http2: true")).await;
    let mut h2 = H2::plain(gateway.web()).await;
    let request = h2.request("GET", "a.test", "/").header("te", "trailers");
    let answer = h2.ask(request.body(Pieces::whole("")).unwrap()).await.unwrap();
    assert_eq!(answer.seen("te").as_deref(), Some("trailers"));
    assert!(answer.seen("via").unwrap().starts_with("2"), "{:?}", answer.seen("via"));
}

#[tokio::test]
async fn a_request_has_one_id() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let made = gateway.get("/made").await;
    let id = made.header("x-request-id").unwrap().to_owned();
    assert!(id.len() >= 16, "{id}");
    assert_eq!(made.seen_all("x-request-id"), std::slice::from_ref(&id));
    assert_eq!(gateway.logged(|line| line["path"] == "/made").await["id"], id.as_str());
    let other = gateway.get("/other").await;
    assert_ne!(other.header("x-request-id"), Some(id.as_str()));

    let kept = gateway.ask("GET", "/kept", &[("X-Request-Id", "abc-123")], "").await;
    assert_eq!(kept.header("x-request-id"), Some("abc-123"));
    assert_eq!(kept.seen_all("x-request-id"), ["abc-123"]);

    let long = "x".repeat(1000);
    for bad in ["a b", "<script>", long.as_str()] {
        let answer = gateway.ask("GET", "/bad", &[("X-Request-Id", bad)], "").await;
        assert_ne!(answer.header("x-request-id"), Some(bad));
        assert_ne!(answer.seen("x-request-id").as_deref(), Some(bad));
    }
}

#[tokio::test]
async fn the_host_may_be_changed() {
    let echo = Echo::start("a").await;
    let address = echo.address();
    let config = format!(
        "upstreams:\n{}{}routes:\n  /keep/*: {{ to: keep }}\n  /own/*: {{ to: own }}\n  \
         /set/*: {{ to: keep, rewrite: {{ host: inner.test }} }}\n  \
         /both/*: {{ to: own, rewrite: {{ host: inner.test }} }}\n",
        upstream("keep", &[address], ""),
        upstream("own", &[address], "host: endpoint"),
    );
    let gateway = start(&config).await;
    let own = address.to_string();
    for (path, host) in [
        ("/keep/", "example.test"),
        ("/own/", own.as_str()),
        ("/set/", "inner.test"),
        // The route's word stands over the upstream's.
        ("/both/", "inner.test"),
    ] {
        let answer = gateway.get(path).await;
        assert_eq!(answer.seen_all("host"), [host]);
        assert_eq!(answer.seen_all("x-forwarded-host"), ["example.test"], "{path}");
    }
}

#[tokio::test]
async fn words_of_the_request_stand_in_headers() {
    let echo = Echo::start("a").await;
    let config = format!(
        "routes:\n  /users/{{id}}:\n    headers:\n      request:\n        set: {{ X-Ip: \"${{ip}}\", \
         X-Id: \"${{path:id}} $${{id}} ${{env:WHERE}}\", X-Caller: \"${{consumer}}\" }}\n      \
         response: {{ set: {{ X-Request: \"${{request_id}}\" }} }}\n    to: \"http://{}\"\n",
        echo.address()
    );
    let gateway = crate::support::launch().env("WHERE", "${ip}").start(&config).await;
    let answer = gateway.ask("GET", "/users/7", &[("X-Caller", "root")], "").await;
    assert_eq!(answer.seen_all("x-ip"), ["127.0.0.1"]);
    assert_eq!(answer.seen_all("x-id"), ["7 ${id} ${ip}"]);
    assert_eq!(answer.seen("x-caller"), None);
    assert_eq!(answer.header("x-request"), answer.header("x-request-id"));
}
