//! The client against real sockets: slow, broken, too large, under TLS, and given up.

use lockgate_config::model;
use lockgate_testkit::{Authority, Echo, Ended, Raw, Step, server_config, until};
use lockgate_upstream::{Resolver, Spawn};
use tokio::runtime::Handle;

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn client(upstreams: &[(&str, SocketAddr)]) -> Arc<Client> {
    let (spawn, resolver) = (Spawn::on(Handle::current()), Resolver::system());
    let registry = Arc::new(Registry::new(spawn.clone(), resolver.clone()));
    let sections = upstreams.iter().map(|(name, address)| {
        let mut settings = model::Upstream { health: None, ..model::Upstream::default() };
        settings.endpoints.insert(address.to_string(), model::Endpoint::default());
        ((*name).to_owned(), settings)
    });
    registry.apply(&sections.collect());
    Client::start(registry, Origins::new(spawn, resolver)).unwrap()
}

fn call(uri: &str, to: Destination) -> Call {
    let request = http::Request::builder().method("POST").uri(uri);
    let request = request.body(Bytes::from_static(b"question")).unwrap();
    Call { request, to, timeout: LONG, max_body: 1024 }
}

fn url(address: SocketAddr) -> Call {
    call(&format!("http://{address}/path?q=1"), Destination::Url { ca: None })
}

#[tokio::test]
async fn a_request_is_sent_whole_and_its_answer_comes_whole() {
    let raw = Raw::start(vec![Step::Repeat(vec![Step::Request, Step::ok("answer")])]).await;
    let client = client(&[]);
    for _ in 0..3 {
        let answer = client.send(url(raw.address())).await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"answer"[..]));
    }
    assert_eq!(raw.connections(), 1, "the connection is kept");
    let text = raw.received(0).to_ascii_lowercase();
    assert!(text.starts_with("post /path?q=1 http/1.1\r\n"), "{text}");
    assert!(text.contains(&format!("\r\nhost: {}\r\n", raw.address())), "{text}");
    assert!(text.contains(concat!("\r\nuser-agent: lockgate/", env!("CARGO_PKG_VERSION"))));
    assert!(text.contains("\r\ncontent-length: 8\r\n"), "{text}");
    assert!(!text.contains("forwarded") && !text.contains("x-request-id"), "{text}");
}

#[tokio::test]
async fn an_upstream_is_asked_by_its_name() {
    let echo = Echo::start("a").await;
    let client = client(&[("auth", echo.address())]);
    let answer = client.send(call("/echo", Destination::Upstream("auth".into()))).await.unwrap();
    assert_eq!(answer.headers()["x-endpoint"], "a");
    let unknown = client.send(call("/echo", Destination::Upstream("other".into()))).await;
    assert!(unknown.unwrap_err().story().contains("no upstream `other`"));
}

#[tokio::test]
async fn redirects_are_answers() {
    let to = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let raw = Raw::start(vec![Step::Request, Step::send(to)]).await;
    let answer = client(&[]).send(url(raw.address())).await.unwrap();
    assert_eq!(answer.status(), 302);
}

#[tokio::test]
async fn bad_answers_are_faults() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n";
    let chunks =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n{}", "x".repeat(2000));
    for (case, script, reason) in [
        ("too large", vec![Step::Request, Step::send(head)], "upstream_bad_answer"),
        ("too large, untold", vec![Step::Request, Step::send(&chunks)], "upstream_bad_answer"),
        (
            "broken off",
            vec![Step::Request, Step::send(&head.replace("2000", "20")), Step::Close],
            "upstream_broke_off",
        ),
        ("closed", vec![Step::Request, Step::Close], "upstream_closed"),
        ("no HTTP", vec![Step::Request, Step::garbage()], "upstream_bad_answer"),
    ] {
        let raw = Raw::start(script).await;
        let fault = client(&[]).send(url(raw.address())).await.unwrap_err();
        assert_eq!(fault.reason().code, reason, "{case}: {fault}");
        assert_eq!(raw.requests(), 1, "{case}: a POST is not sent twice");
    }
}

#[tokio::test]
async fn a_slow_server_is_given_up_in_head_and_body() {
    let head = Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx");
    for script in [vec![Step::Request], vec![Step::Request, head]] {
        let raw = Raw::start(script).await;
        let late = Call { timeout: Duration::from_millis(150), ..url(raw.address()) };
        let fault = client(&[]).send(late).await.unwrap_err();
        assert_eq!(fault.reason(), &reasons::UPSTREAM_TIMEOUT, "{fault}");
        assert_ne!(raw.ended(0).await, Ended::Ours);
    }
}

#[tokio::test]
async fn a_dropped_future_ends_the_request() {
    let raw = Raw::start(vec![Step::Request]).await;
    let client = client(&[]);
    let asked = tokio::spawn(client.send(url(raw.address())));
    raw.seen("question").await;
    asked.abort();
    assert_ne!(raw.ended(0).await, Ended::Ours);
    let free = async || client.room.available_permits() == MOST;
    until("its place to be free again", free).await;
}

#[tokio::test]
async fn tls_is_verified_against_the_authority_that_is_named() {
    let theirs = Authority::new("theirs");
    let echo = Echo::tls("a", server_config(&theirs.server(&["127.0.0.1"]), &[], None)).await;
    let client = client(&[]);
    let ask = |ca: Option<&Authority>| {
        let ca = ca.map(|ca| Bytes::from(ca.pem.clone()));
        client.send(call(&format!("https://{}/echo", echo.address()), Destination::Url { ca }))
    };
    assert_eq!(ask(Some(&theirs)).await.unwrap().status(), 200);
    for wrong in [None, Some(&Authority::new("theirs"))] {
        assert_eq!(ask(wrong).await.unwrap_err().reason(), &reasons::UPSTREAM_TLS);
    }
    assert_eq!(echo.hits(), 1);
    let no_pem = Destination::Url { ca: Some(Bytes::from_static(b"no PEM")) };
    let fault = client.send(call(&format!("https://{}/", echo.address()), no_pem)).await;
    assert_eq!(fault.unwrap_err().reason(), &reasons::UPSTREAM_TLS);
}

#[tokio::test]
async fn more_than_there_is_room_for_is_refused_at_once() {
    let raw = Raw::start(vec![Step::Request]).await;
    let client = client(&[]);
    let room = Arc::clone(&client.room).acquire_many_owned(MOST as u32 - 1).await.unwrap();
    let first = tokio::spawn(client.send(url(raw.address())));
    raw.seen("question").await;
    let fault = client.send(url(raw.address())).await.unwrap_err();
    assert_eq!(fault.reason(), &reasons::OVERLOADED);
    first.abort();
    drop(room);
}
