//! Alerts, to real receivers: a webhook's server, a mail server, a program. What goes wrong is told
//! once, and so is its end.

use std::net::SocketAddr;

use lockgate_testkit::{
    Authority, Echo, Endpoint, Gateway, Launch, Secured, Seen, Smtp, serve_if_asked, server_config,
    until,
};
use serde_json::Value;

use crate::support::{launch, upstream};

const ENDPOINT: &str = "alerts::as_an_endpoint";

#[tokio::test]
#[ignore = "runs as the endpoint of other tests"]
async fn as_an_endpoint() {
    serve_if_asked().await;
}

/// An upstream that is probed often, and alerts that fire at once.
fn config(endpoints: &[SocketAddr], alerts: &str) -> String {
    let health = "health: { path: /health, interval: 100ms, timeout: 1s, unhealthy_after: 2 }\n\
                  outlier: off";
    let pool = upstream("pool", endpoints, health);
    let rules = "  rules: { endpoint_down: { for: 0s }, upstream_low: { for: 0s } }\n";
    let routes = "routes:\n  /*: { to: pool }\n";
    format!("upstreams:\n{pool}{routes}alerts:\n  group_wait: 1s\n{rules}{alerts}")
}

/// What was sent to a path.
fn sent(sink: &Echo, path: &str) -> Vec<Value> {
    let to = |seen: &Seen| seen.uri.path() == path;
    let seen = sink.seen().into_iter().filter(to);
    seen.map(|seen| serde_json::from_slice(&seen.body).expect("JSON")).collect()
}

/// The rules and statuses in Lockgate's own messages.
fn told(sink: &Echo, path: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for message in sent(sink, path) {
        for alert in message["alerts"].as_array().unwrap() {
            let word = |key: &str| alert[key].as_str().unwrap().to_owned();
            all.push((word("rule"), word("status")));
        }
    }
    all.sort();
    all
}

async fn alerts(gateway: &Gateway) -> Value {
    gateway.admin("GET", "/admin/alerts", "").await.json()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(rule, status)| ((*rule).to_owned(), (*status).to_owned())).collect()
}

#[tokio::test]
async fn an_endpoint_that_is_killed_is_told_of_once_and_so_is_its_return() {
    let mut endpoint = Endpoint::start(ENDPOINT).await;
    let sink = Echo::start("sink").await;
    let at = sink.address();
    let sinks = format!(
        "  hook: http://{at}/hook\n  chat: {{ url: \"http://{at}/chat-hook\", kind: slack }}\n  \
         pager: {{ url: \"http://{at}/pager\", kind: pagerduty, key: \"${{env:PAGER}}\" }}\n  \
         am: {{ url: \"http://{at}\", kind: alertmanager, token: \"${{env:PAGER}}\" }}\n  \
         own: {{ url: \"http://{at}/own\", body: {{ say: \"{{{{status}}}}\", n: \"{{{{count}}}}\" }} }}\n"
    );
    let launch = launch().env("PAGER", "s3cr3t-of-the-pager");
    let gateway = launch.start(&config(&[endpoint.address()], &sinks)).await;
    gateway.get("/").await;
    endpoint.kill();
    let both = pairs(&[("endpoint_down", "firing"), ("upstream_low", "firing")]);
    until("the webhook to be told", async || told(&sink, "/hook") == both).await;
    until("the others to be told", async || {
        let paths = ["/chat-hook", "/pager", "/api/v2/alerts", "/own"];
        paths.iter().all(|path| !sent(&sink, path).is_empty())
    })
    .await;
    assert!(sent(&sink, "/chat-hook")[0]["text"].as_str().unwrap().starts_with("critical: "));
    let pager = &sent(&sink, "/pager")[0];
    assert_eq!(
        (&pager["event_action"], &pager["routing_key"]),
        (&"trigger".into(), &"s3cr3t-of-the-pager".into())
    );
    assert_eq!(sent(&sink, "/own")[0]["say"], "firing");
    let am = sink.seen().into_iter().find(|seen| seen.uri.path() == "/api/v2/alerts").unwrap();
    assert_eq!(am.header("authorization"), Some("Bearer s3cr3t-of-the-pager"));
    let shown = alerts(&gateway).await;
    assert_eq!(shown["firing"].as_array().unwrap().len(), 2, "{shown}");
    assert_eq!(shown["firing"][0]["rule"], "upstream_low", "the worst first: {shown}");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("lockgate_alerts_firing", &[("rule", "endpoint_down")]), 1.0);

    endpoint.restart(ENDPOINT).await;
    let all = pairs(&[
        ("endpoint_down", "firing"),
        ("endpoint_down", "resolved"),
        ("upstream_low", "firing"),
        ("upstream_low", "resolved"),
    ]);
    until("the webhook to be told of the end", async || told(&sink, "/hook") == all).await;
    assert_eq!(sent(&sink, "/hook").len(), 2, "one message for what changes together");
    until("PagerDuty to be told", async || {
        sent(&sink, "/pager").iter().filter(|one| one["event_action"] == "resolve").count() == 2
    })
    .await;
    until("the deliveries to be counted", async || {
        let shown = alerts(&gateway).await;
        let hook = shown["sinks"].as_array().unwrap().iter().find(|sink| sink["name"] == "hook");
        hook.unwrap()["delivered"] == 2 && shown["firing"].as_array().unwrap().is_empty()
    })
    .await;
    let shown = alerts(&gateway).await.to_string();
    let config = gateway.admin("GET", "/admin/config", "").await.text();
    for text in [shown, config, gateway.said()] {
        assert!(!text.contains("s3cr3t"), "{text}");
    }
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_again() {
    let (endpoint, sink) = (Echo::start("a").await, Echo::start("sink").await);
    let hook = format!("  hook: http://{}/hook\n", sink.address());
    let gateway = launch().start(&config(&[endpoint.address()], &hook)).await;
    sink.answer_with(503);
    endpoint.healthy(false);
    until("a try", async || !sink.seen().is_empty()).await;
    until("the failure to be shown", async || {
        let sink = alerts(&gateway).await["sinks"][0].clone();
        sink["lastError"] == "it was answered 503" && sink["delivered"] == 0
    })
    .await;
    sink.answer_with(0);
    until("it to arrive", async || alerts(&gateway).await["sinks"][0]["delivered"] == 1).await;
    let metrics = gateway.metrics().await;
    let count = |outcome| metrics.sum("lockgate_alert_deliveries_total", &[("outcome", outcome)]);
    assert!(count("failed") >= 1.0 && count("delivered") == 1.0, "{metrics:?}");
}

