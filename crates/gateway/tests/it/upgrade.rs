//! Upgrades: another process takes the listening sockets over, and nobody notices; one that does
//! not come up changes nothing. Readiness, and what a service manager is told.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use lockgate_testkit::{Echo, Gateway, Launch, Load, Socket, request, until};

use crate::support::{BINARY, launch, start_to, to};

fn get() -> String {
    request("GET", "/", &[], "")
}

#[tokio::test]
async fn twenty_upgrades_under_load_lose_no_request() {
    let echo = Echo::start("a").await;
    let mut gateway = start_to(echo.address()).await;
    let first = gateway.pid();
    let load = Load::start(gateway.web(), 4, &get());
    let mut pids = vec![first];
    for _ in 0..20 {
        load.more(20).await;
        let ran = gateway.upgrade().await;
        assert_eq!(ran.code, 0, "{}\n{}", ran.text(), gateway.said());
        assert!(!pids.contains(&gateway.pid()), "{pids:?}");
        pids.push(gateway.pid());
    }
    load.more(20).await;
    load.stop().await.flawless(400);
    assert_eq!(gateway.ended().await, 0, "the first has drained: {}", gateway.said());
    assert_eq!(gateway.admin("GET", "/admin/live", "").await.json()["pid"], gateway.pid());
}

#[tokio::test]
async fn what_is_under_way_ends_in_the_old_process() {
    let echo = Echo::start("a").await;
    let mut gateway = start_to(echo.address()).await;
    let mut slow = gateway.wire().await;
    slow.send(request("GET", "/wait", &[], "")).await;
    let mut socket = Socket::open(gateway.wire().await, "/ws", &[]).await.unwrap();
    let mut kept = gateway.wire().await;
    assert_eq!(kept.ask(get()).await.status, 200);
    until("the requests", async || echo.hits() == 3).await;
    assert_eq!(gateway.upgrade().await.code, 0);
    assert_eq!(gateway.get("/").await.status, 200, "the new one serves");
    socket.echoes("still the old one").await;
    let answer = kept.ask(get()).await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    echo.open(1);
    assert_eq!(slow.answer().await.status, 200);
    assert!(gateway.runs(), "the WebSocket holds it");
    socket.close().await;
    assert_eq!(gateway.ended().await, 0, "{}", gateway.said());
}

#[tokio::test]
async fn one_that_does_not_come_up_changes_nothing() {
    let echo = Echo::start("a").await;
    // A copy, which is replaced as a package would replace it.
    let dir = lockgate_testkit::Dir::new();
    let program = dir.path().join("lockgate");
    std::fs::copy(BINARY, &program).unwrap();
    let launch = Launch::new(program.to_str().unwrap());
    let mut gateway = launch.start(&to(echo.address())).await;
    let pid = gateway.pid();
    let load = Load::start(gateway.web(), 2, &get());

    replace(&program, "#!/bin/sh\nexit 3\n");
    let state = ordered(&gateway).await;
    assert_eq!(state["state"], "failed", "{state}");
    assert!(state["why"].as_str().unwrap().contains("exit status: 3"), "{state}");

    // A file that the new one refuses, and the program whole again.
    std::fs::remove_file(&program).unwrap();
    std::fs::copy(BINARY, &program).unwrap();
    let sound = std::fs::read(gateway.dir().path().join("lockgate.yaml")).unwrap();
    gateway.rewrite("routes: { /*: { to: nowhere } }\n");
    let state = ordered(&gateway).await;
    assert_eq!(state["state"], "failed", "{state}");
    std::fs::write(gateway.dir().path().join("lockgate.yaml"), sound).unwrap();

    load.more(20).await;
    load.stop().await.flawless(20);
    assert_eq!(gateway.pid(), pid);
    assert!(gateway.runs());
    let ran = gateway.upgrade().await;
    assert_eq!(ran.code, 0, "and then it can: {}", ran.text());
    assert_eq!(gateway.get("/").await.status, 200);
}

fn replace(program: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let new = program.with_extension("new");
    std::fs::write(&new, script).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&new, program).unwrap();
}

/// Orders an upgrade and waits for what becomes of it.
async fn ordered(gateway: &Gateway) -> serde_json::Value {
    let mut state = gateway.admin("POST", "/admin/upgrade", "").await.json();
    until("the upgrade's end", async || {
        state = gateway.admin("GET", "/admin/upgrade", "").await.json();
        state["state"] != "begun"
    })
    .await;
    state
}

