//! Listeners over real sockets: who gets in, who is believed, and what is spoken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::Request;
use ipnet::IpNet;
use lockgate_config::model::{Listener, Protocol, ProxyProtocol, UpstreamTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::testing::{Authority, Files, Service, limits, listener_tls, on_worker};
use crate::tls::ClientTls;
use crate::{Drain, h2};

const LOOPBACK: &str = "127.0.0.0/8";

fn listener(address: &str) -> Listener {
    Listener {
        address: address.parse().unwrap(),
        tls: None,
        proxy_protocol: ProxyProtocol::Off,
        protocol: Protocol::Http,
        to: None,
        redirect_https: None,
    }
}

/// One worker's listener, running.
struct Running {
    address: SocketAddr,
    state: Arc<ListenerState>,
    gate: Arc<Gate>,
    service: Service,
    drain: Drain,
    task: JoinHandle<()>,
}

fn settings(proxy_protocol: ProxyProtocol, trusted: &str) -> Settings {
    let trusted_proxies: Vec<IpNet> =
        trusted.split_whitespace().map(|n| n.parse().unwrap()).collect();
    Settings { name: "web".into(), http: limits(), trusted_proxies, proxy_protocol, tls: None }
}

fn run(settings: Settings) -> Running {
    run_on("127.0.0.1:0", settings)
}

fn run_on(address: &str, settings: Settings) -> Running {
    let socket = bind(&listener(address), 1, false).unwrap().pop().unwrap();
    let address = socket.local_addr().unwrap();
    let gate = Gate::new();
    let state = ListenerState::new(settings, gate.clone());
    let (service, drain) = (Service::default(), Drain::default());
    let accepting = accept(socket, state.clone(), 3, service.clone(), drain.clone());
    let task = tokio::task::spawn_local(async move { accepting.await.unwrap() });
    Running { address, state, gate, service, drain, task }
}

/// Sends bytes, then asks `GET /` over HTTP/2 with prior knowledge; the text that came back.
async fn whoami(address: SocketAddr, before: &[u8]) -> Option<String> {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(before).await.ok()?;
    ask(tcp).await
}

async fn ask(
    io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
) -> Option<String> {
    let handle = h2::connect(io, &h2::Settings::default()).await.ok()?;
    let head = Request::get("http://example.com/").body(()).unwrap().into_parts().0;
    let answer = handle.send(head, lockgate_core::Body::Empty).await.ok()?;
    let bytes = answer.response.into_body().collect(1000).await.ok()?;
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

#[test]
fn every_worker_has_a_socket_on_the_same_port() {
    let sockets = bind(&listener("127.0.0.1:0"), 4, false).unwrap();
    assert_eq!(sockets.len(), 4);
    let port = sockets[0].local_addr().unwrap().port();
    assert!(sockets.iter().all(|socket| socket.local_addr().unwrap().port() == port));
    // Even to one that would share it, as a second gateway does.
    let error = bind(&listener(&format!("127.0.0.1:{port}")), 1, false).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("127.0.0.1:{port}")) && text.contains("in use"), "{text}");
    // But what is held here already is no stranger's.
    drop(bind(&listener(&format!("0.0.0.0:{port}")), 1, true).unwrap());
    drop(sockets);
    bind(&listener(&format!("127.0.0.1:{port}")), 2, false).unwrap();
}

#[test]
fn an_address_of_another_machine_is_said_to_be_one() {
    let error = bind(&listener("192.0.2.1:0"), 1, false).unwrap_err().to_string();
    assert!(error.contains("192.0.2.1") && error.contains("no such address"), "{error}");
}

#[test]
fn all_addresses_means_both_families_and_v4_clients_stay_v4() {
    on_worker(async {
        let running = run_on("[::]:0", settings(ProxyProtocol::Off, ""));
        let port = running.address.port();
        let v4 = whoami(SocketAddr::from(([127, 0, 0, 1], port)), b"").await.unwrap();
        assert!(v4.starts_with("127.0.0.1:"), "{v4}");
        if running.address.is_ipv6() {
            let v6 = whoami(format!("[::1]:{port}").parse().unwrap(), b"").await.unwrap();
            assert!(v6.starts_with("[::1]:"), "{v6}");
        }
        let seen = running.service.0.borrow();
        let connection = seen.connection.as_ref().unwrap();
        assert_eq!((&*connection.listener, connection.worker), ("web", 3));
        assert_eq!(connection.local.port(), port);
    });
}

