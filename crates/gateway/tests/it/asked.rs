//! What the gateway itself asks over real sockets: an auth service, an authorization server, a
//! mirror. And who callers are by their certificate.

use lockgate_testkit::{
    Authority, Echo, Raw, Step, Wire, client_config, request, server_config, until,
};

use crate::support::{launch, start};

fn answering(head: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    let text = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}");
    vec![Step::Request, Step::send(&text)]
}

#[tokio::test]
async fn an_auth_service_vouches_refuses_or_is_away() {
    let echo = Echo::start("a").await;
    let mut script = answering("200 OK\r\nX-User-Id: alice\r\nX-Tenant: blue", "");
    script.extend(answering("403 Forbidden", "no"));
    script.push(Step::Close);
    let auth = Raw::each(vec![script, vec![Step::Request]]).await;
    let config = format!(
        "identity:\n  sso: {{ forward: {{ url: \"http://{}/verify\", copy: [X-Tenant], timeout: \
         200ms }} }}\nroutes:\n  /*: {{ auth: sso, to: \"http://{}\" }}\n",
        auth.address(),
        echo.address()
    );
    let gateway = start(&config).await;
    let ask = async || {
        let headers = [("Cookie", "session=1"), ("x_tenant", "forged"), ("X-User-Id", "root")];
        gateway.ask("POST", "/echo?a=b", &headers, "order").await
    };
    let answer = ask().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.seen_all("x-tenant"), ["blue"]);
    assert_eq!(answer.seen("x_tenant"), None);
    assert_eq!(answer.seen_all("x-user-id"), ["alice"]);
    assert_eq!(&echo.last().body[..], b"order");
    let asked = auth.received(0).to_ascii_lowercase();
    assert!(asked.starts_with("get /verify http/1.1\r\n"), "{asked}");
    for line in ["cookie: session=1", "x-forwarded-method: post", "x-forwarded-uri: /echo?a=b"] {
        assert!(asked.contains(&format!("\r\n{line}\r\n")), "{line}: {asked}");
    }
    let answer = ask().await;
    assert_eq!((answer.status, answer.reason()), (403, Some("credentials_invalid")));
    // From here on the service takes a question and never answers.
    let answer = ask().await;
    assert_eq!((answer.status, answer.reason()), (503, Some("forward_unavailable")));
    assert_eq!(echo.hits(), 1);
}

