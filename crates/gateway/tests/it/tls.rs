//! TLS towards clients: certificates by SNI, versions, resumption, rotation, client certificates,
//! misdirected requests, and the way from http to https.

use lockgate_testkit::{
    Answer, Authority, Echo, Gateway, H2, Launch, Leaf, Socket, Wire, client_config, request, until,
};
use rustls::version::{TLS12, TLS13};

use crate::support::{launch, to};

fn with_leaf(launch: Launch, name: &str, leaf: &Leaf) -> Launch {
    launch.file(&format!("{name}.pem"), &leaf.cert).file(&format!("{name}.key"), &leaf.key)
}

/// A listener `web` with TLS, of these certificates and further settings.
fn listener(certificates: &[&str], more: &str) -> String {
    let pairs: Vec<String> = certificates
        .iter()
        .map(|name| format!("{{ cert: ./{name}.pem, key: ./{name}.key }}"))
        .collect();
    let pairs = pairs.join(", ");
    format!(
        "listeners:\n  web:\n    address: \"127.0.0.1:$WEB\"\n    tls:\n      \
         certificates: [{pairs}]\n{more}"
    )
}

async fn get(wire: &mut Wire, host: &str, path: &str) -> Answer {
    wire.ask(request("GET", path, &[("Host", host)], "")).await
}

async fn connect(gateway: &Gateway, ours: &Authority, name: &str) -> Wire {
    let config = client_config(ours, &["http/1.1"], &[], None);
    Wire::tls(gateway.web(), name, config).await.unwrap()
}

#[tokio::test]
async fn certificates_are_chosen_by_name() {
    let echo = Echo::start("a").await;
    let ours = Authority::new("ours");
    let (one, wild) = (ours.server(&["one.test"]), ours.server(&["*.wild.test", "wild.test"]));
    let launch = with_leaf(with_leaf(launch(), "one", &one), "wild", &wild);
    let gateway = launch.start(&(listener(&["one", "wild"], "") + &to(echo.address()))).await;
    for (name, leaf) in [
        ("one.test", &one),
        ("ONE.test", &one),
        ("a.wild.test", &wild),
        ("b.wild.test", &wild),
        ("wild.test", &wild),
    ] {
        let mut wire = connect(&gateway, &ours, name).await;
        assert_eq!(wire.certificates[0], leaf.der(), "{name}");
        assert_eq!(get(&mut wire, name, "/").await.status, 200, "{name}");
    }
    let config = client_config(&ours, &[], &[], None);
    for name in ["other.test", "a.b.wild.test"] {
        let error = Wire::tls(gateway.web(), name, config.clone()).await;
        assert!(error.is_err(), "{name}: the first certificate does not fit");
    }
}

#[tokio::test]
async fn a_host_that_the_certificate_does_not_speak_for_is_misdirected() {
    let echo = Echo::start("a").await;
    let ours = Authority::new("ours");
    let (one, two) = (ours.server(&["one.test"]), ours.server(&["two.test"]));
    let launch = with_leaf(with_leaf(launch(), "one", &one), "two", &two);
    let gateway = launch.start(&(listener(&["one", "two"], "") + &to(echo.address()))).await;
    let mut wire = connect(&gateway, &ours, "one.test").await;
    let answer = get(&mut wire, "two.test", "/").await;
    assert_eq!((answer.status, answer.reason()), (421, Some("misdirected")));
    assert_eq!(get(&mut wire, "one.test:8443", "/").await.status, 200, "a port does not matter");

    let config = client_config(&ours, &["h2"], &[], None);
    let mut h2 = H2::tls(gateway.web(), "one.test", config).await;
    assert_eq!(h2.get("two.test", "/").await.status, 421);
    assert_eq!(h2.get("one.test", "/").await.status, 200);
    assert_eq!(echo.hits(), 2);
}

#[tokio::test]
async fn both_versions_are_spoken_and_none_older() {
    let echo = Echo::start("a").await;
    let ours = Authority::new("ours");
    let launch = with_leaf(launch(), "one", &ours.server(&["one.test"]));
    let gateway = launch.start(&(listener(&["one"], "") + &to(echo.address()))).await;
    for (version, name) in [(&TLS12, "TLSv1_2"), (&TLS13, "TLSv1_3")] {
        let config = client_config(&ours, &[], &[version], None);
        let mut wire = Wire::tls(gateway.web(), "one.test", config).await.unwrap();
        assert_eq!(wire.version.as_deref(), Some(name));
        assert_eq!(get(&mut wire, "one.test", "/").await.status, 200);
    }
    // A ClientHello of TLS 1.1 is answered with an alert, not with a handshake.
    let mut wire = gateway.wire().await;
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    wire.send(&hello).await;
    while wire.fill().await.unwrap() {}
    assert!(matches!(wire.buffer.first(), None | Some(21)), "{:?}", wire.buffer);
}

