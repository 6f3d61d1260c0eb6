//! Monitors against real servers on loopback, scripted to be well, ill, slow, silent or gone.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lockgate_config::model::{
    self, Balance, ClientAuth, Health, HealthKind, KeyPair, ListenerTls, UpstreamTls,
};
use lockgate_core::Time;
use lockgate_net::tls::ServerTls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::discover::Resolver;
use crate::endpoint::{Endpoint, Override};
use crate::task::Spawn;
use crate::testing::{endpoint, settings};
use crate::upstream::Upstream;

const WELL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const ILL: &str = "HTTP/1.1 500 Sorry\r\ncontent-length: 0\r\n\r\n";

/// A server that answers every request with the same bytes, until told others.
struct Server {
    address: SocketAddr,
    answer: Arc<Mutex<String>>,
    seen: Arc<Mutex<Vec<String>>>,
    work: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl Server {
    async fn start(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, seen) = (Arc::new(Mutex::new(answer.to_owned())), Arc::default());
        let (replies, heads) = (Arc::clone(&answer), Arc::clone(&seen));
        let work = tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                tokio::spawn(serve(socket, Arc::clone(&replies), Arc::clone(&heads)));
            }
        });
        Self { address, answer, seen, work }
    }

    fn answer(&self, answer: &str) {
        *self.answer.lock().unwrap() = answer.to_owned();
    }

    fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(mut socket: TcpStream, answer: Arc<Mutex<String>>, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    seen.lock().unwrap().push(String::from_utf8(head).unwrap());
    let answer = answer.lock().unwrap().clone();
    if answer == "silence" {
        let _ = socket.read_u8().await;
        return;
    }
    let _ = socket.write_all(answer.as_bytes()).await;
}

/// An upstream of one endpoint, checked as told; its monitors run here.
fn checked(address: SocketAddr, change: impl FnOnce(&mut Health)) -> model::Upstream {
    let mut settings = settings(&[(&address.to_string(), 1)], Balance::RoundRobin);
    let mut health = Health { interval: Time(Duration::from_secs(3_600)), ..Health::default() };
    health.timeout = Time(Duration::from_secs(5));
    change(&mut health);
    settings.health = Some(health);
    settings
}

/// An upstream whose monitors do not run: only `check_now` probes.
fn by_hand(settings: &model::Upstream) -> (Arc<Upstream>, Arc<Endpoint>) {
    let upstream = crate::testing::idle(settings);
    let only = endpoint(&upstream, 0);
    (upstream, only)
}

/// What a probe says of a server that answers so.
async fn verdict(answer: &str, change: impl FnOnce(&mut Health)) -> Result<(), String> {
    let server = Server::start(answer).await;
    let (upstream, only) = by_hand(&checked(server.address, |health| {
        health.unhealthy_after = 1;
        change(health);
    }));
    assert_eq!(upstream.check_now(None).await, 1);
    let view = only.view(tokio::time::Instant::now());
    assert_eq!(view.usable, view.last_error.is_none());
    view.last_error.map_or(Ok(()), Err)
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n")
}

#[tokio::test]
async fn any_2xx_is_healthy_unless_told() {
    assert_eq!(verdict(WELL, |_| {}).await, Ok(()));
    assert_eq!(verdict(&status("204 None"), |_| {}).await, Ok(()));
    let error = verdict(&status("302 Found"), |_| {}).await.unwrap_err();
    assert_eq!(error, "GET /health answered 302");
    let told = |health: &mut Health| health.status = vec![(401, 401), (500, 502)];
    assert_eq!(verdict(&status("401 No"), told).await, Ok(()));
    assert_eq!(verdict(&status("502 No"), told).await, Ok(()));
    assert!(verdict(WELL, told).await.is_err());
}

#[tokio::test]
async fn the_body_must_contain_what_is_expected() {
    let expect = |health: &mut Health| health.body = Some("ready: yes".into());
    let body = |text: &str| {
        let length = text.len();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}")
    };
    assert_eq!(verdict(&body("{ready: yes}"), expect).await, Ok(()));
    assert!(verdict(&body("{ready: no}"), expect).await.unwrap_err().contains("ready: yes"));
    let late = format!("{}ready: yes", "x".repeat(64 * 1024));
    assert!(verdict(&body(&late), expect).await.is_err(), "only the first 64 KiB are read");
    let edge = format!("{}ready: yes", "x".repeat(64 * 1024 - 10));
    assert_eq!(verdict(&body(&edge), expect).await, Ok(()));
}

#[tokio::test]
async fn what_is_not_http_is_not_healthy() {
    assert!(verdict("ICY 200 OK\r\n\r\n", |_| {}).await.is_err());
    assert!(verdict("", |_| {}).await.is_err(), "closed without a word");
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nready";
    let expect = |health: &mut Health| health.body = Some("ready: yes".into());
    assert!(verdict(cut, expect).await.is_err());
}

