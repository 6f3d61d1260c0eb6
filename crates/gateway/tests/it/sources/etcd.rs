//! A configuration from a real etcd: what is put there is live, and whatever becomes of it — killed,
//! hung, emptied, compacted, broken texts — nothing of what is in force is lost.

use lockgate_testkit::{Authority, Etcd, Gateway, Launch, Load, request, until};
use serde_json::{Value, json};

use super::{is, saying, says, source};
use crate::support::launch;

async fn sum(gateway: &Gateway, metric: &str) -> f64 {
    gateway.metrics().await.sum(metric, &[])
}

/// A gateway about to read all under `lockgate/`, asking again soon.
fn launch_from(etcd: &Etcd) -> Launch {
    launch().from(&format!("etcd://{}/lockgate/?poll=300ms", etcd.address()), &[])
}

/// A gateway that reads all under `lockgate/`, where `main` says `first`.
async fn start(etcd: &Etcd) -> Gateway {
    let launch = launch_from(etcd);
    etcd.put(&[("lockgate/main", &launch.text(&saying("/", "first")))]).await;
    launch.start("").await
}

#[tokio::test]
async fn keys_of_a_prefix_are_one_configuration_and_changes_are_live() {
    let etcd = Etcd::start().await;
    let gateway = start(&etcd).await;
    says(&gateway, "/", "first").await;
    etcd.put(&[(
        "lockgate/routes/a.toml",
        "[routes.\"/a\"]\nto = { respond = { body = \"a\" } }\n",
    )])
    .await;
    says(&gateway, "/a", "a").await;
    let route = "routes:\n  /word: { to: { respond: { body: \"${file:files/word}\" } } }\n";
    etcd.put(&[("lockgate/files/word", "w1"), ("lockgate/routes/b", route)]).await;
    says(&gateway, "/word", "w1").await;
    let revision = etcd.put(&[("lockgate/files/word", "w2")]).await.to_string();
    says(&gateway, "/word", "w2").await;
    until("the revision to be told", async || source(&gateway).await["revision"] == *revision)
        .await;
    let told = source(&gateway).await;
    assert_eq!((&told["kind"], &told["state"]), (&"etcd".into(), &"well".into()), "{told}");
    assert_eq!((&told["staleSeconds"], &told["fromCopy"]), (&0.into(), &false.into()), "{told}");
    etcd.delete("lockgate/routes/").await;
    until("the routes to be gone", async || gateway.get("/a").await.status == 404).await;
    says(&gateway, "/", "first").await;
    assert_eq!(sum(&gateway, "lockgate_config_source_up").await, 1.0);
}

#[tokio::test]
async fn a_transaction_is_one_change_and_nobody_notices_it() {
    let etcd = Etcd::start().await;
    let gateway = start(&etcd).await;
    let pair =
        |word: usize| [saying("/one", &format!("v{word}")), saying("/other", &format!("v{word}"))];
    let load = Load::start(gateway.web(), 4, &request("GET", "/", &[], ""));
    load.more(50).await;
    let before = sum(&gateway, "lockgate_config_generation").await;
    for word in 0..20 {
        let [one, other] = pair(word);
        etcd.put(&[("lockgate/a", &one), ("lockgate/b", &other)]).await;
        says(&gateway, "/one", &format!("v{word}")).await;
        assert_eq!(gateway.get("/other").await.text(), format!("v{word}"));
    }
    load.stop().await.flawless(100);
    assert_eq!(sum(&gateway, "lockgate_config_generation").await - before, 20.0);
}

#[tokio::test]
async fn a_broken_text_changes_nothing_and_its_key_is_named() {
    let etcd = Etcd::start().await;
    let gateway = start(&etcd).await;
    etcd.put(&[("lockgate/routes/bad", "routes:\n  /bad: { to: nobody }\n")]).await;
    until("the refusal", async || source(&gateway).await["refused"].is_string()).await;
    let place = format!("etcd://{}/lockgate/routes/bad:2:", etcd.address());
    let told = source(&gateway).await;
    assert!(told["refused"].as_str().unwrap().contains(&place), "{told}");
    assert_eq!(told["state"], "refused", "{told}");
    let ready = gateway.admin("GET", "/admin/ready", "").await;
    assert_eq!((ready.status, &ready.json()["source"]), (200, &"refused".into()), "{ready:?}");
    assert!(ready.json()["refused"].is_string() && !ready.text().contains("bad:2"), "{ready:?}");
    assert_eq!(gateway.get("/").await.text(), "first");
    etcd.put(&[("lockgate/../x", "routes: {}")]).await;
    is(&gateway, "unusable").await;
    etcd.delete("lockgate/..").await;
    is(&gateway, "refused").await;
    etcd.put(&[("lockgate/main/more", &saying("/more", "more"))]).await;
    is(&gateway, "unusable").await;
    let told = source(&gateway).await["lastError"].to_string();
    assert!(told.contains("`main` and others under `main/`"), "{told}");
    etcd.delete("lockgate/main/").await;
    etcd.put(&[("lockgate/routes/bad", &saying("/bad", "good"))]).await;
    says(&gateway, "/bad", "good").await;
    // It serves a moment before that is told.
    until("it to be told", async || source(&gateway).await["refused"].is_null()).await;
    assert_eq!(gateway.admin("GET", "/admin/ready", "").await.json(), json!({ "status": "ready" }));
}

