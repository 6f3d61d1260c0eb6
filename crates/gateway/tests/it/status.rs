//! The dashboard's pages over HTTP: what they show, that nothing can be smuggled into them, and who
//! is let in.

use lockgate_testkit::{Answer, Echo, Gateway, Port, Wire, request, until};

use crate::support::{start, upstream};

const PAGES: [&str; 11] = [
    "",
    "/errors",
    "/routes",
    "/upstreams",
    "/uptime",
    "/alerts",
    "/limits",
    "/cache",
    "/explain",
    "/config",
    "/certificates",
];

async fn page(gateway: &Gateway, path: &str) -> Answer {
    gateway.admin("GET", &format!("/admin/status{path}"), "").await
}

/// What a browser sends from a page of this gateway, or of another place.
async fn form(gateway: &Gateway, path: &str, origin: &str, cookie: &str, body: &str) -> Answer {
    let host = gateway.at("ADMIN").to_string();
    let origin = if origin.is_empty() { format!("http://{host}") } else { origin.to_owned() };
    let headers = [
        ("Host", host.as_str()),
        ("Origin", origin.as_str()),
        ("Cookie", cookie),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let mut wire = Wire::connect(gateway.at("ADMIN")).await;
    wire.ask(request("POST", path, &headers, body)).await
}

#[tokio::test]
async fn every_page_is_whole_small_and_its_own() {
    let echo = Echo::start("a").await;
    let config = format!(
        "upstreams:\n{}routes: {{ /*: {{ to: pool, cache: 60s }} }}\n",
        upstream("pool", &[echo.address()], "")
    );
    let gateway = start(&config).await;
    gateway.get("/kept").await;
    for path in PAGES {
        let answer = page(&gateway, path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none';") && !policy.contains("unsafe"),
            "{policy}"
        );
        let text = answer.text();
        assert!(text.ends_with("</main></body></html>\n"), "{path}: {text}");
        assert!(text.contains("aria-current=page"), "{path} is in the navigation: {text}");
        for leads in ["href=", "src=", "action=", "url("] {
            let away = [format!("{leads}http"), format!("{leads}\"http"), format!("{leads}//")];
            assert!(!away.iter().any(|away| text.contains(away)), "{path} leads away: {text}");
        }
        assert!(!text.contains(" style=") && !text.contains("onclick"), "{path}: {text}");
        assert!(text.len() < 50_000, "{path}: {} bytes", text.len());
    }
    for (path, kind) in [("/style.css", "text/css"), ("/live.js", "text/javascript")] {
        let answer = page(&gateway, path).await;
        assert!(answer.header("content-type").unwrap().starts_with(kind), "{answer:?}");
    }
    let cache = page(&gateway, "/cache").await.text();
    assert!(cache.contains("example.test/kept"), "{cache}");
}

#[tokio::test]
async fn what_is_wrong_comes_first() {
    let (echo, dead) = (Echo::start("a").await, Port::reserve());
    let probed = "health: { path: /, interval: 100ms, unhealthy_after: 1 }";
    let config = format!(
        "upstreams:\n{}{}routes: {{ /*: {{ to: good }}, /bad: {{ to: bad }} }}\n",
        upstream("good", &[echo.address()], ""),
        upstream("bad", &[dead.address()], probed)
    );
    let gateway = start(&config).await;
    until("the problem to be shown", async || {
        page(&gateway, "").await.text().contains("bad: no endpoint takes requests.")
    })
    .await;
    gateway.rewrite("routes: { nonsense");
    until("the refused file to be shown", async || {
        page(&gateway, "").await.text().contains("The last configuration was refused")
    })
    .await;
    let upstreams = page(&gateway, "/upstreams").await.text();
    assert!(upstreams.contains("refused"), "why the endpoint is out: {upstreams}");
}

#[tokio::test]
async fn an_endpoint_is_drained_by_its_button_and_after_a_question() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let config = format!(
        "upstreams:\n{}routes: {{ /*: {{ to: pool }} }}\n",
        upstream("pool", &[a.address(), b.address()], "")
    );
    let gateway = start(&config).await;
    let service = b.address().to_string();
    let query = format!("?service={}&word=drain", service.replace(':', "%3A"));
    let link = query.replace('&', "&amp;");
    let shown = page(&gateway, "/upstreams").await.text();
    assert!(shown.contains(&format!("confirm{link}")), "the button: {shown}");
    let asked = page(&gateway, &format!("/upstreams/confirm{query}")).await.text();
    assert!(asked.contains("method=post") && asked.contains(&service), "{asked}");
    assert!(asked.contains("keeps 1 of 2"), "what is left: {asked}");
    let body = format!("service={service}&word=drain");
    let foreign = form(&gateway, "/admin/status/upstreams", "http://evil.example", "", &body).await;
    assert_eq!(foreign.status, 403, "{}", foreign.text());
    let done = form(&gateway, "/admin/status/upstreams", "", "", &body).await;
    let back = "/admin/status/upstreams?done=drain";
    assert_eq!((done.status, done.header("location")), (303, Some(back)));
    assert!(page(&gateway, "/upstreams?done=drain").await.text().contains("It is drained"));
    for _ in 0..6 {
        assert_eq!(gateway.get("/").await.endpoint(), "a");
    }
    assert!(page(&gateway, "/upstreams").await.text().contains("draining, by an operator"));
    let last = format!("/upstreams/confirm?service={}&word=down", a.address());
    let asked = page(&gateway, &last).await.text();
    assert!(asked.contains("no other endpoint that takes requests"), "{asked}");
    let gone = form(&gateway, "/admin/status/upstreams", "", "", "service=x:1&word=down").await;
    assert_eq!(gone.header("location"), Some("/admin/status/upstreams?done=gone"));
}

