//! Who a caller is and who it is not, over real sockets: names out of certificates, callers of one
//! name whom different issuers vouch for, and what clients would state in place of the gateway.

use lockgate_testkit::{
    Answer, Authority, Echo, Gateway, H2, Leaf, Pieces, Wire, client_config, request, until,
};

use crate::support::{cli_on, launch, start};

/// Alice's, of `https://a.example` and `https://b.example`, until 2100; both are of the `org` acme.
const AT_A: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
    eyJpc3MiOiJodHRwczovL2EuZXhhbXBsZSIsInN1YiI6ImFsaWNlIiwib3JnIjoiYWNtZSIsImV4cCI6\
    NDEwMjQ0NDgwMH0.\
    bcg_XhO9xa_mw6qMFleKbaN3XE2O3M4dJQzIPfGZzrc";
const AT_B: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
    eyJpc3MiOiJodHRwczovL2IuZXhhbXBsZSIsInN1YiI6ImFsaWNlIiwib3JnIjoiYWNtZSIsImV4cCI6\
    NDEwMjQ0NDgwMH0.\
    YeHifPSTWzXbIga3GDLdwU57ff8iGGy37FbK8tF7TBs";
const ISSUERS: &str = "issuers: [{ issuer: \"https://a.example\", \
    secret: 0123456789abcdef0123456789abcdef }, { issuer: \"https://b.example\", \
    secret: fedcba9876543210fedcba9876543210 }]";

/// A gateway that asks for certificates of these authorities, with further sections.
async fn with_clients(ours: &Authority, clients: &[&Authority], sections: &str) -> Gateway {
    let leaf = ours.server(&["one.test"]);
    let trusted: String = clients.iter().map(|one| one.pem.as_str()).collect();
    let config = format!(
        "listeners:\n  web:\n    address: \"127.0.0.1:$WEB\"\n    tls: {{ certificates: \
         [{{ cert: ./one.pem, key: ./one.key }}], client_ca: ./clients.pem, client_auth: request \
         }}\n{sections}"
    );
    let launch = launch().file("one.pem", &leaf.cert).file("one.key", &leaf.key);
    launch.file("clients.pem", trusted).start(&config).await
}

async fn ask_as(gateway: &Gateway, ours: &Authority, shown: &Leaf, path: &str) -> Answer {
    let config = client_config(ours, &["http/1.1"], &[], Some(shown));
    let mut wire = Wire::tls(gateway.web(), "one.test", config).await.unwrap();
    wire.ask(request("GET", path, &[("Host", "one.test")], "")).await
}

#[tokio::test]
async fn nobody_is_another_by_what_their_certificate_says_beside_the_name() {
    let echo = Echo::start("a").await;
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let to = format!("to: \"http://{}\"", echo.address());
    let sections = format!(
        "identity: {{ people: {{ mtls: {{}} }}, mesh: {{ mtls: {{ name: spiffe, trust_domain: \
         prod.example }} }} }}\nconsumers: {{ admin: {{ roles: [admin] }} }}\nroutes:\n  \
         /people/*: {{ auth: people, {to} }}\n  /admin/*: {{ auth: {{ any_of: people, roles: \
         [admin] }}, {to} }}\n  /mesh/*: {{ auth: mesh, {to} }}\n"
    );
    let gateway = with_clients(&ours, &[&clients], &sections).await;
    for organization in ["Acme,CN=admin", "Acme+CN=admin", "CN=admin", "x, CN=admin"] {
        let forged = clients.client_of(organization, "mallory");
        let answer = ask_as(&gateway, &ours, &forged, "/people/1").await;
        assert_eq!(answer.status, 200, "{organization}");
        assert_eq!(answer.seen("x-user-id").as_deref(), Some("mallory"), "{organization}");
        let answer = ask_as(&gateway, &ours, &forged, "/admin/1").await;
        assert_eq!((answer.status, answer.reason()), (403, Some("forbidden")), "{organization}");
    }
    let admin = clients.client("admin");
    assert_eq!(ask_as(&gateway, &ours, &admin, "/admin/1").await.status, 200);

    let id = "spiffe://prod.example/pay";
    let one = clients.client_uris(&[id]);
    assert_eq!(ask_as(&gateway, &ours, &one, "/mesh/1").await.status, 200);
    for others in [&[id, "spiffe://prod.example/admin"][..], &["https://a.example/", id]] {
        let answer = ask_as(&gateway, &ours, &clients.client_uris(others), "/mesh/1").await;
        assert_eq!((answer.status, answer.reason()), (403, Some("credentials_invalid")));
    }
    // The same text as a DNS name.
    let answer = ask_as(&gateway, &ours, &clients.peer(&[id]), "/mesh/1").await;
    assert_eq!((answer.status, answer.reason()), (403, Some("credentials_invalid")));
}

