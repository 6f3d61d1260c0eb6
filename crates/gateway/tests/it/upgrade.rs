//! Upgrades: another process takes the listening sockets over, and nobody notices; one that does
//! not come up changes nothing. Readiness, and what a service manager is told.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use lockgate_testkit::{Dir, Echo, Gateway, Launch, Load, Port, Socket, Wire, request, until};

use crate::support::{BINARY, launch, pool, start, start_to, to, upstream};

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
async fn an_endpoint_that_is_down_gets_nothing_while_processes_change() {
    let (a, sick, gone) = (Echo::start("a").await, Echo::start("b").await, Port::reserve());
    sick.healthy(false);
    sick.answer_with(503);
    for down in [sick.address(), gone.address()] {
        // With nothing known it would take a second and a half to find out.
        let settings = "health: { interval: 500ms, unhealthy_after: 3 }\noutlier: off\n\
                        retry: { attempts: 0 }";
        let mut gateway = start(&pool(&[a.address(), down], settings)).await;
        let is_out = async |gateway: &Gateway| {
            let all = gateway.admin("GET", "/admin/health/services", "").await.json();
            let all = all["services"].as_array().unwrap().clone();
            all.iter().any(|one| one["address"] == *down.to_string() && one["healthy"] == false)
        };
        until("it to be out", async || is_out(&gateway).await).await;
        let hits = sick.hits();
        let load = Load::start(gateway.web(), 4, &request("POST", "/", &[], "money"));
        for _ in 0..5 {
            load.more(50).await;
            let ran = gateway.upgrade().await;
            assert_eq!(ran.code, 0, "{}\n{}", ran.text(), gateway.said());
            assert!(is_out(&gateway).await);
        }
        load.more(50).await;
        load.stop().await.flawless(300);
        assert_eq!(sick.hits(), hits);
    }
}

#[tokio::test]
async fn where_nothing_is_told_the_first_probes_are_waited_for() {
    let (a, gone, place) = (Echo::start("a").await, Port::reserve(), Dir::new());
    // As an older version would start it.
    let script = format!("#!/bin/sh\nLOCKGATE_HANDOVER=1 exec {BINARY} \"$@\"\n");
    let program = place.path().join("lockgate");
    std::fs::copy(BINARY, &program).unwrap();
    let settings = "health: { interval: 500ms }\noutlier: off\nretry: { attempts: 0 }";
    let config = pool(&[a.address(), gone.address()], settings);
    let mut gateway = Launch::new(program.to_str().unwrap()).start(&config).await;
    replace(&program, &script);
    until("the first probe", async || gateway.said().contains("taken out")).await;
    let load = Load::start(gateway.web(), 2, &request("POST", "/", &[], "money"));
    load.more(20).await;
    gateway.signal("USR2");
    let before = gateway.pid();
    until("the successor", async || {
        let live = gateway.admin("GET", "/admin/live", "").await.json();
        gateway.follow(live["pid"].as_u64().unwrap().try_into().unwrap());
        gateway.pid() != before
    })
    .await;
    load.more(100).await;
    load.stop().await.flawless(120);
    assert!(gateway.said().matches("taken out").count() == 2, "it has found out by itself");
}

#[tokio::test]
async fn ejections_and_open_breakers_go_on() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let ejecting = "outlier: { consecutive: 3, eject_for: 60s }\nretry: { attempts: 0 }";
    let breaking = "outlier: off\nretry: { attempts: 0 }\nbreaker: { of_last: 4, open_for: 60s }";
    let config = format!(
        "upstreams:\n{}{}routes: {{ /*: {{ to: pool }}, /break/*: {{ to: single }} }}\n",
        upstream("pool", &[a.address(), b.address()], ejecting),
        upstream("single", &[a.address()], breaking),
    );
    let mut gateway = start(&config).await;
    b.answer_with(500);
    for _ in 0..20 {
        gateway.get("/").await;
    }
    assert_eq!(b.hits(), 3);
    a.answer_with(500);
    for _ in 0..4 {
        gateway.get("/break/it").await;
    }
    a.answer_with(0);
    for _ in 0..2 {
        assert_eq!(gateway.get("/break/it").await.reason(), Some("breaker_open"));
        assert_eq!(gateway.upgrade().await.code, 0);
    }
    assert_eq!(gateway.get("/break/it").await.reason(), Some("breaker_open"));
    for _ in 0..10 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!(b.hits(), 3);
}

/// A gateway that is ready, and then gets an upstream whose first probe has no answer; and where
/// that upstream answers.
async fn one_that_is_never_ready() -> (Gateway, Echo, Echo) {
    let (echo, late) = (Echo::start("a").await, Echo::start("late").await);
    let config = |late: &str| {
        format!(
            "admin: {{ address: \"127.0.0.1:$ADMIN\", wait_for_health: true }}\n\
             upstreams:\n{}{late}routes: {{ /*: {{ to: pool }} }}\n",
            upstream("pool", &[echo.address()], "health: { interval: 200ms }"),
        )
    };
    let gateway = launch().start(&config("")).await;
    until("it to be ready", async || gateway.admin("GET", "/admin/ready", "").await.status == 200)
        .await;
    let health = "health: { path: /wait, interval: 60s, timeout: 50s }";
    gateway.rewrite(&config(&upstream("late", &[late.address()], health)));
    until("its own probe", async || late.hits() == 1).await;
    (gateway, echo, late)
}

