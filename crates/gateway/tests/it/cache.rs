//! The cache, over real sockets: one request upstream for many, whole bodies alone, staleness in
//! bad times, and clearing by writes and by operators.

use lockgate_testkit::{Echo, Gateway, H2, Pieces, Raw, Step, request, until};
use tokio::task::JoinSet;

use crate::support::start;

/// A gateway with this `cache`, two workers, and everything to one address.
async fn cached(address: std::net::SocketAddr, cache: &str) -> Gateway {
    start(&format!(
        "workers: 2\nroutes:\n  /*: {{ cache: {cache}, retry: {{ attempts: 1 }}, to: \"http://{address}\" }}\n"
    ))
    .await
}

/// A 200 with these headers and a body of a stated length.
fn ok(headers: &str, body: &str) -> Step {
    let length = body.len();
    Step::send(&format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n{body}"))
}

/// Answers every request with this.
fn always(step: Step) -> Vec<Step> {
    vec![Step::Repeat(vec![Step::Request, step])]
}

#[tokio::test]
async fn a_thousand_clients_are_one_request_upstream() {
    let echo = Echo::start("a").await;
    let gateway = cached(echo.address(), "60s").await;
    let mut clients = JoinSet::new();
    for _ in 0..1000 {
        let mut wire = gateway.wire().await;
        wire.send(request("GET", "/wait", &[], "")).await;
        clients.spawn(async move { wire.answer().await });
    }
    let metric = "lockgate_requests_in_flight";
    until("all to wait", async || gateway.metrics().await.sum(metric, &[]) >= 1000.0).await;
    echo.open(1000);
    let mut bodies = std::collections::BTreeSet::new();
    while let Some(answer) = clients.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        bodies.insert(answer.text());
    }
    assert_eq!((echo.hits(), bodies.len()), (1, 1));
}

#[tokio::test]
async fn a_leader_that_leaves_hands_over() {
    let echo = Echo::start("a").await;
    let gateway = cached(echo.address(), "60s").await;
    let mut leader = gateway.wire().await;
    leader.send(request("GET", "/wait", &[], "")).await;
    until("the leader's request", async || echo.hits() == 1).await;
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let mut wire = gateway.wire().await;
        wire.send(request("GET", "/wait", &[], "")).await;
        clients.spawn(async move { wire.answer().await.status });
    }
    let metric = "lockgate_requests_in_flight";
    until("all to wait", async || gateway.metrics().await.sum(metric, &[]) >= 21.0).await;
    drop(leader);
    until("another to lead", async || echo.hits() == 2).await;
    echo.open(100);
    while let Some(status) = clients.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(echo.hits(), 2);
}

#[tokio::test]
async fn answers_that_are_not_kept_do_not_queue_requests_up() {
    let mine = ok("Cache-Control: private\r\n", "mine");
    let raw = Raw::start(vec![Step::Repeat(vec![Step::Request, Step::Gate, mine])]).await;
    let gateway = cached(raw.address(), "60s").await;
    let mut clients = JoinSet::new();
    for _ in 0..10 {
        let mut wire = gateway.wire().await;
        wire.send(request("GET", "/", &[], "")).await;
        clients.spawn(async move { wire.answer().await.text() });
    }
    raw.seen("GET / ").await;
    raw.open(1);
    until("the others to go by themselves", async || raw.requests() == 10).await;
    raw.open(10);
    while let Some(text) = clients.join_next().await {
        assert_eq!(text.unwrap(), "mine");
    }
}