#[tokio::test]
async fn an_authorization_server_is_asked_once_for_many_requests_over_verified_tls() {
    let echo = Echo::start("a").await;
    let theirs = Authority::new("theirs");
    let config = server_config(&theirs.server(&["127.0.0.1"]), &[], None);
    // It answers with what it was asked, which is no answer that vouches.
    let server = Echo::tls("idp", config).await;
    let identity = format!(
        "identity:\n  idp:\n    introspection: {{ url: \"https://{}/x\", ca: ./ca.pem, client_id: \
         a, client_secret: b }}\n",
        server.address()
    );
    let routes = format!("routes:\n  /*: {{ auth: idp, to: \"http://{}\" }}\n", echo.address());
    let gateway = launch().file("ca.pem", &theirs.pem).start(&(identity.clone() + &routes)).await;
    let bearer = [("Authorization", "Bearer opaque")];
    let answer = gateway.ask("GET", "/", &bearer, "").await;
    assert_eq!((answer.status, answer.reason()), (503, Some("introspection_unavailable")));
    assert_eq!(&server.last().body[..], b"token=opaque&token_type_hint=access_token");
    let strangers = Authority::new("theirs");
    let gateway = launch().file("ca.pem", &strangers.pem).start(&(identity + &routes)).await;
    let answer = gateway.ask("GET", "/", &bearer, "").await;
    assert_eq!((answer.status, answer.reason()), (503, Some("introspection_unavailable")));
    assert_eq!(server.hits(), 1, "a server that is not verified is told no token");

    let body = "{\"active\":true,\"sub\":\"alice\",\"scope\":\"read\"}";
    let mut script = vec![Step::Request, Step::Gate];
    script.extend(answering("200 OK", body).into_iter().skip(1));
    let server = Raw::start(script).await;
    let config = format!(
        "identity:\n  idp:\n    introspection: {{ url: \"http://{}/x\", client_id: a, \
         client_secret: b }}\n{routes}",
        server.address()
    );
    let gateway = start(&config).await;
    let ask = || gateway.ask("GET", "/", &bearer, "");
    let open = async {
        server.seen("token=opaque").await;
        server.open(1);
    };
    let (one, other, third, ()) = tokio::join!(ask(), ask(), ask(), open);
    for answer in [one, other, third, ask().await] {
        assert_eq!((answer.status, answer.seen("x-user-id").as_deref()), (200, Some("alice")));
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn copies_go_out_while_the_request_is_served_and_hold_nothing_up() {
    let (echo, shadow) = (Echo::start("a").await, Raw::start(vec![Step::Request]).await);
    let config = format!(
        "routes:\n  /*: {{ mirror: {{ to: \"http://{}/shadow\", max_body: 8B, timeout: 1m }}, to: \
         \"http://{}\" }}\n",
        shadow.address(),
        echo.address()
    );
    let gateway = start(&config).await;
    // The shadow takes all and answers nothing.
    for _ in 0..3 {
        let answer = gateway.ask("POST", "/echo", &[], "12345678").await;
        assert_eq!((answer.status, answer.endpoint()), (200, "a"));
    }
    let chunked = [("Transfer-Encoding", "chunked")];
    let answer = gateway.ask("POST", "/echo", &chunked, "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    assert_eq!(&echo.last().body[..], b"abcdef");
    shadow.seen("abcdef").await;
    until("all copies to be sent", async || shadow.requests() == 4).await;
    assert_eq!(shadow.all().matches("POST /shadow/echo HTTP/1.1").count(), 4);
    let large = "6\r\nabcdef\r\n6\r\nghijkl\r\n0\r\n\r\n";
    assert_eq!(gateway.ask("POST", "/echo", &chunked, large).await.status, 200);
    assert_eq!(&echo.last().body[..], b"abcdefghijkl");
    let too_large = [("result", "too_large")];
    assert_eq!(gateway.metrics().await.sum("lockgate_mirror_requests_total", &too_large), 1.0);
    assert_eq!(shadow.requests(), 4);
}

#[tokio::test]
async fn a_spiffe_id_names_the_caller() {
    let echo = Echo::start("a").await;
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let leaf = ours.server(&["one.test"]);
    let config = format!(
        "listeners:\n  web:\n    address: \"127.0.0.1:$WEB\"\n    tls:\n      certificates: [{{ \
         cert: ./one.pem, key: ./one.key }}]\n      client_ca: ./clients.pem\n      client_auth: \
         request\nidentity:\n  mesh: {{ mtls: {{ name: spiffe, trust_domain: prod.example }} }}\n\
         routes:\n  /*: {{ auth: mesh, to: \"http://{}\" }}\n",
        echo.address()
    );
    let gateway = launch()
        .file("one.pem", &leaf.cert)
        .file("one.key", &leaf.key)
        .file("clients.pem", &clients.pem)
        .start(&config)
        .await;
    let ask = async |uri: Option<&str>| {
        let shown = uri.map(|uri| clients.client_uris(&[uri]));
        let config = client_config(&ours, &["http/1.1"], &[], shown.as_ref());
        let mut wire = Wire::tls(gateway.web(), "one.test", config).await.unwrap();
        wire.ask(request("GET", "/", &[("Host", "one.test")], "")).await
    };
    let answer = ask(Some("spiffe://prod.example/ns/pay/sa/ledger")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let named = answer.seen("x-user-id");
    assert_eq!(named.as_deref(), Some("spiffe://prod.example/ns/pay/sa/ledger"));
    for other in
        ["spiffe://prod.example.evil/x", "spiffe://test.example/x", "https://prod.example/"]
    {
        let answer = ask(Some(other)).await;
        assert_eq!((answer.status, answer.reason()), (403, Some("credentials_invalid")), "{other}");
    }
    let answer = ask(None).await;
    assert_eq!((answer.status, answer.reason()), (401, Some("credentials_missing")));
    assert_eq!(echo.hits(), 1);
}
