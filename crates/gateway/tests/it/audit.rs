//! The audit log: a line for each change that somebody has made, by whichever way in, with what it
//! was before and is after.

use lockgate_testkit::{Answer, Echo, Gateway, Wire, request};
use serde_json::{Value, json};

use crate::support::{launch, start, upstream};

/// The lines since so many: outcome, what, before, after.
fn lines(gateway: &Gateway, since: usize) -> Vec<[Value; 4]> {
    let said = gateway.said();
    let all = said.lines().filter(|line| line.contains("\"lockgate::audit\""));
    let all = all.map(|line| serde_json::from_str::<Value>(line).unwrap()).skip(since);
    all.map(|line| {
        assert_eq!(line["who"], "this machine from 127.0.0.1", "{line}");
        // What is no plain text is JSON.
        let read = |name: &str| {
            let text = line[name].as_str().unwrap();
            serde_json::from_str(text).unwrap_or_else(|_| json!(text))
        };
        [line["message"].clone(), line["what"].clone(), read("before"), read("after")]
    })
    .collect()
}

fn one(gateway: &Gateway, since: &mut usize) -> [Value; 4] {
    let all = lines(gateway, *since);
    assert_eq!(all.len(), 1, "{all:?}");
    *since += 1;
    all.into_iter().next().unwrap()
}

/// What a page of the dashboard sends.
async fn form(gateway: &Gateway, path: &str, body: &str) -> Answer {
    let host = gateway.at("ADMIN").to_string();
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let mut wire = Wire::connect(gateway.at("ADMIN")).await;
    wire.ask(request("POST", path, &[("Host", &host), kind], body)).await
}

