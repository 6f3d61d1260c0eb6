//! The directory of what is kept belongs to one gateway at a time: another one serves, and says
//! whose it is; after that one's end, and after an upgrade, it is had without a gap.

use std::os::unix::fs::PermissionsExt;

use lockgate_testkit::{Dir, Echo, Gateway, Launch, until};
use serde_json::{Value, json};

use crate::support::{BINARY, launch, upstream};

const ROUTE: &str = "{\"to\": \"pool\"}";

fn config(echo: &Echo, state: &Dir) -> String {
    let state = state.path().display();
    format!(
        "admin: {{ address: \"127.0.0.1:$ADMIN\", state_dir: \"{state}\" }}\n\
         upstreams:\n{}routes:\n  /a: {{ to: pool }}\n",
        upstream("pool", &[echo.address()], "")
    )
}

async fn set(gateway: &Gateway, name: &str) -> (u16, Value) {
    let answer = gateway.admin("PUT", &format!("/admin/routes/{name}"), ROUTE).await;
    (answer.status, answer.json())
}

/// One that has changed a route, and another one with the same directory.
async fn two(config: &str) -> (Gateway, Gateway) {
    let first = launch().start(config).await;
    assert_eq!(set(&first, "b").await.0, 200);
    (first, launch().start(config).await)
}

async fn status(gateway: &Gateway, path: &str) -> u16 {
    gateway.get(path).await.status
}

