//! Who goes first when cores are few: the workers, before the control thread, in a successor too.
#![cfg(target_os = "linux")]

use lockgate_testkit::{Echo, until};

use crate::support::start_to;

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