#[test]
fn a_preface_in_pieces_loses_no_byte() {
    on_worker(async {
        let running = run(settings(ProxyProtocol::Off, ""));
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        // What an HTTP/2 client says goes through a pipe that delivers it in small pieces.
        let address = running.address;
        tokio::task::spawn_local(async move {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let mut piece = [0; 5];
            for _ in 0..8 {
                let some = near.read(&mut piece).await.unwrap();
                tcp.write_all(&piece[..some]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            let _ = tokio::io::copy_bidirectional(&mut near, &mut tcp).await;
        });
        assert!(ask(far).await.unwrap().contains("on web"));
    });
}

#[test]
fn who_sends_part_of_a_preface_and_no_more_is_cut() {
    on_worker(async {
        let mut short = settings(ProxyProtocol::Off, "");
        short.http.header_timeout.0 = Duration::from_millis(60);
        let running = run(short);
        let mut tcp = TcpStream::connect(running.address).await.unwrap();
        tcp.write_all(b"PRI").await.unwrap();
        assert_eq!(tcp.read(&mut [0; 10]).await.unwrap_or(0), 0);
        assert_eq!(running.gate.counters().accepted.load(Relaxed), 1);
    });
}

#[test]
fn a_silent_client_goes_with_the_drain_or_the_idle_timeout() {
    on_worker(async {
        let mut short = settings(ProxyProtocol::Off, "");
        short.http.idle_timeout.0 = Duration::from_millis(60);
        let running = run(short);
        let mut tcp = TcpStream::connect(running.address).await.unwrap();
        assert_eq!(tcp.read(&mut [0; 10]).await.unwrap_or(0), 0);

        running.state.replace(settings(ProxyProtocol::Off, ""));
        let mut tcp = TcpStream::connect(running.address).await.unwrap();
        while running.drain.open() == 0 {
            tokio::task::yield_now().await;
        }
        running.drain.close_idle();
        assert_eq!(tcp.read(&mut [0; 10]).await.unwrap_or(0), 0);
        running.drain.emptied().await;
        assert_eq!(running.gate.counters().open.load(Relaxed), 0);
    });
}

#[test]
fn stopping_to_accept_leaves_what_is_open() {
    on_worker(async {
        let running = run(settings(ProxyProtocol::Off, ""));
        let tcp = TcpStream::connect(running.address).await.unwrap();
        while running.drain.open() == 0 {
            tokio::task::yield_now().await;
        }
        running.task.abort();
        assert!(running.task.await.unwrap_err().is_cancelled());
        assert!(TcpStream::connect(running.address).await.is_err());
        assert!(ask(tcp).await.unwrap().contains("on web"));
    });
}

fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, family]);
    header.extend((payload.len() as u16).to_be_bytes());
    header.extend(payload);
    header
}

fn v2_of(source: [u8; 4], port: u16, extra: &[u8]) -> Vec<u8> {
    let mut payload = source.to_vec();
    payload.extend([10, 0, 0, 9]);
    payload.extend(port.to_be_bytes());
    payload.extend(443_u16.to_be_bytes());
    payload.extend(extra);
    v2(1, 0x11, &payload)
}

#[test]
fn a_trusted_proxy_says_who_the_client_is() {
    on_worker(async {
        let running = run(settings(ProxyProtocol::Require, LOOPBACK));
        let v6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n";
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.7 192.0.2.8 5001 443\r\n".to_vec(), "192.0.2.7:5001"),
            (v6.to_vec(), "[2001:db8::1]:1000"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1:"),
            (v2_of([192, 0, 2, 9], 777, &[]), "192.0.2.9:777"),
            // An extra field (type 4, padding) is passed over.
            (v2_of([192, 0, 2, 9], 778, &[4, 0, 2, 0, 0]), "192.0.2.9:778"),
            // LOCAL: the proxy's own health check.
            (v2(0, 0, &[]), "127.0.0.1:"),
        ] {
            let text = whoami(running.address, &header).await.unwrap();
            assert!(text.starts_with(expected), "{text} for {expected}");
        }
        let connection = running.service.0.borrow().connection.clone().unwrap();
        assert_eq!(connection.local, running.address);
    });
}