#[tokio::test]
async fn sessions_are_resumed() {
    let echo = Echo::start("a").await;
    let ours = Authority::new("ours");
    let launch = with_leaf(launch(), "one", &ours.server(&["one.test"]));
    let config = listener(&["one"], "") + "workers: 2\n" + &to(echo.address());
    let gateway = launch.start(&config).await;
    for version in [&TLS12, &TLS13] {
        let config = client_config(&ours, &[], &[version], None);
        let mut first = Wire::tls(gateway.web(), "one.test", config.clone()).await.unwrap();
        assert!(!first.resumed);
        assert_eq!(get(&mut first, "one.test", "/").await.status, 200);
        for _ in 0..4 {
            let mut again = Wire::tls(gateway.web(), "one.test", config.clone()).await.unwrap();
            assert!(again.resumed, "{version:?}, whichever worker it meets");
            assert_eq!(get(&mut again, "one.test", "/").await.status, 200);
        }
    }
}

#[tokio::test]
async fn changed_certificates_are_served_and_open_connections_live_on() {
    let echo = Echo::start("a").await;
    let ours = Authority::new("ours");
    let (old, new) = (ours.server(&["one.test"]), ours.server(&["one.test"]));
    let launch = with_leaf(launch(), "one", &old);
    let gateway = launch.start(&(listener(&["one"], "") + &to(echo.address()))).await;
    let mut open = connect(&gateway, &ours, "one.test").await;
    assert_eq!(open.certificates[0], old.der());
    gateway.dir().write("one.key", &new.key);
    gateway.dir().write("one.pem", &new.cert);
    until("the new certificate", async || {
        let wire = connect(&gateway, &ours, "one.test").await;
        wire.certificates[0] == new.der()
    })
    .await;
    assert_eq!(get(&mut open, "one.test", "/").await.status, 200);
}

#[tokio::test]
async fn a_broken_certificate_file_keeps_the_old_one() {
    let echo = Echo::start("a").await;
    let ours = Authority::new("ours");
    let old = ours.server(&["one.test"]);
    let launch = with_leaf(launch(), "one", &old);
    let gateway = launch.start(&(listener(&["one"], "") + &to(echo.address()))).await;
    gateway.dir().write("one.pem", "not a certificate");
    until("a word about it", async || gateway.said().contains("one.pem")).await;
    let mut wire = connect(&gateway, &ours, "one.test").await;
    assert_eq!(wire.certificates[0], old.der());
    assert_eq!(get(&mut wire, "one.test", "/").await.status, 200);
}

async fn with_clients(auth: &str, ours: &Authority, clients: &Authority, echo: &Echo) -> Gateway {
    let more = format!("      client_ca: ./clients.pem\n      client_auth: {auth}\n");
    let launch = with_leaf(launch(), "one", &ours.server(&["one.test"]));
    let launch = launch.file("clients.pem", &clients.pem);
    launch.start(&(listener(&["one"], &more) + &to(echo.address()))).await
}

#[tokio::test]
async fn a_required_client_certificate_is_required_and_handed_on() {
    let echo = Echo::start("a").await;
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let gateway = with_clients("require", &ours, &clients, &echo).await;
    let leaf = clients.client("alice");
    let config = client_config(&ours, &["http/1.1"], &[], Some(&leaf));
    let mut wire = Wire::tls(gateway.web(), "one.test", config).await.unwrap();
    let forged = [("Host", "one.test"), ("X-Client-Cert-Subject", "CN=root")];
    let answer = wire.ask(request("GET", "/", &forged, "")).await;
    assert_eq!(answer.status, 200);
    let subjects = answer.seen_all("x-client-cert-subject");
    assert_eq!(subjects.len(), 1);
    assert!(subjects[0].contains("alice") && !subjects[0].contains("root"), "{subjects:?}");

    let strangers = Authority::new("strangers").client("mallory");
    for shown in [None, Some(&strangers)] {
        let config = client_config(&ours, &["http/1.1"], &[], shown);
        // With TLS 1.3 the client learns of it only when it reads.
        if let Ok(mut wire) = Wire::tls(gateway.web(), "one.test", config).await {
            wire.send(request("GET", "/", &[("Host", "one.test")], "")).await;
            assert!(wire.answer_to("GET").await.is_err());
        }
    }
    assert_eq!(echo.hits(), 1);
}