#[tokio::test]
async fn a_deleted_key_that_had_the_routes_is_refused_unless_it_is_said_that_none_are_meant() {
    let etcd = Etcd::start().await;
    let launch = launch_from(&etcd);
    let listens = launch.text("telemetry: { access_log: off }\n");
    etcd.put(&[("lockgate/main", &listens), ("lockgate/routes/a", &saying("/", "first"))]).await;
    let mut gateway = launch.start("").await;
    says(&gateway, "/", "first").await;
    let refusals = async || {
        let kind = [("kind", "etcd"), ("reason", "refused")];
        gateway.metrics().await.sum("lockgate_config_source_failures_total", &kind)
    };
    assert_eq!(refusals().await, 0.0);
    etcd.delete("lockgate/routes/").await;
    is(&gateway, "refused").await;
    assert_eq!(gateway.get("/").await.text(), "first");
    let told = source(&gateway).await["refused"].to_string();
    for word in ["no routes any more", "lockgate/routes/a`", "`routes: {}`"] {
        assert!(told.contains(word) && gateway.said().contains(word), "{word} in {told}");
    }
    assert!(refusals().await >= 1.0);
    assert_eq!(sum(&gateway, "lockgate_config_last_reload_successful").await, 0.0);
    let ready = gateway.admin("GET", "/admin/ready", "").await;
    assert_eq!((ready.status, &ready.json()["source"]), (200, &"refused".into()), "{ready:?}");

    gateway.restart().await;
    assert_eq!(gateway.get("/").await.text(), "first", "a start is no way around it");
    let told = source(&gateway).await;
    assert_eq!((&told["state"], &told["fromCopy"]), (&"refused".into(), &true.into()), "{told}");
    assert_eq!(sum(&gateway, "lockgate_config_last_reload_successful").await, 0.0);
    let ready = gateway.admin("GET", "/admin/ready", "").await.json();
    assert_eq!((&ready["status"], &ready["fromCopy"]), (&"ready".into(), &true.into()), "{ready}");

    etcd.put(&[("lockgate/routes/none", "routes: {}\n")]).await;
    until("none to be meant", async || gateway.get("/").await.status == 404).await;
    is(&gateway, "well").await;
    assert_eq!(gateway.admin("GET", "/admin/ready", "").await.status, 503);
    gateway.restart().await;
    assert_eq!(gateway.admin("GET", "/admin/ready", "").await.status, 503);
    etcd.put(&[("lockgate/routes/none", &saying("/", "again"))]).await;
    says(&gateway, "/", "again").await;
}

#[tokio::test]
async fn a_killed_etcd_takes_nothing_with_it_not_even_from_a_restarted_gateway() {
    let mut etcd = Etcd::start().await;
    let mut gateway = start(&etcd).await;
    etcd.put(&[("lockgate/second", &saying("/second", "second"))]).await;
    says(&gateway, "/second", "second").await;
    etcd.kill();
    is(&gateway, "away").await;
    assert_eq!(gateway.get("/second").await.text(), "second");
    until("the gauge to tell how stale it is", async || {
        sum(&gateway, "lockgate_config_source_stale_seconds").await >= 1.0
    })
    .await;
    assert_eq!(sum(&gateway, "lockgate_config_source_up").await, 0.0);
    assert!(sum(&gateway, "lockgate_config_source_failures_total").await >= 1.0);

    gateway.restart().await;
    says(&gateway, "/second", "second").await;
    assert!(gateway.said().contains("last good copy"), "{}", gateway.said());
    let told = source(&gateway).await;
    assert_eq!((&told["fromCopy"], &told["state"]), (&true.into(), &"away".into()), "{told}");
    assert!(told["staleSeconds"].as_u64().unwrap() >= 1, "{told}");

    etcd.restart().await;
    is(&gateway, "well").await;
    let told = source(&gateway).await;
    assert_eq!((&told["fromCopy"], &told["staleSeconds"]), (&false.into(), &0.into()), "{told}");
    assert_eq!(sum(&gateway, "lockgate_config_generation").await, 1.0, "it was the same");
    let reloaded = || gateway.said().matches("reloaded").count();
    let before = reloaded();
    gateway.signal("HUP");
    until("the reload", async || reloaded() > before).await;
    assert_eq!(source(&gateway).await["fromCopy"], false, "the source has said it by now");
    etcd.put(&[("lockgate/second", &saying("/second", "third"))]).await;
    says(&gateway, "/second", "third").await;
}

