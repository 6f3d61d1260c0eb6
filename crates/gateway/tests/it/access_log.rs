//! The access log: one line for each request, when its body has ended.

use lockgate_testkit::{Echo, request, until};

use crate::support::{start, start_to, to};

#[tokio::test]
async fn a_line_tells_the_whole_request() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let headers = [("User-Agent", "tester/1"), ("Referer", "http://r.test/"), ("Host", "a.test:9")];
    let answer = gateway.ask("POST", "/x/y?q=1", &headers, "12345").await;
    let line = gateway.logged(|_| true).await;
    let endpoint = echo.address().to_string();
    for (field, value) in [
        ("method", "POST"),
        ("path", "/x/y"),
        ("query", "q=1"),
        ("host", "a.test"),
        ("scheme", "http"),
        ("protocol", "HTTP/1.1"),
        ("listener", "web"),
        ("client_ip", "127.0.0.1"),
        ("route", "/*"),
        ("endpoint", endpoint.as_str()),
        ("origin", "upstream"),
        ("user_agent", "tester/1"),
        ("id", answer.header("x-request-id").unwrap()),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    for (field, value) in [
        ("status", 200),
        ("upstream_status", 200),
        ("attempts", 1),
        ("received", 5),
        ("sent", answer.body.len() as u64),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    let millis = |field: &str| line[field].as_f64().unwrap_or_else(|| panic!("{field}: {line}"));
    assert!(millis("total_ms") >= millis("first_byte_ms"), "{line}");
    let time = line["time"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
    assert!(line.get("reason").is_none(), "{line}");
}

#[tokio::test]
async fn a_line_is_written_when_the_body_ends() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/gated/2", &[], "")).await;
    let mut head = wire.head("GET").await.unwrap();
    wire.piece(&mut head).await.unwrap();
    assert_eq!(gateway.get("/other").await.status, 200);
    gateway.logged(|line| line["path"] == "/other").await;
    assert!(!gateway.log("stdout").iter().any(|line| line["path"] == "/gated/2"));
    echo.open(1);
    while wire.piece(&mut head).await.unwrap().is_some() {}
    let line = gateway.logged(|line| line["path"] == "/gated/2").await;
    assert_eq!(line["sent"], "piece 0\npiece 1\n".len());
}

#[tokio::test]
async fn every_request_has_one_line() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let mut wire = gateway.wire().await;
    for n in 0..200 {
        wire.ask(request("GET", &format!("/{n}"), &[], "")).await;
    }
    until("all lines", async || gateway.log("stdout").len() >= 200).await;
    let lines = gateway.log("stdout");
    assert_eq!(lines.len(), 200);
    let paths: std::collections::BTreeSet<_> =
        lines.iter().map(|line| line["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(paths.len(), 200);
    assert_eq!(gateway.metrics().await.sum("lockgate_access_log_dropped_lines_total", &[]), 0.0);
}

#[tokio::test]
async fn secrets_are_not_written() {
    let echo = Echo::start("a").await;
    let config = format!(
        "telemetry: {{ access_log: {{ headers: [Authorization, Cookie, X-API-Key, X-Plain] }} }}\n{}",
        to(echo.address())
    );
    let gateway = start(&config).await;
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlc2lnbmF0dXJl";
    let bearer = format!("Bearer {token}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Cookie", "session=s3cret-cookie"),
        ("X-API-Key", "s3cret-key"),
        ("X-Plain", "in the open"),
        ("User-Agent", token),
    ];
    gateway.ask("GET", &format!("/x?access_token=s3cret-param&q={token}&a=1"), &headers, "").await;
    let line = gateway.logged(|_| true).await;
    let text = gateway.said();
    assert!(text.contains("in the open"), "{line}");
    for secret in ["s3cret", "c2lnbmF0dXJl"] {
        assert!(!text.contains(secret), "{line}");
    }
    assert!(line["query"].as_str().unwrap().contains("a=1"), "{line}");
}

#[tokio::test]
async fn what_a_client_writes_cannot_break_the_lines() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let nasty = "quote\" back\\slash \u{1f4a9} \u{2028} end";
    gateway.ask("GET", "/a\"b'", &[("User-Agent", nasty)], "").await;
    gateway.ask("GET", "/plain", &[], "").await;
    gateway.logged(|line| line["path"] == "/plain").await;
    let lines = gateway.log("stdout");
    assert_eq!(lines.len(), 2, "{}", gateway.said());
}

#[tokio::test]
async fn a_file_is_opened_again_on_a_hangup() {
    let echo = Echo::start("a").await;
    let config =
        format!("telemetry: {{ access_log: {{ to: ./access.log }} }}\n{}", to(echo.address()));
    let gateway = start(&config).await;
    gateway.get("/first").await;
    until("the first line", async || gateway.log("access.log").len() == 1).await;
    assert!(gateway.log("stdout").is_empty());
    let path = gateway.dir().path();
    std::fs::rename(path.join("access.log"), path.join("access.log.1")).unwrap();
    gateway.signal("HUP");
    until("a new file", async || path.join("access.log").exists()).await;
    gateway.get("/second").await;
    until("the second line", async || !gateway.log("access.log").is_empty()).await;
    assert_eq!(gateway.log("access.log")[0]["path"], "/second");
    assert_eq!(gateway.log("access.log.1").len(), 1);
}