#[tokio::test]
async fn a_requested_client_certificate_may_be_missing() {
    let echo = Echo::start("a").await;
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let gateway = with_clients("request", &ours, &clients, &echo).await;
    let mut wire = connect(&gateway, &ours, "one.test").await;
    let forged = [("Host", "one.test"), ("X-Client-Cert-Subject", "CN=root")];
    let answer = wire.ask(request("GET", "/", &forged, "")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.seen("x-client-cert-subject"), None);
    let leaf = clients.client("alice");
    let config = client_config(&ours, &["http/1.1"], &[], Some(&leaf));
    let mut wire = Wire::tls(gateway.web(), "one.test", config).await.unwrap();
    let answer = get(&mut wire, "one.test", "/").await;
    assert!(answer.seen("x-client-cert-subject").unwrap().contains("alice"));
}

#[tokio::test]
async fn listeners_stand_side_by_side_and_http_leads_to_https() {
    let echo = Echo::start("a").await;
    let ours = Authority::new("ours");
    let launch = with_leaf(launch(), "one", &ours.server(&["one.test"]));
    let config = format!(
        "listeners:\n  web: {{ address: \"127.0.0.1:$WEB\", redirect_https: $TLS }}\n  \
         safe:\n    address: \"127.0.0.1:$TLS\"\n    tls: {{ certificates: [{{ cert: one.pem, \
         key: one.key }}] }}\n{}",
        to(echo.address())
    );
    let gateway = launch.start(&config).await;
    let answer = gateway.ask("POST", "/x?y=1", &[("Host", "one.test")], "body").await;
    let port = gateway.at("TLS").port();
    assert_eq!(answer.status, 308);
    let location = format!("https://one.test:{port}/x?y=1");
    assert_eq!(answer.header("location"), Some(location.as_str()));
    assert_eq!(echo.hits(), 0, "nothing is served in plain text");

    let config = client_config(&ours, &[], &[], None);
    let mut wire = Wire::tls(gateway.at("TLS"), "one.test", config).await.unwrap();
    let answer = get(&mut wire, "one.test", "/").await;
    assert_eq!(answer.seen("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(answer.seen("x-forwarded-port"), Some(port.to_string()));
}

#[tokio::test]
async fn a_websocket_runs_over_tls() {
    let echo = Echo::start("a").await;
    let ours = Authority::new("ours");
    let launch = with_leaf(launch(), "one", &ours.server(&["one.test"]));
    let gateway = launch.start(&(listener(&["one"], "") + &to(echo.address()))).await;
    let wire = connect(&gateway, &ours, "one.test").await;
    let mut socket = Socket::open(wire, "/ws", &[("Host", "one.test")]).await.unwrap();
    socket.echoes("hello").await;
    socket.echoes(&"long ".repeat(50_000)).await;
}

#[tokio::test]
async fn what_is_no_handshake_hurts_nobody() {
    let echo = Echo::start("a").await;
    let ours = Authority::new("ours");
    let launch = with_leaf(launch(), "one", &ours.server(&["one.test"]));
    let gateway = launch.start(&(listener(&["one"], "") + &to(echo.address()))).await;
    let plain = request("GET", "/", &[], "").into_bytes();
    for bytes in [plain, vec![0; 5000], b"\x16\x03\x01\xff\xff".repeat(100), vec![22, 3]] {
        let mut wire = gateway.wire().await;
        wire.send(&bytes).await;
        wire.half_close().await;
        while wire.fill().await.unwrap() {}
    }
    let mut wire = connect(&gateway, &ours, "one.test").await;
    assert_eq!(get(&mut wire, "one.test", "/").await.status, 200);
    assert_eq!(echo.hits(), 1);
}

#[tokio::test]
async fn a_refused_reload_renews_no_certificate() {
    let echo = Echo::start("a").await;
    let ours = Authority::new("ours");
    let (old, new) = (ours.server(&["one.test"]), ours.server(&["one.test"]));
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let good = listener(&["one"], "") + &to(echo.address());
    let gateway = with_leaf(launch(), "one", &old).start(&good).await;
    let refused = async || {
        gateway.metrics().await.sum("lockgate_config_reloads_total", &[("result", "refused")])
    };
    // Its last listener, by name, cannot be had: the port is another's.
    let bad = listener(&["one"], &format!("  xtra: \"127.0.0.1:{port}\"\n"));
    gateway.rewrite(&(bad + &to(echo.address())));
    until("the refusal", async || refused().await > 0.0).await;
    gateway.dir().write("one.pem", &new.cert);
    gateway.dir().write("one.key", &new.key);
    let before = refused().await;
    gateway.signal("HUP");
    until("another refusal", async || refused().await > before).await;
    assert_eq!(connect(&gateway, &ours, "one.test").await.certificates[0], old.der());
    gateway.rewrite(&good);
    until("the new certificate", async || {
        connect(&gateway, &ours, "one.test").await.certificates[0] == new.der()
    })
    .await;
}
