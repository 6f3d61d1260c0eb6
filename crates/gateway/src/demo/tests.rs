//! The services over real sockets, on whatever ports are free.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::records::Records;
use super::{
    ADMIN_PORT, DEFAULT_PORT_BASE, GATEWAY_PORT, Ports, SERVICES, Services, bind, config, hints,
};

/// The five services, each on a free port.
struct Started {
    ports: Vec<(&'static str, u16)>,
    _services: Services,
}

async fn start() -> Started {
    let (mut places, mut ports) = (Vec::new(), Vec::new());
    for (name, distances) in SERVICES {
        let records = Arc::new(Records::seeded(name));
        for _ in distances {
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            ports.push((name, socket.local_addr().unwrap().port()));
            places.push((name, Arc::clone(&records), socket));
        }
    }
    Started { ports, _services: Services::run(places).unwrap() }
}

impl Started {
    fn port(&self, place: usize) -> u16 {
        self.ports[place].1
    }
}

struct Reply {
    status: u16,
    head: String,
    body: Value,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find_map(|(key, value)| (key == name).then_some(value))
    }
}

async fn send(port: u16, text: &str) -> std::io::Result<Reply> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(text.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    Ok(Reply {
        status,
        head: head.to_ascii_lowercase(),
        body: serde_json::from_str(body).unwrap_or_default(),
    })
}

async fn call(port: u16, line: &str, body: &str) -> Reply {
    let length = body.len();
    let text = format!(
        "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    send(port, &text).await.unwrap()
}

#[tokio::test]
async fn a_record_lives_from_post_to_delete() {
    let services = start().await;
    let port = services.port(2);
    let order = json!({ "user": 1, "product": 2, "quantity": 3, "status": "new" });
    let made = call(port, "POST /orders", &order.to_string()).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.header("location"), Some("/orders/5"));
    assert_eq!(made.body["id"], 5);
    let order = json!({ "user": 1, "product": 2, "quantity": 3, "status": "paid" });
    assert_eq!(call(port, "PUT /orders/5", &order.to_string()).await.status, 200);
    assert_eq!(call(port, "GET /orders/5", "").await.body["status"], "paid");
    let list = call(port, "GET /orders?limit=2", "").await;
    assert_eq!(list.body.as_array().unwrap().len(), 2);
    assert_eq!(list.header("x-total-count"), Some("5"));
    let gone = call(port, "DELETE /orders/5", "").await;
    assert_eq!((gone.status, gone.header("content-type")), (204, None));
    assert_eq!(call(port, "GET /orders/5", "").await.status, 404);
    assert_eq!(call(port, "DELETE /orders/5", "").await.status, 404);
    assert_eq!(call(port, "PUT /orders/5", &order.to_string()).await.status, 404);
}

#[tokio::test]
async fn every_service_serves_its_resource_and_its_health() {
    let services = start().await;
    for &(service, port) in &services.ports {
        let health = call(port, "GET /health", "").await;
        assert_eq!(health.status, 200);
        assert_eq!(health.body["service"], service);
        let list = call(port, &format!("GET /{service}"), "").await;
        assert!(!list.body.as_array().unwrap().is_empty());
        assert_eq!(list.header("x-served-by"), Some(port.to_string().as_str()));
        let strange = call(port, "GET /elsewhere", "").await;
        assert_eq!(strange.status, 404);
        assert!(strange.body["error"].as_str().unwrap().contains(service));
    }
}

#[tokio::test]
async fn the_two_of_users_share_their_records() {
    let services = start().await;
    let user = json!({ "name": "user-5", "role": "guest", "email": "user-5@example.com" });
    let made = call(services.port(0), "POST /users", &user.to_string()).await;
    let id = &made.body["id"];
    let read = call(services.port(1), &format!("GET /users/{id}"), "").await;
    assert_eq!(read.body["name"], "user-5");
    assert_ne!(made.header("x-served-by"), read.header("x-served-by"));
}

