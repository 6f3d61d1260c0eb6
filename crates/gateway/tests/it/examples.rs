//! The files of `examples/`, each started as it stands and held to what its theme promises. Only
//! addresses are changed: the gateway's own for free ones, the services' for echoes.

use std::io::Read;
use std::time::Duration;

use lockgate_testkit::{Answer, Echo, Gateway, H2, Pieces, Socket, cli, needs, until};
use serde_json::Value;
use tokio::time::Instant;

use crate::support::{BINARY, launch};

const ALICE: (&str, &str) = ("X-API-Key", "demo-alice-key");
const BOB: (&str, &str) = ("X-API-Key", "demo-bob-key");

fn file(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    std::fs::read_to_string(format!("{folder}/{name}.yaml")).unwrap()
}

/// An example and the services behind it, `s1` to `s5` in the places of the ports 3001 to 3005.
struct Example {
    gateway: Gateway,
    services: Vec<Echo>,
}

impl Example {
    async fn start(name: &str) -> Self {
        let mut services = Vec::new();
        for number in 1..=5 {
            let name = format!("s{number}");
            services.push(Echo::start(&name).await);
        }
        Self::before(name, services).await
    }

    async fn before(name: &str, services: Vec<Echo>) -> Self {
        let mut text = file(name);
        for port in ["8080", "8081"] {
            text = text.replace(&format!("web: \"127.0.0.1:{port}\""), "web: \"127.0.0.1:$WEB\"");
        }
        text = text.replace("address: \"127.0.0.1:9902\"", "address: \"127.0.0.1:$ADMIN\"");
        for (place, service) in services.iter().enumerate() {
            let port = 3001 + place;
            text = text.replace(&format!("127.0.0.1:{port}"), &service.address().to_string());
        }
        Self { gateway: launch().start(&text).await, services }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.gateway.ask(method, path, headers, "").await
    }

    /// What `Cache-Status` says of a GET.
    async fn cached(&self, path: &str, headers: &[(&str, &str)]) -> String {
        let answer = self.ask("GET", path, headers).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.header("cache-status").unwrap_or_default().to_owned()
    }

    fn service(&self, number: usize) -> &Echo {
        &self.services[number - 1]
    }
}

fn refusal(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.reason())
}

/// Runs the lines of a file's comment in their order, as a reader would.
#[tokio::test]
async fn the_lines_in_the_files_answer_as_they_say() {
    needs("curl");
    for name in ["auth", "limits", "cache", "edge", "status", "testing"] {
        let example = Example::start(name).await;
        let web = example.gateway.web().to_string();
        let mut tried = 0;
        for line in file(name).lines() {
            let Some((status, line)) = line.trim_start_matches(['#', ' ']).split_once("  curl ")
            else {
                continue;
            };
            let line = line.replace("127.0.0.1:8081", &web);
            let line = format!("curl --max-time 10 -sS {line}");
            let ran = cli("sh", example.gateway.dir().path(), &["-c", &line]).await;
            let expected = format!("HTTP/1.1 {status} ");
            assert!(ran.stdout.starts_with(&expected), "{name}: {expected}: {line}: {ran:?}");
            tried += 1;
        }
        assert!(tried >= 4, "{name}");
    }
}

#[tokio::test]
async fn the_status_page_tells_names_and_history_and_nothing_else() {
    let example = Example::start("status").await;
    let json = [("Accept", "application/json")];
    let mut told = Value::Null;
    until("both services to be up", async || {
        told = example.ask("GET", "/status", &json).await.json();
        told["services"]
            .as_array()
            .is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["status"] == "up"))
    })
    .await;
    assert_eq!(
        (&told["services"][0]["name"], &told["services"][1]["name"]),
        (&"users".into(), &"orders".into())
    );
    assert_eq!(told["services"][0]["days"].as_array().map(Vec::len), Some(90), "{told}");
    assert_eq!(example.ask("GET", "/status.json", &[]).await.json()["services"][0]["status"], "up");
    let page = example.ask("GET", "/status", &[("Accept", "text/html")]).await.text();
    assert!(page.contains("Example Shop") && page.contains("orders"), "{page}");
    let badge = example.ask("GET", "/status/badge/users.svg", &[]).await;
    assert_eq!(badge.header("content-type"), Some("image/svg+xml"));
    let all = format!("{told}{page}{}", badge.text());
    let address = example.service(1).address().to_string();
    for hidden in ["ledger", "127.0.0.1", &address] {
        assert!(!all.contains(hidden), "{hidden}: {all}");
    }
    let members: Vec<&String> = told["services"][0].as_object().unwrap().keys().collect();
    assert_eq!(members, ["name", "status", "since", "availability", "days"]);
}