#[test]
fn a_proxy_header_may_come_byte_by_byte_and_its_server_counts_too() {
    on_worker(async {
        let running = run(settings(ProxyProtocol::Require, LOOPBACK));
        for header in
            [v2_of([192, 0, 2, 9], 1, &[]), b"PROXY TCP4 192.0.2.9 10.0.0.9 1 443\r\n".to_vec()]
        {
            let mut tcp = TcpStream::connect(running.address).await.unwrap();
            tcp.set_nodelay(true).unwrap();
            for byte in header {
                tcp.write_all(&[byte]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert!(ask(tcp).await.unwrap().starts_with("192.0.2.9:1 "));
            let connection = running.service.0.borrow().connection.clone().unwrap();
            assert_eq!(connection.local.to_string(), "10.0.0.9:443");
        }
    });
}

#[test]
fn a_proxy_header_that_is_broken_or_missing_where_it_must_be_closes() {
    on_worker(async {
        let running = run(settings(ProxyProtocol::Require, LOOPBACK));
        let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        let mut huge = v2(1, 0x11, &[]);
        huge[14..16].copy_from_slice(&[0xff, 0xff]);
        let cases: [&[u8]; 6] = [
            b"",
            b"PROXY TCP4 not an address\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 99999 1\r\n",
            &endless,
            &huge,
            &v2(1, 0x11, &[1, 2, 3]),
        ];
        for case in cases {
            assert!(whoami(running.address, case).await.is_none(), "{case:?}");
        }
        assert_eq!(running.gate.counters().refused_proxy_header.load(Relaxed), 6);
        assert!(running.service.0.borrow().heads.is_empty());
    });
}

#[test]
fn a_stranger_is_not_believed() {
    on_worker(async {
        let header = b"PROXY TCP4 192.0.2.7 192.0.2.8 5001 443\r\n";
        let running = run(settings(ProxyProtocol::Require, "10.0.0.0/8"));
        assert!(whoami(running.address, header).await.is_none());
        assert!(whoami(running.address, b"").await.is_none());
        assert_eq!(running.gate.counters().refused_proxy_header.load(Relaxed), 2);

        let running = run(settings(ProxyProtocol::Accept, "10.0.0.0/8"));
        // To `accept` the header is no header, but garbage that some codec will refuse.
        assert!(whoami(running.address, header).await.is_none());
        assert!(whoami(running.address, b"").await.unwrap().starts_with("127.0.0.1:"));

        let running = run(settings(ProxyProtocol::Accept, LOOPBACK));
        assert!(whoami(running.address, header).await.unwrap().starts_with("192.0.2.7:"));
        assert!(whoami(running.address, b"").await.unwrap().starts_with("127.0.0.1:"));
    });
}

#[test]
fn connections_are_limited_in_all_and_from_one_address() {
    on_worker(async {
        let mut tight = settings(ProxyProtocol::Off, "");
        tight.http.max_connections = 3;
        let running = run(tight);
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(TcpStream::connect(running.address).await.unwrap());
        }
        assert!(whoami(running.address, b"").await.is_none());
        let counters = running.gate.counters();
        assert_eq!(counters.refused_total.load(Relaxed), 1);
        open.pop();
        while counters.open.load(Relaxed) > 2 {
            tokio::task::yield_now().await;
        }
        assert!(whoami(running.address, b"").await.is_some());

        let mut each = settings(ProxyProtocol::Off, "");
        each.http.max_connections_per_ip = 1;
        let running = run(each);
        let first = TcpStream::connect(running.address).await.unwrap();
        let handle = h2::connect(first, &h2::Settings::default()).await.unwrap();
        let head = || Request::get("http://example.com/").body(()).unwrap().into_parts().0;
        assert!(handle.send(head(), lockgate_core::Body::Empty).await.is_ok());
        assert!(whoami(running.address, b"").await.is_none());
        assert_eq!(running.gate.counters().refused_per_ip.load(Relaxed), 1);
        assert!(handle.send(head(), lockgate_core::Body::Empty).await.is_ok(), "it stays");
        drop(handle);
        while running.gate.counters().open.load(Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
        assert!(whoami(running.address, b"").await.is_some());
    });
}

#[test]
fn a_connection_that_says_nothing_counts_for_its_address() {
    on_worker(async {
        let mut each = settings(ProxyProtocol::Off, "");
        each.http.max_connections_per_ip = 2;
        let running = run(each);
        let mut silent = Vec::new();
        for _ in 0..2 {
            silent.push(TcpStream::connect(running.address).await.unwrap());
        }
        while running.drain.open() < 2 {
            tokio::task::yield_now().await;
        }
        let mut third = TcpStream::connect(running.address).await.unwrap();
        assert_eq!(third.read(&mut [0; 1]).await.unwrap_or(0), 0, "it is closed at once");
        assert_eq!(running.gate.counters().refused_per_ip.load(Relaxed), 1);
        silent.pop();
        while running.gate.counters().open.load(Relaxed) > 1 {
            tokio::task::yield_now().await;
        }
        assert!(whoami(running.address, b"").await.is_some());
    });
}

#[test]
fn behind_a_proxy_it_is_the_clients_address_that_is_limited() {
    on_worker(async {
        let mut each = settings(ProxyProtocol::Require, LOOPBACK);
        each.http.max_connections_per_ip = 1;
        let running = run(each);
        let mut held = Vec::new();
        for last in 1..=3 {
            let mut tcp = TcpStream::connect(running.address).await.unwrap();
            tcp.write_all(&v2_of([192, 0, 2, last], 1, &[])).await.unwrap();
            let handle = h2::connect(tcp, &h2::Settings::default()).await.unwrap();
            let head = Request::get("http://example.com/").body(()).unwrap().into_parts().0;
            assert!(handle.send(head, lockgate_core::Body::Empty).await.is_ok());
            held.push(handle);
        }
        assert!(whoami(running.address, &v2_of([192, 0, 2, 2], 2, &[])).await.is_none());
        assert_eq!(running.gate.counters().refused_per_ip.load(Relaxed), 1);
    });
}

#[test]
fn tls_is_spoken_behind_a_proxy_header_and_alpn_chooses() {
    on_worker(async {
        let files = Files::new();
        let ca = Authority::new("ca");
        let server = listener_tls(vec![ca.pair(&files, "site", &["a.example"])]);
        let mut with_tls = settings(ProxyProtocol::Accept, LOOPBACK);
        with_tls.tls = Some(Arc::new(ServerTls::load(&server).unwrap()));
        let running = run(with_tls);
        let trust = UpstreamTls { ca: Some(ca.file(&files, "ca")), ..UpstreamTls::default() };
        let client = ClientTls::load(&trust, true).unwrap();
        for header in [v2_of([192, 0, 2, 9], 1, &[]), Vec::new()] {
            let mut tcp = TcpStream::connect(running.address).await.unwrap();
            tcp.write_all(&header).await.unwrap();
            let stream = client.connect(tcp, "a.example").await.unwrap();
            assert!(ClientTls::chose_http2(&stream));
            let text = ask(stream).await.unwrap();
            assert_eq!(text.starts_with("192.0.2.9:1 "), !header.is_empty());
        }
        {
            let seen = running.service.0.borrow();
            let tls = seen.connection.as_ref().unwrap().tls.as_ref().unwrap();
            assert_eq!(tls.sni.as_deref(), Some("a.example"));
        }
        assert!(whoami(running.address, b"GET / HTTP/1.1\r\n\r\n").await.is_none());
        let counters = running.gate.counters();
        assert_eq!(counters.tls_handshakes.load(Relaxed), 2);
        assert_eq!(counters.tls_failures.load(Relaxed), 1);
    });
}

#[test]
fn a_handshake_that_does_not_go_on_is_cut() {
    on_worker(async {
        let files = Files::new();
        let ca = Authority::new("ca");
        let server = listener_tls(vec![ca.pair(&files, "site", &["a.example"])]);
        let mut slow = settings(ProxyProtocol::Off, "");
        slow.http.header_timeout.0 = Duration::from_millis(60);
        slow.tls = Some(Arc::new(ServerTls::load(&server).unwrap()));
        let running = run(slow);
        let mut tcp = TcpStream::connect(running.address).await.unwrap();
        tcp.write_all(&[22, 3, 1]).await.unwrap();
        let _ = tcp.read(&mut [0; 10]).await;
        while running.gate.counters().open.load(Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(running.gate.counters().tls_failures.load(Relaxed), 1);
    });
}

#[test]
fn a_reload_changes_limits_for_new_connections_alone() {
    on_worker(async {
        let running = run(settings(ProxyProtocol::Off, ""));
        let tcp = TcpStream::connect(running.address).await.unwrap();
        let handle = h2::connect(tcp, &h2::Settings::default()).await.unwrap();
        let head = || Request::get("http://example.com/some-path").body(()).unwrap().into_parts().0;
        let ask = || handle.send(head(), lockgate_core::Body::Empty);
        assert_eq!(ask().await.ok().unwrap().response.status(), 200);
        let mut strict = settings(ProxyProtocol::Off, "");
        strict.http.max_uri.0 = 4;
        running.state.replace(strict);
        assert_eq!(ask().await.ok().unwrap().response.status(), 200);
        let tcp = TcpStream::connect(running.address).await.unwrap();
        let fresh = h2::connect(tcp, &h2::Settings::default()).await.unwrap();
        let answer = fresh.send(head(), lockgate_core::Body::Empty).await.ok().unwrap();
        assert_eq!(answer.response.status(), 414);
    });
}

/// Says pieces of HTTP/1.1 one after another, and reads to the end.
async fn say(address: SocketAddr, pieces: &[&str]) -> String {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    for piece in pieces {
        tcp.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

const REST: &str = " / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

#[test]
fn http1_is_told_from_http2_however_its_first_bytes_come() {
    on_worker(async {
        let running = run(settings(ProxyProtocol::Off, ""));
        for pieces in
            [&["GET", REST][..], &["P", "OST", REST], &["PR", "OPFIND", REST], &["PRI", REST]]
        {
            let answer = say(running.address, pieces).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{pieces:?}: {answer}");
            let method = running.service.0.borrow().heads.last().unwrap().method.to_string();
            assert_eq!(method, pieces[..pieces.len() - 1].concat());
        }
    });
}

#[test]
fn a_header_that_is_not_believed_is_a_broken_request() {
    on_worker(async {
        let running = run(settings(ProxyProtocol::Accept, "10.0.0.0/8"));
        let header = "PROXY TCP4 192.0.2.7 192.0.2.8 5001 443\r\n";
        let answer = say(running.address, &[header, "GET", REST]).await;
        assert!(answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5"), "{answer}");
        assert!(running.service.0.borrow().heads.is_empty());

        let running = run(settings(ProxyProtocol::Accept, LOOPBACK));
        let answer = say(running.address, &["PROXY ", &header[6..], "GET", REST]).await;
        assert!(answer.ends_with("192.0.2.7:5001 on web"), "{answer}");
        // What begins like a header and is a request after all keeps every byte.
        let answer = say(running.address, &["PRO", "PFIND", REST]).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(running.service.0.borrow().heads.last().unwrap().method, "PROPFIND");
    });
}

#[test]
fn http1_is_spoken_over_tls_with_whoever_does_not_choose_http2() {
    on_worker(async {
        let files = Files::new();
        let ca = Authority::new("ca");
        let server = listener_tls(vec![ca.pair(&files, "site", &["a.example"])]);
        let mut with_tls = settings(ProxyProtocol::Off, "");
        with_tls.tls = Some(Arc::new(ServerTls::load(&server).unwrap()));
        let running = run(with_tls);
        let trust = UpstreamTls { ca: Some(ca.file(&files, "ca")), ..UpstreamTls::default() };
        let client = ClientTls::load(&trust, false).unwrap();
        let tcp = TcpStream::connect(running.address).await.unwrap();
        let mut stream = client.connect(tcp, "a.example").await.unwrap();
        assert!(!ClientTls::chose_http2(&stream));
        stream.write_all(format!("GET{REST}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("on web"));
    });
}