#[tokio::test]
async fn certificates_of_one_name_by_two_authorities_are_two_consumers() {
    let echo = Echo::start("a").await;
    let ours = Authority::new("ours");
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let sections = format!(
        "identity: {{ people: {{ mtls: {{}} }} }}\nroutes:\n  /me: {{ auth: people, cache: 60s, \
         to: \"http://{}\" }}\n",
        echo.address()
    );
    let gateway = with_clients(&ours, &[&one, &two], &sections).await;
    let (first, second) = (one.client("alice"), two.client("alice"));
    for (shown, hits) in [(&first, 1), (&second, 2), (&first, 2), (&second, 2)] {
        let answer = ask_as(&gateway, &ours, shown, "/me").await;
        assert_eq!((answer.status, echo.hits()), (200, hits));
        assert_eq!(answer.seen("x-user-id").as_deref(), Some("alice"));
    }
}

#[tokio::test]
async fn users_of_one_name_at_two_issuers_share_neither_answers_nor_limits() {
    let echo = Echo::start("a").await;
    let to = format!("to: \"http://{}\"", echo.address());
    let gateway = start(&format!(
        "identity: {{ idp: {{ jwt: {{ {ISSUERS}, cookie: session, forward: false }} }} }}\n\
         routes:\n  /me: {{ auth: idp, cache: 60s, {to} }}\n  \
         /few: {{ auth: idp, rate_limit: {{ limit: 1/min, by: consumer }}, {to} }}\n  \
         POST /once: {{ auth: idp, idempotency: {{}}, {to} }}\n"
    ))
    .await;
    let ask = async |method: &str, path: &str, token: &str| {
        let cookie = format!("session={token}");
        let headers = [("Cookie", cookie.as_str()), ("Idempotency-Key", "the-very-same-key")];
        gateway.ask(method, path, &headers, "").await
    };
    for (token, hits) in [(AT_A, 1), (AT_B, 2), (AT_A, 2), (AT_B, 2)] {
        let answer = ask("GET", "/me", token).await;
        assert_eq!((answer.status, echo.hits()), (200, hits), "{answer:?}");
        assert_eq!(
            answer.seen("x-user-id").as_deref(),
            Some("alice"),
            "the upstream's word for it"
        );
    }
    for (token, status) in [(AT_A, 200), (AT_B, 200), (AT_A, 429), (AT_B, 429)] {
        assert_eq!(ask("GET", "/few", token).await.status, status);
    }
    let before = echo.hits();
    for (token, hits) in [(AT_A, 1), (AT_B, 2), (AT_A, 2), (AT_B, 2)] {
        let answer = ask("POST", "/once", token).await;
        assert_eq!((answer.status, echo.hits() - before), (200, hits), "{answer:?}");
    }
}

/// Names that are configured to be stated, in spellings that an upstream may fold into them, and
/// what a client sends by HTTP itself.
const FORGED: [(&str, &str); 9] = [
    ("X-Org", "forged"),
    ("x_org", "forged"),
    ("X-Tenant-Id", "forged"),
    ("x_tenant_id", "forged"),
    ("X-Tenant_Id", "forged"),
    ("Tenant-Plan", "forged"),
    ("tenant_plan", "forged"),
    ("X-Orgs", "mine"),
    ("Authorization", "Basic mine"),
];

fn stated(echo: &Echo, service: &Gateway, more: &str) -> String {
    let to = format!("to: \"http://{}\"", echo.address());
    format!(
        "trusted_proxies: [127.0.0.0/8]\nidentity:\n  idp: {{ jwt: {{ {ISSUERS}, cookie: session \
         }} }}\n  sso: {{ forward: {{ url: \"http://{}/\", send: X-Ticket, copy: [X-Tenant-Id, \
         Authorization] }} }}\nroutes:\n  /org/*: {{ auth: {{ any_of: idp, forward: {{ headers: \
         {{ X-Org: \"claim:org\", Tenant-Plan: plan }} }} }}, {to} }}\n  /sso/*: {{ auth: sso, \
         {to} }}\n  /plain/*: {{ auth: idp, {to} }}\n  /none/*: {{ {to} }}\n{more}",
        service.web()
    )
}