#[tokio::test]
async fn an_etcd_that_hangs_is_noticed_and_followed_again() {
    let etcd = Etcd::start().await;
    let gateway = start(&etcd).await;
    is(&gateway, "well").await;
    etcd.pause();
    is(&gateway, "away").await;
    assert_eq!(gateway.get("/").await.text(), "first");
    etcd.resume();
    is(&gateway, "well").await;
    etcd.put(&[("lockgate/more", &saying("/more", "more"))]).await;
    says(&gateway, "/more", "more").await;
}

#[tokio::test]
async fn deleted_keys_leave_all_in_force_and_a_restart_too() {
    let etcd = Etcd::start().await;
    let mut gateway = start(&etcd).await;
    says(&gateway, "/", "first").await;
    etcd.delete("lockgate/").await;
    is(&gateway, "empty").await;
    assert_eq!(gateway.get("/").await.text(), "first");
    assert!(gateway.said().contains("has no text under a key"), "{}", gateway.said());
    gateway.restart().await;
    assert_eq!(gateway.get("/").await.text(), "first");
    etcd.put(&[("lockgate/main", "  \n"), ("lockgate/files/order.json", "{}")]).await;
    is(&gateway, "empty").await;
    let text = gateway.text(&saying("/", "again"));
    etcd.put(&[("lockgate/main", &text)]).await;
    says(&gateway, "/", "again").await;
    for blank in ["# todo", "{}"] {
        etcd.put(&[("lockgate/main", blank)]).await;
        until("the refusal", async || source(&gateway).await["refused"].is_string()).await;
        let told = source(&gateway).await;
        assert!(told["refused"].as_str().unwrap().contains("no section"), "{told}");
        assert_eq!(gateway.get("/").await.text(), "again");
        let text = gateway.text(&saying("/", "again"));
        etcd.put(&[("lockgate/main", &text)]).await;
        until("it to be taken", async || source(&gateway).await["refused"].is_null()).await;
    }
}