#[tokio::test]
async fn the_request_is_what_was_configured() {
    let server = Server::start(WELL).await;
    let settings = checked(server.address, |health| {
        health.path = "/up?deep=1".into();
        health.host = Some("orders.internal".into());
    });
    by_hand(&settings).0.check_now(None).await;
    let head = server.requests().pop().unwrap();
    assert!(head.starts_with("GET /up?deep=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nhost: orders.internal\r\n"), "{head}");
    assert!(head.contains("\r\nuser-agent: lockgate-health/1\r\n"), "{head}");
    let plain = Server::start(WELL).await;
    by_hand(&checked(plain.address, |_| {})).0.check_now(None).await;
    let head = plain.requests().pop().unwrap();
    assert!(head.contains(&format!("\r\nhost: {}\r\n", plain.address)), "{head}");
}

#[tokio::test]
async fn another_port_may_be_probed() {
    let server = Server::start(WELL).await;
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let settings = checked(elsewhere, |health| health.port = Some(server.address.port()));
    let (upstream, only) = by_hand(&settings);
    upstream.check_now(None).await;
    assert_eq!(only.health(), crate::Health::Healthy);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn silence_runs_into_the_probes_own_timeout() {
    let short = |health: &mut Health| health.timeout = Time(Duration::from_millis(100));
    let error = verdict("silence", short).await.unwrap_err();
    assert_eq!(error, "the answer took longer than 100ms");
}

#[tokio::test]
async fn three_failures_take_it_out_and_successes_bring_it_back() {
    let server = Server::start(WELL).await;
    let (upstream, only) = by_hand(&checked(server.address, |health| health.healthy_after = 2));
    let view = || only.view(tokio::time::Instant::now());
    assert_eq!(only.health(), crate::Health::Unknown);
    assert!(view().usable, "not yet probed counts as up");
    upstream.check_now(None).await;
    assert_eq!(only.health(), crate::Health::Healthy, "the first success needs no second");
    server.answer(ILL);
    for failures in 1..=2 {
        upstream.check_now(None).await;
        assert!(view().usable && view().consecutive_failures == failures);
        assert!(view().last_failure_ms.is_some());
    }
    server.answer(WELL);
    upstream.check_now(None).await;
    assert_eq!(view().consecutive_failures, 0);
    server.answer(ILL);
    for _ in 0..3 {
        assert!(view().usable);
        upstream.check_now(None).await;
    }
    assert_eq!(only.health(), crate::Health::Unhealthy);
    let reason = view().reason.unwrap();
    assert_eq!(reason, "down: its health checks fail: GET /health answered 500");
    server.answer(WELL);
    upstream.check_now(None).await;
    assert!(!view().usable, "one of two");
    upstream.check_now(None).await;
    assert!(view().usable && view().last_error.is_none() && view().response_time_ms.is_some());
}

#[tokio::test]
async fn the_first_probe_decides_at_once() {
    let server = Server::start(ILL).await;
    let (upstream, only) = by_hand(&checked(server.address, |health| health.healthy_after = 2));
    assert_eq!(upstream.check_now(None).await, 1);
    assert_eq!(only.health(), crate::Health::Unhealthy, "three were needed of one that was well");
    server.answer(WELL);
    upstream.check_now(None).await;
    assert_eq!(only.health(), crate::Health::Unhealthy, "one of two");
    upstream.check_now(None).await;
    assert_eq!(only.health(), crate::Health::Healthy);
}

/// One that comes up a little later than the gateway is not out for a whole interval.
#[tokio::test(start_paused = true)]
async fn one_that_was_never_well_is_asked_sooner_for_a_while() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let upstream = watched(&checked(address, |_| {}));
    let only = endpoint(&upstream, 0);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!((3..=7).contains(&only.probe().failures), "{}", only.probe().failures);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(only.probe().failures, 30, "the interval is an hour");
}

#[tokio::test]
async fn nobody_listening_is_told_from_being_ill() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (upstream, only) = by_hand(&checked(address, |health| health.unhealthy_after = 1));
    upstream.check_now(None).await;
    assert_eq!(only.health(), crate::Health::Unreachable);
    assert!(only.view(tokio::time::Instant::now()).last_error.unwrap().starts_with("connect: "));
    let fault = upstream.pick(&crate::testing::exchange(&[]), &[]).unwrap_err();
    assert_eq!(fault.reason().code, "no_healthy_endpoint");
}