#[tokio::test]
async fn none_of_them_has_a_warning() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    // What those of several gateways are told by their environment.
    let env = "NAME=one PORT=8091 ADMIN_PORT=9911 STORE=memory";
    let check = format!("{env} exec '{BINARY}' check \"$0\"");
    let mut count = 0;
    for place in ["", "/bank", "/cluster"] {
        for entry in std::fs::read_dir(format!("{folder}{place}")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|ending| ending != "yaml") {
                continue;
            }
            let ran =
                cli("sh", folder.as_ref(), &["-c", &check, &path.display().to_string()]).await;
            assert_eq!((ran.code, ran.text().contains("warning")), (0, false), "{ran:?}");
            count += 1;
        }
    }
    assert!(count >= 13, "{count}");
}

#[tokio::test]
async fn auth_knows_who_may_do_what() {
    let example = Example::start("auth").await;
    let answer = example.ask("GET", "/orders", &[]).await;
    assert_eq!(refusal(&answer), (401, Some("credentials_missing")));
    let answer = example.ask("GET", "/orders", &[("X-API-Key", "another")]).await;
    assert_eq!(refusal(&answer), (403, Some("credentials_invalid")));
    assert_eq!(example.service(3).hits(), 0);
    let answer = example.ask("GET", "/orders", &[ALICE]).await;
    assert_eq!(answer.seen("x-user-id").as_deref(), Some("alice"));

    let text = file("auth");
    let token = text.split(['\'', ' ']).find(|word| word.starts_with("eyJ")).unwrap();
    let bearer = format!("Bearer {token}");
    let answer = example.ask("GET", "/orders", &[("Authorization", &bearer)]).await;
    assert_eq!(answer.seen("x-user-id").as_deref(), Some("carol"));
    assert_eq!(answer.seen("x-user-role").as_deref(), Some("clerk"));
    let forged = format!("{}A", &bearer[..bearer.len() - 4]);
    let answer = example.ask("GET", "/orders", &[("Authorization", &forged)]).await;
    assert_eq!(refusal(&answer), (403, Some("credentials_invalid")));

    let answer = example.ask("DELETE", "/orders/1", &[ALICE]).await;
    assert_eq!(refusal(&answer), (403, Some("forbidden")));
    assert_eq!(example.ask("DELETE", "/orders/1", &[BOB]).await.endpoint(), "s3");
    for (path, key, status) in [
        ("/stats?user=alice", ALICE, 200),
        ("/stats?user=bob", ALICE, 403),
        ("/stats", ALICE, 403),
        ("/stats?user=alice", BOB, 200),
    ] {
        assert_eq!(example.ask("GET", path, &[key]).await.status, status, "{path} {key:?}");
    }
    let answer = example.ask("GET", "/products", &[]).await;
    assert_eq!((answer.status, answer.seen("x-user-id")), (200, None));
    let answer = example.ask("GET", "/products", &[BOB]).await;
    assert_eq!(answer.seen("x-user-id").as_deref(), Some("bob"));
}