#[tokio::test]
async fn a_successor_takes_over_when_it_is_ready_and_not_before() {
    let (mut gateway, _echo, late) = one_that_is_never_ready().await;
    let before = gateway.pid();
    gateway.admin("POST", "/admin/upgrade", "").await;
    until("the successor's probe", async || late.hits() == 2).await;
    // It has asked, and could take over but for that.
    for _ in 0..20 {
        let state = gateway.admin("GET", "/admin/upgrade", "").await.json();
        assert_eq!((&state["state"], &state["pid"]), (&"begun".into(), &before.into()), "{state}");
        assert_eq!(gateway.get("/").await.status, 200);
    }
    late.open(2);
    let mut now = before;
    until("the successor", async || {
        let live = gateway.admin("GET", "/admin/live", "").await.json();
        now = live["pid"].as_u64().unwrap().try_into().unwrap();
        now != before
    })
    .await;
    gateway.follow(now);
    assert_eq!(gateway.ended().await, 0, "{}", gateway.said());
    assert_eq!(gateway.admin("GET", "/admin/ready", "").await.status, 200);
}

#[tokio::test]
async fn a_successor_that_is_not_ready_changes_nothing_and_the_command_says_why() {
    let (gateway, _echo, late) = one_that_is_never_ready().await;
    let upgrading = gateway.cli(&["upgrade", "-c", "lockgate.yaml"]);
    let ending = async {
        until("the successor's probe", async || late.hits() == 2).await;
        let state = gateway.admin("GET", "/admin/upgrade", "").await.json();
        let successor = state["successor"].as_u64().unwrap();
        let kill = ["-9".to_owned(), successor.to_string()];
        assert!(std::process::Command::new("kill").args(kill).status().unwrap().success());
    };
    let (ran, ()) = tokio::join!(upgrading, ending);
    assert_eq!(ran.code, 1, "{}", ran.text());
    let why = "It was not ready: not every endpoint has been probed yet: late";
    assert!(ran.stderr.contains(why), "{}", ran.text());
    assert_eq!(gateway.get("/").await.status, 200);
    let order = gateway.admin("PUT", "/admin/health/late", "{\"override\": \"up\"}").await;
    assert_eq!(order.status, 200, "orders are taken as before: {}", order.text());

    // No time would make this one ready.
    let place = Dir::new();
    let program = place.path().join("lockgate");
    std::fs::copy(BINARY, &program).unwrap();
    let echo = Echo::start("a").await;
    let launch = Launch::new(program.to_str().unwrap());
    let mut gateway = launch.start(&to(echo.address())).await;
    let empty = format!("listeners: {{ web: \"{}\" }}\nadmin: off\nroutes: {{}}\n", gateway.web());
    let empty = place.write("empty.yaml", empty);
    replace(&program, &format!("#!/bin/sh\nexec {BINARY} run -c {}\n", empty.display()));
    let state = ordered(&gateway).await;
    assert_eq!(state["state"], "failed", "{state}");
    let why = state["why"].as_str().unwrap();
    assert!(why.ends_with("It was not ready: the configuration has no routes"), "{why}");
    assert!(gateway.runs());
}

#[tokio::test]
async fn whoever_asks_meanwhile_finds_it_ready() {
    let echo = Echo::start("a").await;
    let admin = "admin: { address: \"127.0.0.1:$ADMIN\", wait_for_health: true }\n";
    let health = "health: { interval: 60s }";
    let mut gateway = start(&format!("{admin}{}", pool(&[echo.address()], health))).await;
    let address = gateway.at("ADMIN");
    let ask = async || {
        let ask = request("GET", "/admin/ready", &[("Host", "127.0.0.1")], "");
        Wire::connect(address).await.ask(ask).await
    };
    until("it to be ready", async || ask().await.status == 200).await;
    for _ in 0..3 {
        let over = std::cell::Cell::new(false);
        let upgrading = async {
            assert_eq!(gateway.upgrade().await.code, 0);
            over.set(true);
        };
        let asking = async {
            while !over.get() {
                let answer = ask().await;
                assert!(answer.status == 200 || answer.text().contains("draining"), "{answer:?}");
            }
            assert_eq!(ask().await.status, 200);
        };
        tokio::join!(upgrading, asking);
    }

    let mut empty = launch().start("routes: {}\n").await;
    let ran = empty.upgrade().await;
    assert_eq!(ran.code, 0, "there was nothing to be ready for: {}", ran.text());
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
