//! Changes through the admin interface at size: thousands of routes, many changes a second, idle
//! connections, WebSockets that echo, and load. Nobody may notice, and the memory comes back.
//! `cargo xtask test --reload` runs it in full; the times are printed and decide nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use lockgate_testkit::{Echo, Gateway, Socket, Wire, request, until};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::support::{launch, upstream};

/// How much of everything.
struct Size {
    routes: usize,
    seconds: u64,
    idle: usize,
    sockets: usize,
}

/// Changes that are asked for in a second.
const PACE: u64 = 50;
/// Whoever asks for changes, at once.
const ASKERS: usize = 4;
/// Clients of the load, each with a request at a time.
const CLIENTS: usize = 8;
/// What a client of the load leaves between two requests.
const PAUSE: Duration = Duration::from_millis(2);
/// What the memory may be above its level of before, besides a quarter of that.
const SLACK: f64 = 24e6;

impl Size {
    /// Small, unless the environment says more.
    fn told() -> Self {
        let of = |name: &str, small: u64| {
            let said = std::env::var(format!("LOCKGATE_RELOAD_{name}"));
            said.ok().and_then(|said| said.parse().ok()).unwrap_or(small)
        };
        Self {
            routes: of("ROUTES", 300) as usize,
            seconds: of("SECONDS", 3),
            idle: of("IDLE", 300) as usize,
            sockets: of("SOCKETS", 30) as usize,
        }
    }
}

fn config(echo: &Echo, routes: usize) -> String {
    let mut text = "workers: 2\n\
                    admin: { address: \"127.0.0.1:$ADMIN\", state_dir: \"$DIR/state\" }\n\
                    http: { idle_timeout: 10m, max_connections_per_ip: 20000 }\n\
                    telemetry: { access_log: off }\n"
        .to_owned();
    text.push_str(&format!("upstreams:\n{}", upstream("pool", &[echo.address()], "")));
    text.push_str("routes:\n  /*: { to: pool }\n");
    for n in 0..routes {
        text.push_str(&format!("  GET /services/{n}/{{id}}: {{ to: pool, timeout: 10s }}\n"));
    }
    text
}

/// Connections that have asked once and do nothing since.
async fn idle(gateway: &Gateway, count: usize) -> Vec<Wire> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let mut wire = gateway.wire().await;
        wire.send(request("GET", "/idle", &[], "")).await;
        assert_eq!(wire.answer().await.status, 200);
        all.push(wire);
    }
    all
}

/// WebSockets that echo until told; what was echoed, and how many were closed.
struct Sockets {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Result<usize, String>>,
}

impl Sockets {
    async fn open(gateway: &Gateway, count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for n in 0..count {
            let socket = Socket::open(gateway.wire().await, "/ws", &[]).await;
            let mut socket = socket.unwrap_or_else(|answer| panic!("no WebSocket: {answer:?}"));
            let stop = Arc::clone(&stop);
            tasks.spawn(async move {
                let mut echoed = 0;
                while !stop.load(SeqCst) {
                    let text = format!("{n} says {echoed}");
                    socket.send(&text).await;
                    match socket.next().await {
                        Some(back) if back == text => echoed += 1,
                        other => return Err(format!("{text}: {other:?}")),
                    }
                    sleep(Duration::from_millis(100)).await;
                }
                Ok(echoed)
            });
        }
        Self { stop, tasks }
    }

    async fn end(mut self) -> usize {
        self.stop.store(true, SeqCst);
        let mut echoed = 0;
        while let Some(one) = self.tasks.join_next().await {
            match one.unwrap() {
                Ok(count) => echoed += count,
                Err(why) => panic!("a WebSocket was closed: {why}"),
            }
        }
        echoed
    }
}

/// Asks for as long as told, and gives the times that answers took, sorted.
async fn load(gateway: &Gateway, seconds: u64) -> Vec<Duration> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let mut wire = gateway.wire().await;
        clients.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let path = format!("/services/{}/x", client + took.len() % 100);
                let begun = Instant::now();
                wire.send(request("GET", &path, &[], "")).await;
                let answer = wire.answer_to("GET").await;
                let answer = answer.unwrap_or_else(|fail| panic!("no answer: {fail}"));
                assert_eq!(answer.status, 200, "{answer:?}");
                took.push(begun.elapsed());
                sleep(PAUSE).await;
            }
            took
        });
    }
    let mut all = Vec::new();
    while let Some(one) = clients.join_next().await {
        all.extend(one.unwrap());
    }
    all.sort();
    all
}