#[tokio::test]
async fn limits_by_address_consumer_plan_and_at_once() {
    let example = Example::start("limits").await;
    for left in ["2", "1", "0"] {
        let answer = example.ask("GET", "/products", &[]).await;
        assert_eq!((answer.status, answer.header("ratelimit-remaining")), (200, Some(left)));
    }
    let answer = example.ask("GET", "/products", &[]).await;
    assert_eq!(refusal(&answer), (429, Some("rate_limited")));
    assert!(answer.header("retry-after").is_some());

    for (key, path, last) in [(BOB, "/orders", "rate_limited"), (BOB, "/users", "quota_exceeded")] {
        for _ in 0..2 {
            assert_eq!(example.ask("GET", path, &[key]).await.status, 200, "{path}");
        }
        let answer = example.ask("GET", path, &[key]).await;
        assert_eq!(refusal(&answer), (429, Some(last)), "{path}");
        // The plan of another consumer has more.
        for _ in 0..5 {
            assert_eq!(example.ask("GET", path, &[ALICE]).await.status, 200, "{path}");
        }
    }

    let first = example.ask("GET", "/stats/", &[]).await;
    assert_eq!(first.status, 200);
    example.service(5).delay(Duration::from_secs(60));
    let mut held = example.gateway.wire().await;
    held.send("GET /stats HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned()).await;
    until("the one", async || example.service(5).hits() == 2).await;
    let answer = example.ask("GET", "/stats", &[]).await;
    assert_eq!(refusal(&answer), (503, Some("overloaded")));
    assert_eq!(example.service(5).hits(), 2);
}

#[tokio::test]
async fn the_cache_hits_is_cleared_and_is_stale_on_purpose() {
    let example = Example::start("cache").await;
    for path in ["/products", "/products/1"] {
        assert!(example.cached(path, &[]).await.contains("fwd=uri-miss"), "{path}");
        assert!(example.cached(path, &[]).await.contains("hit"), "{path}");
    }
    assert!(example.cached("/products/1?utm_source=mail", &[]).await.contains("hit"));
    assert_eq!(example.ask("PUT", "/products/2", &[]).await.status, 200);
    for path in ["/products", "/products/1"] {
        assert!(example.cached(path, &[]).await.contains("fwd=uri-miss"), "{path}");
    }

    assert!(example.cached("/orders", &[ALICE]).await.contains("fwd=uri-miss"));
    assert!(example.cached("/orders", &[ALICE]).await.contains("hit"));
    assert!(example.cached("/orders", &[BOB]).await.contains("miss"), "not of alice's");
    assert_eq!(example.ask("GET", "/orders", &[]).await.status, 401);

    example.cached("/stats", &[]).await;
    until("a new answer, fetched behind the old one", async || {
        assert!(example.cached("/stats", &[]).await.contains("hit"), "nobody waits for it");
        example.service(5).hits() == 2
    })
    .await;

    example.cached("/users", &[]).await;
    example.service(1).answer_with(503);
    until("the old answer", async || {
        example.cached("/users", &[]).await.contains("stale-if-error")
    })
    .await;
}

#[tokio::test]
async fn the_edge_answers_before_the_service_is_asked() {
    let example = Example::start("edge").await;
    let origin = ("Origin", "https://app.example");
    let wants = ("Access-Control-Request-Method", "PUT");
    let answer = example.ask("OPTIONS", "/products", &[origin, wants]).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin.1));
    let answer = example.ask("GET", "/products", &[("Origin", "https://b.example")]).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);

    let answer = example.ask("GET", "/stats", &[]).await;
    assert_eq!(refusal(&answer), (403, Some("ip_denied")));
    let answer = example.ask("GET", "/orders", &[("Accept", "text/html")]).await;
    assert_eq!(refusal(&answer), (503, Some("maintenance")));
    assert_eq!(answer.header("retry-after"), Some("1800"));
    assert!(answer.text().starts_with("<!doctype html>"));
    let answer = example.gateway.ask("POST", "/users", &[], &"x".repeat(16_001)).await;
    assert_eq!(refusal(&answer), (413, Some("too_large")));
    let answer = example.ask("GET", &format!("/users?q={}", "x".repeat(300)), &[]).await;
    assert_eq!(refusal(&answer), (414, Some("uri_too_long")));
    assert_eq!(
        example.service(1).hits() + example.service(3).hits() + example.service(5).hits(),
        0
    );

    let answer = example.ask("GET", "/users", &[]).await;
    assert_eq!(answer.seen("x-seen-as").as_deref(), Some("127.0.0.1 GET /users/*"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let answer = example.ask("GET", "/users", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    assert!(text.contains("\"endpoint\":\"s1\""), "{text}");
}

#[tokio::test]
async fn a_rehearsal_fails_waits_and_copies_as_told() {
    let example = Example::start("testing").await;
    assert_eq!(example.ask("GET", "/orders", &[]).await.endpoint(), "s3");
    let answer = example.ask("GET", "/orders", &[("X-Rehearsal", "yes")]).await;
    assert_eq!(refusal(&answer), (503, Some("fault_injected")));
    assert_eq!(example.service(3).hits(), 1);

    let began = Instant::now();
    assert_eq!(example.ask("GET", "/products", &[("X-Slow", "yes")]).await.endpoint(), "s4");
    assert!(began.elapsed() >= Duration::from_millis(400));

    assert_eq!(example.ask("GET", "/users/7", &[]).await.endpoint(), "s1");
    until("the copy", async || !example.service(2).seen().is_empty()).await;
    let copy = example.service(2).last();
    assert_eq!((copy.uri.path(), copy.header("lockgate-mirror")), ("/users/7", Some("true")));
    assert_eq!(example.ask("PUT", "/users/7", &[]).await.endpoint(), "s1");
    example.ask("GET", "/users/8", &[]).await;
    until("the next copy", async || example.service(2).last().uri.path() == "/users/8").await;
    assert_eq!(example.service(2).seen().len(), 2, "no write was copied");
}

#[tokio::test]
async fn testers_and_a_share_of_all_get_the_canary() {
    let example = Example::start("canary").await;
    for (path, header) in [
        ("/shop/1", ("X-Canary", "yes")),
        ("/shop/1", ("Cookie", "tester=1")),
        ("/shop/1?version=2.1", ("X-Other", "yes")),
    ] {
        assert_eq!(example.ask("GET", path, &[header]).await.endpoint(), "s2", "{path}");
    }
    for _ in 0..300 {
        assert_eq!(example.ask("GET", "/shop/1", &[]).await.status, 200);
    }
    let canary = example.service(2).hits() - 3;
    assert!((1..100).contains(&canary), "{canary}");
    assert_eq!(example.service(1).hits() + canary, 300);
}

#[tokio::test]
async fn resilience_hides_what_fails_but_pays_once() {
    let mut example = Example::start("resilience").await;
    let asked = |example: &Example, path: &str| -> usize {
        let seen = example.services.iter().flat_map(Echo::seen);
        seen.filter(|seen| seen.uri.path() == path).count()
    };
    for service in &example.services {
        service.answer_with(503);
    }
    assert_eq!(example.ask("POST", "/orders/1/pay", &[]).await.status, 503);
    assert_eq!(asked(&example, "/orders/1/pay"), 1, "a payment is not sent again");
    assert_eq!(example.ask("GET", "/orders/1", &[]).await.status, 503);
    assert!(asked(&example, "/orders/1") > 1, "a read is");
    for service in &example.services {
        service.answer_with(0);
    }
    until("it to serve again", async || example.ask("GET", "/orders/1", &[]).await.status == 200)
        .await;
    // The two of the north are gone: the south stands in.
    example.services.drain(..2);
    until("the south", async || {
        let answer = example.ask("GET", "/orders/1", &[]).await;
        answer.status == 200 && answer.endpoint() == "s3"
    })
    .await;
}

#[tokio::test]
async fn sockets_events_and_calls_pass() {
    let mut services = Vec::new();
    for name in ["s1", "s2", "s3"] {
        services.push(Echo::start(name).await);
    }
    for name in ["s4", "s5"] {
        services.push(Echo::h2c(name).await);
    }
    let example = Example::before("websocket-grpc", services).await;
    let mut socket = Socket::open(example.gateway.wire().await, "/chat", &[]).await.unwrap();
    socket.echoes("hello").await;
    socket.close().await;

    example.service(3).open(2);
    let answer = example.ask("GET", "/events/1", &[]).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.text().matches("data:").count(), 3);

    let mut h2 = H2::plain(example.gateway.web()).await;
    let call = h2.request("POST", "a.test", "/shop.Prices/Unary");
    let call = call.header("content-type", "application/grpc").header("te", "trailers");
    let answer = h2.ask(call.body(Pieces::whole(b"\0\0\0\0\x01x".as_slice())).unwrap()).await;
    assert_eq!(answer.unwrap().trailer("grpc-status"), Some("0"));
}