#[tokio::test]
async fn a_body_streams_to_the_client_while_it_is_kept() {
    let echo = Echo::start("a").await;
    let gateway = cached(echo.address(), "60s").await;
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/gated/3", &[], "")).await;
    let mut head = wire.head("GET").await.unwrap();
    for n in 0..3 {
        let piece = wire.piece(&mut head).await.unwrap().unwrap();
        assert_eq!(piece, format!("piece {n}\n").as_bytes());
        echo.open(1);
    }
    assert_eq!(wire.piece(&mut head).await, Ok(None));
    let again = gateway.get("/gated/3").await;
    assert_eq!(again.text(), "piece 0\npiece 1\npiece 2\n");
    assert_eq!(again.header("cache-status"), Some("Lockgate; hit; ttl=60"));
    assert_eq!(echo.hits(), 1);
    let line = gateway.logged(|line| line["origin"] == "cache").await;
    assert_eq!(line["status"], 200);
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_never_kept() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let to_the_end = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf";
    for (head, whole) in [(half, false), (chunks, false), (to_the_end, true)] {
        let cut = vec![Step::Request, Step::send(head), Step::Close];
        let raw = Raw::each(vec![cut, always(Step::ok("all of it"))]).await;
        let gateway = cached(raw.address(), "60s").await;
        let mut wire = gateway.wire().await;
        wire.send(request("GET", "/", &[], "")).await;
        let first = wire.answer_to("GET").await;
        assert_eq!(first.is_ok(), whole, "{head}: {first:?}");
        for _ in 0..2 {
            assert_eq!(gateway.get("/").await.text(), "all of it", "{head}");
        }
        assert_eq!(raw.requests(), 2, "{head}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let echo = Echo::start("a").await;
    let gateway = cached(echo.address(), "60s").await;
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/gated/2", &[], "")).await;
    let mut head = wire.head("GET").await.unwrap();
    assert!(wire.piece(&mut head).await.unwrap().is_some());
    drop(wire);
    until("the upstream to notice", async || echo.cancelled() == 1).await;
    echo.open(10);
    assert_eq!(gateway.get("/gated/2").await.text(), "piece 0\npiece 1\n");
    assert_eq!(echo.hits(), 2);
}

#[tokio::test]
async fn parts_heads_and_304s_come_from_what_is_kept_by_either_protocol() {
    let raw = Raw::start(always(ok("ETag: \"1\"\r\n", "0123456789"))).await;
    let gateway = cached(raw.address(), "60s").await;
    let ask =
        async |method: &str, headers: &[(&str, &str)]| gateway.ask(method, "/", headers, "").await;
    assert_eq!(ask("GET", &[]).await.text(), "0123456789");
    let part = ask("GET", &[("Range", "bytes=2-4")]).await;
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(part.header("content-length"), Some("3"));
    let head = ask("HEAD", &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    let known = ask("GET", &[("If-None-Match", "W/\"1\"")]).await;
    assert_eq!((known.status, known.text().as_str()), (304, ""));
    assert!(known.header("date").is_some() && known.header("age").is_some());
    let mut h2 = H2::plain(gateway.web()).await;
    let head = h2.request("HEAD", "example.test", "/").body(Pieces::whole("")).unwrap();
    let head = h2.ask(head).await.unwrap();
    assert_eq!((head.status, head.text().as_str()), (200, ""));
    assert_eq!(h2.get("example.test", "/").await.text(), "0123456789");
    assert_eq!(raw.requests(), 1);
}

#[tokio::test]
async fn a_stale_answer_is_given_while_the_upstream_takes_its_time() {
    let echo = Echo::start("a").await;
    let gateway = cached(echo.address(), "{ ttl: 1s, stale_while_revalidate: 60s }").await;
    echo.open(1);
    let first = gateway.get("/wait").await.text();
    // The gate is closed: only what is kept can answer.
    until("it to be stale", async || {
        assert_eq!(gateway.get("/wait").await.text(), first);
        echo.hits() == 2
    })
    .await;
    for _ in 0..5 {
        assert_eq!(gateway.get("/wait").await.text(), first);
    }
    assert_eq!(echo.hits(), 2, "one fetches for all");
    echo.open(1);
    until("it to be fresh again", async || {
        gateway.get("/wait").await.header("cache-status") == Some("Lockgate; hit; ttl=1")
    })
    .await;
    let of = async |result| {
        let labels = [("route", "/*"), ("result", result)];
        gateway.metrics().await.sum("lockgate_cache_requests_total", &labels)
    };
    assert_eq!(of("miss").await, 1.0);
    assert!(of("stale").await >= 6.0 && of("hit").await >= 1.0);
}

#[tokio::test]
async fn a_dead_upstream_is_covered_for() {
    let echo = Echo::start("a").await;
    let address = echo.address();
    let gateway = cached(address, "{ ttl: 100ms, stale_if_error: 60s }").await;
    let body = gateway.get("/x").await.text();
    drop(echo);
    let gone = gateway.get("/never").await;
    assert_eq!(gone.status, 502);
    until("it to be stale", async || {
        let answer = gateway.get("/x").await;
        assert_eq!((answer.status, answer.text()), (200, body.clone()));
        answer.header("cache-status").is_some_and(|status| status.contains("stale-if-error"))
    })
    .await;
    let line = gateway
        .logged(|line| line["origin"] == "cache" && line["attempts"].as_u64() >= Some(1))
        .await;
    assert_eq!((line["status"].as_u64(), line["reason"].as_str()), (Some(200), None));
}

#[tokio::test]
async fn a_write_on_any_route_clears_the_uri() {
    let raw = Raw::start(always(ok("", "read"))).await;
    let address = raw.address();
    let gateway = start(&format!(
        "routes:\n  GET /accounts/{{id}}/*: {{ cache: 60s, to: \"http://{address}\" }}\n  \
         /accounts/{{id}}/{{rest...}}: {{ to: \"http://{address}\" }}\n  \
         POST /accounts/{{id}}/transfers:\n    invalidate: [\"/accounts/{{id}}/**\"]\n    to: \"http://{address}\"\n"
    ))
    .await;
    let reads = async || {
        gateway.get("/accounts/7/a?x").await;
        gateway.get("/accounts/7/b").await;
        gateway.get("/accounts/8/a").await;
        raw.all().matches("GET ").count()
    };
    assert_eq!(reads().await, 3);
    assert_eq!(reads().await, 3);
    gateway.ask("PUT", "/accounts/7/a", &[], "x").await;
    assert_eq!(reads().await, 4);
    gateway.ask("POST", "/accounts/7/transfers", &[], "x").await;
    assert_eq!(reads().await, 6);
}

#[tokio::test]
async fn what_was_asked_for_before_a_write_is_not_kept_after_it() {
    let slow = vec![Step::Request, Step::Gate, ok("", "old")];
    let raw = Raw::each(vec![slow, always(ok("", "new"))]).await;
    let gateway = cached(raw.address(), "60s").await;
    let mut reader = gateway.wire().await;
    reader.send(request("GET", "/x", &[], "")).await;
    raw.seen("GET /x").await;
    assert_eq!(gateway.ask("POST", "/x", &[], "").await.text(), "new");
    raw.open(1);
    assert_eq!(reader.answer().await.text(), "old");
    assert_eq!(gateway.get("/x").await.text(), "new");
}

#[tokio::test]
async fn a_write_whose_client_has_gone_clears_the_uri_too() {
    let old = || [Step::Request, ok("", "old")];
    let first = [old(), old(), [Step::Request, Step::Drain]].into_iter().flatten().collect();
    let raw = Raw::each(vec![first, always(ok("", "new"))]).await;
    let address = raw.address();
    let gateway = start(&format!(
        "workers: 1\nroutes:\n  /*: {{ cache: 60s, to: \"http://{address}\" }}\n  POST /x:\n    \
         invalidate: \"/y\"\n    to: \"http://{address}\"\n"
    ))
    .await;
    for path in ["/x", "/y", "/x", "/y"] {
        assert_eq!(gateway.get(path).await.text(), "old");
    }
    let mut writer = gateway.wire().await;
    writer.send(request("POST", "/x", &[], "")).await;
    raw.seen("POST /x").await;
    assert_eq!(gateway.get("/x").await.text(), "old", "there is no word of the write yet");
    drop(writer);
    for path in ["/x", "/y"] {
        until("it is gone", async || gateway.get(path).await.text() == "new").await;
    }
}

#[tokio::test]
async fn operators_clear_by_url_pattern_and_tag() {
    let raw = Raw::start(always(ok("Cache-Tag: red, blue\r\n", "x"))).await;
    let gateway = cached(raw.address(), "60s").await;
    for (body, cleared) in [
        ("", 3),
        ("{\"url\": \"http://example.test/a/1\"}", 1),
        ("{\"url\": \"/a/1\"}", 1),
        ("{\"pattern\": \"/a/**\"}", 2),
        ("{\"pattern\": \"other.test/**\"}", 0),
        ("{\"tag\": \"blue\"}", 3),
    ] {
        for path in ["/a/1", "/a/2", "/b"] {
            assert_eq!(gateway.get(path).await.header("cache-tag"), None);
        }
        let stats = gateway.admin("GET", "/admin/cache/stats", "").await.json();
        assert_eq!(stats["entries"], 3);
        let page = gateway.admin("GET", "/admin/cache/details?offset=1&limit=1", "").await.json();
        assert_eq!(
            (&page["total"], &page["entries"][0]["url"]),
            (&3.into(), &"example.test/a/2".into())
        );
        let answer = gateway.admin("POST", "/admin/cache/clear", body).await;
        assert_eq!((answer.status, &answer.json()["cleared"]), (200, &cleared.into()), "{body}");
        let stats = gateway.admin("GET", "/admin/cache/stats", "").await.json();
        assert_eq!(stats["entries"], 3 - cleared);
    }
    assert_eq!(gateway.get("/kept").await.status, 200);
    for body in [
        "{",
        "{\"uri\": \"x\"}",
        "{\"pattern\": \"a\"}",
        "{\"url\": \"/a\", \"tag\": \"b\"}",
        "{\"url\": null}",
        "{\"url\": null, \"tag\": null}",
        "null",
        "[]",
        " [null]",
        "[\"/a\"]",
    ] {
        assert_eq!(gateway.admin("POST", "/admin/cache/clear", body).await.status, 400, "{body}");
    }
    let stats = gateway.admin("GET", "/admin/cache/stats", "").await.json();
    assert_eq!(stats["entries"], 1, "and nothing is cleared");
}

#[tokio::test]
async fn the_memory_is_bounded() {
    let echo = Echo::start("a").await;
    let gateway = start(&format!(
        "stores: {{ memory: {{ max_size: 2MiB }} }}\nroutes:\n  /*: {{ cache: 60s, to: \"http://{}\" }}\n",
        echo.address()
    ))
    .await;
    let mut wire = gateway.wire().await;
    for n in 0..60 {
        let answer = wire.ask(request("GET", &format!("/bytes/100000?{n}"), &[], "")).await;
        assert_eq!(answer.status, 200);
    }
    let stats = gateway.admin("GET", "/admin/cache/stats", "").await.json();
    assert!(stats["bytes"].as_u64().unwrap() <= 2 << 20, "{stats}");
    assert!(stats["evictions"].as_u64().unwrap() >= 35, "{stats}");
}

#[tokio::test]
async fn entries_outlive_a_reload() {
    let echo = Echo::start("a").await;
    let config = |extra: &str| {
        format!("routes:\n  /*: {{ cache: 60s, to: \"http://{}\" }}\n{extra}", echo.address())
    };
    let gateway = start(&config("")).await;
    gateway.get("/x").await;
    gateway.rewrite(&config("  /y: { to: { respond: { body: why } } }\n"));
    until("the reload", async || gateway.get("/y").await.text() == "why").await;
    gateway.get("/x").await;
    assert_eq!(echo.seen().iter().filter(|seen| seen.uri.path() == "/x").count(), 1);
}

/// The policies around one whose response hook fails still see the refusal.
#[tokio::test]
async fn a_refusal_on_the_way_up_bears_the_headers_of_what_is_around() {
    let head = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 10\r\n\r\nhalf";
    let raw = Raw::start(vec![Step::Request, Step::send(head), Step::Close]).await;
    let gateway = start(&format!(
        "routes:\n  /*: {{ cors: \"https://a.example\", cache: 60s, retry: {{ attempts: 1 }}, \
         to: \"http://{}\" }}\n",
        raw.address()
    ))
    .await;
    let mut wire = gateway.wire().await;
    let headers = [("Origin", "https://a.example"), ("If-None-Match", "\"a\"")];
    wire.send(request("GET", "/", &headers, "")).await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
}

/// A client that asks, and then reads nothing.
#[tokio::test]
async fn a_client_that_does_not_read_keeps_nobody_waiting() {
    let echo = Echo::start("a").await;
    let gateway = cached(echo.address(), "{ ttl: 60s, wait: 60s }").await;
    let mut idle = gateway.wire().await;
    idle.send(request("GET", "/bytes/8000000", &[], "")).await;
    until("its request", async || echo.hits() == 1).await;
    let answer = gateway.get("/bytes/8000000").await;
    assert_eq!((answer.status, answer.body.len(), echo.hits()), (200, 8_000_000, 1));
    let answer = idle.answer().await;
    assert_eq!((answer.status, answer.body.len()), (200, 8_000_000), "it has it all the same");
}

#[tokio::test]
async fn a_sticky_cookie_is_its_clients_alone() {
    let echo = Echo::start("a").await;
    let gateway = start(&format!(
        "upstreams:\n  all: {{ endpoints: [\"{}\"], sticky: cookie }}\nroutes:\n  /*: {{ cache: 60s, to: all }}\n",
        echo.address()
    ))
    .await;
    let first = gateway.get("/a").await;
    assert!(
        first.header("set-cookie").is_some_and(|cookie| cookie.starts_with("lockgate_sticky="))
    );
    assert_eq!(first.header("cache-status"), Some("Lockgate; fwd=uri-miss; stored"));
    let second = gateway.get("/a").await;
    assert_eq!(second.header("set-cookie"), None);
    assert_eq!((second.header("cache-status"), echo.hits()), (Some("Lockgate; hit; ttl=60"), 1));
}