#[tokio::test]
async fn a_signal_upgrades_too_and_workers_may_become_more_or_fewer() {
    let echo = Echo::start("a").await;
    let config = |workers: u32| format!("workers: {workers}\n{}", to(echo.address()));
    let mut gateway = launch().start(&config(2)).await;
    let load = Load::start(gateway.web(), 4, &get());
    for workers in [1, 3] {
        gateway.rewrite(&config(workers));
        load.more(20).await;
        let before = gateway.admin("GET", "/admin/live", "").await.json()["pid"].clone();
        gateway.signal("USR2");
        let mut now = before.clone();
        until("the successor", async || {
            now = gateway.admin("GET", "/admin/live", "").await.json()["pid"].clone();
            now != before
        })
        .await;
        gateway.follow(now.as_u64().unwrap().try_into().unwrap());
        load.more(20).await;
    }
    load.stop().await.flawless(80);
    let metrics = gateway.metrics().await;
    assert!(metrics.has("lockgate_worker_connections", &[("worker", "2")]), "three workers");
}

#[tokio::test]
async fn without_a_gateway_there_is_nothing_to_upgrade() {
    let echo = Echo::start("a").await;
    let mut gateway = start_to(echo.address()).await;
    gateway.signal("TERM");
    gateway.ended().await;
    let ran = gateway.upgrade().await;
    assert_eq!(ran.code, 1, "{}", ran.text());
    assert!(ran.stderr.contains("no gateway answers on 127.0.0.1:"), "{}", ran.text());
}

#[tokio::test]
async fn it_is_ready_when_it_should_be_sent_requests() {
    let echo = Echo::start("a").await;
    let config = |wait: bool| {
        let admin = format!("admin: {{ address: \"127.0.0.1:$ADMIN\", wait_for_health: {wait} }}");
        let upstreams = format!(
            "upstreams:\n  pool:\n    endpoints: [\"{}\"]\n    health: {{ path: /wait, interval: 60s, timeout: 50s }}\n",
            echo.address()
        );
        format!(
            "{admin}\n{upstreams}routes: {{ /*: {{ to: pool }} }}\nhttp: {{ drain_delay: 30s }}\n"
        )
    };
    let gateway = launch().start(&config(true)).await;
    let answer = gateway.admin("GET", "/admin/ready", "").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("pool"), "{}", answer.text());
    echo.open(1);
    until("the first round of probes", async || {
        gateway.admin("GET", "/admin/ready", "").await.status == 200
    })
    .await;

    gateway.signal("TERM");
    until("it to be unready", async || {
        gateway.admin("GET", "/admin/ready", "").await.status == 503
    })
    .await;
    assert_eq!(gateway.admin("GET", "/admin/live", "").await.status, 200);
    assert_eq!(gateway.get("/").await.status, 200, "it serves on for the delay");
    gateway.signal("TERM");
    let mut gateway = gateway;
    assert_eq!(gateway.ended().await, 0, "{}", gateway.said());

    let gateway = launch().start("routes: {}\n").await;
    let answer = gateway.admin("GET", "/admin/ready", "").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
}

#[tokio::test]
async fn a_service_manager_is_told() {
    let dir = lockgate_testkit::Dir::new();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let echo = Echo::start("a").await;
    let launch =
        launch().env("NOTIFY_SOCKET", path.to_str().unwrap()).env("WATCHDOG_USEC", "200000");
    let mut gateway = launch.start(&to(echo.address())).await;
    let hear = |wanted: &str| {
        let mut heard = [0; 512];
        for _ in 0..100 {
            let size = manager.recv(&mut heard).unwrap();
            let text = String::from_utf8_lossy(&heard[..size]).into_owned();
            if text.contains(wanted) {
                return text;
            }
        }
        panic!("never {wanted}")
    };
    let first = hear("READY=1");
    assert!(first.contains(&format!("MAINPID={}", gateway.pid())), "{first}");
    hear("WATCHDOG=1");
    assert_eq!(gateway.upgrade().await.code, 0);
    let second = hear("READY=1");
    assert!(second.contains(&format!("MAINPID={}", gateway.pid())), "{second}");
    hear("WATCHDOG=1");
    gateway.signal("TERM");
    hear("STOPPING=1");
}

#[tokio::test]
async fn sockets_of_a_service_manager_are_used() {
    let echo = Echo::start("a").await;
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let dir = lockgate_testkit::Dir::new();
    let config = format!(
        "listeners: {{ web: \"{address}\" }}\nadmin: off\nworkers: 2\n{}",
        to(echo.address())
    );
    dir.write("lockgate.yaml", config);
    // The shell moves the socket to where sd_listen_fds(3) puts the first one.
    let mut child = std::process::Command::new("sh")
        .args(["-c", "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" run"])
        .arg(BINARY)
        .current_dir(dir.path())
        .stdin(std::os::fd::OwnedFd::from(socket))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Whoever comes before the gateway waits in the socket's queue.
    let mut wire = lockgate_testkit::Wire::connect(address).await;
    let answer = wire.ask(get()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(answer.status, 200);
}