#[tokio::test]
async fn an_operators_word_is_told_with_what_was_said_before() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let config = format!(
        "upstreams:\n{}{}routes: {{ /*: {{ to: pool }}, /b: {{ to: other }} }}\n",
        upstream("pool", &[a.address(), b.address()], ""),
        upstream("other", &[b.address()], ""),
    );
    let gateway = start(&config).await;
    let (first, second) = (a.address().to_string(), b.address().to_string());
    let mut seen = 0;
    let body = format!("service={first}&word=drain");
    assert_eq!(form(&gateway, "/admin/status/upstreams", &body).await.status, 303);
    let before = json!({ "pool": { &first: "none" } });
    let what = json!(format!("health.{first}"));
    assert_eq!(one(&gateway, &mut seen), [json!("changed"), what, before, json!("drain")]);

    let put = async |service: &str, word: &str| {
        let path = format!("/admin/health/{service}");
        let answer = gateway.admin("PUT", &path, &format!("{{\"override\": \"{word}\"}}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["changed"].clone()
    };
    assert_eq!(put("pool", "down").await, 2);
    let before = json!({ "pool": { &first: "drain", &second: "none" } });
    let line = one(&gateway, &mut seen);
    assert_eq!(line, [json!("changed"), json!("health.pool"), before, json!("down")]);
    // An endpoint's URL is all upstreams' that have it.
    let url = format!("http%3A%2F%2F127.0.0.1%3A{}%2F", b.address().port());
    assert_eq!(put(&url, "down").await, 2);
    let before = json!({ "other": { &second: "none" }, "pool": { &second: "down" } });
    let line = one(&gateway, &mut seen);
    assert_eq!(line[1], json!(format!("health.http://{second}/")));
    assert_eq!((&line[0], &line[2]), (&json!("changed"), &before));
    assert_eq!(put(&second, "down").await, 2);
    assert_eq!(one(&gateway, &mut seen)[0], "unchanged");
    // What was not there is no change.
    let body = "service=10.9.9.9:1&word=drain";
    assert_eq!(form(&gateway, "/admin/status/upstreams", body).await.status, 303);
    assert_eq!(form(&gateway, "/admin/status/upstreams/probe", "").await.status, 303);
    assert_eq!(lines(&gateway, seen).len(), 0);
}

#[tokio::test]
async fn clearing_is_told_with_what_was_cleared() {
    let echo = Echo::start("a").await;
    let config = format!(
        "upstreams:\n{}routes: {{ /*: {{ to: pool, cache: 60s }} }}\n",
        upstream("pool", &[echo.address()], "")
    );
    let gateway = start(&config).await;
    for path in ["/a", "/b?token=of-somebody", "/c/1", "/c/2"] {
        assert_eq!(gateway.get(path).await.status, 200);
    }
    let mut seen = 0;
    let entries = |n: u64| json!({ "entries": n });
    let after = |n: u64, cleared: u64| json!({ "entries": n, "cleared": cleared });
    let clear = async |body: &str| gateway.admin("POST", "/admin/cache/clear", body).await.status;
    assert_eq!(form(&gateway, "/admin/status/cache", "by=url&what=%2Fa").await.status, 303);
    let line = one(&gateway, &mut seen);
    assert_eq!(line, [json!("changed"), json!("cache.url /a"), entries(4), after(3, 1)]);
    assert_eq!(clear("{\"url\": \"http://example.test/b?token=of-somebody\"}").await, 200);
    let line = one(&gateway, &mut seen);
    assert_eq!((&line[2], &line[3]), (&entries(3), &after(2, 1)));
    assert!(!gateway.said().contains("of-somebody"), "{line:?}");
    assert_eq!(clear("{\"pattern\": \"/c/*\"}").await, 200);
    let line = one(&gateway, &mut seen);
    assert_eq!(line, [json!("changed"), json!("cache.pattern /c/*"), entries(2), after(0, 2)]);
    assert_eq!(clear("{\"tag\": \"nothing\"}").await, 200);
    assert_eq!(one(&gateway, &mut seen)[1], "cache.tag nothing");
    // Everything is cleared when it is said twice, and only then told.
    assert_eq!(form(&gateway, "/admin/status/cache", "by=all").await.status, 200);
    assert_eq!(lines(&gateway, seen).len(), 0);
    assert_eq!(form(&gateway, "/admin/status/cache", "by=all&sure=true").await.status, 303);
    assert_eq!(one(&gateway, &mut seen)[1], "cache");
}

#[tokio::test]
async fn reading_again_is_told_with_what_came_of_it() {
    let admin = "admin: { address: \"127.0.0.1:$ADMIN\" }\n";
    let config = |status: u16| {
        format!("{admin}routes: {{ /*: {{ to: {{ respond: {{ status: {status} }} }} }} }}\n")
    };
    // Files are read when they are told to be, as this is no notice of their own.
    let gateway = start(&config(200)).await;
    let mut seen = 0;
    let reload = async || gateway.admin("POST", "/admin/reload", "").await.status;
    assert_eq!(reload().await, 200);
    let line = one(&gateway, &mut seen);
    assert_eq!((&line[0], &line[1]), (&json!("unchanged"), &json!("reload")));
    assert_eq!((&line[2]["generation"], &line[3]["generation"]), (&json!(1), &json!(2)));
    gateway.rewrite("routes: nonsense\n");
    assert_eq!(reload().await, 422);
    let line = one(&gateway, &mut seen);
    assert_eq!((&line[0], &line[3]["reason"]), (&json!("refused"), &json!("config_refused")));
    assert!(line[3]["detail"].as_str().unwrap().contains("routes"), "{line:?}");
    let refused = form(&gateway, "/admin/status/reload", "").await;
    assert!(refused.text().contains("The files are refused"), "{}", refused.text());
    assert_eq!(one(&gateway, &mut seen)[0], "refused");
}

#[tokio::test]
async fn what_is_refused_or_changes_nothing_is_told_as_that() {
    let echo = Echo::start("a").await;
    let config = format!(
        "admin: {{ address: \"127.0.0.1:$ADMIN\", state_dir: \"$DIR/state\" }}\n\
         upstreams:\n{}routes: {{ /a: {{ to: pool }} }}\n",
        upstream("pool", &[echo.address()], "")
    );
    let gateway = launch().start(&config).await;
    let put = async |body: &str| gateway.admin("PUT", "/admin/routes/b", body).await.status;
    let mut seen = 0;
    assert_eq!(put("{\"to\": \"nobody\"}").await, 422);
    let line = one(&gateway, &mut seen);
    let wanted = [json!("refused"), json!("routes./b"), json!(""), json!("config_refused")];
    assert_eq!(line, wanted);
    assert_eq!((put("{\"to\": \"pool\"}").await, put("{\"to\": \"pool\"}").await), (200, 200));
    let told = lines(&gateway, seen);
    let to = json!({ "to": "pool" });
    assert_eq!(told[0], [json!("changed"), json!("routes./b"), json!(""), to.clone()]);
    assert_eq!(told[1], [json!("unchanged"), json!("routes./b"), to.clone(), to]);
}
