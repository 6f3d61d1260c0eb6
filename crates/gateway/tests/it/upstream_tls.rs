//! TLS towards upstreams: verified always, with a name, an authority and a client certificate.

use lockgate_testkit::{Authority, Echo, Port, Socket, request, server_config, until};

use crate::support::{launch, pool, start};

#[tokio::test]
async fn a_named_authority_and_name_are_verified() {
    let theirs = Authority::new("theirs");
    let leaf = theirs.server(&["up.test"]);
    let echo = Echo::tls("a", server_config(&leaf, &["http/1.1"], None)).await;
    let config = pool(&[echo.address()], "tls: { ca: ./ca.pem, sni: up.test }\noutlier: off");
    let gateway = launch().file("ca.pem", &theirs.pem).start(&config).await;
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.endpoint()), (200, "a"));
}

#[tokio::test]
async fn what_cannot_be_verified_is_refused() {
    let theirs = Authority::new("theirs");
    let leaf = theirs.server(&["up.test"]);
    for (case, tls) in [
        ("the system's authorities", "{ sni: up.test }"),
        ("another authority", "{ ca: ./other.pem, sni: up.test }"),
        ("another name", "{ ca: ./ca.pem, sni: down.test }"),
        ("the address as name", "{ ca: ./ca.pem }"),
    ] {
        let echo = Echo::tls("a", server_config(&leaf, &[], None)).await;
        let config = pool(&[echo.address()], &format!("tls: {tls}\noutlier: off"));
        let gateway = launch()
            .file("ca.pem", &theirs.pem)
            .file("other.pem", Authority::new("theirs").pem)
            .start(&config)
            .await;
        let answer = gateway.get("/").await;
        assert_eq!((answer.status, answer.reason()), (502, Some("upstream_tls")), "{case}");
        assert_eq!(echo.hits(), 0, "{case}");
    }
}

#[tokio::test]
async fn a_url_with_https_is_verified_too() {
    let leaf = Authority::new("theirs").server(&["127.0.0.1"]);
    let echo = Echo::tls("a", server_config(&leaf, &[], None)).await;
    let config = format!("routes:\n  /*: {{ to: \"https://{}\" }}\n", echo.address());
    let gateway = start(&config).await;
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.reason()), (502, Some("upstream_tls")));
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let (theirs, ours) = (Authority::new("theirs"), Authority::new("ours"));
    let leaf = theirs.server(&["up.test"]);
    let echo = Echo::tls("a", server_config(&leaf, &[], Some(&ours))).await;
    let shown = ours.client("gateway");
    let tls = "tls: { ca: ./ca.pem, sni: up.test, cert: ./c.pem, key: ./c.key }\noutlier: off";
    let gateway = launch()
        .file("ca.pem", &theirs.pem)
        .file("c.pem", &shown.cert)
        .file("c.key", &shown.key)
        .start(&pool(&[echo.address()], tls))
        .await;
    let answer = gateway.get("/").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["certified"], true);

    let without = "tls: { ca: ./ca.pem, sni: up.test }\noutlier: off";
    let gateway =
        launch().file("ca.pem", &theirs.pem).start(&pool(&[echo.address()], without)).await;
    assert_eq!(gateway.get("/").await.status, 502);
}

#[tokio::test]
async fn http2_is_agreed_on_or_not() {
    let theirs = Authority::new("theirs");
    let leaf = theirs.server(&["up.test"]);
    let settings = "tls: { ca: ./ca.pem, sni: up.test }\nhttp2: true\noutlier: off";
    for (alpn, version) in [("h2", "HTTP/2.0"), ("http/1.1", "HTTP/1.1")] {
        let echo = Echo::tls("a", server_config(&leaf, &[alpn], None)).await;
        let config = pool(&[echo.address()], settings);
        let gateway = launch().file("ca.pem", &theirs.pem).start(&config).await;
        let answer = gateway.get("/").await;
        assert_eq!(answer.status, 200, "{alpn}: {answer:?}");
        assert_eq!(answer.json()["version"], version);
    }
}

#[tokio::test]
async fn plain_text_is_not_spoken_instead() {
    let echo = Echo::start("a").await;
    let gateway = start(&pool(&[echo.address()], "tls: {}\noutlier: off")).await;
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.reason()), (502, Some("upstream_tls")));
    assert_eq!(echo.hits(), 0);
}