#[tokio::test]
async fn what_clients_and_files_say_is_only_text() {
    let gateway = start("routes: { \"/<b>x</b>/*\": { to: { respond: {} } } }\n").await;
    gateway.get("/%3Cb%3Ex%3C/b%3E/1").await;
    let mut text = String::new();
    until("the route to be listed", async || {
        text = page(&gateway, "/routes").await.text();
        text.contains("x&lt;/b&gt;")
    })
    .await;
    assert!(!text.contains("<b>x"), "{text}");
    let text = page(&gateway, "/explain?url=http://a.test/%22%3E%3Cscript%3E").await.text();
    assert!(!text.contains("<script>") && text.contains("&lt;script&gt;"), "{text}");
    let text = page(&gateway, "/routes?filter=%22%3E%3Cimg%3E").await.text();
    assert!(!text.contains("<img>"), "{text}");
}

#[tokio::test]
async fn with_a_token_one_logs_in_and_out() {
    let token = "let-me-in-please";
    let config = format!(
        "admin: {{ address: \"127.0.0.1:$ADMIN\", token: {token} }}\nroutes: {{ /*: {{ to: {{ respond: {{}} }} }} }}\n"
    );
    let gateway = start(&config).await;
    let browse = async |cookie: &str| {
        let headers = [("Host", "127.0.0.1"), ("Accept", "text/html"), ("Cookie", cookie)];
        let mut wire = Wire::connect(gateway.at("ADMIN")).await;
        wire.ask(request("GET", "/admin/status", &headers, "")).await
    };
    let away = browse("").await;
    assert_eq!((away.status, away.header("location")), (303, Some("/admin/login")));
    assert_eq!(gateway.admin("GET", "/admin/status", "").await.status, 401, "no browser: no page");
    assert_eq!(gateway.admin("GET", "/admin/login", "").await.status, 200);

    let wrong = form(&gateway, "/admin/login", "", "", "token=guess").await;
    assert_eq!(wrong.status, 403);
    assert!(wrong.header("set-cookie").is_none(), "{wrong:?}");
    let right = form(&gateway, "/admin/login", "", "", &format!("token={token}")).await;
    assert_eq!(right.status, 303, "{}", right.text());
    let given = right.header("set-cookie").unwrap().to_owned();
    assert!(given.contains("HttpOnly") && given.contains("SameSite=Strict"), "{given}");
    assert!(!given.contains(token), "{given}");
    let cookie = given.split(';').next().unwrap();
    let page = browse(cookie).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Log out"));
    assert_eq!(browse("lockgate_admin=0000").await.status, 303);

    let out = form(&gateway, "/admin/logout", "", cookie, "").await;
    assert_eq!(out.status, 303, "{}", out.text());
    assert_eq!(browse(cookie).await.status, 303, "logged out");
    // One wrong token was before.
    for _ in 1..30 {
        let wrong = form(&gateway, "/admin/login", "", "", "token=guess").await;
        assert_eq!(wrong.status, 403);
    }
    let late = form(&gateway, "/admin/login", "", "", &format!("token={token}")).await;
    assert_eq!(late.status, 429, "guessing is limited");
    let wait: u64 = late.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // By whichever way; what is public is told all the same.
    let bearer = [("Host", "127.0.0.1"), ("Authorization", "Bearer let-me-in-please")];
    let ask = async |path: &str| {
        let mut wire = Wire::connect(gateway.at("ADMIN")).await;
        wire.ask(request("GET", path, &bearer, "")).await
    };
    let borne = ask("/admin/config").await;
    assert_eq!(borne.status, 429, "{}", borne.text());
    assert_eq!(borne.json()["reason"], "too_many_tokens");
    assert_eq!(ask("/health").await.status, 200);
    // Who guesses keeps nobody else out.
    let text = request(
        "POST",
        "/admin/login",
        &[("Host", "127.0.0.1"), ("Content-Type", "application/x-www-form-urlencoded")],
        &format!("token={token}"),
    );
    let other = Wire::connect_from("127.0.0.7", gateway.at("ADMIN")).await.ask(text).await;
    assert_eq!(other.status, 303, "{}", other.text());
}