#[tokio::test]
async fn orders_stand_above_probes() {
    let server = Server::start(ILL).await;
    let (upstream, only) = by_hand(&checked(server.address, |health| health.unhealthy_after = 1));
    let usable = || only.usable(tokio::time::Instant::now()).is_ok();
    assert_eq!(upstream.order(&server.address.to_string(), Override::Up), 1);
    upstream.check_now(None).await;
    assert!(usable() && only.health() == crate::Health::Unhealthy);
    server.answer(WELL);
    assert_eq!(upstream.order("10.9.9.9:1", Override::Down), 0);
    upstream.order(&server.address.to_string(), Override::Down);
    upstream.check_now(Some(&server.address.to_string())).await;
    assert!(!usable() && only.health() == crate::Health::Healthy);
    upstream.order(&server.address.to_string(), Override::None);
    assert!(usable());
}

#[tokio::test]
async fn tcp_asks_for_no_more_than_a_connection() {
    let tcp = |health: &mut Health| health.kind = HealthKind::Tcp;
    assert_eq!(verdict("silence", tcp).await, Ok(()));
}

#[tokio::test]
async fn http2_is_asked_with_prior_knowledge() {
    let ill = Arc::new(AtomicBool::new(false));
    let address = http2_server(Arc::clone(&ill)).await;
    let mut settings = checked(address, |health| health.unhealthy_after = 1);
    settings.http2 = model::Http2Use::On;
    let (upstream, only) = by_hand(&settings);
    upstream.check_now(None).await;
    assert_eq!(only.health(), crate::Health::Healthy);
    ill.store(true, SeqCst);
    upstream.check_now(None).await;
    assert_eq!(only.health(), crate::Health::Unhealthy);
}

async fn http2_server(ill: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let ill = Arc::clone(&ill);
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let well = request.uri().path() == "/health" && !ill.load(SeqCst);
                let status = if well { 200 } else { 503 };
                let response = Response::builder().status(status).body(Full::<Bytes>::default());
                async move { response }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(socket), service));
        }
    });
    address
}

/// A gRPC health service: `orders` and the server itself serve as told; others are unknown.
async fn grpc_server(status: Arc<AtomicU32>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let status = Arc::clone(&status);
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let status = status.load(SeqCst) as u8;
                async move {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    assert_eq!(request.headers()["content-type"], "application/grpc");
                    assert_eq!(request.headers()["te"], "trailers");
                    #[expect(clippy::disallowed_methods, reason = "a test's own few bytes")]
                    let asked = request.into_body().collect().await.unwrap().to_bytes();
                    let known = asked[5..].is_empty() || &asked[5..] == b"\x0a\x06orders";
                    let (code, body) = match known {
                        true => ("0", vec![0, 0, 0, 0, 2, 8, status]),
                        false => ("5", vec![]),
                    };
                    let trailers =
                        HeaderMap::from_iter([("grpc-status", code)].map(|(name, value)| {
                            let name = http::HeaderName::from_static(name);
                            (name, HeaderValue::from_static(value))
                        }));
                    let body = Full::new(Bytes::from(body)).with_trailers(async move {
                        Some(Ok::<_, std::convert::Infallible>(trailers))
                    });
                    Response::builder().header("content-type", "application/grpc").body(body)
                }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(socket), service));
        }
    });
    address
}

#[tokio::test]
async fn grpc_health_is_spoken() {
    let status = Arc::new(AtomicU32::new(1));
    let address = grpc_server(Arc::clone(&status)).await;
    let probe = async |path: &str| {
        let settings = checked(address, |health| {
            health.kind = HealthKind::Grpc;
            health.path = path.into();
        });
        let (upstream, only) = by_hand(&settings);
        upstream.check_now(None).await;
        only.view(tokio::time::Instant::now()).last_error.unwrap_or_default()
    };
    assert_eq!(probe("/health").await, "");
    assert_eq!(probe("/orders").await, "");
    let error = probe("/users").await;
    assert!(error.contains("failed with status 5"), "{error}");
    status.store(2, SeqCst);
    assert_eq!(probe("/orders").await, "the gRPC service says NOT_SERVING");
}

#[tokio::test]
async fn an_http_error_is_no_grpc_health() {
    let ill = Arc::new(AtomicBool::new(false));
    let address = http2_server(ill).await;
    let (upstream, only) = by_hand(&checked(address, |health| health.kind = HealthKind::Grpc));
    upstream.check_now(None).await;
    let error = only.view(tokio::time::Instant::now()).last_error.unwrap();
    assert!(error.contains("HTTP 503"), "{error}");
}

struct Files(std::path::PathBuf);