fn mail(smtp: &Smtp, more: &str) -> String {
    let server = smtp.address();
    format!(
        "  mail: {{ email: {{ server: \"{server}\", from: gw@example.com, \
         to: [ops@example.com, gone@example.com], {more} }} }}\n"
    )
}

#[tokio::test]
async fn mail_goes_by_starttls_with_a_password_and_again_when_refused() {
    let authority = Authority::new("mail");
    let tls = server_config(&authority.server(&["127.0.0.1"]), &[], None);
    let login = "ca: ./ca.pem, user: gw, password: \"${env:MAIL}\"";
    for (way, secured, tls_word) in [
        ("PLAIN", Secured::ByStarttls(tls.clone()), "starttls"),
        ("LOGIN", Secured::FromTheStart(tls.clone()), "implicit"),
    ] {
        let smtp = Smtp::start(secured, Some(way)).await;
        smtp.refuse(1);
        let endpoint = Echo::start("a").await;
        let sinks = mail(&smtp, &format!("{login}, tls: {tls_word}"));
        let launch = launch().file("ca.pem", &authority.pem).env("MAIL", "s3cr3t-of-the-mail");
        let gateway = launch.start(&config(&[endpoint.address()], &sinks)).await;
        endpoint.healthy(false);
        until("a mail", async || !smtp.letters().is_empty()).await;
        assert!(smtp.connections() >= 2, "the first was refused");
        let letter = smtp.letters().remove(0);
        assert_eq!(letter.from, "gw@example.com");
        assert_eq!(letter.to, ["ops@example.com"], "one who is gone keeps nobody from it");
        assert!(letter.secured);
        let shown = String::from_utf8(letter.login.unwrap()).unwrap();
        assert!(shown.ends_with("gw\0s3cr3t-of-the-mail"), "{shown:?}");
        assert!(letter.message.contains("\r\nSubject: [lockgate "), "{}", letter.message);
        assert!(!gateway.said().contains("s3cr3t"));
        assert!(gateway.said().contains("451 try later"), "{}", gateway.said());
        endpoint.healthy(true);
        until("the end", async || smtp.letters().len() == 2).await;
        assert!(
            smtp.letters()[1].message.contains(" alerts resolved\r\n"),
            "{:?}",
            smtp.letters()[1]
        );
    }
}