fn p99(sorted: &[Duration]) -> Duration {
    sorted[(sorted.len() * 99 / 100).min(sorted.len() - 1)]
}

/// Changes routes at the pace for as long as told. What a change says is what the next request gets.
/// The time that each took, sorted.
async fn changes(gateway: &Gateway, seconds: u64) -> Vec<Duration> {
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut askers = JoinSet::new();
    for asker in 0..ASKERS {
        let (next, admin) = (Arc::clone(&next), gateway.at("ADMIN"));
        let mut web = gateway.wire().await;
        askers.spawn(async move {
            let mut took = Vec::new();
            loop {
                let n = next.fetch_add(1, SeqCst) as u64;
                let due = Duration::from_micros(1_000_000 / PACE) * n as u32;
                if due >= Duration::from_secs(seconds) || begun.elapsed().as_secs() >= seconds {
                    return took;
                }
                sleep_until(begun + due).await;
                let asked = Instant::now();
                let path = format!("/version/{asker}-{}", n % 25);
                let body = format!("to: {{ respond: {{ body: \"{n}\" }} }}\n");
                let mut wire = Wire::connect(admin).await;
                let to = format!("/admin/routes{path}");
                let answer = wire.ask(request("PUT", &to, &[("Host", "127.0.0.1")], &body)).await;
                assert_eq!(answer.status, 200, "change {n}: {}", answer.text());
                took.push(asked.elapsed());
                let answer = web.ask(request("GET", &path, &[], "")).await;
                assert_eq!(answer.text(), n.to_string(), "{path}");
            }
        });
    }
    let mut all = Vec::new();
    while let Some(one) = askers.join_next().await {
        all.extend(one.unwrap());
    }
    all.sort();
    all
}

async fn resident(gateway: &Gateway) -> f64 {
    gateway.metrics().await.sum("process_resident_memory_bytes", &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_by_the_hundred_are_noticed_by_nobody() {
    let size = Size::told();
    let echo = Echo::start("a").await;
    let gateway = launch().start(&config(&echo, size.routes)).await;
    let waiting = idle(&gateway, size.idle).await;
    let sockets = Sockets::open(&gateway, size.sockets).await;
    // What is kept of a hundred changed routes is there before the memory is looked at.
    let warm = changes(&gateway, 2).await;
    let quiet = load(&gateway, size.seconds).await;
    let before = resident(&gateway).await;

    let (busy, changed) =
        tokio::join!(load(&gateway, size.seconds), changes(&gateway, size.seconds));
    let echoed = sockets.end().await;
    assert!(echoed >= size.sockets, "{echoed} echoes of {} WebSockets", size.sockets);
    for mut wire in waiting {
        wire.send(request("GET", "/idle", &[], "")).await;
        let answer = wire.answer_to("GET").await;
        assert_eq!(answer.expect("an idle connection that is still open").status, 200);
    }
    let metrics = gateway.metrics().await;
    let generation = metrics.sum("lockgate_config_generation", &[]);
    let asked = warm.len() + changed.len();
    assert!(generation > 2.0 && generation as usize <= 1 + asked, "{generation} of {asked}");
    assert_eq!(metrics.sum("lockgate_config_reloads_total", &[("result", "refused")]), 0.0);
    assert_eq!(metrics.sum("lockgate_panics_total", &[]), 0.0);

    let most = before * 1.25 + SLACK;
    let mut after = 0.0;
    until("the memory to come back", async || {
        after = resident(&gateway).await;
        after <= most
    })
    .await;
    let (calm, pressed) = (p99(&quiet), p99(&busy));
    eprintln!(
        "{} routes, {} idle connections, {} WebSockets ({echoed} echoes): {} changes in {} s, \
         {generation} configurations in all ({:?} in the middle, p99 {:?}); {} requests, p99 {calm:?} in quiet and {pressed:?} \
         ({:.2} times) under changes; {:.1} MB before, {:.1} MB after",
        size.routes,
        size.idle,
        size.sockets,
        changed.len(),
        size.seconds,
        changed.get(changed.len() / 2).copied().unwrap_or_default(),
        p99(&changed),
        quiet.len() + busy.len(),
        pressed.as_secs_f64() / calm.as_secs_f64(),
        before / 1e6,
        after / 1e6,
    );
}