#[tokio::test]
async fn what_the_gateway_is_to_state_no_client_states_on_any_route() {
    let echo = Echo::start("a").await;
    let service = start(
        "routes:\n  /: { to: { respond: { headers: { X-User-Id: bob, X-Tenant-Id: blue, \
         Authorization: Bearer inner } } } }\n",
    )
    .await;
    let gateway = start(&stated(&echo, &service, "")).await;
    let session = format!("session={AT_A}");
    let ask = async |path: &str| {
        let own = [("Cookie", session.as_str()), ("X-Ticket", "t")];
        gateway.ask("GET", path, &[&FORGED[..], &own[..]].concat(), "").await
    };
    for path in ["/none/1", "/plain/1", "/org/1", "/sso/1"] {
        let answer = ask(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text().contains("forged"), "{path}: {}", answer.text());
        assert_eq!(answer.seen("x-orgs").as_deref(), Some("mine"), "{path}");
        let is = |name: &str| answer.seen(name);
        assert_eq!(is("x-org").as_deref(), (path == "/org/1").then_some("acme"), "{path}");
        assert_eq!(is("x-tenant-id").as_deref(), (path == "/sso/1").then_some("blue"), "{path}");
        let whose = if path == "/sso/1" { "Bearer inner" } else { "Basic mine" };
        assert_eq!(is("authorization").as_deref(), Some(whose), "{path}");
    }
    let mut wire = H2::plain(gateway.web()).await;
    let mut sent = wire.request("GET", "one.test", "/none/1");
    for (name, value) in FORGED {
        sent = sent.header(name, value);
    }
    let answer = wire.ask(sent.body(Pieces::whole("")).unwrap()).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("forged"), "{}", answer.text());
}

#[tokio::test]
async fn nor_does_one_after_the_body() {
    let echo = Echo::start("a").await;
    let service = start("routes:\n  /: { to: { respond: {} } }\n").await;
    let gateway = start(&stated(&echo, &service, "")).await;
    let mut wire = gateway.wire().await;
    let headers = [("Host", "one.test"), ("Transfer-Encoding", "chunked")];
    let chunks = "2\r\nhi\r\n0\r\nX-Org: forged\r\nx_tenant_id: forged\r\nX-Sum: mine\r\n\r\n";
    let answer = wire.ask(request("POST", "/none/1", &headers, chunks)).await;
    assert_eq!(answer.status, 200);
    let last = echo.last();
    assert_eq!(&last.body[..], b"hi");
    let names: Vec<&str> = last.trailers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["x-sum"]);
}

#[tokio::test]
async fn a_reload_says_anew_what_clients_may_state() {
    let echo = Echo::start("a").await;
    let service = start("routes:\n  /: { to: { respond: {} } }\n").await;
    let without = format!("routes:\n  /none/*: {{ to: \"http://{}\" }}\n", echo.address());
    let gateway = start(&without).await;
    let org = async || {
        let answer = gateway.ask("GET", "/none/1", &[("x_org", "mine")], "").await;
        answer.seen("x_org")
    };
    assert_eq!(org().await.as_deref(), Some("mine"));
    gateway.rewrite(&stated(&echo, &service, ""));
    until("the name to be the gateway's", async || org().await.is_none()).await;
    // A further route alone: what is the same is not built again.
    gateway.rewrite(&stated(&echo, &service, "  /more: { to: { respond: {} } }\n"));
    until("the new route", async || gateway.get("/more").await.status == 200).await;
    assert_eq!(org().await, None);
    gateway.rewrite(&without);
    until("the name to be anybody's", async || org().await.as_deref() == Some("mine")).await;
}

#[tokio::test]
async fn check_warns_of_secrets_in_plain_text_and_of_tokens_for_everybody() {
    let secret = "hunter2-hunter2-hunter2-hunter2-x";
    let config = format!(
        "identity:
  own: {{ jwt: {{ secret: {secret} }} }}
  two: {{ jwt: {{ issuers: [{{ issuer: a, secret: {secret} }}] }} }}
  signed:
    hmac: {{ keys: {{ token: {{ secret: {secret} }} }} }}
  asked:
    introspection: {{ url: \"https://id.example/\", client_id: me, client_secret: {secret} }}
  keys: {{ api_key: {{ pepper: {secret} }} }}
  idp: {{ jwt: {{ issuer: \"https://id.example\" }} }}
  good: {{ jwt: {{ issuer: \"https://id.example\", audience: api }} }}
  named: {{ jwt: {{ secret: \"${{file:lockgate.yaml}}\" }} }}
routes:
  /*: {{ auth: [own, two, signed, asked, keys, idp, good, named], to: {{ respond: {{}} }} }}
"
    );
    let ran = cli_on(&config, &["check", "lockgate.yaml", "--json"]).await;
    let told = ran.json();
    let of = |words: &str| -> Vec<i64> {
        let all = told["problems"].as_array().unwrap().iter();
        let all = all.filter(|one| one["message"].as_str().unwrap().contains(words));
        all.map(|one| one["line"].as_i64().unwrap()).collect()
    };
    assert_eq!(of("a secret stands here in plain text"), [2, 3, 5, 7, 8], "{told}");
    assert_eq!(of("say `audience: NAME`"), [9], "{told}");
    assert!(!ran.text().contains("hunter2"), "{}", ran.text());
}