#[tokio::test]
async fn the_log_may_be_off_sampled_or_in_other_forms() {
    let echo = Echo::start("a").await;
    let with = |log: &str| format!("telemetry: {{ access_log: {log} }}\n{}", to(echo.address()));
    let off = start(&with("off")).await;
    let text = start(&with("{ format: text }")).await;
    let ecs = start(&with("{ format: ecs }")).await;
    let sampled = start(&with("{ sample: 0% }")).await;
    for gateway in [&off, &text, &ecs, &sampled] {
        assert_eq!(gateway.get("/x").await.status, 200);
        assert_eq!(gateway.get("/..").await.status, 400);
    }
    until("a line for people", async || text.said().contains("/x")).await;
    assert!(text.log("stdout").is_empty(), "{}", text.said());
    until("a line of the schema", async || ecs.said().contains("\"url.path\":\"/x\"")).await;
    let error = sampled.logged(|_| true).await;
    assert_eq!(error["reason"], "bad_target", "errors are always logged");
    assert_eq!(sampled.log("stdout").len(), 1);
    assert!(off.log("stdout").is_empty());
}

#[tokio::test]
async fn tags_are_told() {
    let config = "routes:\n  /a: { to: { respond: {} }, tags: [team-a, slow] }\n";
    let gateway = start(config).await;
    gateway.get("/a").await;
    let line = gateway.logged(|_| true).await;
    assert_eq!(line["tags"], serde_json::json!(["team-a", "slow"]), "{line}");
    assert_eq!(line["origin"], "gateway");
    assert!(line.get("attempts").is_none(), "{line}");
}

#[tokio::test]
async fn a_line_tells_of_the_cache_and_of_the_limit() {
    let echo = Echo::start("a").await;
    let to = format!("to: \"http://{}\"", echo.address());
    let config = format!(
        "routes:\n  /kept: {{ cache: 1m, {to} }}\n  /few: {{ rate_limit: {{ name: few, limit: \
         1/min, by: ip }}, {to} }}\n"
    );
    let gateway = start(&config).await;
    for (method, path) in
        [("GET", "/kept"), ("GET", "/kept"), ("POST", "/kept"), ("GET", "/few"), ("GET", "/few")]
    {
        gateway.ask(method, path, &[], "").await;
    }
    until("all lines", async || gateway.log("stdout").len() >= 5).await;
    let lines = gateway.log("stdout");
    let told: Vec<_> = lines.iter().map(|line| (&line["cache"], &line["limit"])).collect();
    let nothing = serde_json::Value::Null;
    let [miss, hit, bypass, few] = ["miss", "hit", "bypass", "few"].map(serde_json::Value::from);
    let wanted = [
        (&miss, &nothing),
        (&hit, &nothing),
        (&bypass, &nothing),
        (&nothing, &nothing),
        (&nothing, &few),
    ];
    assert_eq!(told, wanted, "{lines:?}");
    assert_eq!(lines[4]["reason"], "rate_limited");
}

#[tokio::test]
async fn a_line_can_have_the_names_of_the_common_schema() {
    let echo = Echo::start("a").await;
    let format = "telemetry: { access_log: { format: ecs, headers: [X-Demo] } }\n";
    let gateway = start(&(format.to_owned() + &to(echo.address()))).await;
    let hostile = "x\"\u{2028}\u{202e}end";
    let headers = [("User-Agent", hostile), ("X-Demo", "one")];
    gateway.ask("POST", "/x?q=1", &headers, "12345").await;
    let mut lines = Vec::new();
    until("a line", async || {
        let text = gateway.dir().read("stdout");
        assert!(!text.contains(['\u{202e}', '\u{2028}']), "{text:?}");
        lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        !lines.is_empty()
    })
    .await;
    let line: &serde_json::Value = &lines[0];
    for (field, value) in [
        ("http.request.method", "POST"),
        ("url.path", "/x"),
        ("url.query", "q=1"),
        ("http.version", "1.1"),
        ("client.ip", "127.0.0.1"),
        ("source.ip", "127.0.0.1"),
        ("event.outcome", "success"),
        ("event.dataset", "lockgate.access"),
        ("lockgate.route", "/*"),
        ("user_agent.original", hostile),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    assert_eq!(line["http.response.status_code"], 200, "{line}");
    assert_eq!(line["http.request.body.bytes"], 5, "{line}");
    assert_eq!(line["lockgate.headers"]["x-demo"], "one", "{line}");
    assert!(line["event.duration"].as_u64().is_some_and(|nanos| nanos > 1_000), "{line}");
}
