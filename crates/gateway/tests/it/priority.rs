//! Who goes first when cores are few: the workers, before the control thread, in a successor too.
#![cfg(target_os = "linux")]

use lockgate_testkit::{Echo, until};

use crate::support::{launch, start_to};

/// A name, and the hash of a password.
const USERS: &str = "bob:$argon2id$v=19$m=19456,t=2,p=1$W0I9f9X4OL5ItLwpkWSpeA$\
                     xjpFFHE9RY/STFjmABIx4Clez+7mrifm2no9uhQTajw\n";

/// The niceness of a process's threads, by name.
fn nice(pid: u32, name: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else { continue };
        let (_, rest) = stat.split_once('(').unwrap();
        let (own, rest) = rest.rsplit_once(") ").unwrap();
        if own.starts_with(name) {
            // The 19th field; the third is the first after the name.
            found.push(rest.split(' ').nth(16).unwrap().parse().unwrap());
        }
    }
    found
}

#[tokio::test]
async fn the_control_thread_steps_back_behind_the_workers_and_no_further_in_a_successor() {
    let echo = Echo::start("a").await;
    let mut gateway = start_to(echo.address()).await;
    let own = nice(std::process::id(), "")[0];
    for _ in 0..3 {
        let pid = gateway.pid();
        // A thread says its name when it first runs.
        until("the workers", async || !nice(pid, "worker-").is_empty()).await;
        let workers = nice(pid, "worker-");
        assert!(workers.iter().all(|one| *one == own), "{workers:?}");
        until("the control thread", async || nice(pid, "lockgate") == [own + 5]).await;
        assert_eq!(gateway.upgrade().await.code, 0, "{}", gateway.said());
    }
}

#[tokio::test]
async fn what_requests_wait_for_is_started_as_little_nice_as_workers() {
    let route = "  /a: { auth: staff, to: { respond: {} } }\n";
    let admin = "admin: { address: \"127.0.0.1:$ADMIN\" }\n";
    let config = |log: &str| {
        format!(
            "{admin}telemetry: {{ access_log: {{ to: \"$DIR/{log}\" }} }}\n\
             identity: {{ staff: {{ basic: {{ file: users.txt }} }} }}\nroutes:\n{route}"
        )
    };
    let gateway = launch().file("users.txt", USERS).start(&config("one.log")).await;
    let own = nice(std::process::id(), "")[0];
    let all_as_own = |name: &str| {
        let found = nice(gateway.pid(), name);
        !found.is_empty() && found.iter().all(|one| *one == own)
    };
    until("the log's thread", async || all_as_own("access-log")).await;
    gateway.rewrite(&config("two.log"));
    until("the new log", async || gateway.dir().path().join("two.log").exists()).await;
    until("its thread alone", async || nice(gateway.pid(), "access-log").len() == 1).await;
    assert!(all_as_own("access-log"));
    // `bob:wrong`
    let headers = [("Authorization", "Basic Ym9iOndyb25n")];
    assert_eq!(gateway.ask("GET", "/a", &headers, "").await.status, 403);
    assert!(all_as_own("aside"));
}