#[tokio::test]
async fn ticks_are_sent_for_as_long_as_somebody_listens() {
    let gateway = start("routes: { /*: { to: { respond: {} } } }\n").await;
    let mut wire = Wire::connect(gateway.at("ADMIN")).await;
    wire.send(request("GET", "/admin/events", &[("Host", "127.0.0.1")], "")).await;
    let mut head = wire.head("GET").await.unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    for _ in 0..2 {
        let piece = wire.piece(&mut head).await.unwrap().unwrap();
        let text = String::from_utf8(piece).unwrap();
        assert!(text.starts_with("event: tick\ndata: {\"requests\":"), "{text}");
        assert!(text.ends_with("\n\n"), "{text}");
    }
    // Fifteen more may listen, and no seventeenth; one who goes makes room.
    let mut others = Vec::new();
    let listen = async || {
        let mut wire = Wire::connect(gateway.at("ADMIN")).await;
        wire.send(request("GET", "/admin/events", &[("Host", "127.0.0.1")], "")).await;
        let head = wire.head("GET").await.unwrap();
        (wire, head.status)
    };
    for _ in 0..15 {
        let (wire, status) = listen().await;
        assert_eq!(status, 200);
        others.push(wire);
    }
    assert_eq!(listen().await.1, 503);
    drop(others.pop());
    until("room for one more", async || listen().await.1 == 200).await;
}

#[tokio::test]
async fn what_was_refused_or_failed_is_told_without_its_secrets() {
    let (echo, dead) = (Echo::start("a").await, Port::reserve());
    let config = format!(
        "upstreams:\n{}{}routes: {{ /good/*: {{ to: good }}, /status/*: {{ to: good }}, /bad/*: {{ to: bad }} }}\n",
        upstream("good", &[echo.address()], ""),
        upstream("bad", &[dead.address()], "")
    );
    let gateway = start(&config).await;
    gateway.get("/good/1").await;
    gateway.get("/status/500").await;
    let missed = gateway.get("/nowhere?token=hush-hush&page=2").await;
    let failed = gateway.get("/bad/1").await;
    let mut text = String::new();
    until("the three to be listed", async || {
        text = page(&gateway, "/errors").await.text();
        ["/status/500", "/nowhere", "/bad/1"].iter().all(|path| text.contains(path))
    })
    .await;
    assert!(!text.contains("/good/1<"), "what went well is not: {text}");
    assert!(!text.contains("hush") && text.contains("token=[redacted]&amp;page=2"), "{text}");
    for answer in [&missed, &failed] {
        let id = answer.header("x-request-id").unwrap();
        assert!(text.contains(id) && text.contains(answer.reason().unwrap()), "{id}: {text}");
    }
    assert!(
        text.contains("href=\"/admin/status/explain?method=GET&amp;url=http%3A%2F%2F"),
        "{text}"
    );
    let refused = page(&gateway, "/errors?kind=refused").await.text();
    assert!(refused.contains("/nowhere") && !refused.contains("/bad/1"), "{refused}");
    let failed = page(&gateway, "/errors?kind=failed&reason=-").await.text();
    assert!(failed.contains("/status/500") && !failed.contains("/bad/1"), "{failed}");
    let found = page(&gateway, "/errors?search=nowh").await.text();
    assert!(found.contains("/nowhere") && !found.contains("/bad/1"), "{found}");
    let of_route = page(&gateway, "/errors?route=/bad/*").await.text();
    assert!(of_route.contains("/bad/1") && !of_route.contains("/nowhere"), "{of_route}");
}

