//! HTTP/2: from clients with prior knowledge and by ALPN, and towards upstreams.

use lockgate_testkit::{Authority, Echo, H2, Pieces, Wire, client_config, request, until};

use crate::support::{launch, pool, start, start_to};

#[tokio::test]
async fn prior_knowledge_is_enough() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut h2 = H2::plain(gateway.web()).await;
    let answer = h2.get("a.test", "/x?y=1").await;
    assert_eq!(answer.json()["path"], "/x?y=1");
    assert_eq!(answer.json()["version"], "HTTP/1.1");
    assert_eq!(answer.seen_all("host"), ["a.test"]);
    assert_eq!(answer.header("connection"), None);
    let old = gateway.get("/").await;
    assert_eq!(old.status, 200, "and HTTP/1.1 is served on the same port");
}

#[tokio::test]
async fn streams_run_side_by_side() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let h2 = H2::plain(gateway.web()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..50 {
        let mut sender = h2.sender();
        let request = h2.request("GET", "a.test", &format!("/wait?{n}"));
        let request = request.body(Pieces::whole("")).unwrap();
        tasks.spawn(async move { sender.send_request(request).await.unwrap().status() });
    }
    until("fifty requests at once", async || echo.hits() == 50).await;
    echo.open(50);
    while let Some(status) = tasks.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
}

#[tokio::test]
async fn bodies_and_trailers_pass_to_http1() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut h2 = H2::plain(gateway.web()).await;
    let (sender, body) = Pieces::fed();
    let request = h2.request("POST", "a.test", "/").header("trailer", "x-sum").body(body).unwrap();
    let feed = async {
        sender.data("one ").await;
        sender.data("two").await;
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", "7".parse().unwrap());
        sender.trailers(trailers).await;
        drop(sender);
    };
    let (answer, ()) = tokio::join!(h2.ask(request), feed);
    assert_eq!(answer.unwrap().json()["body"], "one two");
    assert_eq!(echo.last().trailers.get("x-sum").unwrap(), "7");
}

#[tokio::test]
async fn split_cookies_are_joined_for_http1() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut h2 = H2::plain(gateway.web()).await;
    let request = h2.request("GET", "a.test", "/").header("cookie", "a=1").header("cookie", "b=2");
    let answer = h2.ask(request.body(Pieces::whole("")).unwrap()).await.unwrap();
    assert_eq!(answer.seen_all("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn a_host_beside_the_authority_does_not_pass() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut h2 = H2::plain(gateway.web()).await;
    let request = h2.request("GET", "a.test", "/").header("host", "b.test");
    match h2.ask(request.body(Pieces::whole("")).unwrap()).await {
        Ok(answer) if answer.status == 200 => assert_eq!(answer.seen_all("host"), ["a.test"]),
        Ok(answer) => assert_eq!(answer.status, 400),
        Err(error) => assert!(!error.is_canceled(), "{error:?}"),
    }
}

#[tokio::test]
async fn alpn_chooses_the_protocol() {
    let echo = Echo::start("a").await;
    let ours = Authority::new("ours");
    let leaf = ours.server(&["a.test"]);
    let config = format!(
        "listeners:\n  web: {{ address: \"127.0.0.1:$WEB\", tls: {{ certificates: \
         [{{ cert: ./cert.pem, key: ./key.pem }}] }} }}\n{}",
        crate::support::to(echo.address())
    );
    let gateway =
        launch().file("cert.pem", &leaf.cert).file("key.pem", &leaf.key).start(&config).await;
    let both = client_config(&ours, &["h2", "http/1.1"], &[], None);
    let mut h2 = H2::tls(gateway.web(), "a.test", both).await;
    let answer = h2.get("a.test", "/").await;
    assert_eq!(answer.seen("x-forwarded-proto").as_deref(), Some("https"));

    let old = client_config(&ours, &["http/1.1"], &[], None);
    let mut wire = Wire::tls(gateway.web(), "a.test", old).await.unwrap();
    assert_eq!(wire.alpn.as_deref(), Some(&b"http/1.1"[..]));
    let answer = wire.ask(request("GET", "/", &[("Host", "a.test")], "")).await;
    assert_eq!(answer.status, 200);

    let none = client_config(&ours, &[], &[], None);
    let mut wire = Wire::tls(gateway.web(), "a.test", none).await.unwrap();
    assert_eq!(wire.ask(request("GET", "/", &[("Host", "a.test")], "")).await.status, 200);
}

#[tokio::test]
async fn an_upstream_may_speak_http2() {
    let echo = Echo::h2c("a").await;
    let gateway = start(&pool(&[echo.address()], "http2: true")).await;
    let mut wire = gateway.wire().await;
    let answer = wire.ask(request("POST", "/x?y", &[], "body")).await;
    assert_eq!(answer.json()["version"], "HTTP/2.0");
    assert_eq!(answer.json()["path"], "/x?y");
    assert_eq!(answer.json()["body"], "body");
    assert_eq!(answer.json()["authority"], "example.test");
    let answer = wire.ask(request("GET", "/trailers", &[("TE", "trailers")], "")).await;
    assert_eq!(answer.trailer("x-checksum"), Some("abc"));
    wire.send(request("HEAD", "/bytes/9", &[], "")).await;
    assert_eq!(wire.answer_to("HEAD").await.unwrap().status, 200);
    assert_eq!(wire.ask(request("GET", "/bytes/9", &[], "")).await.body.len(), 9);
}

#[tokio::test]
async fn requests_share_an_http2_connection() {
    let echo = Echo::h2c("a").await;
    let gateway = start(&pool(&[echo.address()], "http2: true")).await;
    gateway.get("/").await;
    let mut wires = Vec::new();
    for n in 0..20 {
        let mut wire = gateway.wire().await;
        wire.send(request("GET", &format!("/wait?{n}"), &[], "")).await;
        wires.push(wire);
    }
    until("twenty requests at once", async || echo.hits() == 21).await;
    echo.open(20);
    for wire in &mut wires {
        assert_eq!(wire.answer().await.status, 200);
    }
    assert_eq!(echo.connections(), 1);
}

#[tokio::test]
async fn what_policies_say_beside_the_head_is_said_in_http2_too() {
    let echo = Echo::start("a").await;
    let policies = "rate_limit: 10/min, cors: \"https://app.example\"";
    let to = echo.address();
    let gateway = start(&format!("routes:\n  /*: {{ {policies}, to: \"http://{to}\" }}\n")).await;
    let mut h2 = H2::plain(gateway.web()).await;
    let request = h2.request("GET", "a.test", "/").header("origin", "https://app.example");
    let answer = h2.ask(request.body(Pieces::whole("")).unwrap()).await.unwrap();
    for (name, value) in [
        ("ratelimit-limit", "10"),
        ("ratelimit-remaining", "9"),
        ("ratelimit-policy", "\"ip\";q=10;w=60"),
        ("access-control-allow-origin", "https://app.example"),
        ("vary", "Origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
}