#[tokio::test]
async fn a_mail_server_that_cannot_prove_who_it_is_gets_nothing() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let tls = server_config(&theirs.server(&["127.0.0.1"]), &[], None);
    let login = "ca: ./ca.pem, user: gw, password: \"${env:MAIL}\"";
    for secured in [Secured::ByStarttls(tls), Secured::Never] {
        let smtp = Smtp::start(secured, Some("PLAIN")).await;
        let endpoint = Echo::start("a").await;
        let launch = launch().file("ca.pem", &ours.pem).env("MAIL", "s3cr3t");
        let sinks = mail(&smtp, login);
        let gateway = launch.start(&config(&[endpoint.address()], &sinks)).await;
        endpoint.healthy(false);
        until("a failure", async || {
            let sink = alerts(&gateway).await["sinks"][0].clone();
            let why = sink["lastError"].as_str().unwrap_or_default();
            why.contains("no TLS") || why.contains("does not offer STARTTLS")
        })
        .await;
        assert!(smtp.letters().is_empty());
    }
}

#[tokio::test]
async fn a_program_is_told_on_its_standard_input() {
    let endpoint = Echo::start("a").await;
    let script = "#!/bin/sh\nnice > nice\ncat >> told\necho >> told\n";
    let launch = launch().file("tell.sh", script);
    let sinks = "  program: { command: [sh, ./tell.sh], only: endpoint_down, resolved: false }\n";
    let gateway = launch.start(&config(&[endpoint.address()], sinks)).await;
    endpoint.healthy(false);
    until("the program to be told", async || gateway.dir().path().join("told").exists()).await;
    until("all of it", async || gateway.dir().read("told").ends_with('\n')).await;
    let message: Value = serde_json::from_str(&gateway.dir().read("told")).unwrap();
    assert_eq!((&message["status"], &message["sink"]), (&"firing".into(), &"program".into()));
    assert_eq!(message["alerts"].as_array().unwrap().len(), 1, "only what it wants: {message}");
    let own = std::process::Command::new("nice").output().unwrap().stdout;
    assert_eq!(gateway.dir().read("nice").into_bytes(), own, "no nicer than the gateway began");
}

#[tokio::test]
async fn a_configuration_that_is_refused_is_an_alert_until_one_is_taken() {
    let (endpoint, sink) = (Echo::start("a").await, Echo::start("sink").await);
    let good = config(&[endpoint.address()], &format!("  hook: http://{}/hook\n", sink.address()));
    let gateway = launch().start(&good).await;
    gateway.rewrite("nonsense: true\n");
    let fires = pairs(&[("config_refused", "firing")]);
    until("the refusal to be told", async || told(&sink, "/hook") == fires).await;
    gateway.rewrite(&good);
    let over = pairs(&[("config_refused", "firing"), ("config_refused", "resolved")]);
    until("the end to be told", async || told(&sink, "/hook") == over).await;
}

#[tokio::test]
async fn a_gateway_that_is_killed_repeats_nothing_and_tells_the_end() {
    let (endpoint, sink) = (Echo::start("a").await, Echo::start("sink").await);
    let alerts = format!("  hook: http://{}/hook\n", sink.address());
    let state = "admin: { address: \"127.0.0.1:$ADMIN\", state_dir: $DIR/state }\n";
    let config = state.to_owned() + &config(&[endpoint.address()], &alerts);
    let mut gateway = Launch::start(launch(), &config).await;
    endpoint.healthy(false);
    let both = pairs(&[("endpoint_down", "firing"), ("upstream_low", "firing")]);
    until("the webhook to be told", async || told(&sink, "/hook") == both).await;
    let dir = gateway.dir().path().join("state");
    until("what was told to be on disk", async || kept(&dir)["told"]["hook"][1].is_object()).await;
    gateway.restart().await;
    until("the new process to know", async || {
        let uptime = gateway.admin("GET", "/admin/uptime", "").await.json();
        uptime["kept"]["where"] == "disk" && uptime["upstreams"][0]["standing"] == "down"
    })
    .await;
    // What is told next is told with whatever else would be told.
    gateway.rewrite("nonsense: true\n");
    let refused = pairs(&[("config_refused", "firing")]);
    until("the next message", async || told(&sink, "/hook").starts_with(&refused)).await;
    assert_eq!(told(&sink, "/hook")[1..], both, "nothing is told twice");
    endpoint.healthy(true);
    until("the end to be told", async || told(&sink, "/hook").len() == 5).await;
}

/// What is on disk of alerts.
fn kept(dir: &std::path::Path) -> Value {
    let connection = rusqlite::Connection::open(dir.join("uptime.db")).unwrap();
    let sql = "SELECT text FROM kept WHERE name = 'alerts'";
    let text: String = connection.query_row(sql, [], |row| row.get(0)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}