#[tokio::test]
async fn http2_is_negotiated_unless_the_file_says() {
    let theirs = Authority::new("theirs");
    let leaf = theirs.server(&["up.test"]);
    for (offered, said, version) in [
        (["h2", "http/1.1"].as_slice(), "", "HTTP/2.0"),
        (&["http/1.1"], "", "HTTP/1.1"),
        (&[], "", "HTTP/1.1"),
        (&["h2", "http/1.1"], "\nhttp2: false", "HTTP/1.1"),
    ] {
        let echo = Echo::tls("a", server_config(&leaf, offered, None)).await;
        let settings = format!("tls: {{ ca: ./ca.pem, sni: up.test }}\noutlier: off{said}");
        let config = pool(&[echo.address()], &settings);
        let gateway = launch().file("ca.pem", &theirs.pem).start(&config).await;
        for _ in 0..3 {
            let answer = gateway.get("/").await;
            assert_eq!(answer.json()["version"], version, "{offered:?}{said}");
        }
        assert_eq!(echo.connections(), 1, "{offered:?}{said}");
        // A protocol switch has a connection of its own, and HTTP/1.1.
        let mut socket = Socket::open(gateway.wire().await, "/ws", &[]).await.unwrap();
        socket.echoes("over HTTP/1.1").await;
    }
}

#[tokio::test]
async fn the_first_requests_share_the_connection_that_is_being_made() {
    let theirs = Authority::new("theirs");
    let leaf = theirs.server(&["up.test"]);
    let echo = Echo::tls("a", server_config(&leaf, &["h2"], None)).await;
    let config = pool(&[echo.address()], "tls: { ca: ./ca.pem, sni: up.test }\noutlier: off");
    let gateway = launch().file("ca.pem", &theirs.pem).start(&config).await;
    let mut wires = Vec::new();
    for _ in 0..20 {
        wires.push(gateway.wire().await);
    }
    for wire in &mut wires {
        wire.send(request("GET", "/delay/100", &[], "")).await;
    }
    for wire in &mut wires {
        assert_eq!(wire.answer().await.status, 200);
    }
    assert_eq!((echo.hits(), echo.connections()), (20, 1));
}

#[tokio::test]
async fn all_who_wait_for_a_connection_hear_that_there_is_none() {
    let port = Port::reserve();
    let settings = "http2: true\noutlier: off\nretry: { attempts: 0 }";
    let gateway = start(&pool(&[port.address()], settings)).await;
    let mut wires = Vec::new();
    for _ in 0..10 {
        let mut wire = gateway.wire().await;
        wire.send(request("GET", "/", &[], "")).await;
        wires.push(wire);
    }
    for wire in &mut wires {
        assert_eq!(wire.answer().await.reason(), Some("upstream_refused"));
    }
}

#[tokio::test]
async fn files_that_change_are_read_again_and_open_connections_stay() {
    let (theirs, ours, others) =
        (Authority::new("theirs"), Authority::new("ours"), Authority::new("others"));
    let leaf = theirs.server(&["up.test"]);
    let echo = Echo::tls("a", server_config(&leaf, &["http/1.1"], Some(&ours))).await;
    let first = others.client("gateway");
    let tls = "tls: { ca: ./ca.pem, sni: up.test, cert: ./c.pem, key: ./c.key }\noutlier: off";
    let gateway = launch()
        .file("ca.pem", &theirs.pem)
        .file("c.pem", &first.cert)
        .file("c.key", &first.key)
        .start(&pool(&[echo.address()], tls))
        .await;
    assert_eq!(gateway.get("/").await.status, 502, "a certificate of an authority unknown there");

    let second = ours.client("gateway");
    gateway.dir().write("c.pem", &second.cert);
    gateway.dir().write("c.key", &second.key);
    until("the new certificate", async || gateway.get("/").await.status == 200).await;

    let connections = echo.connections();
    let reads = || gateway.said().matches("were read again").count();
    let before = reads();
    gateway.dir().write("ca.pem", Authority::new("theirs").pem);
    until("the files to be read", async || reads() > before).await;
    assert_eq!(gateway.get("/").await.status, 200, "over the connection that is open");
    assert_eq!(echo.connections(), connections);
}