async fn versions(gateway: &Gateway) -> Vec<Value> {
    let told = gateway.admin("GET", "/admin/config/history", "").await.json();
    told["versions"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_second_gateway_serves_and_changes_nothing_until_the_first_has_ended() {
    let (echo, state) = (Echo::start("a").await, Dir::new());
    let config = config(&echo, &state);
    let (mut first, second) = two(&config).await;
    assert_eq!((status(&second, "/a").await, status(&second, "/b").await), (200, 200));

    let (refused, told) = set(&second, "c").await;
    assert_eq!((refused, &told["reason"]), (409, &json!("state_dir_taken")), "{told}");
    let whose = format!("belongs to another gateway, process {}", first.pid());
    assert!(told["detail"].as_str().unwrap().contains(&whose), "{told}");
    for (method, path, body) in [
        ("PUT", "/admin/config", "routes: {}"),
        ("DELETE", "/admin/config/changes", ""),
        ("POST", "/admin/config/rollback", "{\"to\": 1}"),
    ] {
        let answer = second.admin(method, path, body).await;
        assert_eq!(answer.status, 409, "{method} {path}: {}", answer.text());
    }
    assert!(second.said().contains(&whose), "its log says so: {}", second.said());
    let page = second.admin("GET", "/admin/status", "").await.text();
    assert!(page.contains(&whose), "{page}");
    let ran = second.cli(&["config", "changes"]).await;
    assert!(ran.stdout.contains(&whose) && ran.stdout.contains("+ routes./b"), "{ran:?}");

    // What the first one does is its own, and the second overwrites nothing of it.
    assert_eq!(set(&first, "d").await.0, 200);
    let (kept, known) = (state.read("changes.yaml"), versions(&first).await);
    second.rewrite(&config.replace("/a:", "/e:"));
    until("the second reads its file", async || status(&second, "/e").await == 200).await;
    assert_eq!(state.read("changes.yaml"), kept);
    assert_eq!((status(&first, "/a").await, status(&second, "/d").await), (200, 404));
    let clean = first.admin("GET", "/admin/status", "").await.text();
    assert!(!clean.contains("belongs to another"), "{clean}");

    // Killed, it cannot say good-bye. What it has changed is in force in the second then.
    first.kill();
    until("the second has it", async || set(&second, "c").await.0 == 200).await;
    assert_eq!((status(&second, "/c").await, status(&second, "/d").await), (200, 200));
    let then = versions(&second).await;
    let numbers = |all: &[Value]| -> Vec<u64> {
        all.iter().map(|one| one["number"].as_u64().unwrap()).collect()
    };
    let before = numbers(&known);
    assert!(numbers(&then).ends_with(&before), "{then:?} after {known:?}");
    assert_eq!(then[0]["what"], json!(["+ routes./c"]), "{then:?}");

    // And the first, when it comes back, is the one that has to wait.
    first.restart().await;
    assert_eq!(set(&first, "f").await.0, 409);
    assert_eq!(status(&first, "/c").await, 200);
}

#[tokio::test]
async fn an_upgrade_hands_it_over_and_one_that_fails_gives_it_back() {
    let (echo, state) = (Echo::start("a").await, Dir::new());
    let program = state.path().join("lockgate");
    std::fs::copy(BINARY, &program).unwrap();
    let launch = Launch::new(program.to_str().unwrap());
    let mut gateway = launch.start(&config(&echo, &state)).await;
    assert_eq!(set(&gateway, "b").await.0, 200);
    for round in 0..3 {
        assert_eq!(gateway.upgrade().await.code, 0, "{}", gateway.said());
        let (done, told) = set(&gateway, &format!("c{round}")).await;
        assert_eq!(done, 200, "{told}");
    }
    for path in ["/b", "/c0", "/c1", "/c2"] {
        assert_eq!(status(&gateway, path).await, 200, "{path}");
    }

    // A file that the new process refuses: it goes, and the old one changes as before.
    let sound = gateway.dir().read("lockgate.yaml");
    gateway.rewrite("routes: { /*: { to: nowhere } }\n");
    gateway.admin("POST", "/admin/upgrade", "").await;
    until("the upgrade's failure", async || {
        let told = gateway.admin("GET", "/admin/upgrade", "").await.json();
        told["state"] == "failed"
    })
    .await;
    gateway.dir().write("lockgate.yaml", sound);
    until("the sound file", async || set(&gateway, "d").await.0 == 200).await;
    assert_eq!(status(&gateway, "/d").await, 200);
    assert!(!gateway.said().contains("belongs to another gateway"), "{}", gateway.said());
}

#[tokio::test]
async fn a_gateway_that_waits_does_not_come_between_an_upgrade() {
    let (echo, state, place) = (Echo::start("a").await, Dir::new(), Dir::new());
    let program = place.path().join("lockgate");
    std::fs::copy(BINARY, &program).unwrap();
    let config = config(&echo, &state);
    let mut first = Launch::new(program.to_str().unwrap()).start(&config).await;
    let waiting = launch().start(&config).await;
    assert_eq!(set(&waiting, "x").await.0, 409);

    // None that can be started: nothing has been let go for it.
    std::fs::remove_file(&program).unwrap();
    let told = first.admin("POST", "/admin/upgrade", "").await.json();
    assert_eq!(told["state"], "failed", "{told}");
    assert_eq!(set(&first, "b").await.0, 200);

    // One that takes longer than the other waits until it asks again.
    let slow = format!("#!/bin/sh\nsleep 2.5\nexec {BINARY} \"$@\"\n");
    std::fs::write(&program, slow).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(first.upgrade().await.code, 0, "{}", first.said());
    let (done, told) = set(&first, "c").await;
    assert_eq!(done, 200, "{told}");
    assert_eq!(set(&waiting, "x").await.0, 409);
    let taken = "are kept by this gateway now";
    assert!(!waiting.said().contains(taken), "{}", waiting.said());
    let whose = format!("belongs to another gateway, process {}", first.pid());
    until("the other knows whose it is now", async || {
        waiting.admin("GET", "/admin/status", "").await.text().contains(&whose)
    })
    .await;
    drop(first);
    until("the other has it", async || set(&waiting, "x").await.0 == 200).await;
    for path in ["/b", "/c", "/x"] {
        assert_eq!(status(&waiting, path).await, 200, "{path}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_has_a_reason_of_its_own() {
    let (echo, state) = (Echo::start("a").await, Dir::new());
    let config = config(&echo, &state);
    let (mut first, second) = two(&config).await;
    second.rewrite(&config.replace("/a:", "/e:"));
    until("the second reads its file", async || status(&second, "/e").await == 200).await;
    // It knows that there was a version, and not what it was.
    let newest = versions(&second).await[0]["number"].clone();
    let diff = second.admin("GET", &format!("/admin/config/diff?from={newest}"), "").await;
    assert!(diff.status >= 400 && diff.text().contains("has not been kept"), "{}", diff.text());

    let sound = state.read("changes.yaml");
    state.write("changes.yaml", "[broken");
    first.kill();
    let mut told = Value::Null;
    until("the second finds it broken", async || {
        told = set(&second, "c").await.1;
        told["reason"] == "state_dir_unusable"
    })
    .await;
    assert!(told["detail"].as_str().unwrap().contains("changes.yaml"), "{told}");
    state.write("changes.yaml", &sound);
    until("the second has it", async || set(&second, "c").await.0 == 200).await;
    let said = second.said();
    assert_eq!(said.matches("and refuses changes").count(), 2, "each reason is said once: {said}");
}