#[tokio::test]
async fn what_is_wrong_is_said_in_json() {
    let services = start().await;
    let port = services.port(0);
    let huge = format!("\"{}\"", "x".repeat(70_000));
    for (line, body, status) in [
        ("POST /users", "{", 400),
        ("POST /users", "{}", 400),
        ("POST /users", r#"{"name":"x","role":"king","email":"x"}"#, 400),
        ("POST /users", huge.as_str(), 413),
        ("GET /users?limit=0", "", 400),
        ("GET /users?limit=x", "", 400),
        ("GET /users/x", "", 404),
        ("GET /users/1/2", "", 404),
        ("GET /usersx", "", 404),
        ("PATCH /users/1", "{}", 405),
        ("DELETE /users", "", 405),
        ("POST /health", "", 405),
        ("PUT /_fault", "", 405),
        ("POST /_fault", r#"{"fail":7}"#, 400),
        ("POST /_fault?port=1", "{}", 404),
    ] {
        let reply = call(port, line, body).await;
        assert_eq!(reply.status, status, "{line} {body:.40}");
        assert!(reply.body["error"].is_string(), "{line}");
        assert_eq!(reply.header("allow").is_some(), status == 405, "{line}");
    }
    let form = "POST /users HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(send(port, form).await.unwrap().status, 415);
}

#[tokio::test]
async fn it_fails_and_is_slow_as_told_and_health_with_it() {
    let services = start().await;
    let port = services.port(4);
    let fault = r#"{"fail": 1, "status": 500, "delay_ms": 30, "for_requests": 2}"#;
    assert_eq!(call(port, "POST /_fault", fault).await.body["fault"]["for_requests"], 2);
    assert_eq!(call(port, "GET /health", "").await.status, 500);
    for _ in 0..2 {
        let begin = Instant::now();
        assert_eq!(call(port, "GET /stats", "").await.status, 500);
        assert!(begin.elapsed() >= Duration::from_millis(30));
    }
    assert_eq!(call(port, "GET /stats", "").await.status, 200);
    assert_eq!(call(port, "GET /health", "").await.status, 200);
    let other = call(services.port(3), "GET /products", "").await;
    assert_eq!(other.status, 200, "only the one that was told");
}

#[tokio::test]
async fn it_refuses_connections_until_a_neighbour_resets_it() {
    let services = start().await;
    let (port, neighbour) = (services.port(0), services.port(1));
    let mut idle = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    idle.write_all(b"GET /users HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 4096]).await.unwrap() > 0);
    let told = call(port, "POST /_fault", r#"{"refuse": true}"#).await;
    assert_eq!(told.status, 200, "the answer to the order itself still comes");
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    refused(port).await;
    let reset = call(neighbour, &format!("POST /_fault?port={port}"), "{}").await;
    assert_eq!(reset.body["port"], port);
    accepted(port).await;
}

#[tokio::test]
async fn it_refuses_connections_for_a_while() {
    let services = start().await;
    let port = services.port(2);
    call(port, "POST /_fault", r#"{"refuse": true, "for_ms": 300}"#).await;
    refused(port).await;
    accepted(port).await;
}

/// The order is carried out by another task: ask until it has been, for ten seconds at most.
async fn refused(port: u16) {
    until(|| async move { TcpStream::connect(("127.0.0.1", port)).await.is_err() }).await;
}

async fn accepted(port: u16) {
    let health = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    until(|| async move { send(port, health).await.is_ok_and(|r| r.status == 200) }).await;
}

async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let asked = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asked).await.unwrap();
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_service() {
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = holder.local_addr().unwrap().port();
    let address = ([127, 0, 0, 1], port).into();
    let error = bind(address, "orders").await.unwrap_err().to_string();
    assert!(error.contains(&format!("port {port}")), "{error}");
    assert!(error.contains("`orders`") && error.contains("--port-base"), "{error}");
}

#[tokio::test]
async fn dropped_services_give_their_ports_back() {
    let services = start().await;
    let port = services.port(0);
    drop(services);
    refused(port).await;
}

#[test]
fn the_default_base_changes_nothing_and_another_moves_every_port() {
    let file = include_str!("../../../../examples/demo.yaml");
    assert_eq!(config(DEFAULT_PORT_BASE).unwrap(), file);
    // Onto each other's places: the pass must not move a port twice.
    let moved = config(3001).unwrap();
    for (old, new) in [(3001, 3002), (3002, 3003), (3005, 3006), (8080, 8081), (9901, 9902)] {
        let count = |text: &str, port: i32| text.matches(&format!("127.0.0.1:{port}")).count();
        assert_eq!(count(file, old), count(&moved, new), "{old}");
        assert!(count(file, old) > 0, "{old}");
    }
    let text = hints(13_000);
    for port in ["13001", "13002", "13003", "13004", "13005", "18080", "19901"] {
        assert!(text.contains(port), "{port}");
    }
    assert!(!text.contains("8080 ") && !text.contains(":3001"));
    assert!(text.contains("\"delay_ms\":5000"), "only ports are moved");
    // A number within a token or a hash that looked like a port would be moved with the rest.
    let words = |text: &str, start: &str| -> Vec<String> {
        let found = text.split([' ', '\'', '[', ']', '\n']).filter(|word| word.starts_with(start));
        found.map(str::to_owned).collect()
    };
    for base in [1, 3001, 13_000] {
        let tokens = words(&hints(base), "eyJ");
        assert!(!tokens.is_empty());
        assert_eq!(tokens, words(&hints(DEFAULT_PORT_BASE), "eyJ"), "{base}");
        let hashes = words(&config(base).unwrap(), "lgk1:");
        assert_eq!(hashes.len(), 2);
        assert_eq!(hashes, words(file, "lgk1:"), "{base}");
    }
}

#[test]
fn a_base_without_room_is_refused() {
    for base in [0, 58_635, u16::MAX] {
        assert!(Ports::new(base).is_err(), "{base}");
        assert!(config(base).is_err(), "{base}");
    }
    for base in [1, 58_634] {
        let ports = Ports::new(base).unwrap();
        let (gateway, admin) = (ports.moved(GATEWAY_PORT), ports.moved(ADMIN_PORT));
        assert_eq!((gateway - base, admin - base), (5080, 6901), "{base}");
    }
}