impl Files {
    fn new() -> Self {
        let name = format!("lockgate-probe-{}-{}", std::process::id(), fastrand::u64(..));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn an_upstream_under_tls_is_probed_under_tls_and_verified() {
    let files = Files::new();
    let own = rcgen::generate_simple_self_signed(vec!["orders.internal".to_owned()]).unwrap();
    let cert = files.write("cert.pem", &own.cert.pem());
    let key = files.write("key.pem", &own.signing_key.serialize_pem());
    let server = ServerTls::load(&ListenerTls {
        certificates: vec![KeyPair { cert: cert.clone(), key }],
        client_ca: None,
        client_auth: ClientAuth::Off,
    })
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok((mut stream, _)) = server.accept(socket).await else { continue };
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(WELL.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    let probe = async |sni: &str| {
        let mut settings = checked(address, |_| {});
        settings.http2 = model::Http2Use::Off;
        let (ca, sni) = (Some(cert.clone()), Some(sni.to_owned()));
        settings.tls = Some(UpstreamTls { ca, sni, ..UpstreamTls::default() });
        let (upstream, only) = by_hand(&settings);
        upstream.check_now(None).await;
        only.view(tokio::time::Instant::now()).last_error.unwrap_or_default()
    };
    assert_eq!(probe("orders.internal").await, "");
    let error = probe("users.internal").await;
    assert!(error.contains("no TLS session with `users.internal`"), "{error}");
}

/// Waits for something to come true, for some seconds at most.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting)
        .await
        .unwrap_or_else(|_| panic!("not in time: {what}"));
}

fn watched(settings: &model::Upstream) -> Arc<Upstream> {
    let nowhere = Resolver::server(SocketAddr::from(([127, 0, 0, 1], 1)));
    let here = Spawn::on(tokio::runtime::Handle::current());
    Upstream::start("orders", settings, None, &here, &nowhere)
}

#[tokio::test]
async fn a_monitor_finds_out_by_itself_and_stops_when_retired() {
    let server = Server::start(ILL).await;
    let upstream = watched(&checked(server.address, |health| {
        health.interval = Time(Duration::from_millis(30));
    }));
    let only = endpoint(&upstream, 0);
    until("taken out", || only.health() == crate::Health::Unhealthy).await;
    until("probed on", || server.requests().len() >= 3).await;
    server.answer(WELL);
    until("brought back", || only.health() == crate::Health::Healthy).await;
    upstream.retire(None);
    assert!(only.gone());
    let seen = server.requests().len();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(server.requests().len() <= seen + 1, "no probe begins after the end");
}

/// Probes of one endpoint keep their distance, across reloads and beside an operator's.
#[tokio::test(start_paused = true)]
async fn no_endpoint_is_probed_twice_in_an_interval() {
    let mut times = Vec::new();
    // Nothing listens: a probe ends at once, and the paused clock never waits for a socket.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut settings = checked(address, |health| health.interval = Time(Duration::from_secs(10)));
    let nowhere = Resolver::server(SocketAddr::from(([127, 0, 0, 1], 1)));
    let here = Spawn::on(tokio::runtime::Handle::current());
    let mut upstream = Upstream::start("orders", &settings, None, &here, &nowhere);
    let only = endpoint(&upstream, 0);
    // It is not new: the first probes of one that is are closer.
    only.probe().failures = 1_000;
    let mut last = None;
    for tick in 0..4_000 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let checked_at = only.probe().checked_at;
        if checked_at != last {
            times.push(checked_at.unwrap());
            last = checked_at;
        }
        if tick % 30 == 29 {
            settings.pool.max_idle = tick;
            let next = Upstream::start("orders", &settings, Some(&upstream), &here, &nowhere);
            upstream.retire(Some(&next));
            upstream = next;
        }
    }
    for pair in times.windows(2) {
        let gap = pair[1] - pair[0];
        assert!(gap >= Duration::from_millis(8_900), "{gap:?}");
        assert!(gap <= Duration::from_millis(13_000), "{gap:?}");
    }
    assert!((30..=45).contains(&times.len()), "in 400 seconds: {}", times.len());
}

/// First probes of many endpoints are spread over the first second.
#[tokio::test(start_paused = true)]
async fn first_probes_are_spread() {
    let names: Vec<String> = (1..=100).map(|n| format!("127.0.0.1:{n}")).collect();
    let pairs: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let mut settings = settings(&pairs, Balance::RoundRobin);
    settings.health = Some(Health { kind: HealthKind::Tcp, ..Health::default() });
    let begin = tokio::time::Instant::now();
    let upstream = watched(&settings);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let probed = |upstream: &Upstream| {
        upstream.set().endpoints().iter().filter(|e| e.probe().checked_at.is_some()).count()
    };
    let half = probed(&upstream);
    assert!((25..=75).contains(&half), "{half} after half a second");
    tokio::time::sleep_until(begin + Duration::from_millis(1_100)).await;
    assert_eq!(probed(&upstream), 100);
}