#[tokio::test]
async fn a_gateway_begins_with_its_copy_when_what_stands_there_is_broken() {
    let etcd = Etcd::start().await;
    let mut gateway = start(&etcd).await;
    says(&gateway, "/", "first").await;
    etcd.put(&[("lockgate/bad", "routes: [")]).await;
    until("the refusal", async || source(&gateway).await["refused"].is_string()).await;
    gateway.restart().await;
    assert_eq!(gateway.get("/").await.text(), "first");
    let told = source(&gateway).await;
    assert!(told["refused"].is_string() && told["fromCopy"] == true, "{told}");
    etcd.put(&[("lockgate/bad", &saying("/bad", "good"))]).await;
    says(&gateway, "/bad", "good").await;
    assert_eq!(source(&gateway).await["fromCopy"], false);
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_once_and_taken_when_it_can_be() {
    let etcd = Etcd::start().await;
    let gateway = start(&etcd).await;
    says(&gateway, "/", "first").await;
    let refused = async || {
        let reloads = gateway.metrics().await;
        reloads.sum("lockgate_config_reloads_total", &[("result", "refused")])
    };
    let (state, away) = (gateway.dir().path().join("lockgate"), gateway.dir().path().join("away"));
    std::fs::rename(&state, &away).unwrap();
    std::fs::write(&state, "in the way").unwrap();
    for times in 1..3 {
        let text = gateway.text(&saying("/", &format!("lost-{times}")));
        etcd.put(&[("lockgate/main", &text)]).await;
        let times = f64::from(times);
        until("the refusal", async || refused().await >= times).await;
        assert_eq!(gateway.get("/").await.text(), "first");
        // It is tried again, but not at once and over and over.
        assert!(refused().await < times + 4.0, "{}", gateway.said());
    }
    let told = source(&gateway).await;
    assert!(told["refused"].as_str().unwrap().contains("no copy of it"), "{told}");
    std::fs::remove_file(&state).unwrap();
    std::fs::rename(&away, &state).unwrap();
    gateway.signal("HUP");
    says(&gateway, "/", "lost-2").await;
    assert_eq!(source(&gateway).await["refused"], Value::Null);
}

#[tokio::test]
async fn what_was_compacted_while_nobody_listened_is_fetched_anew() {
    let etcd = Etcd::start().await;
    let gateway = start(&etcd).await;
    says(&gateway, "/", "first").await;
    gateway.signal("STOP");
    for n in 0..5 {
        let revision = etcd.put(&[("lockgate/more", &saying("/more", &format!("m{n}")))]).await;
        etcd.compact(revision).await;
    }
    gateway.signal("CONT");
    says(&gateway, "/more", "m4").await;
}

#[tokio::test]
async fn the_first_of_several_servers_that_answers_is_asked() {
    let etcd = Etcd::start().await;
    let nobody = lockgate_testkit::Port::reserve();
    let url = format!("etcd://{},{}/lockgate.yaml", nobody.address(), etcd.address());
    let launch = launch().from(&url, &[]);
    etcd.put(&[("lockgate.yaml", &launch.text(&saying("/", "whole")))]).await;
    let gateway = launch.start("").await;
    says(&gateway, "/", "whole").await;
    etcd.put(&[("lockgate.yaml", "routes: [")]).await;
    until("the refusal", async || source(&gateway).await["refused"].is_string()).await;
    let told = source(&gateway).await;
    assert!(told["refused"].as_str().unwrap().contains("/lockgate.yaml:2:"), "{told}");
    let check = gateway.cli(&["check", &url]).await;
    assert_eq!(check.code, 1, "{check:?}");
    assert!(check.stderr.contains("/lockgate.yaml:2:"), "{check:?}");
    etcd.put(&[("lockgate.yaml", &gateway.text(&saying("/", "changed")))]).await;
    says(&gateway, "/", "changed").await;
    let reload = gateway.cli(&["reload", "-c", &url]).await;
    assert_eq!(reload.code, 0, "{reload:?}");
}

#[tokio::test]
async fn a_login_is_needed_where_it_is_demanded_and_never_told() {
    let mut etcd = Etcd::start().await;
    let password = "hunter2-of-the-etcd";
    let url = |password: &str| format!("etcd://gate:{password}@{}/lockgate/", etcd.address());
    let (good, bad) = (url("${env:ETCD_PASSWORD}"), url("wrong-word"));
    let launch = launch().from(&good, &[]).env("ETCD_PASSWORD", password);
    etcd.put(&[("lockgate/main", &launch.text(&saying("/", "first")))]).await;
    etcd.demand("gate", password, "lockgate/").await;
    let gateway = launch.start("").await;
    says(&gateway, "/", "first").await;
    etcd.put(&[("lockgate/more", &saying("/more", "more"))]).await;
    says(&gateway, "/more", "more").await;
    let check = gateway.cli(&["check", &bad]).await;
    assert_eq!(check.code, 2, "{check:?}");
    assert!(check.stderr.contains("invalid user ID or password"), "{check:?}");
    let told = source(&gateway).await.to_string();
    for said in [check.text(), gateway.said(), told] {
        assert!(!said.contains(password) && !said.contains("wrong-word"), "{said}");
    }
}

#[tokio::test]
async fn tls_is_spoken_to_whom_the_authority_vouches_for() {
    let authority = Authority::new("the etcd's authority");
    let (etcd, secure) = Etcd::start_with_tls(&authority).await;
    let client = authority.client("gateway");
    let url = format!("etcds://{}/lockgate/?ca=ca.pem&cert=cert.pem&key=key.pem", secure.address());
    let launch = launch()
        .from(&url, &[])
        .file("ca.pem", &authority.pem)
        .file("other.pem", &Authority::new("another").pem)
        .file("cert.pem", &client.cert)
        .file("key.pem", &client.key);
    etcd.put(&[("lockgate/main", &launch.text(&saying("/", "secret")))]).await;
    let gateway = launch.start("").await;
    says(&gateway, "/", "secret").await;
    etcd.put(&[("lockgate/more", &saying("/more", "more"))]).await;
    says(&gateway, "/more", "more").await;
    let check = gateway.cli(&["check", &url.replace("ca.pem", "other.pem")]).await;
    assert_eq!(check.code, 2, "{check:?}");
    assert!(check.stderr.contains("cannot be trusted"), "{check:?}");
}

#[tokio::test]
async fn without_a_copy_and_without_the_source_nothing_is_begun() {
    let nobody = lockgate_testkit::Port::reserve();
    let url = format!("etcd://{}/lockgate/", nobody.address());
    let dir = lockgate_testkit::Dir::new();
    let state = dir.path().join("state").display().to_string();
    let words = ["run", "-c", &url, "--state-dir", &state];
    let ran = lockgate_testkit::cli(crate::support::BINARY, dir.path(), &words).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("no earlier"), "{ran:?}");
    dir.write("file", "");
    let words = ["run", "-c", &url, "--state-dir", "file"];
    let ran = lockgate_testkit::cli(crate::support::BINARY, dir.path(), &words).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("--state-dir"), "{ran:?}");
}