#[tokio::test]
async fn routes_are_listed_found_and_told_one_by_one() {
    let config = "
defaults: { rate_limit: 1000/min }
routes:
  /a/*: { to: { respond: { status: 204 } } }
  POST /b/{id}: { cache: off, to: { redirect: { to: /a } } }
  /c: [{ when: { query: { x: 1 } }, to: { respond: {} } }, { to: { respond: {} } }]
";
    let gateway = start(config).await;
    gateway.get("/a/1").await;
    let mut shown = String::new();
    until("the request to be counted", async || {
        shown = page(&gateway, "/routes?sort=requests").await.text();
        shown.contains("<td class=num>1</td>")
    })
    .await;
    let at = |text: &str, what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
    assert!(at(&shown, "/a/*") < at(&shown, "POST /b/{id}"), "the busiest first: {shown}");
    assert!(shown.contains("aria-sort=descending") && shown.contains("2 choices"), "{shown}");
    let other = page(&gateway, "/routes?sort=route&order=down").await.text();
    assert!(at(&other, "POST /b/{id}") < at(&other, "/a/*"), "{other}");
    let found = page(&gateway, "/routes?filter=redirect").await.text();
    assert!(found.contains("POST /b/{id}") && !found.contains("/a/*"), "{found}");
    let one = page(&gateway, "/route?pattern=/a/*").await.text();
    assert!(one.contains("rate_limit") && one.contains("lockgate.yaml:"), "its origin: {one}");
    assert!(one.contains("http://localhost/a/1"), "an example to explain: {one}");
    assert!(!one.contains("&quot;respond&quot;"), "its settings only when asked for: {one}");
    let settings = page(&gateway, "/route?pattern=/a/*&settings=true").await.text();
    assert!(settings.contains("&quot;respond&quot;"), "{settings}");
    let choices = page(&gateway, "/route?pattern=/c").await.text();
    assert!(choices.contains("choice 2 of 2"), "{choices}");
    let gone = page(&gateway, "/route?pattern=/gone").await.text();
    assert!(gone.contains("not configured any more"), "{gone}");
}

#[tokio::test]
async fn everything_is_cleared_only_when_it_is_said_twice() {
    let echo = Echo::start("a").await;
    let config = format!(
        "upstreams:\n{}routes: {{ /*: {{ to: pool, cache: 60s }} }}\n",
        upstream("pool", &[echo.address()], "")
    );
    let gateway = start(&config).await;
    for path in ["/one", "/one", "/two?x=1&token=s3cr3t&to=/cb?code=s3cr3t"] {
        gateway.get(path).await;
    }
    let mut shown = String::new();
    until("the hit to be counted", async || {
        shown = page(&gateway, "/cache").await.text();
        shown.contains("33 %")
    })
    .await;
    assert!(shown.contains("value=\"http://example.test/two\""), "its button: {shown}");
    let url = "example.test/two?x=1&token=[redacted]&to=/cb?code=[redacted]";
    let told = gateway.admin("GET", "/admin/cache/details", "").await.json();
    let urls = [&told["entries"][0]["url"], &told["entries"][1]["url"]];
    assert!(urls.contains(&&serde_json::json!(url)), "{told}");
    let probed = gateway.admin("GET", "/admin/cache/details?filter=s3cr", "").await.json();
    assert_eq!(probed["entries"], serde_json::json!([]), "no filter tells what is hidden");
    assert!(shown.contains("token=[redacted]") && !shown.contains("s3cr3t"), "{shown}");
    let purge = async |body: &str| form(&gateway, "/admin/status/cache", "", "", body).await;
    let one = purge("by=url&what=http%3A%2F%2Fexample.test%2Ftwo").await;
    assert_eq!(one.header("location"), Some("/admin/status/cache?cleared=1"), "{one:?}");
    let asked = purge("by=all").await;
    assert!(asked.text().contains("Are you sure?"), "{}", asked.text());
    assert!(gateway.get("/one").await.header("age").is_some(), "still kept");
    let all = purge("by=all&sure=true").await;
    assert_eq!(all.header("location"), Some("/admin/status/cache?cleared=1"), "{all:?}");
    assert!(gateway.get("/one").await.header("age").is_none());
}
